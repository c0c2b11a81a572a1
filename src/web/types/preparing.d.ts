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
 * When time itself changes something, in ms; null: it does not.
 * @param {State} state
 */
export function due({ phase, wanted, since }: State): number | null;
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
export const REST: State;
/** Browsers refresh what a STUN server told them for two minutes on mobile networks; later its candidates may lead nowhere. */
export const FRESH: 120000;
/** After one that could not be made. */
export const PAUSE: 30000;
export function fits({ phase, ice, since }: State, call: {
    ice: string;
    now: number;
}): boolean;
/**
 * `ice` stands for the ICE servers that it was made with, `since` for the last change of `phase`, in ms.
 */
export type State = Readonly<{
    phase: "none" | "making" | "ready" | "failed";
    wanted: boolean;
    ice: string;
    since: number;
}>;
/**
 * `ice` stands for the ICE servers that it was made with, `since` for the last change of `phase`, in ms.
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
 * `ice` stands for the ICE servers that it was made with, `since` for the last change of `phase`, in ms.
 */
export type Effect = {
    drop?: true;
    make?: true;
};
