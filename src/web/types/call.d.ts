/**
 * The order of addresses is that of their UTF-8 bytes, which JavaScript's `<` is not.
 * @param {string} a
 * @param {string} b
 */
export function compareBytes(a: string, b: string): number;
/**
 * A candidate as RTCPeerConnection takes it; null is the end of them.
 * @param {Candidate & { candidate: string }} data as it came
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
     * Calls over a client, wired to what it tells.
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
     * Calls `to`, a peer's address or a user. An `offer` saves a turn with a peer whose presence has `answers: 'all'`; it
     * goes to an address alone, for a user may have many devices.
     * @param {string} to
     * @param {Record<string, any>} [data] what is wanted
     * @param {{ offer?: Description | RTCSessionDescription | null }} [now]
     */
    invite(to: string, data?: Record<string, any>, { offer }?: {
        offer?: Description | RTCSessionDescription | null;
    }): Call;
    /**
     * Takes a message that came; true when it was about calls.
     * @param {Frame} message
     */
    handle(message: Frame): boolean;
    /**
     * An init becomes an incoming call; `mutual` when we were calling its sender too.
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
     * Who was gone is back, perhaps under a new address; or we are, and hear who is there.
     * @param {string} address
     */
    peerOnline(address: string): void;
    /**
     * Another session of a user is online. A remote that never sent the call's id, as the published browser client, goes
     * on with it: it cannot say which call it means.
     * @param {string} address
     */
    userOnline(address: string): void;
    /** @param {Call} call */
    forget(call: Call): void;
    #private;
}
/**
 * One call; Calls makes them.
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
    /** `reason` is a code of the protocol's list, as in hangup(). */
    reject(reason?: string): void;
    /** `reason` is a code of the protocol's list. */
    hangup(reason?: string): void;
    /**
     * Sends our offer or answer, and then the candidates that waited for it.
     * @param {Description | RTCSessionDescription} description
     */
    describe(description: Description | RTCSessionDescription): void;
    /**
     * Sends one of our candidates; null ends them.
     * @param {Candidate | null} candidate
     */
    addCandidate(candidate: Candidate | null): void;
    connected(): void;
    /** @param {string} reason */
    failed(reason: string): void;
    /** @param {string} address */
    isWith(address: string): boolean;
    /**
     * Asks the remote, with our offer if there is one.
     * @param {Description | null} offer
     */
    init(offer: Description | null): void;
    /**
     * What the remote says. What does not fit the state is passed over.
     * @param {string} verb
     * @param {Record<string, any>} data
     */
    receive(verb: string, data: Record<string, any>): void;
    /**
     * The remote is heard of at this address.
     * @param {string} address
     */
    moved(address: string): this;
    /** Signalling is gone, theirs or ours: connected media may outlive it for a while. */
    unreachable({ remote }?: {
        remote?: boolean | undefined;
    }): void;
    /** Lets the remote know where we are now: an end of candidates says nothing but the call's id. */
    greet(): void;
    /**
     * @param {string} verb
     * @param {Record<string, unknown>} [data]
     */
    tell(verb: string, data?: Record<string, unknown>): void;
    /** @param {CallState} state */
    enter(state: CallState): void;
    /**
     * `message`: the other side's words beside the code.
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
 * A candidate as RTCPeerConnection gives and takes it.
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
     * now offer
     */
    accepted: [];
    description: [description: Description];
    /**
     * null is the end of them
     */
    candidate: [candidate: Candidate | null];
    ended: [call: Call];
};
export type CallsOptions = {
    send: (message: Message) => unknown;
    /**
     * our own, which decides when two call each other
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
     * An init as it came.
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
