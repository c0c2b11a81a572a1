// Decides which camera the page plays and when to retry: a pure function of state and event.
//
//              the wished camera is online                 the first frame
//   none ────────────────────────────────────────▶ calling ───────────────▶ playing ⇄ stalled
//    ▲                                                │                        │
//    └───────────────── the call ended ◀──────────────┴────────────────────────┘
//                       (`hold` says when to call again)
//
// `step(state, event, { now, random })` returns the next state and the effects: { call: peer }; { hangup: code } for
// the previous call, which must not send `ended` any more; { check: true } checks the connection to the server;
// { restart: true } restarts ICE. `due(state)` is when to send `{ type: 'time' }`. Nothing here reads a clock or
// touches the page.

import { kind, need } from './events.js';
import { AGAIN, again, wait } from './reasons.js';

/**
 * What a camera reports about its source.
 * @typedef {{ state?: string, code?: string, message?: unknown }} Source
 *
 * A camera and the state of its source.
 * @typedef {{ address: string, user: string, name?: string, source?: Source }} Camera
 *
 * Why the camera is not called now.
 * @typedef {{ until?: number, gone?: string, never?: boolean }} Hold
 *
 * How the last call ended.
 * @typedef {{ code: string, message: string, remote: boolean, peer: Camera }} End
 *
 * @typedef {object} Fields
 * @property {string} line the client's state: idle, connecting, online, waiting, denied
 * @property {readonly Camera[]} cameras those that are online
 * @property {boolean} auto a single camera plays by itself, until a person chooses
 * @property {Camera | null} wish the camera to play
 * @property {boolean} paused a call with a person has the stage
 * @property {boolean} suspect the camera got a new session during the call, and may not know the call
 * @property {boolean} moved our network changed during the call; ICE restarts with the next connection to the server
 * @property {number} tries calls since the last picture
 * @property {Hold | null} hold why the camera is not called now
 * @property {End | null} end how the last call ended
 *
 * `phase` is the phase of the call, `peer` its camera.
 * @typedef {Readonly<Fields & ({ phase: 'none', peer: null } | { phase: 'calling' | 'playing' | 'stalled', peer: Camera })>} State
 *
 * @typedef {{ type: 'line', state: string }
 *   | { type: 'cameras', cameras: readonly Camera[] }
 *   | { type: 'choose', peer: Camera }
 *   | { type: 'called', peer: Camera }
 *   | { type: 'ended', code: string, message?: string, remote?: boolean }
 *   | { type: 'stop' } | { type: 'again' } | { type: 'pause' } | { type: 'resume' }
 *   | { type: 'picture' } | { type: 'stalled' } | { type: 'flowing' } | { type: 'time' } | { type: 'woke' } | { type: 'moved' }} Event
 *
 * @typedef {{ call?: Camera, hangup?: string, check?: boolean, restart?: boolean }} Effect
 * @typedef {{ now: number, random?: number }} Moment
 * @typedef {[state: State, effects?: readonly Effect[]]} Step
 */

/**
 * The initial state of a page: not connected, and a single camera plays by itself.
 * @type {State}
 */
export const START = Object.freeze({
  line: 'idle',
  cameras: Object.freeze([]),
  auto: true,
  wish: null,
  paused: false,
  phase: 'none',
  peer: null,
  suspect: false,
  moved: false,
  tries: 0,
  hold: null, // { until: ms, gone?: address }, or { never: true }
  end: null,
});

/** @type {readonly Effect[]} */
const nothing = Object.freeze([]);

/** A camera that announced its end but is still online after this time, in ms, has stayed. */
const STAYED = 4000;

/**
 * Returns the next state and the effects, in order.
 * @param {State} state
 * @param {Event} event
 * @param {Moment} moment
 * @returns {{ state: State, effects: readonly Effect[] }}
 */
