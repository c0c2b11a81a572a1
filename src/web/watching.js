// Which camera the page plays, and when it tries again: a pure function of state and event.
//
//              a camera is wished for, and is there        the first frame
//   none ────────────────────────────────────────▶ calling ───────────────▶ playing ⇄ stalled
//    ▲                                                │                        │
//    └───────────────── the call ended ◀──────────────┴────────────────────────┘
//                       (`hold` says when it is tried again)
//
// `step(state, event, { now, random })` returns the next state and what is to be done: { call: peer }, { hangup: code } of
// the call that was, whose `ended` is not to come any more, { check: true } whether the server is there, { restart: true }
// of the call's ICE. `due(state)` is when `{ type: 'time' }` is to come. Nothing here reads a clock or touches the page.

import { kind, need } from './events.js';
import { AGAIN, again, wait } from './reasons.js';

/**
 * A camera: who it is, and what it tells of its source.
 * @typedef {{ address: string, user: string, name?: string, source?: { state?: string, message?: unknown } }} Camera
 *
 * Why it is not called now.
 * @typedef {{ until?: number, gone?: string, never?: boolean }} Hold
 *
 * How the last call ended.
 * @typedef {{ code: string, message: string, remote: boolean, peer: Camera }} End
 *
 * @typedef {object} Fields
 * @property {string} line of the client: idle, connecting, online, waiting, denied
 * @property {readonly Camera[]} cameras who is there
 * @property {boolean} auto until a person chooses, a single camera is wished for by itself
 * @property {Camera | null} wish the camera to play
 * @property {boolean} paused a call with a person has the stage
 * @property {boolean} suspect the camera has a new session since: it may know nothing of our call
 * @property {boolean} moved our network changed since, and ICE begins anew with the next connection to the server
 * @property {number} tries calls since there was a picture
 * @property {Hold | null} hold why it is not called now
 * @property {End | null} end how the last call ended
 *
 * `phase` is of the call, `peer` whom it is with.
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
 * Where a page begins: not connected, and a single camera plays by itself.
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

/** A camera that said it is going, and is still there so long after, has stayed. */
const STAYED = 4000;

/**
 * The next state, and what is to be done, in order.
 * @param {State} state
 * @param {Event} event
 * @param {Moment} moment
 * @returns {{ state: State, effects: readonly Effect[] }}
 */
export function step(state, event, { now, random = 0.5 }) {
  const handler = /** @type {((state: State, event: any, moment: Required<Moment>) => Step) | undefined} */ (EVENTS[event?.type]);
  need(handler, () => `watching has no event ${event?.type}; there are ${Object.keys(EVENTS).join(', ')}`);
  need(Number.isFinite(now), () => `step needs { now } in milliseconds, not ${kind(now)}`);
  const [changed, effects = nothing] = handler(state, event, { now, random });
  const [next, more] = consider(changed, now);
  return { state: next, effects: [...effects, ...more] };
}

