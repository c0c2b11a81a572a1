// Which camera the page plays, and when it tries again: a pure function of state and event.
//
//              a camera is wished for, and is there        the first frame
//   none ────────────────────────────────────────▶ calling ───────────────▶ playing ⇄ stalled
//    ▲                                                │                        │
//    └───────────────── the call ended ◀──────────────┴────────────────────────┘
//                       (`hold` says when it is tried again)
//
// `step(state, event, { now, random })` returns the next state and what is to be done: { call: peer }, { hangup: code } of
// the call that was, whose `ended` is not to come any more, { check: true } whether the server is there. `due(state)` is when `{ type: 'time' }` is to come. Nothing here reads a clock or touches the page.

import { AGAIN, again, wait } from './reasons.js';

/** Where a page begins: not connected, and a single camera plays by itself. */
export const START = Object.freeze({
  line: 'idle', // of the client: idle, connecting, online, waiting, denied
  cameras: Object.freeze([]), // who is there: { address, user, name, source? }
  auto: true, // until a person chooses, a single camera is wished for by itself
  wish: null, // the camera to play: { address, user, name }
  paused: false, // a call with a person has the stage
  phase: 'none', // of the call: none, calling, playing, stalled
  peer: null, // whom the call is with
  suspect: false, // the camera has a new session since: it may know nothing of our call
  tries: 0, // calls since there was a picture
  hold: null, // why it is not called now: { until: ms, gone?: address }, or { never: true }
  end: null, // how the last call ended: { code, message, remote, peer }
});

const nothing = Object.freeze([]);

/** A camera that said it is going, and is still there so long after, has stayed. */
const STAYED = 4000;

/** The next state, and what is to be done, in order. */
export function step(state, event, { now, random = 0.5 }) {
  const handler = EVENTS[event.type];
  if (!handler) throw new TypeError(`watching has no event ${event.type}`);
  const [changed, effects = nothing] = handler(state, event, { now, random });
  const [next, more] = consider(changed, now);
  return { state: next, effects: [...effects, ...more] };
}

/** When time itself changes something, in ms; null: it does not. */
export function due({ hold, phase, wish, line, paused }) {
  return phase === 'none' && wish && line === 'online' && !paused && hold?.until !== undefined ? hold.until : null;
}

const EVENTS = {
  /** The connection to the server. */
  line: (state, { state: line }) => [{ ...state, line, cameras: line === 'online' ? state.cameras : nothing }],

  /** Who is there now. */
  cameras: (state, { cameras }, moment) => {
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
    return [{ ...left, phase: 'calling', peer, suspect: false }, effects];
  },

  /** The first frame came. */
  picture: (state) => [state.phase === 'calling' ? { ...state, phase: 'playing', tries: 0, end: null } : state],

  /** No frame came for a while. */
  stalled: (state, event, moment) => {
    if (state.phase !== 'playing' && state.phase !== 'stalled') return [state];
    const stalled = { ...state, phase: 'stalled' };
    return state.suspect ? lose(stalled, moment) : [stalled];
  },

  /** Frames come again. */
  flowing: (state) => [state.phase === 'stalled' ? { ...state, phase: 'playing', suspect: false } : state],

  /** The call is over, by whomever. */
  ended: (state, { code, message = '', remote = false }, { now, random }) => {
    if (state.phase === 'none') return [state];
    const { peer, tries } = state;
    const over = { ...state, phase: 'none', peer: null, suspect: false, end: { code, message, remote, peer } };
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
};

/** Gives up the call there is. */
function leave(state) {
  return state.phase === 'none' ? [state] : [{ ...state, phase: 'none', peer: null, suspect: false }, [{ hangup: 'ended' }]];
}

/** Gives up a call that the camera knows nothing of any more, and plays again. */
const lose = (state, moment) => [EVENTS.ended(state, { code: 'lost' }, moment)[0], [{ hangup: 'lost' }]];

/** What still holds a call back, as the cameras are now. */
function held({ hold, wish, cameras: before }, cameras) {
  if (!hold || hold.never || !wish) return hold;
  const has = (list, address) => list.some((it) => it.address === address);
  if (hold.gone !== undefined && !has(cameras, hold.gone)) return null;
  // A camera that has a new session, or tells that its source plays again, need not be waited for.
  const of = (list) => list.filter(({ user }) => user === wish.user);
  const fresh = of(cameras).some((it) => !has(before, it.address));
  const well = of(cameras).some((it) => it.source?.state === 'playing'
    && of(before).some((was) => was.address === it.address && was.source?.state !== 'playing'));
  return fresh || well ? null : hold;
}

/** Calls what is wished for, if it can be called now. */
function consider(state, now) {
  if (state.line !== 'online' || state.paused || state.phase !== 'none') return [state, nothing];
  const wish = state.wish ?? (state.auto && state.cameras.length === 1 ? state.cameras[0] : null);
  if (!wish) return [state, nothing];
  const { hold } = state;
  if (hold && (hold.never || hold.until > now)) return [{ ...state, wish }, nothing];
  const mine = state.cameras.filter(({ user }) => user === wish.user);
  const peer = mine.find(({ address }) => address === wish.address) ?? mine.at(-1);
  if (!peer) return [{ ...state, wish }, nothing];
  return [{ ...state, wish: peer, phase: 'calling', peer, suspect: false, hold: null }, [{ call: peer }]];
}