export function step(state, event, { now, random = 0.5 }) {
  const handler = /** @type {((state: State, event: any, moment: Required<Moment>) => Step) | undefined} */ (EVENTS[event?.type]);
  need(handler, () => `watching has no event ${event?.type}; its events are ${Object.keys(EVENTS).join(', ')}`);
  need(Number.isFinite(now), () => `step needs { now } in milliseconds, not ${kind(now)}`);
  const [changed, effects = nothing] = handler(state, event, { now, random });
  const [next, more] = consider(changed, now);
  return { state: next, effects: [...effects, ...more] };
}

/**
 * Returns when to send { type: 'time' }, in ms; null for never.
 * @param {State} state
 */
export function due({ hold, phase, wish, line, paused }) {
  return phase === 'none' && wish && line === 'online' && !paused && hold?.until !== undefined ? hold.until : null;
}

/** @type {{ [Type in Event['type']]: (state: State, event: Extract<Event, { type: Type }>, moment: Required<Moment>) => Step }} */
const EVENTS = {
  /** The connection to the server. */
  line: (state, { state: line }) => {
    const next = { ...state, line, cameras: line === 'online' ? state.cameras : START.cameras };
    if (line !== 'online' || !state.moved) return [next];
    // Restart even if no stall was noticed yet.
    return [{ ...next, moved: false }, [{ restart: true }]];
  },

  /** The cameras that are online now. */
  cameras: (state, { cameras }, moment) => {
    /** @param {Camera} camera */
    const mine = ({ user }) => user === state.peer?.user;
    const before = new Set(state.cameras.filter(mine).map(({ address }) => address));
    const fresh = state.phase !== 'none' && cameras.some((it) => mine(it) && it.address !== state.peer.address && !before.has(it.address));
    const next = { ...state, cameras, hold: held(state, cameras), suspect: state.suspect || fresh };
    return fresh && state.phase === 'stalled' ? lose(next, moment) : [next];
  },

  /** A person chose a camera. */
  choose: (state, { peer }) => {
    if (state.phase !== 'none' && state.peer.address === peer.address) return [{ ...state, auto: false }];
    return leave({ ...state, auto: false, wish: peer, tries: 0, hold: null, end: null });
  },

  /** A person wants no camera. */
  stop: (state) => {
    const end = state.phase === 'none' ? null : { code: 'ended', message: '', remote: false, peer: state.peer };
    return leave({ ...state, auto: false, wish: null, tries: 0, hold: null, end });
  },

  /** A person wants the last one again. */
  again: (state) => {
    const wish = state.wish ?? state.end?.peer ?? null;
    return [{ ...state, wish, tries: 0, hold: null, end: null }, [{ check: true }]];
  },

  /** A call with a person takes the stage, or returns it. */
  pause: (state) => leave({ ...state, paused: true }),
  resume: (state) => [{ ...state, paused: false, tries: 0, hold: state.hold?.never ? state.hold : null }],

  /** A camera called us and we answered: it is the wished camera now. */
  called: (state, { peer }) => {
    const [left, effects] = leave({ ...state, wish: peer, hold: null, end: null, paused: false });
    return [{ ...left, phase: 'calling', peer, suspect: false, moved: false }, effects];
  },

  /** The first frame arrived. */
  picture: (state) => [state.phase === 'calling' ? { ...state, phase: 'playing', tries: 0, end: null } : state],

  /** No frame arrived for a while. */
  stalled: (state, event, moment) => {
    if (state.phase !== 'playing' && state.phase !== 'stalled') return [state];
    /** @type {State} */
    const stalled = { ...state, phase: 'stalled' };
    return state.suspect ? lose(stalled, moment) : [stalled];
  },

  /** Frames arrive again. */
  flowing: (state) => [state.phase === 'stalled' ? { ...state, phase: 'playing', suspect: false, moved: false } : state],

  /** Either side ended the call. */
  ended: (state, { code, message = '', remote = false }, { now, random }) => {
    if (state.phase === 'none') return [state];
    const { peer, tries } = state;
    /** @type {State} */
    const over = { ...state, phase: 'none', peer: null, suspect: false, moved: false, end: { code, message, remote, peer } };
    // We ended the call to play something else, or nothing.
    if (!state.wish || state.paused || state.wish.user !== peer.user) return [{ ...over, end: null }];
    const kind = again(code);
    if (kind === AGAIN.never) return [{ ...over, hold: { never: true } }];
    if (kind === AGAIN.back) return [{ ...over, tries: 0, hold: { gone: peer.address, until: now + STAYED } }];
    return [{ ...over, tries: tries + 1, hold: { until: now + wait(code, tries, random) } }];
  },

  /** The time of due() has come. */
  time: (state) => [state],

  /** The page was asleep, or the network changed: stop waiting and check everything. */
  woke: (state) => [{ ...state, hold: state.hold?.never ? state.hold : null }, [{ check: true }]],

  /**
   * The network changed. An ICE restart also moves media whose local address is gone, but it must wait for a new
   * connection to the server: the answer to an offer sent over the old one may never arrive, and until the answer the
   * camera accepts no connectivity check through which it could follow us.
   */
  moved: (state, event, moment) => {
    const [woken, effects = nothing] = EVENTS.woke(state, { type: 'woke' }, moment);
    return [{ ...woken, moved: state.phase === 'playing' || state.phase === 'stalled' }, effects];
  },
};

