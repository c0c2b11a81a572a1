// A Symple v4 client over a WebSocket, that comes back by itself.
//
//   idle ─connect()→ connecting → online ─loss→ waiting → connecting → …
//                        └──── 401 ────→ denied: nothing more until connect() is called again
//
// Events: state(state, detail), welcome(frame), message, presence, command, event, other (any frame
// of these types; what we do not know is "other"), error({ status, message }). Presences that come together
// in one frame are one event each.

import { Emitter, clock as realClock, has, isObject, isText, kind, need, randomId } from './events.js';
import { LIMITS, nextDelay, patience, promptness } from './limits.js';
import { Roster } from './roster.js';

/**
 * A frame as it came: `type`, `from`, `data`, and whatever else its sender wrote.
 * @typedef {Record<string, any>} Frame
 *
 * A message to be sent; `id` is made where there is none.
 * @typedef {{ type: string, to?: string | string[], id?: string } & Record<string, any>} Message
 *
 * The connection; `waiting` is for the next attempt, `denied` for a token.
 * @typedef {'idle' | 'connecting' | 'online' | 'waiting' | 'denied'} ClientState
 *
 * Why a state was entered: `opened` says whether this attempt got a WebSocket, `delay` when the next comes, in ms.
 * @typedef {{ reason?: string, code?: number | null, delay?: number, opened?: boolean }} Detail
 *
 * @typedef {{ status?: number, message: string }} ServerError
 *
 * @typedef {object} ClientEvents
 * @property {[state: ClientState, detail: Detail]} state
 * @property {[frame: Frame]} welcome
 * @property {[frame: Frame]} message
 * @property {[frame: Frame]} presence
 * @property {[frame: Frame]} command
 * @property {[frame: Frame]} event
 * @property {[frame: Frame]} other
 * @property {[error: ServerError]} error
 *
 * @typedef {object} ClientOptions
 * @property {string | URL} url of the WebSocket
 * @property {string} user
 * @property {string} [name]
 * @property {string} [token]
 * @property {Iterable<string>} [rooms]
 * @property {Record<string, any>} [data] what presence tells of us
 * @property {Partial<typeof LIMITS>} [limits]
 * @property {import('./events.js').Clock} [clock] for tests
 * @property {any} [WebSocket] for tests, and where there is none
 * @property {(signal: AbortSignal) => Promise<boolean>} [knock] whether the server answers in another way, asked before a
 *   socket is tried again
 */

/** Knocks in a row that nobody answers, until a socket is tried all the same: something may let only those pass. */
const UNHEARD = 3;

/** @extends {Emitter<ClientEvents>} */
export class Client extends Emitter {
  /** @param {ClientOptions} options */
  constructor(options) {
    super(['state', 'welcome', 'message', 'presence', 'command', 'event', 'other', 'error']);
    check(options);
    const { url, user, name, token, rooms = [], data = {}, limits = {}, clock = realClock, knock } = options;
    this.url = String(url);
    this.user = user;
    this.name = name;
    this.token = token;
    this.data = data;
    this.clock = clock;
    this.knock = knock;
    this.limits = { ...LIMITS, ...limits };
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    need(typeof this.WebSocket === 'function', () => 'There is no WebSocket here; give the client one as WebSocket');
    this.roster = new Roster();
    /** @type {ClientState} */
    this.state = 'idle';
    /** @type {Frame & { user: string, id: string } | null} */
    this.peer = null;
    this.rooms = new Set(rooms); // what we want to be in, over reconnects
    /** @type {Set<string>} */
    this.joined = new Set(); // what the server says we are in
    this.attempt = 0;
    this.opened = false; // whether this attempt got a WebSocket
    this.since = 0; // when the state was entered
    this.heard = 0; // when a frame came last
    this.tokens = 0; // messages that may go at once
    this.filled = 0; // when they were counted
    /** @type {ServerError | null} */
    this.lastError = null;
    /** @type {Record<string, unknown>} */
    this.timers = {};
    this.#forget();
  }

