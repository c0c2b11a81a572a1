// A Symple v4 client over a WebSocket, that comes back by itself.
//
//   idle ─connect()→ connecting → online ─loss→ waiting → connecting → …
//                        └──── 401 ────→ denied: nothing more until connect() is called again
//
// Events: state(state, detail), welcome(frame), message, presence, command, event, other (any frame
// of these types; what we do not know is "other"), error({ status, message }). Presences that come together
// in one frame are one event each.

import { Emitter, clock as realClock, isObject, randomId } from './events.js';
import { Roster } from './roster.js';

export const LIMITS = {
  beat: 4000, // ms of silence before a heartbeat; with `answer` a dead server is noticed in 8 s
  answer: 4000, // ms a heartbeat waits for any frame
  open: 8000, // ms for the socket to open
  welcome: 15000, // ms from auth to welcome; a host may ask elsewhere before it admits
  firstDelay: 500, // ms; doubled at every attempt
  lastDelay: 4000, // somebody looks at the page: the picture is back within 5 s of its server
  stable: 5000, // ms online after which the delays start over
  rate: 80, // messages a second; the server's own limit is 100
  burst: 200, // the server's is 500
  queue: 2000, // messages that wait for their turn; more is a mistake of the page
};

export class Client extends Emitter {
  /**
   * `url`, `user` and optionally `name`, `token`, `rooms`, `data` (what presence tells of us);
   * `WebSocket`, `clock` and `limits` for tests.
   */
  constructor({ url, user, name, token, rooms = [], data = {}, limits = {}, clock = realClock, ...more }) {
    super();
    Object.assign(this, { url, user, name, token, data, clock });
    this.limits = { ...LIMITS, ...limits };
    this.WebSocket = more.WebSocket ?? globalThis.WebSocket;
    this.roster = new Roster();
    this.state = 'idle';
    this.peer = null;
    this.rooms = new Set(rooms); // what we want to be in, over reconnects
    this.joined = new Set(); // what the server says we are in
    this.attempt = 0;
    this.timers = {};
    this.#forget();
  }

