// What a server of ours answers by HTTP beside its socket, as seen from a page: its own, or one of another origin.

/** A server, by the address of its page. */
export class Site {
  /** `url`: of the page, `https://host:4500/`; relative ones are resolved as a page's links are. */
  constructor(url, { fetch = globalThis.fetch.bind(globalThis), page = globalThis.location } = {}) {
    const base = new URL('./', new URL(url, page?.href));
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`A server's address begins with http or https, not with ${base.protocol}`);
    Object.assign(this, { base, fetch, page });
  }

  /** Where its WebSocket is. */
  get socket() {
    const url = new URL(this.base);
    url.protocol = url.protocol.replace('http', 'ws');
    return url.href;
  }

  /** What it tells its pages: { iceServers, room, auth }; null when it does not answer. */
  async config(token) {
    try {
      const response = await this.fetch(new URL('api/config', this.base).href, {
        cache: 'no-store',
        headers: token ? { Authorization: `Bearer ${token}` } : {},
      });
      return response.ok ? await response.json() : null;
    } catch {
      return null; // the socket will say that the server is gone
    }
  }

  /**
   * Why a socket does not open: 'answers' when the server does by HTTP, so that something in between passes no
   * WebSockets; 'refuses' when it does, but not to pages of this origin; 'gone'.
   */
  async reach() {
    if (await this.config()) return 'answers';
    if (this.base.origin === this.page?.origin) return 'gone';
    try {
      // Without leave to read it, an answer tells nothing but that there is one.
      await this.fetch(new URL('api/health', this.base).href, { cache: 'no-store', mode: 'no-cors' });
      return 'refuses';
    } catch {
      return 'gone';
    }
  }
}