  /** @type {WebSocket | null} */
  #socket = null;
  #hurry = 0; // until when the waits stay small
  #hung = 0; // sockets in a row that neither opened nor failed
  /** @type {number | null} ms that the last one took to open */
  #took = null;
  /** @type {AbortController | null} of the knock that is not answered yet */
  #knocking = null;
  #unheard = UNHEARD; // knocks in a row that nobody answered; the first socket needs none
  /** @type {Waiter[]} join() and leave() not answered yet */
  #waiters = [];
  /** @type {{ type: string, room: string, beat?: boolean }[]} the joins and leaves on the wire, heartbeats among them, in order */
  #asked = [];
  /** @type {Map<string, Reply>} message id → who waits for its command reply or receipt */
  #replies = new Map();
  /** @type {(Message & { id: string })[]} */
  #queue = [];

  get address() { return this.peer ? `${this.peer.user}|${this.peer.id}` : null; }
  get online() { return this.state === 'online'; }

  connect() {
    if (this.state === 'connecting' || this.state === 'online') return;
    this.#open();
  }

  close() {
    this.#write({ type: 'close' });
    this.#drop('closed');
    this.#enter('idle');
  }

  /** Looks at once whether the server is there: after sleep, or when the network changed. */
  check() {
    this.attempt = 0;
    this.#hurry = this.clock.now() + this.limits.hurry;
    if (this.state === 'connecting' && !this.opened) this.#drop('The network changed');
    if (this.state === 'waiting' || (this.state === 'connecting' && !this.opened)) this.#open();
    else if (this.online) this.#beat(promptness(this.#took, this.limits), 0);
  }

