/** Whether this browser can play anything that a camera sends. */
export function playable(): boolean;
/** @extends {Emitter<PlayerEvents>} */
export class Player extends Emitter<PlayerEvents> {
    /** @param {PlayerOptions} options */
    constructor(options: PlayerOptions);
    call: import("./call.js").Call;
    video: HTMLVideoElement;
    stream: MediaStream | null;
    publishes: boolean;
    /** @type {PlayerState} */
    state: PlayerState;
    /** @type {Stats | null} */
    stats: Stats | null;
    sparse: boolean;
    soundAlone: boolean;
    /** @type {number | null} */
    firstPicture: number | null;
    /** @type {Error | null} */
    error: Error | null;
    began: number;
    remote: MediaStream;
    /** @type {Channel | null} for commands to the other side */
    channel: Channel | null;
    get connection(): RTCPeerConnection;
    /** Of the network path: connecting, connected, disconnected … */
    get path(): RTCPeerConnectionState;
    /** Milliseconds since the last byte of media, as of the measurements. */
    get quiet(): number;
    set muted(muted: boolean);
    get muted(): boolean;
    /**
     * The picture as a PNG, in the size it came.
     * @returns {Promise<Blob>}
     */
    snapshot(): Promise<Blob>;
    /**
     * Sends another track of one kind from now on; null sends none. `stream`, as it was given, has the track already.
     * @param {'audio' | 'video'} kind
     * @param {MediaStreamTrack | null} track
     */
    send(kind: "audio" | "video", track: MediaStreamTrack | null): void;
    /**
     * Sends nothing of one kind until the next `send`, and keeps its section: nothing is negotiated then.
     * @param {'audio' | 'video'} kind
     */
    pause(kind: "audio" | "video"): void;
    /** Whether the other side sends video, as was agreed. */
    get seen(): boolean;
    /** Opens the channel for commands in a call that goes on, by another offer. */
    openChannel(): void;
    /** Begins ICE anew, in the same call: our addresses are others than before. */
    restart(): void;
    close(): void;
    play(): Promise<void>;
    #private;
}
/**
 * What was measured in the last second; null where nothing was.
 */
export type PlayerState = "connecting" | "playing" | "stalled" | "ended";
export type Stats = {
    state: PlayerState;
    width: number;
    height: number;
    fps: number | null;
    /**
     * bit/s
     */
    bitrate: number | null;
    /**
     * bit/s, the part of `bitrate` that is received video
     */
    videoBitrate: number | null;
    /**
     * ms
     */
    rtt: number | null;
    codec: string | null;
    /**
     * 0 to 1, of this interval
     */
    loss: number | null;
    /**
     * ms from a frame's first packet to its decoding
     */
    delay: number | null;
    /**
     * from a frame's capture to the screen, by part; where the browser tells
     */
    delays: import("./delays.js").Parts | null;
    /**
     * which way media takes
     */
    route: import("./route.js").Route | null;
    /**
     * packets, in all
     */
    lost: number;
    /**
     * decoded, in all
     */
    frames: number;
};
export type PlayerEvents = {
    state: [state: PlayerState];
    stats: [stats: Stats];
    picture: [ms: number];
    sound: [muted: boolean];
    path: [state: RTCPeerConnectionState];
};
export type PlayerOptions = {
    call: import("./call.js").Call;
    video: HTMLVideoElement;
    iceServers?: RTCIceServer[] | undefined;
    /**
     * our own, where we send too
     */
    stream?: MediaStream | null | undefined;
    /**
     * a connection with its offer, for a call that only receives
     */
    prepared?: import("./prepared.js").Prepared | null | undefined;
    /**
     * whether our stream is sent, in several encodings, and nothing is received
     */
    publishes?: boolean | undefined;
    /**
     * whether the call that we make has a channel for commands
     */
    commands?: boolean | undefined;
};
export type Counters = {
    now: number;
    bytes: number;
    frames: number;
    media: number;
    lost: number;
    received: number;
    processing: number;
    buffered: number;
    emitted: number;
    decoding: number;
    seen: number;
    moved: number;
    fresh: number;
};
import { Emitter } from './events.js';
import { Channel } from './channel.js';
