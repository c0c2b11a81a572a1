// Call signalling for any number of calls, as caller and callee. Session descriptions are opaque to it.
//
//   invite() → ringing ─accept→ connecting ─connected()→ active → ended
//   call:init → incoming ─accept()→ connecting …
//
// An offer passed to invite() is sent in the init. A callee that uses it sets `offer` in its accept and then sends its
// answer; any other callee gets an offer after `accepted`, as usual.
//
// Events of Calls: incoming(call), ended(call). Events of a Call: state(state), accepted (time to offer),
// description({ type, sdp }), candidate(init, or null for the end of candidates), ended(call).

import { Emitter, clock as realClock, has, isObject, isText, kind, need, randomId, userOf } from './events.js';

/**
 * @typedef {import('./events.js').Clock} Clock
 * @typedef {import('./client.js').Message} Message
 * @typedef {import('./client.js').Frame} Frame
 * @typedef {'idle' | 'ringing' | 'incoming' | 'connecting' | 'active' | 'ended'} CallState
 * @typedef {{ type: 'offer' | 'answer', sdp: string }} Description
 *
 * A candidate in the format of RTCPeerConnection.
 * @typedef {{ candidate?: string, sdpMid?: string | null, sdpMLineIndex?: number | null }} Candidate
 *
 * @typedef {object} CallsEvents
 * @property {[call: Call]} incoming
 * @property {[call: Call]} ended
 *
 * @typedef {object} CallEvents
 * @property {[state: CallState]} state
 * @property {[]} accepted time to offer
 * @property {[description: Description]} description
 * @property {[candidate: Candidate | null]} candidate null is the end of candidates
 * @property {[call: Call]} ended
 *
 * @typedef {object} CallsOptions
 * @property {(message: Message) => unknown} send
 * @property {() => string | null} address our own; decides which call goes on when two peers call each other
 * @property {Partial<typeof LIMITS>} [limits]
 * @property {Clock} [clock]
 *
 * A received init.
 * @typedef {{ from: string, wire?: string, data: Record<string, any>, offer?: Description | null }} Init
 */

export const LIMITS = {
  calls: 1, // at the same time; others are rejected as busy
  ring: 30000, // ms until an unanswered call ends
  connect: 30000, // ms from the accept to connected media
  resume: 30000, // ms that a connected call survives without signalling
  early: 256, // candidates buffered until they can be used
};

/** @extends {Emitter<CallsEvents>} */
export class Calls extends Emitter {
  /** @type {Map<string, Call>} */
  #calls = new Map();

  /** @param {CallsOptions} options */
  constructor(options) {
    super(['incoming', 'ended']);
    const over = 'with a client, use Calls.over(client)';
    need(isObject(options), () => `Calls takes { send, address }, not ${kind(options)}; ${over}`);
    const { send, address, limits = {}, clock = realClock } = options;
    for (const [name, given] of Object.entries({ send, address })) {
      need(typeof given === 'function', () => `Calls takes { send, address }, both functions, and ${name} is ${kind(given)}; ${over}`);
    }
    const unknown = Object.keys(limits).find((key) => !Object.hasOwn(LIMITS, key));
    need(unknown === undefined, () => `There is no limit "${unknown}"; the limits are ${Object.keys(LIMITS).join(', ')}`);
    this.send = send;
    this.address = address;
    this.clock = clock;
    this.limits = { ...LIMITS, ...limits };
  }

  /**
   * Returns calls that are wired to a client's events.
   * @param {import('./client.js').Client} client
   * @param {Partial<CallsOptions>} [options]
   */
  static over(client, options = {}) {
    need(has(client, 'send', 'on') && client.roster, () => `Calls.over takes a Client, not ${kind(client)}`);
    const calls = new Calls({ send: (message) => client.send(message), address: () => client.address, clock: client.clock, ...options });
    client.on('message', (message) => calls.handle(message));
    client.on('state', (state) => { if (state !== 'online') calls.signallingLost(); });
    client.roster.on('added', (peer) => calls.peerOnline(peer.address));
    client.roster.on('removed', (peer, { lost }) => {
      if (lost || !calls.with(peer.address)) return;
      calls.peerOffline(peer.address);
      // A server notices a lost connection late: the user may already be back with a new session.
      for (const { address } of client.roster.of(peer.user)) calls.userOnline(address);
    });
    return calls;
  }