/**
 * Hangs up the current call, if any.
 * @param {State} state
 * @returns {Step}
 */
function leave(state) {
  return state.phase === 'none' ? [state] : [{ ...state, phase: 'none', peer: null, suspect: false, moved: false }, [{ hangup: 'ended' }]];
}

/**
 * Hangs up a call that the camera no longer knows, and calls again.
 * @param {State} state
 * @param {Required<Moment>} moment
 * @returns {Step}
 */
const lose = (state, moment) => [EVENTS.ended(succeeded(state), { type: 'ended', code: 'lost' }, moment)[0], [{ hangup: 'lost' }]];

/**
 * Wishes for the camera's newest session. The server may list the previous one for another minute, though nobody
 * answers there.
 * @param {State} state
 * @returns {State}
 */
function succeeded(state) {
  const { peer, wish, cameras } = state;
  const newest = cameras.filter(({ user, name, address }) => user === peer?.user && name === peer.name && address !== peer.address).at(-1);
  return wish?.user === peer?.user && newest ? { ...state, wish: newest } : state;
}

/**
 * Returns what still delays a call, given the cameras that are online now.
 * @param {State} state
 * @param {readonly Camera[]} cameras
 */
function held({ hold, wish, cameras: before }, cameras) {
  if (!hold || hold.never || !wish) return hold;
  /** @type {(list: readonly Camera[], address: string) => boolean} */
  const has = (list, address) => list.some((it) => it.address === address);
  if (hold.gone !== undefined && !has(cameras, hold.gone)) return null;
  // A camera with a new session, or whose source plays again, needs no wait.
  /** @param {readonly Camera[]} list */
  const of = (list) => list.filter(({ user }) => user === wish.user);
  const fresh = of(cameras).some((it) => !has(before, it.address));
  const well = of(cameras).some((it) => it.source?.state === 'playing'
    && of(before).some((was) => was.address === it.address && was.source?.state !== 'playing'));
  return fresh || well ? null : hold;
}

/**
 * Calls the wished camera, if possible now.
 * @param {State} state
 * @param {number} now
 * @returns {[state: State, effects: readonly Effect[]]}
 */
function consider(state, now) {
  if (state.line !== 'online' || state.paused || state.phase !== 'none') return [state, nothing];
  const wish = state.wish ?? (state.auto && state.cameras.length === 1 ? state.cameras[0] : null);
  if (!wish) return [state, nothing];
  const { hold } = state;
  if (hold && (hold.never || (hold.until ?? 0) > now)) return [{ ...state, wish }, nothing];
  const mine = state.cameras.filter(({ user }) => user === wish.user);
  const peer = mine.find(({ address }) => address === wish.address) ?? mine.at(-1);
  if (!peer) return [{ ...state, wish }, nothing];
  return [{ ...state, wish: peer, phase: 'calling', peer, suspect: false, hold: null }, [{ call: peer }]];
}
