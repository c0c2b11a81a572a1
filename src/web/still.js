// The newest JPEG of a camera over its picture, until the first frame of a call is shown.
//
// A camera whose own server answers api/snapshot.jpg says `still: true` in its presence. One image is asked for when it
// comes online and after each call, so that a click has nothing to load beside the call; a call asks only when that one is
// older than AGE. The camera makes a new one only when its newest is as old, so that pages cost it little.

import { has, kind, need } from './events.js';

/** Seconds that the image may be old. */
export const AGE = 60;

export class Still {
  #image;
  #load;
  #address = ''; // of the image, a blob's
  /** @type {number | null} */
  #asked = null;
  #wanted = false;

  /**
   * @param {HTMLImageElement} image hidden unless there is something to show
   * @param {() => Promise<Blob | null>} load asks for the newest; null when there is none
   */
  constructor(image, load) {
    need(has(image, 'decode'), () => `Still takes an image element, not ${kind(image)}`);
    need(typeof load === 'function', () => `Still takes a function that loads the image, not ${kind(load)}`);
    this.#image = image;
    this.#load = load;
  }

  /** Whether an image is shown. */
  get shown() { return !this.#image.hidden; }

  /**
   * Asks for the newest image, unless the last one was asked for within `age` seconds; resolves when it can be shown.
   * @param {number} [age]
   */
  async ask(age = AGE) {
    const now = performance.now();
    if (this.#asked !== null && now - this.#asked < age * 1000) return;
    this.#asked = now;
    const blob = await this.#load().catch(() => null);
    if (!blob || this.#asked !== now) return;
    const address = URL.createObjectURL(blob);
    const probe = new Image();
    probe.src = address;
    try {
      await probe.decode();
    } catch {
      return URL.revokeObjectURL(address); // no image
    }
    const before = this.#address;
    this.#address = address;
    this.#paint();
    if (before) URL.revokeObjectURL(before);
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
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = '';
    this.#asked = null;
    this.#paint();
  }

  #paint() {
    const image = this.#image;
    if (this.#address && image.src !== this.#address) image.src = this.#address;
    if (!this.#address) image.removeAttribute('src');
    image.hidden = !(this.#wanted && this.#address);
  }
}