  list() { return [...this.#calls.values()]; }
  /** @param {string} remote */
  with(remote) { return this.list().find((call) => call.isWith(remote)); }

  /**
   * Calls `to`, a peer's address or a user. An `offer` saves a round trip with a peer whose presence has
   * `answers: 'all'`. It is only sent to an address, because a user may have many devices.
   * @param {string} to
   * @param {Record<string, any>} [data] the requested media
   * @param {{ offer?: Description | RTCSessionDescription | null }} [now]
   */
  invite(to, data = {}, { offer = null } = {}) {
    need(isText(to), () => `invite calls a peer's address or a user, not ${kind(to)}`);
    need(isObject(data), () => `invite takes an object that describes the requested media, not ${kind(data)}`);
    need(offer === null || offerOf(offer), () => `an offer is { type: 'offer', sdp }, not ${kind(offer)}`);
    const id = randomId();
    const call = this.#add(new Call(this, { id, wire: id, remote: to, outgoing: true, data }), 'ringing');
    call.init(to.includes('|') ? offerOf(offer) : null);
    return call;
  }

  /**
   * Handles a received message. Returns true if it was about calls.
   * @param {Frame} message
   */
  handle(message) {
    need(isObject(message), () => `handle takes a received message, not ${kind(message)}`);
    const { subtype, from } = message;
    if (typeof subtype !== 'string' || !subtype.startsWith('call:') || typeof from !== 'string') return false;
    const wire = typeof message.call === 'string' && message.call ? message.call : undefined;
    const data = isObject(message.data) ? message.data : {};
    if (subtype === 'call:init') this.#init(from, wire, data);
    else if (subtype === 'call:hangup' && this.#unhold(from, wire)) return true;
    else this.#find(from, wire)?.receive(subtype.slice(5), data);
    return true;
  }

  /**
   * @param {string} from
   * @param {string | undefined} wire
   * @param {Record<string, any>} data
   */
  #init(from, wire, data) {
    const { offer, ...wants } = data;
    const given = offerOf(offer);
    /** @type {Init} */
    const init = given ? { from, wire, data: wants, offer: given } : { from, wire, data };
    const known = this.list().find((call) => call.isWith(from));
    if (known && wire && known.wire === wire) return;
    if (known?.outgoing && known.state === 'ringing') {
      // Both called each other: the call from the greater address is dropped.
      if (compareBytes(this.address() ?? '', from) < 0) {
        known.held = init;
        return;
      }
      known.finish('glare');
      return this.take(init, true);
    }
    known?.finish('replaced', { remote: true });
    this.take(init);
  }

  /**
   * Drops a held init whose caller hung up.
   * @param {string} from
   * @param {string | undefined} wire
   */
  #unhold(from, wire) {
    const call = this.list().find(({ held }) => held && held.from === from && held.wire === wire);
    if (call) call.held = null;
    return Boolean(call);
  }

  /**
   * Turns an init into an incoming call; `mutual` if we were calling its sender, too.
   * @param {Init} init
   * @param {boolean} [mutual]
   */
  take({ from, wire, data, offer = null }, mutual = false) {
    if (this.#calls.size >= this.limits.calls) return this.refuse({ from, wire }, 'busy');
    const call = new Call(this, { id: wire ?? randomId(), wire, remote: from, outgoing: false, data, mutual, offer });
    this.emit('incoming', this.#add(call, 'incoming'));
  }

  /**
   * @param {Pick<Init, 'from' | 'wire'>} init
   * @param {string} reason
   */
  refuse({ from, wire }, reason) {
    this.send({ type: 'message', to: from, subtype: 'call:reject', call: wire, data: { reason } });
  }

  /**
   * @param {Call} call
   * @param {CallState} state
   */
  #add(call, state) {
    this.#calls.set(call.id, call);
    call.enter(state);
    return call;
  }

  /**
   * @param {string} from
   * @param {string | undefined} wire
   */
  #find(from, wire) {
    if (wire === undefined) return this.list().reverse().find((call) => call.isWith(from))?.moved(from);
    const call = this.#calls.get(wire);
    if (!call) return undefined;
    // Only a connected call continues under a new address, and only for the same user.
    const back = call.state === 'active' && userOf(from) === userOf(call.remote);
    if (!call.isWith(from) && !back) return undefined;
    call.named = true;
    return call.moved(from);
  }

  signallingLost() { for (const call of this.list()) call.unreachable(); }

  /** @param {string} address */
  peerOffline(address) {
    for (const call of this.list()) if (call.remote === address) call.unreachable({ remote: true });
  }

  /**
   * A peer is back, perhaps under a new address; or we are back, and learn who is online.
   * @param {string} address
   */
  peerOnline(address) {
    for (const call of this.list()) {
      if (call.gone && userOf(address) === userOf(call.remote)) call.moved(address).greet();
    }
  }

  /**
   * Another session of a user is online. If the remote never sent the call's id, as the published browser client does
   * not, its call continues with this session, since that client cannot name the call.
   * @param {string} address
   */
  userOnline(address) {
    if (this.list().some((call) => call.remote === address)) return;
    this.list().find((call) => call.gone && !call.named && userOf(address) === userOf(call.remote))?.moved(address);
  }

  /** @param {Call} call */
  forget(call) {
    this.#calls.delete(call.id);
    this.emit('ended', call);
  }
}

/**
 * One call, created by Calls.
 * @extends {Emitter<CallEvents>}
 */
export class Call extends Emitter {
  #calls;
  /** @type {unknown} */
  #timer;
  #described = false; // our description was sent
  /** @type {(Candidate | null)[]} the remote candidates that arrived before the remote description */
  #early = [];
  /** @type {Record<string, unknown>[]} our candidates, until our description is sent */
  #unsent = [];
  #remoteDescribed = false;
  /** @type {Description | null} from the init */
  #offer;

