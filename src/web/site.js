// What a server of ours answers by HTTP beside its socket, as seen from a page: its own, or one of another origin.

import { isText, kind, need } from './events.js';

/**
 * What a server tells its pages.
 * @typedef {{ iceServers?: RTCIceServer[], room?: string | null, auth?: boolean }} Config
 */

/** A server, by the address of its page. */
export class Site {
  /**
   * @param {string | URL} url of the page; a relative one is resolved as the page's links are
   * @param {{ fetch?: typeof globalThis.fetch, page?: { href: string, origin: string } }} [page] where we are
   */
  constructor(url, { fetch = globalThis.fetch.bind(globalThis), page = globalThis.location } = {}) {
    need(isText(url) || url instanceof URL, () => `Site takes the address of a server's page, not ${kind(url)}`);
    const base = this.base = new URL('./', resolve(url, page?.href));
    need(/^https?:$/.test(base.protocol), () => `A server's address begins with http: or https:, not with ${base.protocol}`);
    this.fetch = fetch;
    this.page = page;
  }

  /** Where its WebSocket is. */
  get socket() {
    const url = new URL(this.base);
    url.protocol = url.protocol.replace('http', 'ws');
    return url.href;
  }

  /**
   * What it tells its pages; null when it does not answer.
   * @param {string} [token]
   * @returns {Promise<Config | null>}
   */
  async config(token) {
    try {
      const response = await this.#ask('api/config', { headers: bearer(token) });
      return response.ok ? await response.json() : null;
    } catch {
      return null; // the socket will say that the server is gone
    }
  }

  /**
   * The newest JPEG of the camera whose own server this is, at most `age` seconds old; null when there is none for us.
   * @param {string} [token]
   * @param {number} [age]
   * @returns {Promise<Blob | null>}
   */
  async still(token, age = 60) {
    try {
      const response = await this.#ask(`api/snapshot.jpg?age=${age}`, { headers: bearer(token) });
      return response.ok ? await response.blob() : null;
    } catch {
      return null;
    }
  }

  /**
   * Why a socket does not open: 'answers' when the server does by HTTP, so that something in between passes no
   * WebSockets; 'refuses' when an answer comes that pages of this origin may not read, which a proxy's own may be, too;
   * 'gone'.
   * @returns {Promise<'answers' | 'refuses' | 'gone'>}
   */
  async reach() {
    try {
      return (await this.#ask('api/config')).ok ? 'answers' : 'gone';
    } catch {
      if (this.base.origin === this.page?.origin) return 'gone';
    }
    try {
      // Without leave to read it, an answer tells nothing but that there is one.
      await this.#ask('api/health', { mode: 'no-cors' });
      return 'refuses';
    } catch {
      return 'gone';
    }
  }

  /**
   * Whether anybody answers, whatever.
   * @param {AbortSignal} [signal]
   */
  async answers(signal) {
    try {
      await this.#ask('api/health', { mode: 'no-cors', signal });
      return true;
    } catch {
      return false;
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   */
  #ask(path, options) { return this.fetch(new URL(path, this.base).href, { cache: 'no-store', ...options }); }
}

/** @type {(token?: string) => Record<string, string> | undefined} */
const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : undefined);

/**
 * @param {string | URL} url
 * @param {string} [base]
 */
function resolve(url, base) {
  try {
    return new URL(url, base);
  } catch {
    throw new TypeError(`${kind(String(url))} is not the address of a page.`);
  }
}
