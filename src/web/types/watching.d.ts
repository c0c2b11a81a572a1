/**
 * Returns the next state and the effects, in order.
 * @param {State} state
 * @param {Event} event
 * @param {Moment} moment
 * @returns {{ state: State, effects: readonly Effect[] }}
 */
export function step(state: State, event: Event, { now, random }: Moment): {
    state: State;
    effects: readonly Effect[];
};
/**
 * Returns when to send { type: 'time' }, in ms; null for never.
 * @param {State} state
 */
export function due({ hold, phase, wish, line, paused }: State): number | null;
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
export const START: State;
/**
 * A camera and the state of its source.
 */
export type Source = {
    state?: string;
    code?: string;
    message?: unknown;
};
/**
 * Why the camera is not called now.
 */
export type Camera = {
    address: string;
    user: string;
    name?: string;
    source?: Source;
};
/**
 * How the last call ended.
 */
export type Hold = {
    until?: number;
    gone?: string;
    never?: boolean;
};
/**
 * What a camera reports about its source.
 */
export type End = {
    code: string;
    message: string;
    remote: boolean;
    peer: Camera;
};
/**
 * What a camera reports about its source.
 */
export type Fields = {
    /**
     * the client's state: idle, connecting, online, waiting, denied
     */
    line: string;
    /**
     * those that are online
     */
    cameras: readonly Camera[];
    /**
     * a single camera plays by itself, until a person chooses
     */
    auto: boolean;
    /**
     * the camera to play
     */
    wish: Camera | null;
    /**
     * a call with a person has the stage
     */
    paused: boolean;
    /**
     * the camera got a new session during the call, and may not know the call
     */
    suspect: boolean;
    /**
     * our network changed during the call; ICE restarts with the next connection to the server
     */
    moved: boolean;
    /**
     * calls since the last picture
     */
    tries: number;
    /**
     * why the camera is not called now
     */
    hold: Hold | null;
    /**
     * how the last call ended
     *
     * `phase` is the phase of the call, `peer` its camera.
     */
    end: End | null;
};
/**
 * What a camera reports about its source.
 */
export type State = Readonly<Fields & ({
    phase: "none";
    peer: null;
} | {
    phase: "calling" | "playing" | "stalled";
    peer: Camera;
})>;
/**
 * What a camera reports about its source.
 */
export type Event = {
    type: "line";
    state: string;
} | {
    type: "cameras";
    cameras: readonly Camera[];
} | {
    type: "choose";
    peer: Camera;
} | {
    type: "called";
    peer: Camera;
} | {
    type: "ended";
    code: string;
    message?: string;
    remote?: boolean;
} | {
    type: "stop";
} | {
    type: "again";
} | {
    type: "pause";
} | {
    type: "resume";
} | {
    type: "picture";
} | {
    type: "stalled";
} | {
    type: "flowing";
} | {
    type: "time";
} | {
    type: "woke";
} | {
    type: "moved";
};
/**
 * What a camera reports about its source.
 */
export type Effect = {
    call?: Camera;
    hangup?: string;
    check?: boolean;
    restart?: boolean;
};
/**
 * What a camera reports about its source.
 */
export type Moment = {
    now: number;
    random?: number;
};
/**
 * What a camera reports about its source.
 */
export type Step = [state: State, effects?: readonly Effect[]];