  /**
   * @param {Calls} calls
   * @param {{ id: string, wire?: string, remote: string, outgoing: boolean, data: Record<string, any>, mutual?: boolean, offer?: Description | null }} call
   */
  constructor(calls, { id, wire, remote, outgoing, data, mutual = false, offer = null }) {
    super(['state', 'accepted', 'description', 'candidate', 'ended']);
    need(calls instanceof Calls, () => 'Only Calls makes calls: use its invite() or its event "incoming"');
    this.#calls = calls;
    this.#offer = offer;
    this.id = id;
    this.wire = wire; // the id on the wire, if the other side has one
    this.named = !outgoing && wire !== undefined; // the other side has sent it
    this.remote = remote; // the other side's address, or the user we call
    this.outgoing = outgoing;
    this.data = data; // of call:init
    this.mutual = mutual; // both called each other
    /** @type {CallState} */
    this.state = 'idle';
    this.gone = false; // signalling is lost; media may continue
    /** @type {Init | null} */
    this.held = null; // the other side's init, until ours is decided
    /** @type {string | null} */
    this.reason = null; // a code, once the call has ended
    this.message = ''; // the other side's text for that code
    this.endedByRemote = false;
  }

  accept() {
    if (this.state !== 'incoming') return;
    const offer = this.#offer;
    this.tell('accept', offer ? { offer: true } : {});
    this.enter('connecting');
    if (offer) this.#description(offer);
  }

  /** Rejects an incoming call. `reason` is a code of the protocol, as in hangup(). */
  reject(reason = 'declined') {
    need(isText(reason), () => `reject takes a code such as "busy", not ${kind(reason)}`);
    if (this.state !== 'incoming') return;
    this.tell('reject', { reason });
    this.finish(reason);
  }

