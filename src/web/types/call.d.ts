/**
 * Compares addresses by their UTF-8 bytes; JavaScript's `<` compares UTF-16 code units.
 * @param {string} a
 * @param {string} b
 */
export function compareBytes(a: string, b: string): number;
/**
 * Converts a candidate for RTCPeerConnection; null is the end of candidates.
 * @param {Candidate & { candidate: string }} data as received
 * @returns {Candidate | null}
 */
export function candidateOf({ candidate, sdpMid, sdpMLineIndex }: Candidate & {
    candidate: string;
}): Candidate | null;
export namespace LIMITS {
    let calls: number;
    let ring: number;
    let connect: number;
    let resume: number;
    let early: number;
}
/** @extends {Emitter<CallsEvents>} */
export class Calls extends Emitter<CallsEvents> {
    /**
     * Returns calls that are wired to a client's events.
     * @param {import('./client.js').Client} client
     * @param {Partial<CallsOptions>} [options]
     */
    static over(client: import("./client.js").Client, options?: Partial<CallsOptions>): Calls;
    /** @param {CallsOptions} options */
    constructor(options: CallsOptions);
    send: (message: Message) => unknown;
    address: () => string | null;
    clock: import("./events.js").Clock;
    limits: {
        calls: number;
        ring: number;
        connect: number;
        resume: number;
        early: number;
    };
    list(): Call[];
    /** @param {string} remote */
    with(remote: string): Call | undefined;
    /**
     * Calls `to`, a peer's address or a user. An `offer` saves a round trip with a peer whose presence has
     * `answers: 'all'`. It is only sent to an address, because a user may have many devices.
     * @param {string} to
     * @param {Record<string, any>} [data] the requested media
     * @param {{ offer?: Description | RTCSessionDescription | null }} [now]
     */
    invite(to: string, data?: Record<string, any>, { offer }?: {
        offer?: Description | RTCSessionDescription | null;
    }): Call;
    /**
     * Handles a received message. Returns true if it was about calls.
     * @param {Frame} message
     */
    handle(message: Frame): boolean;
    /**
     * Turns an init into an incoming call; `mutual` if we were calling its sender, too.
     * @param {Init} init
     * @param {boolean} [mutual]
     */
    take({ from, wire, data, offer }: Init, mutual?: boolean): void;
    /**
     * @param {Pick<Init, 'from' | 'wire'>} init
     * @param {string} reason
     */
    refuse({ from, wire }: Pick<Init, "from" | "wire">, reason: string): void;
    signallingLost(): void;
    /** @param {string} address */
    peerOffline(address: string): void;
    /**
     * A peer is back, perhaps under a new address; or we are back, and learn who is online.
     * @param {string} address
     */
    peerOnline(address: string): void;
    /**
     * Another session of a user is online. If the remote never sent the call's id, as the published browser client does
     * not, its call continues with this session, since that client cannot name the call.
     * @param {string} address
     */
    userOnline(address: string): void;
    /** @param {Call} call */
    forget(call: Call): void;
    #private;
}
/**
 * One call, created by Calls.
 * @extends {Emitter<CallEvents>}
 */
export class Call extends Emitter<CallEvents> {
    /**
     * @param {Calls} calls
     * @param {{ id: string, wire?: string, remote: string, outgoing: boolean, data: Record<string, any>, mutual?: boolean, offer?: Description | null }} call
     */
    constructor(calls: Calls, { id, wire, remote, outgoing, data, mutual, offer }: {
        id: string;
        wire?: string;
        remote: string;
        outgoing: boolean;
        data: Record<string, any>;
        mutual?: boolean;
        offer?: Description | null;
    });
    id: string;
    wire: string | undefined;
    named: boolean;
    remote: string;
    outgoing: boolean;
    data: Record<string, any>;
    mutual: boolean;
    /** @type {CallState} */
    state: CallState;
    gone: boolean;
    /** @type {Init | null} */
    held: Init | null;
    /** @type {string | null} */
    reason: string | null;
    message: string;
    endedByRemote: boolean;
    accept(): void;
    /** Rejects an incoming call. `reason` is a code of the protocol, as in hangup(). */
    reject(reason?: string): void;
    /** Ends the call. `reason` is a code of the protocol. */
    hangup(reason?: string): void;
    /**
     * Sends our offer or answer, then the candidates that were waiting for it.
     * @param {Description | RTCSessionDescription} description
     */
    describe(description: Description | RTCSessionDescription): void;
    /**
     * Sends one of our candidates; null is the end of candidates.
     * @param {Candidate | null} candidate
     */
    addCandidate(candidate: Candidate | null): void;
    connected(): void;
    /** @param {string} reason */
    failed(reason: string): void;
    /** @param {string} address */
    isWith(address: string): boolean;
    /**
     * Sends the init, with our offer if there is one.
     * @param {Description | null} offer
     */
    init(offer: Description | null): void;
    /**
     * Handles a message from the remote. Ignores what does not fit the state.
     * @param {string} verb
     * @param {Record<string, any>} data
     */
    receive(verb: string, data: Record<string, any>): void;
    /**
     * The remote is at this address now.
     * @param {string} address
     */
    moved(address: string): this;
    /** Signalling is lost on either side; connected media may continue for a while. */
    unreachable({ remote }?: {
        remote?: boolean | undefined;
    }): void;
    /** Sends our new address to the remote, in an end of candidates: it carries nothing but the call's id. */
    greet(): void;
    /**
     * @param {string} verb
     * @param {Record<string, unknown>} [data]
     */
    tell(verb: string, data?: Record<string, unknown>): void;
    /** @param {CallState} state */
    enter(state: CallState): void;
    /**
     * `message`: the other side's text for the code.
     * @param {string} reason
     */
    finish(reason: string, { remote, message }?: {
        remote?: boolean | undefined;
        message?: string | undefined;
    }): void;
    #private;
}
export type Clock = import("./events.js").Clock;
export type Message = import("./client.js").Message;
export type Frame = import("./client.js").Frame;
export type CallState = "idle" | "ringing" | "incoming" | "connecting" | "active" | "ended";
/**
 * A candidate in the format of RTCPeerConnection.
 */
export type Description = {
    type: "offer" | "answer";
    sdp: string;
};
export type Candidate = {
    candidate?: string;
    sdpMid?: string | null;
    sdpMLineIndex?: number | null;
};
export type CallsEvents = {
    incoming: [call: Call];
    ended: [call: Call];
};
export type CallEvents = {
    state: [state: CallState];
    /**
     * time to offer
     */
    accepted: [];
    description: [description: Description];
    /**
     * null is the end of candidates
     */
    candidate: [candidate: Candidate | null];
    ended: [call: Call];
};
export type CallsOptions = {
    send: (message: Message) => unknown;
    /**
     * our own; decides which call goes on when two peers call each other
     */
    address: () => string | null;
    limits?: Partial<{
        calls: number;
        ring: number;
        connect: number;
        resume: number;
        early: number;
    }> | undefined;
    /**
     * A received init.
     */
    clock?: import("./events.js").Clock | undefined;
};
export type Init = {
    from: string;
    wire?: string;
    data: Record<string, any>;
    offer?: Description | null;
};
import { Emitter } from './events.js';
