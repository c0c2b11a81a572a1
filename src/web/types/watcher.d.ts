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
export class Watcher extends Emitter<WatcherEvents> {
    /** @param {WatcherOptions} options */
    constructor(options: WatcherOptions);
    client: import("./client.js").Client;
    calls: import("./call.js").Calls;
    video: HTMLVideoElement;
    ice: () => RTCIceServer[];
    still: import("./still.js").Still | null;
    state: import("./watching.js").State;
    /** @type {Current | null} */
    current: Current | null;
    commands: Commands;
    /** @type {import('./reasons.js').Words | null} */
    broken: import("./reasons.js").Words | null;
    /** Whether the picture is shown so small that the small rendition is enough. */
    get little(): boolean;
    /**
     * Returns a camera's newest presence.
     * @param {Camera} peer
     * @returns {Camera & Record<string, any>}
     */
    known(peer: Camera): Camera & Record<string, any>;
    /**
     * Handles an event of watching.js.
     * @param {import('./watching.js').Event} event
     */
    happens(event: import("./watching.js").Event): void;
    /** Plays the last camera again, on a person's request. */
    again(): void;
    /**
     * Accepts a call from a camera.
     * @param {Call} call
     * @param {Camera} peer
     */
    answer(call: Call, peer: Camera): void;
    /** Checks when the page wakes or the network changes, hangs up when it is left. Returns a function to stop that. */
    attend(): () => void;
    /** Ends the call and all timers; the client stays open. */
    close(): void;
    /**
     * The camera's own picture as a JPEG where its call has a channel, else what is shown as a PNG.
     * @returns {Promise<Blob>}
     */
    snapshot(): Promise<Blob>;
    #private;
}
export type Call = import("./call.js").Call;
/**
 * A camera's call.
 */
export type Camera = import("./watching.js").Camera;
export type Current = {
    call: Call;
    player: Player;
    peer: Camera;
};
export type WatcherEvents = {
    changed: [];
    begun: [current: Current];
    over: [];
    stats: [stats: import("./player.js").Stats & {
        viewers?: number;
    }];
};
export type WatcherOptions = {
    client: import("./client.js").Client;
    /**
     * over that client
     */
    calls: import("./call.js").Calls;
    video: HTMLVideoElement;
    /**
     * returns the current ICE servers
     */
    ice?: (() => RTCIceServer[]) | undefined;
    /**
     * shown until a call's first frame
     */
    still?: import("./still.js").Still | null | undefined;
};
import { Emitter } from './events.js';
import { Commands } from './channel.js';
import { Player } from './player.js';
