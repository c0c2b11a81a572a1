// What a camera knows of the call with it, and a browser does not: where the time of frames goes in the camera, which of
// them it dropped, which encoder made them. It is asked once a second at most, while somebody looks.

/** A camera answers two a second. */
const EVERY = 1000; // ms

/**
 * As in the camera's `/api/status`; what it does not know is null or absent.
 * @typedef {object} Known
 * @property {string | null} [encoder] of the main rendition
 * @property {number | null} [rendition] 0 is the main one
 * @property {{ joining: number, network: number, socket: number } | null} [skipped] frames that it did not send, in all
 * @property {{ capture: number, encoding: number | null, queue: number } | null} [delaysMs]
 */

export class Figures {
  /** @type {Known | null} */
  newest = null;
  /** @type {string | null} */
  #peer = null;
  #asked = -Infinity;

  /** @param {import('./client.js').Client} client */
  constructor(client) { this.client = client; }

  /** Another call. */
  clear() { [this.#peer, this.newest] = [null, null]; }

  /**
   * Asks a camera, unless it was asked just now. What it does not answer, as older ones do not, is left out.
   * @param {string} peer its address
   * @param {number} now ms
   */
  async ask(peer, now) {
    if (peer !== this.#peer) [this.#peer, this.newest, this.#asked] = [peer, null, -Infinity];
    // A measurement may come a little early.
    if (now - this.#asked < EVERY * 0.9 || !this.client.online) return;
    this.#asked = now;
    const reply = await this.client.command(peer, { node: 'camera:share', action: 'read' }).catch(() => null);
    if (peer === this.#peer) this.newest = reply?.status === 200 ? reply.data ?? null : null;
  }
}
