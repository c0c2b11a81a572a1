// A server's HTTP interface, as seen from a page: the server's own page, or one of another origin.

import { isText, kind, need } from './events.js';

/**
 * A server's configuration for pages.
 * @typedef {{ iceServers?: RTCIceServer[], room?: string | null, auth?: boolean }} Config
 */

/** A server, by the address of its page. */
export class Site {
  /**
   * @param {string | URL} url of the server's page; a relative one is resolved like a link
   * @param {{ fetch?: typeof globalThis.fetch, page?: { href: string, origin: string } }} [page] the current page
   */
  constructor(url, { fetch = globalThis.fetch.bind(globalThis), page = globalThis.location } = {}) {
    need(isText(url) || url instanceof URL, () => `Site takes the address of a server's page, not ${kind(url)}`);
    const base = this.base = new URL('./', resolve(url, page?.href));
    need(/^https?:$/.test(base.protocol), () => `A server's address begins with http: or https:, not with ${base.protocol}`);
    this.fetch = fetch;
    this.page = page;
  }

  /** The URL of its WebSocket. */
  get socket() {
    const url = new URL(this.base);
    url.protocol = url.protocol.replace('http', 'ws');
    return url.href;
  }

  /**
   * Fetches its configuration for pages; null if it does not answer.
   * @param {string} [token]
   * @returns {Promise<Config | null>}
   */
  async config(token) {
    try {
      const response = await this.#ask('api/config', { headers: bearer(token) });
      return response.ok ? await response.json() : null;
    } catch {
      return null; // the socket will report that the server is unreachable
    }
  }

  /**
   * Fetches the newest JPEG if this is a camera's own server, at most `age` seconds old; null if there is none for us.
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
   * Finds out why a socket does not open. 'answers': the server answers HTTP, so something in between blocks
   * WebSockets. 'refuses': a response arrives that pages of this origin may not read; it may also be a proxy's own.
   * 'gone': neither.
   * @returns {Promise<'answers' | 'refuses' | 'gone'>}
   */
  async reach() {
    try {
      return (await this.#ask('api/config')).ok ? 'answers' : 'gone';
    } catch {
      if (this.base.origin === this.page?.origin) return 'gone';
    }
    try {
      // We may not read this response; that it arrives is all we learn.
      await this.#ask('api/health', { mode: 'no-cors' });
      return 'refuses';
    } catch {
      return 'gone';
    }
  }

  /**
   * Whether there is any response at all.
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