  /**
   * Sends a frame when its turn comes. Returns its id, or null when we are not online.
   * @param {Message} message
   * @returns {string | null}
   */
  send(message) {
    need(isObject(message) && isText(message.type), () => `send takes a message, an object with a type such as "message", not ${kind(message)}`);
    if (!this.online) return null;
    if (this.#queue.length >= this.limits.queue) throw new Error('More messages than the server takes');
    const id = message.id ?? randomId();
    this.#queue.push({ ...message, id });
    this.#drain();
    return id;
  }

  /**
   * Sends, and resolves with the server's receipt: { status, delivered }.
   * @param {Message} message
   * @returns {Promise<Frame>}
   */
  deliver(message, timeout = 5000) { return this.#ask({ ...message, receipt: true }, timeout); }

  /**
   * Sends a command; resolves with its reply. 202 means "working on it" and goes to `progress`.
   * @param {string} to
   * @param {{ node?: string, action?: string, data?: unknown }} command
   * @param {{ timeout?: number, progress?: (frame: Frame) => void }} [options]
   * @returns {Promise<Frame>}
   */
  command(to, command, { timeout = 10000, progress } = {}) {
    need(isText(to), () => `command is sent to a peer's address or a user, not to ${kind(to)}`);
    need(isObject(command), () => `command takes { node, action, data } after whom it is for, not ${kind(command)}`);
    const { node, action, data } = command;
    return this.#ask({ type: 'command', to, node, action, data }, timeout, progress);
  }

  /**
   * Answers a command that came.
   * @param {Frame} command
   * @param {{ status?: number, data?: unknown }} [answer]
   */
  respond(command, { status = 200, data } = {}) {
    need(isObject(command) && isText(command.from), () => `respond takes the command that came, not ${kind(command)}`);
    const { id, from, node, action } = command;
    return this.send({ type: 'command', id, to: from, node, action, status, data });
  }

  /**
   * Joins a room, now and after every reconnect; resolves when the server says so.
   * @param {string} room
   * @returns {Promise<void>}
   */
  join(room) {
    need(isText(room), () => `join takes the name of a room, not ${kind(room)}`);
    this.rooms.add(room);
    return this.#room('join', room);
  }

  /**
   * @param {string} room
   * @returns {Promise<void>}
   */
  leave(room) {
    need(isText(room), () => `leave takes the name of a room, not ${kind(room)}`);
    this.rooms.delete(room);
    return this.online ? this.#room('leave', room) : Promise.resolve();
  }

  /**
   * Changes what others know of us.
   * @param {Record<string, any>} [data]
   */
  present(data = {}) {
    need(isObject(data), () => `present takes an object of what others are told, not ${kind(data)}`);
    const { name = this.name, ...rest } = data;
    this.name = name;
    Object.assign(this.data, rest);
    this.send(this.#presence());
  }

  /** @returns {Message} */
  #presence(more = {}) {
    return { type: 'presence', data: { ...this.data, ...(this.name && { name: this.name }) }, ...more };
  }

  // ── The connection ──

  #open() {
    this.#cancel('retry');
    this.#enter('connecting');
    this.opened = false;
    this.#after('deadline', patience(this.#hung, this.#took, this.limits), () => {
      this.#hung += 1;
      if (this.#knocking) this.#unheard += 1;
      this.attempt = 0; // that was a wait already
      this.#lost('The server does not answer');
    });
    if (this.knock && this.#unheard < UNHEARD) this.#ring(this.knock);
    else this.#dial();
  }

  /**
   * Tries a socket once the server answers. Sockets that fail are not free: see patience().
   * @param {(signal: AbortSignal) => Promise<boolean>} knock
   */
  async #ring(knock) {
    const knocking = this.#knocking = new AbortController();
    const answers = await knock(knocking.signal).catch(() => false);
    if (this.#knocking !== knocking) return;
    this.#knocking = null;
    if (answers) return this.#dial();
    this.#unheard += 1;
    this.#lost();
  }

  #dial() {
    this.#unheard = 0;
    const began = this.clock.now();
    const socket = this.#socket = /** @type {WebSocket} */ (new this.WebSocket(this.url));
    /** @type {<Of>(run: (event: Of) => void) => (event: Of) => void} */
    const mine = (run) => (event) => { if (this.#socket === socket) run(event); };
    socket.onopen = mine(() => {
      this.opened = true;
      this.#hung = 0;
      this.#took = this.clock.now() - began;
      const { user, name, token, data } = this;
      const accept = ['presence:batch'];
      this.#write({ type: 'auth', user, name, token: token || undefined, rooms: [...this.rooms], data, accept });
      this.#after('deadline', this.limits.welcome, () => this.#lost('The server does not let us in'));
    });
    socket.onmessage = mine(({ data }) => this.#frame(data));
    socket.onclose = mine(({ code, reason }) => this.#lost(reason || this.lastError?.message, code));
  }

  /**
   * Lets go of the socket without waiting: a close handshake with a dead server takes long.
   * @param {string} why
   */
  #drop(why) {
    const socket = this.#socket;
    this.#socket = null;
    this.#knocking?.abort();
    this.#knocking = null;
    for (const name of Object.keys(this.timers)) this.#cancel(name);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      try { socket.close(); } catch { /* was never open */ }
    }
    this.#forget();
    for (const reply of this.#replies.values()) reply.fail(new Error(why));
    this.peer = null;
    this.roster.clear();
  }

  #forget() {
    this.#queue = [];
    this.#asked = [];
    this.joined.clear();
    this.tokens = this.limits.burst;
    this.filled = this.clock.now();
  }

  /**
   * @param {string} [reason]
   * @param {number | null} [code]
   * @param {number} [wait] ms until the next attempt, if not as ever
   */
  #lost(reason = 'The server is not reachable', code = null, wait) {
    if (this.online && this.clock.now() - this.since >= this.limits.stable) this.attempt = 0;
    this.#drop(reason);
    if (this.clock.now() < this.#hurry) this.attempt = 0;
    const delay = wait ?? nextDelay(this.attempt++, this.clock.random(), this.limits);
    this.#after('retry', delay, () => this.#open());
    this.#enter('waiting', { reason, code, delay, opened: this.opened });
  }

  /**
   * @param {ClientState} state
   * @param {Detail} detail
   */
  #enter(state, detail = {}) {
    this.state = state;
    this.since = this.clock.now();
    this.emit('state', state, detail);
  }

  // ── Frames ──

  /** @param {string} text */
  #frame(text) {
    this.heard = this.clock.now();
    this.#cancel('answer');
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    if (!isObject(frame)) return;
    if (!this.online) {
      if (frame.type === 'welcome') this.#welcome(frame);
      else if (frame.type === 'error') this.#error(frame);
      return;
    }
    switch (frame.type) {
      case 'error': return this.#error(frame);
      case 'join:ok': return this.#answered('join', frame.room);
      case 'leave:ok': return this.#answered('leave', frame.room);
      case 'receipt': return this.#reply(frame);
      case 'presence': return this.#presenceCame(frame);
      case 'presence:batch':
        if (!Array.isArray(frame.data)) return this.emit('other', frame);
        for (const one of frame.data) if (isObject(one) && one.type === 'presence') this.#presenceCame(one);
        return;
      case 'command':
        if (frame.status !== undefined && this.#reply(frame)) return;
        return this.emit('command', frame);
      case 'message':
      case 'event': return this.emit(frame.type, frame);
      default: return this.emit('other', frame);
    }
  }

  /** @param {Frame} frame */
  #welcome(frame) {
    if (!isObject(frame.peer) || typeof frame.peer.id !== 'string') return;
    this.#cancel('deadline');
    this.peer = { user: this.user, id: frame.peer.id, ...frame.peer };
    this.joined = new Set(Array.isArray(frame.rooms) ? frame.rooms : []);
    this.lastError = null;
    this.#enter('online');
    for (const room of this.rooms) if (!this.joined.has(room)) this.send({ type: 'join', room });
    for (const waiter of this.#waiters.filter(({ room }) => this.joined.has(room))) this.#settle(waiter);
    this.send(this.#presence({ probe: true }));
    this.#listen();
    this.emit('welcome', frame);
  }

  /** @param {Frame} frame */
  #presenceCame(frame) {
    this.roster.handle(frame, this.address);
    // An answer carries no probe, so answers are never answered.
    if (frame.probe === true && typeof frame.from === 'string') this.send(this.#presence({ to: frame.from }));
    this.emit('presence', frame);
  }

  /** @param {Frame} frame */
  #error({ status, message }) {
    const error = { status, message: typeof message === 'string' ? message : 'The server reports an error' };
    this.lastError = error;
    if (status === 401) {
      this.#drop(error.message);
      this.#enter('denied', { reason: error.message });
    } else if ((status === 403 || status === undefined) && this.#asked.length) {
      // With dynamic rooms off a heartbeat is refused, which is as good a sign of life as any. The Node.js server gives
      // that refusal no status, and only that.
      const asked = this.#asked.shift();
      if (asked && !asked.beat) this.#refused(asked, error);
      return;
    }
    this.emit('error', error);
  }

  // ── Rooms ──

  /**
   * @param {'join' | 'leave'} type
   * @param {string} room
   * @returns {Promise<void>}
   */
  #room(type, room) {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ type, room, resolve, reject });
      this.send({ type, room });
    });
  }

  /**
   * @param {'join' | 'leave'} type
   * @param {string} room
   */
  #answered(type, room) {
    const at = this.#asked.findIndex((asked) => asked.type === type && asked.room === room);
    if (at >= 0) this.#asked.splice(at, 1);
    if (type === 'join') this.joined.add(room);
    else this.joined.delete(room);
    for (const waiter of this.#waiters.filter((w) => w.type === type && w.room === room)) this.#settle(waiter);
  }

  /**
   * @param {{ type: string, room: string }} asked
   * @param {ServerError} error
   */
  #refused({ type, room }, error) {
    if (type === 'join') this.rooms.delete(room);
    const waiter = this.#waiters.find((w) => w.type === type && w.room === room);
    if (waiter) this.#settle(waiter, Object.assign(new Error(error.message), { status: error.status }));
    else this.emit('error', error);
  }

  /**
   * @param {Waiter} waiter
   * @param {Error} [error]
   */
  #settle(waiter, error) {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    if (error) waiter.reject(error);
    else waiter.resolve();
  }

  // ── Heartbeat: browsers hide pings, so an idempotent join asks for a frame ──

  #listen() {
    this.heard = this.clock.now();
    const look = () => {
      const quiet = this.clock.now() - this.heard;
      if (quiet >= this.limits.beat && !this.timers.answer) this.#beat();
      this.#after('beat', quiet >= this.limits.beat ? this.limits.beat : this.limits.beat - quiet, look);
    };
    this.#after('beat', this.limits.beat, look);
  }

  /**
   * @param {number} [answer] ms for an answer
   * @param {number} [wait] ms without one until the next attempt
   */
  #beat(answer = this.limits.answer, wait) {
    // A room we are in; else one that nobody else can know.
    const room = [...this.joined].find((name) => name !== this.peer?.user) ?? this.peer?.id ?? '';
    this.#asked.push({ type: 'join', room, beat: true });
    this.#write({ type: 'join', room });
    this.tokens -= 1;
    this.#after('answer', answer, () => this.#lost('The server went silent', null, wait));
  }

  // ── Answers to what we asked ──

  /**
   * @param {Message} message
   * @param {number} timeout
   * @param {(frame: Frame) => void} [progress]
   * @returns {Promise<Frame>}
   */
  #ask(message, timeout, progress) {
    return new Promise((resolve, reject) => {
      const id = this.send(message);
      if (id === null) return reject(new Error('Not connected'));
      const timer = this.clock.after(timeout, () => this.#replies.get(id)?.fail(new Error('No answer in time')));
      /** @type {<Value>(settle: (value: Value) => void) => (value: Value) => void} */
      const done = (settle) => (value) => {
        this.clock.cancel(timer);
        this.#replies.delete(id);
        settle(value);
      };
      this.#replies.set(id, { type: message.receipt ? 'receipt' : 'command', to: message.to, progress, done: done(resolve), fail: done(reject) });
    });
  }

  /** @param {Frame} frame */
  #reply(frame) {
    const reply = this.#replies.get(frame.id);
    if (!reply || reply.type !== frame.type) return false;
    // Only the session that was asked may answer.
    if (frame.type === 'command' && reply.to?.includes?.('|') && frame.from !== reply.to) return false;
    if (frame.status === 202) reply.progress?.(frame);
    else reply.done(frame);
    return true;
  }

  // ── Pacing: what is over the server's rate would be dropped, candidates too ──

  #drain() {
    const now = this.clock.now();
    const { rate, burst } = this.limits;
    this.tokens = Math.min(burst, this.tokens + ((now - this.filled) / 1000) * rate);
    this.filled = now;
    while (this.#queue.length && this.tokens >= 1) {
      this.tokens -= 1;
      const { id, ...message } = /** @type {Message & { id: string }} */ (this.#queue.shift());
      const control = message.type === 'join' || message.type === 'leave';
      if (control) this.#asked.push(/** @type {{ type: string, room: string }} */ (/** @type {unknown} */ (message)));
      this.#write(control ? message : { id, ...message });
    }
    if (this.#queue.length && !this.timers.drain) {
      this.#after('drain', Math.ceil(((1 - this.tokens) / rate) * 1000), () => this.#drain());
    }
  }

  /** @param {Record<string, unknown>} frame */
  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /**
   * @param {string} name
   * @param {number} ms
   * @param {() => void} run
   */
  #after(name, ms, run) {
    this.#cancel(name);
    this.timers[name] = this.clock.after(ms, () => { delete this.timers[name]; run(); });
  }

  /** @param {string} name */
  #cancel(name) {
    if (this.timers[name] === undefined) return;
    this.clock.cancel(this.timers[name]);
    delete this.timers[name];
  }
}

