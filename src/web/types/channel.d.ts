export function open(connection: RTCPeerConnection): RTCDataChannel;
export class Channel {
    /**
     * @param {RTCDataChannel} channel
     * @param {{ clock?: import('./events.js').Clock }} [options]
     */
    constructor(channel: RTCDataChannel, { clock }?: {
        clock?: import("./events.js").Clock;
    });
    /** Whether commands can be sent now. */
    get open(): boolean;
    /**
     * Sends a command; resolves with its reply. 202 means "working on it" and goes to `progress`.
     * @param {Command} command
     * @param {Options} [options]
     * @returns {Promise<Frame>}
     */
    command({ node, action, data }: Command, { timeout, progress }?: Options): Promise<Frame>;
    /**
     * The camera's newest frame as a JPEG of its own, in full size.
     * @param {{ timeout?: number }} [options]
     * @returns {Promise<Blob>}
     */
    snapshot({ timeout }?: {
        timeout?: number;
    }): Promise<Blob>;
    /** The call has ended: nobody waits any more. */
    close(): void;
    #private;
}
/** Sends commands by the channel of a call with their peer where one is open, else by the server, as a Client does. */
export class Commands {
    /**
     * @param {import('./client.js').Client} client
     * @param {(to: string) => Channel | null} channelTo returns the channel of the call with this peer
     */
    constructor(client: import("./client.js").Client, channelTo: (to: string) => Channel | null);
    /** Our own address; while the server is away, the last one. */
    get address(): string | null;
    /**
     * Whether there is a way to this peer.
     * @param {string} to
     */
    reaches(to: string): boolean;
    /**
     * @param {string} to
     * @param {Command} command
     * @param {Options} [options]
     * @returns {Promise<Frame>}
     */
    command(to: string, command: Command, options?: Options): Promise<Frame>;
    #private;
}
export type Frame = import("./client.js").Frame;
export type Command = {
    node?: string;
    action?: string;
    data?: unknown;
};
/**
 * Who waits for a reply.
 */
export type Options = {
    timeout?: number;
    progress?: (frame: Frame) => void;
};
/**
 * The snapshot that is being received.
 */
export type Waiter = {
    progress?: (frame: Frame) => void;
    done: (frame: Frame) => void;
    fail: (error: Error) => void;
};
export type Picture = {
    type: string;
    missing: number;
    parts: ArrayBuffer[];
    done: (blob: Blob) => void;
    fail: (error: Error) => void;
};
