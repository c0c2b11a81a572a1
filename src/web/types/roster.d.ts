/**
 * An online peer with all of its presence data: `peerType`, `source`, `controls` and what an application adds.
 * @typedef {Readonly<{ address: string, user: string, id: string, online: true, name?: string, peerType?: string } & Record<string, any>>} Peer
 */
/**
 * @typedef {object} RosterEvents
 * @property {[peer: Peer]} added
 * @property {[peer: Peer, before: Peer]} updated
 * @property {[peer: Peer, how: { lost: boolean }]} removed
 */
/** @extends {Emitter<RosterEvents>} */
export class Roster extends Emitter<RosterEvents> {
    constructor();
    get size(): number;
    /** @param {string} address */
    get(address: string): Readonly<{
        address: string;
        user: string;
        id: string;
        online: true;
        name?: string;
        peerType?: string;
    } & Record<string, any>> | undefined;
    list(): Readonly<{
        address: string;
        user: string;
        id: string;
        online: true;
        name?: string;
        peerType?: string;
    } & Record<string, any>>[];
    cameras(): Readonly<{
        address: string;
        user: string;
        id: string;
        online: true;
        name?: string;
        peerType?: string;
    } & Record<string, any>>[];
    /** @param {string} user */
    of(user: string): Readonly<{
        address: string;
        user: string;
        id: string;
        online: true;
        name?: string;
        peerType?: string;
    } & Record<string, any>>[];
    /**
     * Handles a received presence. `self` is our own address, which is never listed.
     * @param {{ from?: unknown, data?: unknown }} presence
     * @param {string | null} [self]
     */
    handle(presence: {
        from?: unknown;
        data?: unknown;
    }, self?: string | null): void;
    /** Forgets all peers after the connection is lost. */
    clear(): void;
    #private;
}
/**
 * An online peer with all of its presence data: `peerType`, `source`, `controls` and what an application adds.
 */
export type Peer = Readonly<{
    address: string;
    user: string;
    id: string;
    online: true;
    name?: string;
    peerType?: string;
} & Record<string, any>>;
export type RosterEvents = {
    added: [peer: Peer];
    updated: [peer: Peer, before: Peer];
    removed: [peer: Peer, how: {
        lost: boolean;
    }];
};
import { Emitter } from './events.js';