/**
 * Who waits for a join or a leave, and for an answer.
 * @typedef {{ type: string, room: string, resolve: () => void, reject: (error: Error) => void }} Waiter
 * @typedef {{ type: string, to?: string | string[], progress?: (frame: Frame) => void, done: (frame: Frame) => void, fail: (error: Error) => void }} Reply
 */

/**
 * Refuses what no client can be made of.
 * @param {ClientOptions} options
 */
function check(options) {
  need(isObject(options), () => `Client takes { url, user }, and more; not ${kind(options)}`);
  const { url, user, name, token, rooms, data, limits, clock, knock } = options;
  need(/^wss?:/i.test(String(url)), () => `url must be a WebSocket's address, which begins with ws: or wss:, not ${kind(url)}`);
  need(isText(user), () => `user must be the name by which others reach us, not ${kind(user)}`);
  need(!user.includes('|'), () => `user must not contain |, which separates it from the session: ${kind(user)}`);
  for (const [key, text] of Object.entries({ name, token })) {
    need(text === undefined || typeof text === 'string', () => `${key} must be a string, not ${kind(text)}`);
  }
  need(rooms === undefined || (typeof rooms !== 'string' && has(rooms, 'forEach')), () => `rooms must be a list of names, not ${kind(rooms)}`);
  need(knock === undefined || typeof knock === 'function', () => `knock must be a function that tells whether the server answers, not ${kind(knock)}`);
  need(data === undefined || isObject(data), () => `data must be an object of what others are told, not ${kind(data)}`);
  need(limits === undefined || isObject(limits), () => `limits must be an object, not ${kind(limits)}`);
  const unknown = Object.keys(limits ?? {}).find((key) => !Object.hasOwn(LIMITS, key));
  need(unknown === undefined, () => `There is no limit "${unknown}"; the limits are ${Object.keys(LIMITS).join(', ')}`);
  need(clock === undefined || has(clock, 'now', 'after', 'cancel', 'random'), () => `clock must have now, after, cancel and random, as that of events.js; not ${kind(clock)}`);
}