  /** Ends the call. `reason` is a code of the protocol. */
  hangup(reason = 'ended') {
    need(isText(reason), () => `hangup takes a code such as "ended", not ${kind(reason)}`);
    if (this.state === 'incoming') return this.reject();
    if (this.state === 'ended') return;
    this.tell('hangup', { reason });
    this.finish(reason);
  }

  /**
   * Sends our offer or answer, then the candidates that were waiting for it.
   * @param {Description | RTCSessionDescription} description
   */
  describe(description) {
    const { type, sdp } = description ?? {};
    need((type === 'offer' || type === 'answer') && isText(sdp), () => `describe takes an offer or an answer, { type, sdp }, not ${kind(description)}`);
    if (this.state === 'ended') return;
    this.tell(type, { type, sdp });
    this.#described = true;
    for (const candidate of this.#unsent.splice(0)) this.tell('candidate', candidate);
  }

  /**
   * Sends one of our candidates; null is the end of candidates.
   * @param {Candidate | null} candidate
   */
  addCandidate(candidate) {
    if (this.state === 'ended') return;
    const { sdpMid, sdpMLineIndex } = candidate ?? {};
    const data = { candidate: candidate?.candidate ?? '', sdpMid: sdpMid ?? '0', sdpMLineIndex: sdpMLineIndex ?? 0 };
    if (this.#described) this.tell('candidate', data);
    else if (this.#unsent.length < this.#calls.limits.early) this.#unsent.push(data);
  }

  connected() { if (this.state === 'connecting') this.enter('active'); }

  /** @param {string} reason */
  failed(reason) { this.hangup(reason); }

  /** @param {string} address */
  isWith(address) {
    return this.remote === address || (!this.remote.includes('|') && this.remote === userOf(address));
  }

  // ── For Calls ──

  /**
   * Sends the init, with our offer if there is one.
   * @param {Description | null} offer
   */
  init(offer) {
    this.#offer = offer;
    this.#described = Boolean(offer);
    this.tell('init', offer ? { ...this.data, offer } : this.data);
  }

  /**
   * Handles a message from the remote. Ignores what does not fit the state.
   * @param {string} verb
   * @param {Record<string, any>} data
   */
  receive(verb, data) {
    const agreed = this.state === 'connecting' || this.state === 'active';
    if (verb === 'accept' && this.state === 'ringing') {
      this.held = null;
      this.enter('connecting');
      // A callee that uses the init's offer answers it now.
      if (!this.#offer || data.offer !== true) this.emit('accepted');
    } else if (verb === 'reject' && this.outgoing) {
      const { held } = this;
      if (held && data.reason === 'busy') {
        this.held = null;
        this.finish('glare');
        this.#calls.take(held, true);
      } else this.finish(codeOf(data, 'declined'), { remote: true, message: messageOf(data) });
    } else if (verb === 'hangup') this.finish(codeOf(data, 'ended'), { remote: true, message: messageOf(data) });
    else if ((verb === 'offer' && agreed) || (verb === 'answer' && agreed && this.#described)) {
      if (typeof data.sdp === 'string') this.#description({ type: verb, sdp: data.sdp });
    } else if (verb === 'candidate' && typeof data.candidate === 'string') {
      this.#candidate(candidateOf(/** @type {Candidate & { candidate: string }} */ (data)));
    }
  }

  /** @param {Description} description */
  #description(description) {
    this.#remoteDescribed = true;
    this.emit('description', description);
    for (const candidate of this.#early.splice(0)) this.emit('candidate', candidate);
  }

  /** @param {Candidate | null} candidate */
  #candidate(candidate) {
    if (this.#remoteDescribed) this.emit('candidate', candidate);
    else if (this.#early.length < this.#calls.limits.early) this.#early.push(candidate);
  }

  /**
   * The remote is at this address now.
   * @param {string} address
   */
  moved(address) {
    this.remote = address;
    if (this.gone) {
      this.gone = false;
      this.#wait(null);
    }
    return this;
  }

  /** Signalling is lost on either side; connected media may continue for a while. */
  unreachable({ remote = false } = {}) {
    if (this.state !== 'active') return this.finish('offline', { remote });
    if (this.gone) return;
    this.gone = true;
    this.#wait(this.#calls.limits.resume, () => this.finish('offline', { remote }));
  }

  /** Sends our new address to the remote, in an end of candidates: it carries nothing but the call's id. */
  greet() {
    this.tell('candidate', { candidate: '', sdpMid: '0', sdpMLineIndex: 0 });
  }

  /**
   * @param {string} verb
   * @param {Record<string, unknown>} [data]
   */
  tell(verb, data = {}) {
    this.#calls.send({ type: 'message', to: this.remote, subtype: `call:${verb}`, call: this.wire, data });
  }

  /** @param {CallState} state */
  enter(state) {
    this.state = state;
    const { ring, connect } = this.#calls.limits;
    if (state === 'ringing') this.#wait(ring, () => this.hangup('timeout'));
    else if (state === 'incoming') this.#wait(ring, () => this.reject('timeout'));
    else if (state === 'connecting') this.#wait(connect, () => this.hangup('ice-failed'));
    else this.#wait(null);
    this.emit('state', state);
  }

  /**
   * `message`: the other side's text for the code.
   * @param {string} reason
   */
  finish(reason, { remote = false, message = '' } = {}) {
    if (this.state === 'ended') return;
    Object.assign(this, { reason, message, endedByRemote: remote });
    if (this.held) this.#calls.refuse(this.held, 'declined');
    this.held = null;
    this.enter('ended');
    this.#calls.forget(this);
    this.emit('ended', this);
  }

  /**
   * @param {number | null} ms
   * @param {() => void} [run]
   */
  #wait(ms, run) {
    this.#calls.clock.cancel(this.#timer);
    if (ms !== null && run) this.#timer = this.#calls.clock.after(ms, run);
  }
}

/**
 * Returns the offer, if it is one: any other value of that name in an init belongs to the application.
 * @param {any} offer
 * @returns {Description | null}
 */
const offerOf = (offer) => (offer?.type === 'offer' && isText(offer.sdp) ? { type: 'offer', sdp: offer.sdp } : null);

/**
 * Compares addresses by their UTF-8 bytes; JavaScript's `<` compares UTF-16 code units.
 * @param {string} a
 * @param {string} b
 */
export function compareBytes(a, b) {
  const [x, y] = [a, b].map((text) => new TextEncoder().encode(text));
  for (let i = 0; i < Math.min(x.length, y.length); i += 1) if (x[i] !== y[i]) return x[i] - y[i];
  return x.length - y.length;
}

/**
 * Converts a candidate for RTCPeerConnection; null is the end of candidates.
 * @param {Candidate & { candidate: string }} data as received
 * @returns {Candidate | null}
 */
export function candidateOf({ candidate, sdpMid, sdpMLineIndex }) {
  const line = candidate.replace(/^a=/, '').trim();
  if (!line) return null;
  /** @type {Candidate} */
  const init = { candidate: line };
  if (typeof sdpMid === 'string') init.sdpMid = sdpMid;
  if (typeof sdpMLineIndex === 'number' && Number.isInteger(sdpMLineIndex)) init.sdpMLineIndex = sdpMLineIndex;
  if (init.sdpMid === undefined && init.sdpMLineIndex === undefined) init.sdpMLineIndex = 0;
  return init;
}

/** @type {(data: Record<string, any>, otherwise: string) => string} */
const codeOf = ({ reason }, otherwise) => {
  // The published browser client ends a call with this code.
  if (reason === 'hangup') return 'ended';
  return typeof reason === 'string' && reason ? reason.slice(0, 64) : otherwise;
};
/** @type {(data: Record<string, any>) => string} */
const messageOf = ({ message }) => (typeof message === 'string' ? message.slice(0, 240) : '');
