// The peers that are online, by address, from the presences received.
//
// Events: added(peer), updated(peer, before), removed(peer, { lost }).
// `lost`: we lost the server, so the peer may still be online; otherwise it left.

import { Emitter, isObject, kind, need } from './events.js';

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
export class Roster extends Emitter {
  /** @type {Map<string, Peer>} */
  #peers = new Map();

  constructor() { super(['added', 'updated', 'removed']); }

  get size() { return this.#peers.size; }
  /** @param {string} address */
  get(address) { return this.#peers.get(address); }
  list() { return [...this.#peers.values()]; }
  cameras() { return this.list().filter((peer) => peer.peerType === 'camera'); }
  /** @param {string} user */
  of(user) { return this.list().filter((peer) => peer.user === user); }

  /**
   * Handles a received presence. `self` is our own address, which is never listed.
   * @param {{ from?: unknown, data?: unknown }} presence
   * @param {string | null} [self]
   */
  handle(presence, self = null) {
    need(isObject(presence), () => `Roster.handle takes a presence, an object with from and data, not ${kind(presence)}`);
    const data = isObject(presence.data) ? presence.data : {};
    const address = addressOf(presence.from, data);
    if (!address || address === self) return;
    const before = this.#peers.get(address);
    if (data.online === false) {
      if (!before) return;
      this.#peers.delete(address);
      this.emit('removed', before, { lost: false });
      return;
    }
    const bar = address.indexOf('|');
    const forced = /** @type {const} */ ({ address, user: address.slice(0, bar), id: address.slice(bar + 1), online: true });
    const peer = Object.freeze({ ...before, ...data, ...forced });
    this.#peers.set(address, peer);
    if (before) this.emit('updated', peer, before);
    else this.emit('added', peer);
  }

  /** Forgets all peers after the connection is lost. */
  clear() {
    const peers = this.list();
    this.#peers.clear();
    for (const peer of peers) this.emit('removed', peer, { lost: true });
  }
}

/**
 * @param {unknown} from
 * @param {Record<string, any>} data
 * @returns {string | null}
 */
function addressOf(from, { user, id }) {
  if (typeof from === 'string' && from.includes('|')) return from;
  return typeof user === 'string' && typeof id === 'string' ? `${user}|${id}` : null;
}
