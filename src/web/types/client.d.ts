/** @extends {Emitter<ClientEvents>} */
export class Client extends Emitter<ClientEvents> {
    /** @param {ClientOptions} options */
    constructor(options: ClientOptions);
    url: string;
    user: string;
    name: string | undefined;
    token: string | undefined;
    data: Record<string, any>;
    clock: import("./events.js").Clock;
    knock: ((signal: AbortSignal) => Promise<boolean>) | undefined;
    limits: {
        beat: number;
        answer: number;
        check: number;
        quick: number;
        hurry: number;
        open: number;
        reopen: number;
        welcome: number;
        firstDelay: number;
        lastDelay: number;
        stable: number;
        rate: number;
        burst: number;
        queue: number;
    };
    WebSocket: any;
    roster: Roster;
    /** @type {ClientState} */
    state: ClientState;
    /** @type {Frame & { user: string, id: string } | null} */
    peer: (Frame & {
        user: string;
        id: string;
    }) | null;
    rooms: Set<string>;
    /** @type {Set<string>} */
    joined: Set<string>;
    attempt: number;
    opened: boolean;
    since: number;
    heard: number;
    tokens: number;
    filled: number;
    /** @type {ServerError | null} */
    lastError: ServerError | null;
    /** @type {Record<string, unknown>} */
    timers: Record<string, unknown>;
    get address(): string | null;
    get online(): boolean;
    connect(): void;
    close(): void;
    /** Looks at once whether the server is there: after sleep, or when the network changed. */
    check(): void;
    /**
     * Sends a frame when its turn comes. Returns its id, or null when we are not online.
     * @param {Message} message
     * @returns {string | null}
     */
    send(message: Message): string | null;
    /**
     * Sends, and resolves with the server's receipt: { status, delivered }.
     * @param {Message} message
     * @returns {Promise<Frame>}
     */
    deliver(message: Message, timeout?: number): Promise<Frame>;
    /**
     * Sends a command; resolves with its reply. 202 means "working on it" and goes to `progress`.
     * @param {string} to
     * @param {{ node?: string, action?: string, data?: unknown }} command
     * @param {{ timeout?: number, progress?: (frame: Frame) => void }} [options]
     * @returns {Promise<Frame>}
     */
    command(to: string, command: {
        node?: string;
        action?: string;
        data?: unknown;
    }, { timeout, progress }?: {
        timeout?: number;
        progress?: (frame: Frame) => void;
    }): Promise<Frame>;
    /**
     * Answers a command that came.
     * @param {Frame} command
     * @param {{ status?: number, data?: unknown }} [answer]
     */
    respond(command: Frame, { status, data }?: {
        status?: number;
        data?: unknown;
    }): string | null;
    /**
     * Joins a room, now and after every reconnect; resolves when the server says so.
     * @param {string} room
     * @returns {Promise<void>}
     */
    join(room: string): Promise<void>;
    /**
     * @param {string} room
     * @returns {Promise<void>}
     */
    leave(room: string): Promise<void>;
    /**
     * Changes what others know of us.
     * @param {Record<string, any>} [data]
     */
    present(data?: Record<string, any>): void;
    #private;
}
/**
 * Who waits for a join or a leave, and for an answer.
 */
export type Waiter = {
    type: string;
    room: string;
    resolve: () => void;
    reject: (error: Error) => void;
};
/**
 * Who waits for a join or a leave, and for an answer.
 */
export type Reply = {
    type: string;
    to?: string | string[];
    progress?: (frame: Frame) => void;
    done: (frame: Frame) => void;
    fail: (error: Error) => void;
};
/**
 * A message to be sent; `id` is made where there is none.
 */
export type Frame = Record<string, any>;
/**
 * The connection; `waiting` is for the next attempt, `denied` for a token.
 */
export type Message = {
    type: string;
    to?: string | string[];
    id?: string;
} & Record<string, any>;
/**
 * Why a state was entered: `opened` says whether this attempt got a WebSocket, `delay` when the next comes, in ms.
 */
export type ClientState = "idle" | "connecting" | "online" | "waiting" | "denied";
/**
 * A frame as it came: `type`, `from`, `data`, and whatever else its sender wrote.
 */
export type Detail = {
    reason?: string;
    code?: number | null;
    delay?: number;
    opened?: boolean;
};
/**
 * A frame as it came: `type`, `from`, `data`, and whatever else its sender wrote.
 */
export type ServerError = {
    status?: number;
    message: string;
};
/**
 * A frame as it came: `type`, `from`, `data`, and whatever else its sender wrote.
 */
export type ClientEvents = {
    state: [state: ClientState, detail: Detail];
    welcome: [frame: Frame];
    message: [frame: Frame];
    presence: [frame: Frame];
    command: [frame: Frame];
    event: [frame: Frame];
    other: [frame: Frame];
    error: [error: ServerError];
};
/**
 * A frame as it came: `type`, `from`, `data`, and whatever else its sender wrote.
 */
export type ClientOptions = {
    /**
     * of the WebSocket
     */
    url: string | URL;
    user: string;
    name?: string | undefined;
    token?: string | undefined;
    rooms?: Iterable<string> | undefined;
    /**
     * what presence tells of us
     */
    data?: Record<string, any> | undefined;
    limits?: Partial<{
        beat: number;
        answer: number;
        check: number;
        quick: number;
        hurry: number;
        open: number;
        reopen: number;
        welcome: number;
        firstDelay: number;
        lastDelay: number;
        stable: number;
        rate: number;
        burst: number;
        queue: number;
    }> | undefined;
    /**
     * for tests
     */
    clock?: import("./events.js").Clock | undefined;
    /**
     * for tests, and where there is none
     */
    WebSocket?: any;
    /**
     * whether the server answers in another way, asked before a
     * socket is tried again
     */
    knock?: ((signal: AbortSignal) => Promise<boolean>) | undefined;
};
import { Emitter } from './events.js';
import { Roster } from './roster.js';
