// Decides when to prepare a peer connection for the next call: a pure function of state and event.
//
//            a call may start       the offer exists
//   none ─────────────────────▶ making ─────────────▶ ready ──▶ none: a call took it, or no call may start now
//    ▲                             │                    │
//    │                             ▼ failed             │ ICE servers or network changed, or FRESH is over:
//    └──────── PAUSE ────────── failed                  ▼ closed and replaced
//
// `step(state, event, { now })` returns the next state and the effects: { drop: true } closes the prepared connection,
// { make: true } creates another. `due(state)` is when to send { type: 'time' }. A receive-only connection is the same
// for all cameras, so it does not matter which one is called.

import { kind, need } from './events.js';

/**
 * `ice` identifies the ICE servers of the connection, `since` is the time of the last change of `phase`, in ms.
 * @typedef {Readonly<{ phase: 'none' | 'making' | 'ready' | 'failed', wanted: boolean, ice: string, since: number }>} State
 *
 * @typedef {{ type: 'need', wanted: boolean, ice: string }
 *   | { type: 'made' } | { type: 'failed' } | { type: 'network' } | { type: 'taken' } | { type: 'time' }} Event
 *
 * @typedef {{ drop?: true, make?: true }} Effect
 */

/** @type {State} */
export const REST = Object.freeze({ phase: 'none', wanted: false, ice: '', since: 0 });

/** Browsers keep STUN mappings alive for two minutes on mobile networks; after that the candidates may be dead. */
export const FRESH = 120_000;
/** The wait after a failure. */
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
  need(handler, () => `preparing has no event ${event?.type}; its events are ${Object.keys(EVENTS).join(', ')}`);
  need(Number.isFinite(now), () => `step needs { now } in milliseconds, not ${kind(now)}`);
  return handler(state, event, now);
}

/**
 * Returns when to send { type: 'time' }, in ms; null for never.
 * @param {State} state
 */
export function due({ phase, wanted, since }) {
  if (phase === 'none') return null;
  if (phase === 'failed') return wanted ? since + PAUSE : null;
  return since + FRESH;
}

/**
 * Whether the prepared connection fits these ICE servers and is still fresh.
 * @param {State} state
 * @param {{ ice: string, now: number }} call
 */
export const fits = ({ phase, ice, since }, call) => (phase === 'making' || phase === 'ready') && ice === call.ice && call.now < since + FRESH;

/** @type {(state: State) => boolean} */
const exists = ({ phase }) => phase === 'making' || phase === 'ready';

/** @type {(state: State, effects?: readonly Effect[]) => { state: State, effects: readonly Effect[] }} */
const next = (state, effects = NOTHING) => ({ state, effects });

/**
 * Discards the prepared connection and replaces it if one is wanted.
 * @param {State} state
 * @param {number} now
 */
function renew(state, now) {
  if (!state.wanted) return next({ ...state, phase: 'none', since: now }, exists(state) ? DROP : NOTHING);
  return next({ ...state, phase: 'making', since: now }, exists(state) ? RENEW : MAKE);
}

/** @type {{ [Type in Event['type']]: (state: State, event: Extract<Event, { type: Type }>, now: number) => { state: State, effects: readonly Effect[] } }} */
const EVENTS = {
  /** Whether a call may start, and with which ICE servers. */
  need: (state, { wanted, ice }, now) => {
    const as = { ...state, wanted, ice };
    if (!wanted) return exists(state) ? renew(as, now) : next(as);
    if (ice !== state.ice || state.phase === 'none') return renew(as, now);
    return next(as);
  },
  made: (state, event, now) => next(state.phase === 'making' ? { ...state, phase: 'ready', since: now } : state),
  failed: (state, event, now) => (exists(state) ? next({ ...state, phase: 'failed', since: now }, DROP) : next(state)),
  /** Our addresses may have changed. */
  network: (state, event, now) => (state.phase === 'none' ? next(state) : renew(state, now)),
  /** A call uses the connection now. */
  taken: (state, event, now) => next(exists(state) ? { ...state, phase: 'none', wanted: false, since: now } : state),
  time: (state, event, now) => {
    const at = due(state);
    return at === null || now < at ? next(state) : renew(state, now);
  },
};
