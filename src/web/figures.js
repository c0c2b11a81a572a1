// What only the camera knows about its call: the delays of frames inside the camera, how many it dropped, and which
// encoder it uses. It is queried at most once a second, and only while the statistics are open.

/** A camera answers up to two queries a second. */
const EVERY = 1000; // ms

/**
 * As in the camera's `/api/status`; unknown values are null or absent.
 * @typedef {object} Known
 * @property {string | null} [encoder] of the main rendition
 * @property {number | null} [rendition] 0 is the main one
 * @property {{ joining: number, network: number, socket: number } | null} [skipped] total frames that it did not send
 * @property {{ capture: number, encoding: number | null, queue: number } | null} [delaysMs]
 */

export class Figures {
  /** @type {Known | null} */
  newest = null;
  /** @type {string | null} */
  #peer = null;
  #asked = -Infinity;

  /** @param {import('./channel.js').Commands} commands */
  constructor(commands) { this.commands = commands; }

  /** Starts over for another call. */
  clear() { [this.#peer, this.newest] = [null, null]; }

  /**
   * Queries a camera, unless it was queried just now. Older cameras do not answer; `newest` is null then.
   * @param {string} peer its address
   * @param {number} now ms
   */
  async ask(peer, now) {
    if (peer !== this.#peer) [this.#peer, this.newest, this.#asked] = [peer, null, -Infinity];
    // Measurements may be a little early.
    if (now - this.#asked < EVERY * 0.9 || !this.commands.reaches(peer)) return;
    this.#asked = now;
    const reply = await this.commands.command(peer, { node: 'camera:share', action: 'read' }).catch(() => null);
    if (peer === this.#peer) this.newest = reply?.status === 200 ? reply.data ?? null : null;
  }
}