  #socket = null;
  #waiters = []; // join() and leave() not answered yet
  #asked = []; // the joins and leaves on the wire, heartbeats among them, in order
  #replies = new Map(); // message id → who waits for its command reply or receipt
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
    if (this.state === 'waiting') this.#open();
    else if (this.online && !this.timers.answer) this.#beat();
  }

  /** Sends a frame when its turn comes. Returns its id, or null when we are not online. */
  send(message) {
    if (!this.online) return null;
    if (this.#queue.length >= this.limits.queue) throw new Error('More messages than the server takes');
    const id = message.id ?? randomId();
    this.#queue.push({ ...message, id });
    this.#drain();
    return id;
  }

  /** Sends, and resolves with the server's receipt: { status, delivered }. */
  deliver(message, timeout = 5000) { return this.#ask({ ...message, receipt: true }, timeout); }

  /** Sends a command; resolves with its reply. 202 means "working on it" and goes to `progress`. */
  command(to, { node, action, data }, { timeout = 10000, progress } = {}) {
    return this.#ask({ type: 'command', to, node, action, data }, timeout, progress);
  }

  respond({ id, from, node, action }, { status = 200, data } = {}) {
    return this.send({ type: 'command', id, to: from, node, action, status, data });
  }

  /** Joins a room, now and after every reconnect; resolves when the server says so. */
  join(room) {
    this.rooms.add(room);
    return this.#room('join', room);
  }

  leave(room) {
    this.rooms.delete(room);
    return this.online ? this.#room('leave', room) : Promise.resolve();
  }

  /** Changes what others know of us. */
  present(data = {}) {
    const { name = this.name, ...rest } = data;
    this.name = name;
    Object.assign(this.data, rest);
    this.send(this.#presence());
  }

  #presence(more = {}) {
    return { type: 'presence', data: { ...this.data, ...(this.name && { name: this.name }) }, ...more };
  }

  // ── The connection ──

  #open() {
    this.#cancel('retry');
    this.#enter('connecting');
    this.opened = false; // whether this attempt got a WebSocket
    const socket = this.#socket = new this.WebSocket(this.url);
    const mine = (run) => (event) => { if (this.#socket === socket) run(event); };
    this.#after('deadline', this.limits.open, () => this.#lost('The server does not answer'));
    socket.onopen = mine(() => {
      this.opened = true;
      const { user, name, token, data } = this;
      const accept = ['presence:batch'];
      this.#write({ type: 'auth', user, name, token: token || undefined, rooms: [...this.rooms], data, accept });
      this.#after('deadline', this.limits.welcome, () => this.#lost('The server does not let us in'));
    });
    socket.onmessage = mine(({ data }) => this.#frame(data));
    socket.onclose = mine(({ code, reason }) => this.#lost(reason || this.lastError?.message, code));
  }

  /** Lets go of the socket without waiting: a close handshake with a dead server takes long. */
  #drop(why) {
    const socket = this.#socket;
    this.#socket = null;
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

  #lost(reason = 'The server is not reachable', code = null) {
    if (this.online && this.clock.now() - this.since >= this.limits.stable) this.attempt = 0;
    this.#drop(reason);
    const delay = nextDelay(this.attempt++, this.clock.random(), this.limits);
    this.#after('retry', delay, () => this.#open());
    this.#enter('waiting', { reason, code, delay, opened: this.opened });
  }

  #enter(state, detail = {}) {
    this.state = state;
    this.since = this.clock.now();
    this.emit('state', state, detail);
  }

  // ── Frames ──

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

  #welcome(frame) {
    if (!isObject(frame.peer) || typeof frame.peer.id !== 'string') return;
    this.#cancel('deadline');
    this.peer = { user: this.user, ...frame.peer };
    this.joined = new Set(Array.isArray(frame.rooms) ? frame.rooms : []);
    this.lastError = null;
    this.#enter('online');
    for (const room of this.rooms) if (!this.joined.has(room)) this.send({ type: 'join', room });
    for (const waiter of this.#waiters.filter(({ room }) => this.joined.has(room))) this.#settle(waiter);
    this.send(this.#presence({ probe: true }));
    this.#listen();
    this.emit('welcome', frame);
  }

  #presenceCame(frame) {
    this.roster.handle(frame, this.address);
    // An answer carries no probe, so answers are never answered.
    if (frame.probe === true && typeof frame.from === 'string') this.send(this.#presence({ to: frame.from }));
    this.emit('presence', frame);
  }

  #error({ status, message }) {
    const error = { status, message: typeof message === 'string' ? message : 'The server reports an error' };
    this.lastError = error;
    if (status === 401) {
      this.#drop(error.message);
      this.#enter('denied', { reason: error.message });
    } else if (status === 403 && this.#asked.length) {
      // With dynamic rooms off a heartbeat is refused, which is as good a sign of life as any.
      const asked = this.#asked.shift();
      if (!asked.beat) this.#refused(asked, error);
      return;
    }
    this.emit('error', error);
  }

  // ── Rooms ──

  #room(type, room) {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ type, room, resolve, reject });
      this.send({ type, room });
    });
  }

  #answered(type, room) {
    const at = this.#asked.findIndex((asked) => asked.type === type && asked.room === room);
    if (at >= 0) this.#asked.splice(at, 1);
    if (type === 'join') this.joined.add(room);
    else this.joined.delete(room);
    for (const waiter of this.#waiters.filter((w) => w.type === type && w.room === room)) this.#settle(waiter);
  }

  #refused({ type, room }, error) {
    if (type === 'join') this.rooms.delete(room);
    const waiter = this.#waiters.find((w) => w.type === type && w.room === room);
    if (waiter) this.#settle(waiter, Object.assign(new Error(error.message), { status: error.status }));
    else this.emit('error', error);
  }

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

  #beat() {
    // A room we are in; else one that nobody else can know.
    const room = [...this.joined].find((name) => name !== this.peer.user) ?? this.peer.id;
    this.#asked.push({ type: 'join', room, beat: true });
    this.#write({ type: 'join', room });
    this.tokens -= 1;
    this.#after('answer', this.limits.answer, () => this.#lost('The server went silent'));
  }

  // ── Answers to what we asked ──

  #ask(message, timeout, progress) {
    return new Promise((resolve, reject) => {
      const id = this.send(message);
      if (id === null) return reject(new Error('Not connected'));
      const timer = this.clock.after(timeout, () => this.#replies.get(id).fail(new Error('No answer in time')));
      const done = (settle) => (value) => {
        this.clock.cancel(timer);
        this.#replies.delete(id);
        settle(value);
      };
      this.#replies.set(id, { type: message.receipt ? 'receipt' : 'command', to: message.to, progress, done: done(resolve), fail: done(reject) });
    });
  }

  #reply(frame) {
    const reply = this.#replies.get(frame.id);
    if (reply?.type !== frame.type) return false;
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
      const { id, ...message } = this.#queue.shift();
      const control = message.type === 'join' || message.type === 'leave';
      if (control) this.#asked.push(message);
      this.#write(control ? message : { id, ...message });
    }
    if (this.#queue.length && !this.timers.drain) {
      this.#after('drain', Math.ceil(((1 - this.tokens) / rate) * 1000), () => this.#drain());
    }
  }

  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  #after(name, ms, run) {
    this.#cancel(name);
    this.timers[name] = this.clock.after(ms, () => { delete this.timers[name]; run(); });
  }

  #cancel(name) {
    if (this.timers[name] === undefined) return;
    this.clock.cancel(this.timers[name]);
    delete this.timers[name];
  }
}

/** Milliseconds before reconnect number `attempt`: doubled each time, and half of it by chance. */
export function nextDelay(attempt, random, { firstDelay, lastDelay } = LIMITS) {
  const full = Math.min(lastDelay, firstDelay * 2 ** Math.min(attempt, 16));
  return full / 2 + (full / 2) * random;
}
