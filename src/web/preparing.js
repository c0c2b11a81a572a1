// When a peer connection is made ready before anybody is called: a pure function of state and event.
//
//            a call may begin       its offer is there
//   none ─────────────────────▶ making ─────────────▶ ready ──▶ none: a call took it, or none may begin any more
//    ▲                             │                    │
//    │                             ▼ failed             │ ICE servers or network changed, FRESH is over:
//    └──────── PAUSE ────────── failed                  ▼ closed, and another is made
//
// `step(state, event, { now })` returns the next state and what is to be done: { drop: true } closes the one that there is,
// { make: true } makes another. `due(state)` is when { type: 'time' } is to come. Which camera is called makes no
// difference: a connection that receives is the same for all.

import { kind, need } from './events.js';

/**
 * `ice` stands for the ICE servers that it was made with, `since` for the last change of `phase`, in ms.
 * @typedef {Readonly<{ phase: 'none' | 'making' | 'ready' | 'failed', wanted: boolean, ice: string, since: number }>} State
 *
 * @typedef {{ type: 'need', wanted: boolean, ice: string }
 *   | { type: 'made' } | { type: 'failed' } | { type: 'network' } | { type: 'taken' } | { type: 'time' }} Event
 *
 * @typedef {{ drop?: true, make?: true }} Effect
 */

/** @type {State} */
export const REST = Object.freeze({ phase: 'none', wanted: false, ice: '', since: 0 });

/** Browsers refresh what a STUN server told them for two minutes on mobile networks; later its candidates may lead nowhere. */
export const FRESH = 120_000;
/** After one that could not be made. */
export const PAUSE = 30_000;

/** @type {readonly Effect[]} */
const NOTHING = Object.freeze([]);
/** @type {readonly Effect[]} */
const MAKE = Object.freeze([{ make: true }]);
/** @type {readonly Effect[]} */
const DROP = Object.freeze([{ drop: true }]);
/** @type {readonly Effect[]} */
const RENEW = Object.freeze([...DROP, ...MAKE]);

/**
 * @param {State} state
 * @param {Event} event
 * @param {{ now: number }} moment
 * @returns {{ state: State, effects: readonly Effect[] }}
 */
export function step(state, event, { now }) {
  const handler = /** @type {((state: State, event: any, now: number) => { state: State, effects: readonly Effect[] }) | undefined} */ (EVENTS[event?.type]);
  need(handler, () => `preparing has no event ${event?.type}; there are ${Object.keys(EVENTS).join(', ')}`);
  need(Number.isFinite(now), () => `step needs { now } in milliseconds, not ${kind(now)}`);
  return handler(state, event, now);
}

/**
 * When time itself changes something, in ms; null: it does not.
 * @param {State} state
 */
export function due({ phase, wanted, since }) {
  if (phase === 'none') return null;
  if (phase === 'failed') return wanted ? since + PAUSE : null;
  return since + FRESH;
}

/**
 * Whether there is one that fits these ICE servers, still fresh.
 * @param {State} state
 * @param {{ ice: string, now: number }} call
 */
export const fits = ({ phase, ice, since }, call) => (phase === 'making' || phase === 'ready') && ice === call.ice && call.now < since + FRESH;

/** @type {(state: State) => boolean} */
const exists = ({ phase }) => phase === 'making' || phase === 'ready';

/** @type {(state: State, effects?: readonly Effect[]) => { state: State, effects: readonly Effect[] }} */
const next = (state, effects = NOTHING) => ({ state, effects });

/**
 * What there is, is of no use any more.
 * @param {State} state
 * @param {number} now
 */
function renew(state, now) {
  if (!state.wanted) return next({ ...state, phase: 'none', since: now }, exists(state) ? DROP : NOTHING);
  return next({ ...state, phase: 'making', since: now }, exists(state) ? RENEW : MAKE);
}

/** @type {{ [Type in Event['type']]: (state: State, event: Extract<Event, { type: Type }>, now: number) => { state: State, effects: readonly Effect[] } }} */
const EVENTS = {
  /** Whether a call may begin, and with which ICE servers. */
  need: (state, { wanted, ice }, now) => {
    const as = { ...state, wanted, ice };
    if (!wanted) return exists(state) ? renew(as, now) : next(as);
    if (ice !== state.ice || state.phase === 'none') return renew(as, now);
    return next(as);
  },
  made: (state, event, now) => next(state.phase === 'making' ? { ...state, phase: 'ready', since: now } : state),
  failed: (state, event, now) => (exists(state) ? next({ ...state, phase: 'failed', since: now }, DROP) : next(state)),
  /** Addresses may be others now. */
  network: (state, event, now) => (state.phase === 'none' ? next(state) : renew(state, now)),
  /** A call has it now. */
  taken: (state, event, now) => next(exists(state) ? { ...state, phase: 'none', wanted: false, since: now } : state),
  time: (state, event, now) => {
    const at = due(state);
    return at === null || now < at ? next(state) : renew(state, now);
  },
};