/**
 * When time itself changes something, in ms; null: it does not.
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
    // That the picture stands still may not have shown yet.
    return [{ ...next, moved: false }, [{ restart: true }]];
  },

  /** Who is there now. */
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

  /** A call with a person takes the stage, and gives it back. */
  pause: (state) => leave({ ...state, paused: true }),
  resume: (state) => [{ ...state, paused: false, tries: 0, hold: state.hold?.never ? state.hold : null }],

  /** A camera called us, and was answered: it is what is wished for now. */
  called: (state, { peer }) => {
    const [left, effects] = leave({ ...state, wish: peer, hold: null, end: null, paused: false });
    return [{ ...left, phase: 'calling', peer, suspect: false, moved: false }, effects];
  },

  /** The first frame came. */
  picture: (state) => [state.phase === 'calling' ? { ...state, phase: 'playing', tries: 0, end: null } : state],

  /** No frame came for a while. */
  stalled: (state, event, moment) => {
    if (state.phase !== 'playing' && state.phase !== 'stalled') return [state];
    /** @type {State} */
    const stalled = { ...state, phase: 'stalled' };
    return state.suspect ? lose(stalled, moment) : [stalled];
  },

  /** Frames come again. */
  flowing: (state) => [state.phase === 'stalled' ? { ...state, phase: 'playing', suspect: false, moved: false } : state],

  /** The call is over, by whomever. */
  ended: (state, { code, message = '', remote = false }, { now, random }) => {
    if (state.phase === 'none') return [state];
    const { peer, tries } = state;
    /** @type {State} */
    const over = { ...state, phase: 'none', peer: null, suspect: false, moved: false, end: { code, message, remote, peer } };
    // A call that we ended ourselves, to play something else or nothing.
    if (!state.wish || state.paused || state.wish.user !== peer.user) return [{ ...over, end: null }];
    const kind = again(code);
    if (kind === AGAIN.never) return [{ ...over, hold: { never: true } }];
    if (kind === AGAIN.back) return [{ ...over, tries: 0, hold: { gone: peer.address, until: now + STAYED } }];
    return [{ ...over, tries: tries + 1, hold: { until: now + wait(code, tries, random) } }];
  },

  /** What is waited for has come. */
  time: (state) => [state],

  /** The page was asleep, or the network changed: whatever is waited for may have come. */
  woke: (state) => [{ ...state, hold: state.hold?.never ? state.hold : null }, [{ check: true }]],

  /**
   * The network is another one. ICE begins anew, by which media also moves that is bound to an address which is gone; but
   * only by a new connection to the server: the answer to an offer that left by the old one may never come, and until
   * then the camera takes no check of ours by which it would follow us.
   */
  moved: (state, event, moment) => {
    const [woken, effects = nothing] = EVENTS.woke(state, { type: 'woke' }, moment);
    return [{ ...woken, moved: state.phase === 'playing' || state.phase === 'stalled' }, effects];
  },
};

/**
 * Gives up the call there is.
 * @param {State} state
 * @returns {Step}
 */
function leave(state) {
  return state.phase === 'none' ? [state] : [{ ...state, phase: 'none', peer: null, suspect: false, moved: false }, [{ hangup: 'ended' }]];
}

/**
 * Gives up a call that the camera knows nothing of any more, and plays again.
 * @param {State} state
 * @param {Required<Moment>} moment
 * @returns {Step}
 */
const lose = (state, moment) => [EVENTS.ended(succeeded(state), { type: 'ended', code: 'lost' }, moment)[0], [{ hangup: 'lost' }]];

/**
 * Wishes for the camera's newest session. The server may list the one before for a minute, where nobody answers.
 * @param {State} state
 * @returns {State}
 */
function succeeded(state) {
  const { peer, wish, cameras } = state;
  const newest = cameras.filter(({ user, name, address }) => user === peer?.user && name === peer.name && address !== peer.address).at(-1);
  return wish?.user === peer?.user && newest ? { ...state, wish: newest } : state;
}

/**
 * What still holds a call back, as the cameras are now.
 * @param {State} state
 * @param {readonly Camera[]} cameras
 */
function held({ hold, wish, cameras: before }, cameras) {
  if (!hold || hold.never || !wish) return hold;
  /** @type {(list: readonly Camera[], address: string) => boolean} */
  const has = (list, address) => list.some((it) => it.address === address);
  if (hold.gone !== undefined && !has(cameras, hold.gone)) return null;
  // A camera that has a new session, or tells that its source plays again, need not be waited for.
  /** @param {readonly Camera[]} list */
  const of = (list) => list.filter(({ user }) => user === wish.user);
  const fresh = of(cameras).some((it) => !has(before, it.address));
  const well = of(cameras).some((it) => it.source?.state === 'playing'
    && of(before).some((was) => was.address === it.address && was.source?.state !== 'playing'));
  return fresh || well ? null : hold;
}

/**
 * Calls what is wished for, if it can be called now.
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
