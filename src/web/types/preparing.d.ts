/**
 * @param {State} state
 * @param {Event} event
 * @param {{ now: number }} moment
 * @returns {{ state: State, effects: readonly Effect[] }}
 */
export function step(state: State, event: Event, { now }: {
    now: number;
}): {
    state: State;
    effects: readonly Effect[];
};
/**
 * Returns when to send { type: 'time' }, in ms; null for never.
 * @param {State} state
 */
export function due({ phase, wanted, since }: State): number | null;
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
export const REST: State;
/** Browsers keep STUN mappings alive for two minutes on mobile networks; after that the candidates may be dead. */
export const FRESH: 120000;
/** The wait after a failure. */
export const PAUSE: 30000;
export function fits({ phase, ice, since }: State, call: {
    ice: string;
    now: number;
}): boolean;
/**
 * `ice` identifies the ICE servers of the connection, `since` is the time of the last change of `phase`, in ms.
 */
export type State = Readonly<{
    phase: "none" | "making" | "ready" | "failed";
    wanted: boolean;
    ice: string;
    since: number;
}>;
/**
 * `ice` identifies the ICE servers of the connection, `since` is the time of the last change of `phase`, in ms.
 */
export type Event = {
    type: "need";
    wanted: boolean;
    ice: string;
} | {
    type: "made";
} | {
    type: "failed";
} | {
    type: "network";
} | {
    type: "taken";
} | {
    type: "time";
};
/**
 * `ice` identifies the ICE servers of the connection, `since` is the time of the last change of `phase`, in ms.
 */
export type Effect = {
    drop?: true;
    make?: true;
};
