// The newest JPEG of a camera over its picture, until the first frame of a call is shown.
//
// A camera whose own server answers api/snapshot.jpg says `still: true` in its presence. One image is asked for when it
// comes online and after each call, so that a click has nothing to load beside the call; a call asks only when that one is
// older than AGE. The camera makes a new one only when its newest is as old, so that pages cost it little.

import { has, kind, need } from './events.js';

/** Seconds that the image may be old. */
export const AGE = 60;

export class Still {
  #canvas;
  #load;
  #there = false;
  /** @type {number | null} */
  #asked = null;
  #wanted = false;

  /**
   * @param {HTMLCanvasElement} canvas hidden unless there is something to show; pages that allow no images allow it
   * @param {() => Promise<Blob | null>} load asks for the newest; null when there is none
   */
  constructor(canvas, load) {
    need(has(canvas, 'getContext'), () => `Still takes a canvas, not ${kind(canvas)}`);
    need(typeof load === 'function', () => `Still takes a function that loads the image, not ${kind(load)}`);
    this.#canvas = canvas;
    this.#load = load;
  }

  /**
   * Asks for the newest image, unless the last one was asked for within `age` seconds; resolves when it can be shown.
   * @param {number} [age]
   */
  async ask(age = AGE) {
    const now = performance.now();
    if (this.#asked !== null && now - this.#asked < age * 1000) return;
    this.#asked = now;
    try {
      const blob = await this.#load();
      const image = blob && await createImageBitmap(blob);
      if (!image || this.#asked !== now) return image?.close();
      const { width, height } = image;
      Object.assign(this.#canvas, { width, height });
      this.#canvas.getContext('2d')?.drawImage(image, 0, 0);
      image.close();
      this.#there = true;
      this.#paint();
    } catch {
      // no image; the next call asks again
    }
  }

  /**
   * Shows it while there is no frame of the call.
   * @param {boolean} wanted
   */
  show(wanted) {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    this.#paint();
  }

  /** Forgets the image: another one may watch now, or another camera. */
  forget() {
    this.#asked = null;
    this.#there = false;
    this.#canvas.width = 0;
    this.#paint();
  }

  #paint() { this.#canvas.hidden = !(this.#wanted && this.#there); }
}
