// <symple-camera>: a camera in any page. It plays and reconnects by itself, and emits events for its state.
//
//   <symple-camera src="(the address of the camera's page)" token="…" muted controls></symple-camera>
//
// | attribute, property | |
// |---|---|
// | src | the address of the page of a camera or of a server |
// | token | the token for viewers, if one is required |
// | camera | the user name of the camera to play, if several are online; a single one plays by itself |
// | muted | no sound; also set if the browser allows none before the first click or key |
// | controls | buttons: stop and play, sound, full screen |
//
// Events, none of which bubbles; `detail` is { code, message }:
//   playing: the first frame, and frames again after `waiting`
//   waiting: no frames arrive, and the element recovers by itself; the code is one of reasons.js, `server` if
//     there is no connection, `stalled`, or `video-off`: sound plays, and its video is off for now
//   ended: either side ended the call; the code is `ended` or `replaced`
//   error: it does not play until somebody acts; the code is one of reasons.js, `unauthorized` (the
//     token is missing or wrong), `origin` (the server does not admit this page, or a proxy responds for it),
//     `camera` (several are online), or `src` (no usable address)

import { Calls } from './call.js';
import { Client } from './client.js';
import { Site } from './site.js';
import { AGE, Still } from './still.js';
import { Watcher } from './watcher.js';
import { randomId } from './events.js';
import { PAGE, SOUND_ALONE, notice } from './words.js';

/**
 * @typedef {{ site: Site, client: Client, watcher: Watcher, end: () => void }} Life
 *
 * The notice over the picture, and its event.
 * @typedef {{ title: string, more?: string, kind: string, retry?: string, name?: string, code?: string | null }} Now
 */

/** An adopted style sheet works on pages with a strict Content-Security-Policy; an inline one does not. */
const STYLE = `
:host { display: inline-block; position: relative; width: 640px; max-width: 100%; aspect-ratio: 16 / 9; overflow: hidden;
  background: #0d0f0e; color: #eceee9; font: 16px/1.4 system-ui, sans-serif; }
:host([hidden]), [hidden] { display: none !important; }
video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
video.dim { opacity: .25; }
video.gone { opacity: 0; }
#still { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
#still:not([hidden]) ~ #notice { background: rgb(13 15 14 / .7); }
#notice { position: absolute; inset: 0; display: grid; place-content: center; justify-items: center; gap: 8px; padding: 16px; text-align: center; }
p { margin: 0; overflow-wrap: anywhere; }
#title { font-weight: 600; }
#bar { position: absolute; left: 0; right: 0; bottom: 0; display: flex; flex-wrap: wrap; gap: 8px; padding: 8px; }
button { min-height: 44px; padding: 0 14px; border: 1px solid #74807a; border-radius: 8px; background: #0d0f0e; color: inherit; font: inherit; cursor: pointer; }
button:hover { border-color: #eceee9; }
button:focus-visible { outline: 2px solid #f2b544; outline-offset: 2px; }
`;

/** The codes of calls that ended without an error. */
const DONE = ['ended', 'replaced'];

/** Server-side rendering imports this module, too, and has no HTMLElement. */
const Element = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (/** @type {unknown} */ (class {}));

export class SympleCamera extends Element {
  static observedAttributes = ['src', 'token', 'camera', 'muted', 'controls'];

  #internals = this.attachInternals?.();
  #parts; // of the shadow tree
  /** @type {Life | null} from #load to #unload */
  #life = null;
  /** @type {RTCIceServer[]} */
  #ice = [];
  /** @type {import('./words.js').Server} what is known about a server that does not admit us */
  #server = {};
  /** @type {string | null} the server's message when it requires a token */
  #denied = null;
  /** @type {string | null} what is wrong with `src` */
  #wrong = null;
  #stopped = false; // by a person
  #loading = false;
  #told = ''; // the last event, so that each is dispatched once

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    /** @type {(id: string, run: () => void) => HTMLButtonElement} */
    const button = (id, run) => make('button', { id, type: 'button', onclick: run });
    const parts = this.#parts = {
      video: make('video', { id: 'video', playsInline: true, muted: true }),
      still: make('canvas', { id: 'still', hidden: true, ariaHidden: 'true' }),
      notice: make('div', { id: 'notice' }),
      said: make('div', { role: 'status' }),
      title: make('p', { id: 'title', dir: 'auto' }),
      advice: make('p', { id: 'advice', dir: 'auto' }),
      retry: button('retry', () => this.play()),
      bar: make('div', { id: 'bar' }),
      stop: button('stop', () => (this.#stopped ? this.play() : this.stop())),
      sound: button('sound', () => { this.muted = !this.muted; }),
      full: button('full', () => this.#full()),
    };
    parts.full.textContent = 'Full screen';
    parts.said.append(parts.title, parts.advice);
    parts.notice.append(parts.said, parts.retry);
    parts.bar.append(parts.stop, parts.sound, parts.full);
    root.append(parts.video, parts.still, parts.notice, parts.bar);
    if (this.#internals) this.#internals.role = 'group';
    this.#paint();
  }

  // ── Attributes ──

  get src() { return this.getAttribute('src') ?? ''; }
  set src(src) { this.setAttribute('src', src); }
  get token() { return this.getAttribute('token') ?? ''; }
  set token(token) { this.setAttribute('token', token); }
  get camera() { return this.getAttribute('camera') ?? ''; }
  set camera(user) { this.setAttribute('camera', user); }
  get muted() { return this.hasAttribute('muted'); }
  set muted(muted) { this.toggleAttribute('muted', Boolean(muted)); }
  get controls() { return this.hasAttribute('controls'); }
  set controls(controls) { this.toggleAttribute('controls', Boolean(controls)); }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === 'muted') this.#sound();
    else if (name === 'controls') this.#paint();
    else this.#reload();
  }

