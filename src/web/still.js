// Shows the newest JPEG of a camera until the first frame of a call.
//
// A camera whose own server serves api/snapshot.jpg has `still: true` in its presence. An image is fetched when the
// camera comes online and after each call, so that a click starts only the call; a call fetches one only if the image
// is older than AGE. The camera encodes a new image only if its newest one is that old, so pages cost it little.

import { has, kind, need } from './events.js';

/** The maximum age of the image, in seconds. */
export const AGE = 60;

export class Still {
  #canvas;
  #load;
  #there = false;
  /** @type {number | null} */
  #asked = null;
  #wanted = false;

  /**
   * @param {HTMLCanvasElement} canvas hidden without an image; works where a Content-Security-Policy blocks <img>
   * @param {() => Promise<Blob | null>} load fetches the newest image; null if there is none
   */
  constructor(canvas, load) {
    need(has(canvas, 'getContext'), () => `Still takes a canvas, not ${kind(canvas)}`);
    need(typeof load === 'function', () => `Still takes a function that loads the image, not ${kind(load)}`);
    this.#canvas = canvas;
    this.#load = load;
  }

  /**
   * Fetches the newest image, unless one was requested within the last `age` seconds. Resolves when it can be shown.
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
      // no image; the next call tries again
    }
  }

  /**
   * Shows or hides the image; it is wanted until the call's first frame.
   * @param {boolean} wanted
   */
  show(wanted) {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    this.#paint();
  }

  /** Forgets the image: the viewer or the camera may be another one now. */
  forget() {
    this.#asked = null;
    this.#there = false;
    this.#canvas.width = 0;
    this.#paint();
  }

  #paint() { this.#canvas.hidden = !(this.#wanted && this.#there); }
}
