/**
 * The next state, and what is to be done, in order.
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
 * When time itself changes something, in ms; null: it does not.
 * @param {State} state
 */
export function due({ hold, phase, wish, line, paused }: State): number | null;
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
export const START: State;
/**
 * Why it is not called now.
 */
export type Camera = {
    address: string;
    user: string;
    name?: string;
    source?: {
        state?: string;
        message?: unknown;
    };
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
 * A camera: who it is, and what it tells of its source.
 */
export type End = {
    code: string;
    message: string;
    remote: boolean;
    peer: Camera;
};
/**
 * A camera: who it is, and what it tells of its source.
 */
export type Fields = {
    /**
     * of the client: idle, connecting, online, waiting, denied
     */
    line: string;
    /**
     * who is there
     */
    cameras: readonly Camera[];
    /**
     * until a person chooses, a single camera is wished for by itself
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
     * the camera has a new session since: it may know nothing of our call
     */
    suspect: boolean;
    /**
     * our network changed since, and ICE begins anew with the next connection to the server
     */
    moved: boolean;
    /**
     * calls since there was a picture
     */
    tries: number;
    /**
     * why it is not called now
     */
    hold: Hold | null;
    /**
     * how the last call ended
     *
     * `phase` is of the call, `peer` whom it is with.
     */
    end: End | null;
};
/**
 * A camera: who it is, and what it tells of its source.
 */
export type State = Readonly<Fields & ({
    phase: "none";
    peer: null;
} | {
    phase: "calling" | "playing" | "stalled";
    peer: Camera;
})>;
/**
 * A camera: who it is, and what it tells of its source.
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
 * A camera: who it is, and what it tells of its source.
 */
export type Effect = {
    call?: Camera;
    hangup?: string;
    check?: boolean;
    restart?: boolean;
};
/**
 * A camera: who it is, and what it tells of its source.
 */
export type Moment = {
    now: number;
    random?: number;
};
/**
 * A camera: who it is, and what it tells of its source.
 */
export type Step = [state: State, effects?: readonly Effect[]];