  connectedCallback() { this.#reload(); }
  disconnectedCallback() { this.#unload(); }
  /** Moved within its page by moveBefore(): the call goes on. */
  connectedMoveCallback() {}

  // ── For the page ──

  /** The state of the call: none, calling, playing or stalled. */
  get state() { return this.#life?.watcher.state.phase ?? 'none'; }

  /**
   * The `<video>` that shows the camera.
   * @returns {HTMLVideoElement}
   */
  get video() { return this.#parts.video; }

  /** Plays again after stop(), or retries at once instead of later or never. */
  play() {
    const life = this.#stopped || this.#denied !== null ? null : this.#life;
    this.#stopped = false;
    if (!life) return this.#reload();
    this.#told = '';
    life.watcher.again();
  }

  /** Ends the call and the connection; play() starts them again. */
  stop() {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#unload();
    this.#tell('ended', 'ended', 'Stopped');
  }

  /** Resolves to the picture as a PNG, in the size it was received; rejects while there is none. */
  async snapshot() {
    const current = this.#life?.watcher.current;
    if (!current) throw new Error('No picture yet');
    return current.player.snapshot();
  }

  // ── Its life ──

  /** Reloads once, even if many attributes are set in one go. */
  #reload() {
    if (this.#loading) return;
    this.#loading = true;
    queueMicrotask(() => {
      this.#loading = false;
      this.#unload();
      if (this.isConnected && !this.#stopped) this.#load();
    });
  }

  #unload() {
    const life = this.#life;
    this.#life = this.#denied = this.#wrong = null;
    this.#server = {};
    this.#told = '';
    life?.end();
    life?.watcher.close();
    life?.watcher.still?.forget();
    life?.client.close();
    this.video.srcObject = null;
    this.#paint();
  }

  async #load() {
    let site;
    try {
      if (!this.src) throw new TypeError('The attribute src is missing: set it to the address of the camera\'s page.');
      site = new Site(this.src, { page: { href: document.baseURI, origin: location.origin } });
    } catch (error) {
      this.#wrong = /** @type {Error} */ (error).message;
      return this.#paint();
    }
    const user = `viewer-${randomId().slice(0, 10)}`;
    const client = new Client({
      url: site.socket, user, name: `Viewer ${user.slice(-4)}`, token: this.token, data: { peerType: 'person' },
      knock: (signal) => site.answers(signal),
    });
    const calls = Calls.over(client);
    const still = new Still(this.#parts.still, () => site.still(this.token, AGE));
    const watcher = new Watcher({ client, calls, video: this.video, still, ice: () => this.#ice });
    /** @type {Life} */
    const life = this.#life = { site, client, watcher, end: watcher.attend() };
    client.on('state', (state, detail) => this.#line(life, state, detail));
    client.on('welcome', () => this.#configure(life));
    calls.on('incoming', (call) => {
      const peer = client.roster.get(call.remote);
      if (peer?.peerType !== 'camera' || (this.camera && peer.user !== this.camera)) return void call.reject('busy');
      watcher.answer(call, peer);
    });
    watcher.on('changed', () => this.#paint());
    watcher.on('begun', ({ player }) => {
      this.video.muted = this.muted;
      player.on('sound', (muted) => { this.muted = muted; });
    });
    if (this.camera) watcher.happens({ type: 'choose', peer: { address: '', user: this.camera, name: this.camera } });
    this.#paint();
    const config = await this.#configure(life);
    if (this.#life !== life) return;
    if (config?.auth && !this.token) {
      this.#denied = '';
      return this.#paint();
    }
    try {
      client.connect();
    } catch (error) {
      // The browser refuses the socket: one without TLS on a page from https.
      this.#unload();
      this.#wrong = /** @type {Error} */ (error).message;
      this.#paint();
    }
  }

  /**
   * Fetches the server's configuration for pages; also after each welcome, as the server may not have been up before.
   * @param {Life} life
   */
  async #configure(life) {
    const config = await life.site.config(this.token);
    if (this.#life !== life || !config) return null;
    this.#ice = config.iceServers ?? [];
    // A camera's own server puts us into its room; on any other server we join it.
    const { client } = life;
    if (config.room && client.online && !client.joined.has(config.room)) client.join(config.room).catch(() => {});
    else if (config.room) client.rooms.add(config.room);
    return config;
  }

  /**
   * @param {Life} life
   * @param {import('./client.js').ClientState} state
   * @param {import('./client.js').Detail} detail
   */
  async #line(life, state, { reason = '', opened = true }) {
    if (this.#life !== life) return;
    if (state === 'online') this.#server = {};
    this.#denied = state === 'denied' ? (this.token ? reason : '') : null;
    this.#paint();
    if (state !== 'waiting' || opened) return;
    const reach = await life.site.reach();
    if (this.#life !== life || life.client.online) return;
    this.#server = { answers: reach === 'answers', refuses: reach === 'refuses' ? location.origin : '' };
    this.#paint();
  }

  // ── Display and events ──

  #sound() {
    this.video.muted = this.muted;
    if (!this.muted) this.#life?.watcher.current?.player.play(); // mutes again if the browser allows no sound
    this.#paint();
  }

  #full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen().catch(() => {});
    else /** @type {any} */ (this.video).webkitEnterFullscreen?.(); // iPhones support it for videos only
  }

  /** @returns {Now} */
  #now() {
    if (this.#wrong) return { title: 'No camera', more: this.#wrong, kind: 'idle', name: 'error', code: 'src' };
    if (this.#stopped) return { title: 'Stopped', kind: 'idle', retry: 'Play' };
    if (!this.#life) return { title: '', kind: 'idle' };
    if (this.#denied !== null) {
      const [title, more] = PAGE.token(this.#denied);
      return { title, more, kind: 'idle', name: 'error', code: 'unauthorized' };
    }
    const { client, watcher } = this.#life;
    const { state, current, broken } = watcher;
    if (broken) return { title: broken[0], more: broken[1], kind: 'idle', retry: 'Try again', name: 'error', code: state.end?.code ?? 'no-codec' };
    const server = { ...this.#server, limited: client.lastError?.status === 429 ? client.lastError.message : '' };
    const { bitrate, videoBitrate } = current?.player.stats ?? {};
    const why = current ? {
      source: watcher.known(current.peer).source, online: client.online, server, path: current.player.path, bitrate: bitrate ?? 0, video: videoBitrate ?? 0,
    } : {};
    const said = notice(state, { ringing: current?.call.state === 'ringing', why, server });
    if (state.phase === 'none' && client.online && !state.wish && !state.end && state.cameras.length > 1) {
      return { title: 'Several cameras are online', more: 'The attribute "camera" selects one.', kind: 'idle', name: 'error', code: 'camera' };
    }
    return { ...said, ...(said.kind === 'voice' ? { name: 'waiting', code: SOUND_ALONE } : eventOf(state, server)) };
  }

  #paint() {
    const { video, notice: over, title, advice, retry, bar, stop, sound } = this.#parts;
    const now = this.#now();
    const watcher = this.#life?.watcher;
    const playing = now.kind === 'playing';
    put(title, now.title);
    put(advice, now.more ?? '');
    over.hidden = playing;
    retry.hidden = !now.retry;
    put(retry, now.retry ?? '');
    video.className = playing ? '' : watcher?.current ? 'dim' : 'gone';
    bar.hidden = !this.controls;
    put(stop, this.#stopped ? 'Play' : 'Stop');
    put(sound, this.muted ? 'Unmute' : 'Mute');
    const name = watcher?.state.peer?.name ?? (this.camera || 'Camera');
    video.setAttribute('aria-label', name);
    // An aria-label set by the page takes precedence.
    if (this.#internals) this.#internals.ariaLabel = name;
    if (now.name) this.#tell(now.name, now.code ?? null, [now.title, now.more].filter(Boolean).join('. '));
  }

  /**
   * @param {string} name
   * @param {string | null} code
   * @param {string} message
   */
  #tell(name, code, message) {
    const told = `${name} ${code}`;
    if (told === this.#told) return;
    this.#told = told;
    // Dispatched later, since a listener may remove the element.
    queueMicrotask(() => this.dispatchEvent(new CustomEvent(name, { detail: { code, message } })));
  }
}

/**
 * Returns the event for a state of watching.js, if there is one.
 * @param {import('./watching.js').State} state
 * @param {import('./words.js').Server} server
 * @returns {{ name?: string, code?: string }}
 */
function eventOf({ phase, line, end, hold }, { refuses }) {
  if (phase === 'playing') return { name: 'playing' };
  if (phase === 'stalled') return { name: 'waiting', code: 'stalled' };
  if (phase === 'calling') return end ? { name: 'waiting', code: end.code } : {};
  if (line === 'waiting') return refuses ? { name: 'error', code: 'origin' } : { name: 'waiting', code: 'server' };
  if (!end || line !== 'online') return {};
  return { name: !hold?.never ? 'waiting' : DONE.includes(end.code) ? 'ended' : 'error', code: end.code };
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} properties
 */
function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

if (globalThis.customElements && !customElements.get('symple-camera')) customElements.define('symple-camera', SympleCamera);
