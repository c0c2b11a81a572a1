// Plays a camera in a video element and keeps it playing. Feeds events to watching.js, which decides, and performs its
// effects. Used by the page and by the element <symple-camera>.
//
// Events: changed() when the display needs an update; begun({ call, player, peer }) when a call has its player; over()
// when the player is gone; stats(stats) every second.

import { Commands } from './channel.js';
import { Emitter, has, isObject, kind, need } from './events.js';
import { WHOLE, look, width } from './little.js';
import { Player, playable } from './player.js';
import { Prepared } from './prepared.js';
import * as preparing from './preparing.js';
import { PAGE, SOUND_ALONE } from './words.js';
import { START, due, step } from './watching.js';

/** Presences arrive one by one after the welcome; they are handled together after this time, in ms. */
const SETTLE = 150;
/** A network change causes several events, before and after the new address; wait this long for the last one, in ms. */
const MOVING = 250;
/** How long the page must be hidden before less is sent, in ms: a short look at another tab changes nothing. */
const HIDDEN = 3000;

/**
 * @typedef {import('./call.js').Call} Call
 * @typedef {import('./watching.js').Camera} Camera
 *
 * A camera's call.
 * @typedef {{ call: Call, player: Player, peer: Camera }} Current
 *
 * @typedef {object} WatcherEvents
 * @property {[]} changed
 * @property {[current: Current]} begun
 * @property {[]} over
 * @property {[stats: import('./player.js').Stats & { viewers?: number }]} stats
 *
 * @typedef {object} WatcherOptions
 * @property {import('./client.js').Client} client
 * @property {import('./call.js').Calls} calls over that client
 * @property {HTMLVideoElement} video
 * @property {() => RTCIceServer[]} [ice] returns the current ICE servers
 * @property {import('./still.js').Still | null} [still] shown until a call's first frame
 */

/** @extends {Emitter<WatcherEvents>} */
export class Watcher extends Emitter {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #alarm;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #settling = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hiding;
  #wished = 'full'; // the share last requested from the camera
  /** @type {import('./little.js').State} */
  #size = WHOLE;
  #resized;
  #closed = false;
  #preparing = preparing.REST;
  /** @type {Prepared | null} */
  #prepared = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stale;

  /** @param {WatcherOptions} options */
  constructor(options) {
    super(['changed', 'begun', 'over', 'stats']);
    need(isObject(options), () => `Watcher takes { client, calls, video }, not ${kind(options)}`);
    const { client, calls, video, ice = () => [], still = null } = options;
    need(has(client, 'send', 'on') && client.roster, () => `client must be a Client, not ${kind(client)}`);
    need(has(calls, 'invite', 'on'), () => `calls must be Calls.over(client), not ${kind(calls)}`);
    need(has(video, 'play'), () => `video must be a video element, not ${kind(video)}`);
    need(typeof ice === 'function', () => `ice must be a function that returns the ICE servers, not ${kind(ice)}`);
    this.client = client;
    this.calls = calls;
    this.video = video;
    this.ice = ice;
    this.still = still;
    this.state = START; // the state of watching.js
    /** @type {Current | null} */
    this.current = null;
    this.commands = new Commands(client, (to) => this.#channelTo(to)); // to the camera on screen
    /** @type {import('./reasons.js').Words | null} */
    this.broken = null; // why this browser cannot play
    const { roster } = client;
    client.on('state', (line) => {
      this.happens({ type: 'line', state: line });
      if (line === 'online') this.#wish(HIDDEN);
    });
    roster.on('added', (peer) => {
      this.#settle();
      this.#ready();
      if (!document.hidden) this.#still(peer, 1);
    });
    roster.on('updated', () => this.#settle());
    roster.on('removed', (peer, { lost }) => (lost ? this.emit('changed') : this.#settle()));
    calls.on('ended', (call) => this.#ended(call));
    this.#resized = globalThis.ResizeObserver ? new ResizeObserver(() => this.#look()) : null;
    this.#resized?.observe(video);
  }

  /** Whether the picture is shown so small that the small rendition is enough. */
  get little() { return this.#size.little; }

  /**
   * Returns a camera's newest presence.
   * @param {Camera} peer
   * @returns {Camera & Record<string, any>}
   */
  known(peer) { return this.client.roster.get(peer.address) ?? peer; }

  /**
   * Handles an event of watching.js.
   * @param {import('./watching.js').Event} event
   */
  happens(event) {
    if (this.#closed) return;
    const { state, effects } = step(this.state, event, { now: performance.now(), random: Math.random() });
    this.state = state;
    for (const { call, hangup, check, restart } of effects) {
      if (call) this.#ring(call);
      if (hangup) this.#leave(hangup);
      if (check) this.client.check();
      if (restart) this.current?.player.restart();
    }
    clearTimeout(this.#alarm);
    const at = due(this.state);
    if (at !== null) this.#alarm = setTimeout(() => this.happens({ type: 'time' }), Math.max(0, at - performance.now()) + 1);
    this.#ready();
    this.still?.show(this.state.phase === 'calling');
    this.emit('changed');
  }

  /** Plays the last camera again, on a person's request. */
  again() {
    this.broken = null;
    this.happens({ type: 'again' });
  }

  /**
   * Accepts a call from a camera.
   * @param {Call} call
   * @param {Camera} peer
   */
  answer(call, peer) {
    this.happens({ type: 'called', peer });
    this.#begin(call, peer);
    call.accept();
  }

  /** Checks when the page wakes or the network changes, hangs up when it is left. Returns a function to stop that. */
  attend() {
    const ends = new AbortController();
    /** @type {(target: EventTarget, name: string, run: (event: any) => void) => void} */
    const on = (target, name, run) => target.addEventListener(name, run, { signal: ends.signal });
    const woke = () => this.happens({ type: 'woke' });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let moving;
    const moved = () => {
      clearTimeout(moving);
      moving = setTimeout(() => {
        this.#prepare({ type: 'network' });
        this.happens({ type: 'moved' });
      }, MOVING);
    };
    on(window, 'online', () => {
      this.client.check();
      moved();
    });
    on(window, 'offline', () => {
      clearTimeout(moving);
      this.client.check();
    });
    const network = /** @type {any} */ (navigator).connection; // not in every browser
    if (network?.addEventListener) on(network, 'change', () => navigator.onLine && moved());
    on(document, 'visibilitychange', () => {
      this.#wish(HIDDEN);
      if (document.hidden) this.#ready();
      else woke();
    });
    on(window, 'pagehide', () => {
      this.#leave('ended');
      this.client.close();
      // A page restored from the back/forward cache has no call and needs a new one.
      this.happens({ type: 'ended', code: 'lost' });
    });
    on(window, 'pageshow', ({ persisted }) => persisted && this.client.connect());
    return () => ends.abort();
  }

  /** Ends the call and all timers; the client stays open. */
  close() {
    this.#closed = true;
    this.#leave('ended');
    this.#ready();
    clearTimeout(this.#alarm);
    clearTimeout(this.#settling ?? undefined);
    clearTimeout(this.#hiding);
    this.#resized?.disconnect();
  }

  /**
   * The camera's own picture as a JPEG where its call has a channel, else what is shown as a PNG.
   * @returns {Promise<Blob>}
   */
  async snapshot() {
    const { call, player } = this.current ?? {};
    if (!call || !player) throw new Error('No picture yet');
    const channel = this.#channelTo(call.remote);
    const own = channel?.open ? await channel.snapshot().catch(() => null) : null;
    return own ?? player.snapshot();
  }

  /** @param {Camera} peer */
  #ring(peer) {
    if (!playable()) return this.#fails(PAGE.unplayable, 'no-codec');
    const prepared = this.#take();
    const offer = this.known(peer).answers === 'all' ? prepared?.offer : null;
    this.#begin(this.calls.invite(peer.address, { video: true, audio: true, direction: 'recvonly' }, { offer }), peer, prepared);
  }

  /**
   * @param {Call} call
   * @param {Camera} peer
   * @param {Prepared | null} [prepared]
   */
  #begin(call, peer, prepared = null) {
    let player;
    try {
      const commands = this.known(peer).channel === true;
      player = new Player({ call, video: this.video, iceServers: this.ice(), prepared, commands });
    } catch (error) {
      call.hangup('bad-description');
      return this.#fails(PAGE.media(/** @type {Error} */ (error).message), 'bad-description');
    }
    this.broken = null;
    this.current = { call, player, peer };
    this.#still(peer);
    player.on('picture', () => {
      this.happens({ type: 'picture' });
      // In a call that the camera made, the offer was its own.
      if (!call.outgoing && this.known(peer).channel === true) player.openChannel();
    });
    player.on('state', (state) => {
      if (state === 'stalled') this.happens({ type: 'stalled' });
      // Sound alone is all that there is to wait for.
      else if (state === 'playing') this.happens({ type: this.state.phase === 'calling' ? 'picture' : 'flowing' });
    });
    player.on('stats', (stats) => {
      player.soundAlone = this.known(peer).source?.code === SOUND_ALONE;
      this.#look();
      this.emit('stats', { ...stats, viewers: this.known(peer).viewers });
    });
    player.on('sound', () => this.emit('changed'));
    [this.#wished, this.#size] = ['full', WHOLE];
    call.on('state', (state) => {
      if (state === 'active') this.#wish(0);
      this.emit('changed');
    });
    this.emit('begun', this.current);
  }

  /**
   * Requests less from the camera while the page is hidden, the picture is little or the person saves data; otherwise
   * everything.
   * @param {number} after delay in ms once the page is hidden
   */
  #wish(after) {
    clearTimeout(this.#hiding);
    const unseen = document.hidden && !document.pictureInPictureElement;
    if (unseen && after) return void (this.#hiding = setTimeout(() => this.#wish(0), after));
    const saves = /** @type {any} */ (navigator).connection?.saveData === true;
    const share = unseen ? 'key-frames' : saves || this.little ? 'small' : 'full';
    const { call, player } = this.current ?? {};
    if (share === this.#wished || call?.state !== 'active' || !player || !this.commands.reaches(call.remote)) return;
    this.#wished = share;
    player.sparse = unseen;
    this.commands.command(call.remote, { node: 'camera:share', action: 'wish', data: { share } }).catch(() => {});
  }

  /** Checks how large the picture is shown. In picture-in-picture, the person chose the size. */
  #look() {
    const { video, little } = this;
    if (!this.current || this.current.player.state !== 'playing' || video.srcObject !== this.current.player.remote) return;
    const shown = document.pictureInPictureElement === video ? Infinity : width(video, devicePixelRatio);
    this.#size = look(this.#size, { came: video.videoWidth, shown, now: performance.now() });
    if (little !== this.little) this.#wish(HIDDEN);
  }

  /**
   * @param {Camera} peer
   * @param {number} [age] of an acceptable still, in seconds
   */
  #still(peer, age) { if (this.known(peer).still === true) this.still?.ask(age); }

  /**
   * This browser cannot play: ends the call without automatic retries.
   * @param {import('./reasons.js').Words} said
   * @param {string} code
   */
  #fails(said, code) {
    this.broken = said;
    queueMicrotask(() => this.happens({ type: 'ended', code }));
  }

  /**
   * Ends the camera's call without handling its `ended`.
   * @param {string} code
   */
  #leave(code) {
    const gone = this.current;
    this.current = null;
    this.emit('over');
    gone?.call.hangup(code);
    if (gone) this.#after(gone.peer);
  }

  /**
   * Fetches a still for the next call while the camera is awake.
   * @param {Camera} peer
   */
  #after(peer) { if (!this.#closed && !document.hidden && this.state.phase === 'none') this.#still(peer, 1); }

  /** @param {Call} call */
  #ended(call) {
    if (this.current?.call !== call) return;
    const { peer } = this.current;
    this.current = null;
    this.emit('over');
    this.happens({ type: 'ended', code: call.reason ?? 'ended', message: call.message, remote: call.endedByRemote });
    this.#after(peer);
    if (this.state.phase === 'none' && this.state.hold?.never) this.video.srcObject = null;
  }

  /**
   * The channel of the call with this camera, if the camera reads commands from it.
   * @param {string} to
   */
  #channelTo(to) {
    const { call, player, peer } = this.current ?? {};
    return call?.isWith(to) && peer && this.known(peer).channel === true ? player?.channel ?? null : null;
  }

  // ── The prepared connection for the next call ──

  /** Wants a connection while a call may start: a camera is online, none is being called, and the page is visible. */
  #ready() {
    const { phase, paused } = this.state;
    const wanted = !this.#closed && phase === 'none' && !paused && !document.hidden && playable() && this.client.online
      && this.client.roster.cameras().length > 0;
    this.#prepare({ type: 'need', wanted, ice: this.#servers() });
  }

  #servers() { return JSON.stringify(this.ice()); }

  /** @param {import('./preparing.js').Event} event */
  #prepare(event) {
    const { state, effects } = preparing.step(this.#preparing, event, { now: performance.now() });
    this.#preparing = state;
    clearTimeout(this.#stale);
    const at = preparing.due(state);
    if (at !== null) this.#stale = setTimeout(() => this.#prepare({ type: 'time' }), Math.max(0, at - performance.now()) + 1);
    for (const { drop, make } of effects) {
      if (drop) this.#prepared?.close();
      this.#prepared = null;
      if (make) this.#make();
    }
  }

  #make() {
    try {
      const made = this.#prepared = new Prepared(this.ice());
      /** @type {(type: 'made' | 'failed') => void} */
      const becomes = (type) => { if (this.#prepared === made) this.#prepare({ type }); };
      made.done.then(() => becomes('made'), () => becomes('failed'));
    } catch {
      this.#prepare({ type: 'failed' }); // a call will report the reason
    }
  }

  /** Takes the prepared connection for a call, if it fits. */
  #take() {
    const fits = preparing.fits(this.#preparing, { ice: this.#servers(), now: performance.now() });
    const prepared = fits ? this.#prepared : null;
    if (prepared) {
      this.#prepared = null;
      this.#prepare({ type: 'taken' });
    }
    return prepared;
  }

  #settle() {
    if (this.#closed) return;
    this.#settling ??= setTimeout(() => {
      this.#settling = null;
      this.happens({ type: 'cameras', cameras: this.client.roster.cameras() });
    }, SETTLE);
  }
}
