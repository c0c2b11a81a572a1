// A relay between a viewer and the camera: it forwards their signalling, so that a test sees everything. Optionally it
// also forwards their datagrams, and can lose some of them, or change the port that they come from.

import { createSocket } from 'node:dgram';
import { WebSocket, WebSocketServer } from 'ws';

/** Forwards what viewers and the camera at `host`:`port` send each other. */
export class SignallingRelay {
  /** All messages, the oldest first: { by: 'viewer' or 'camera', …the message }. */
  messages = [];

  static async start(s, { host, port }, { relay = false } = {}) {
    const between = new SignallingRelay();
    if (relay) between.relay = await Relay.start(s, { host, port });
    between.server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await new Promise((done) => between.server.once('listening', done));
    between.url = `ws://127.0.0.1:${between.server.address().port}/`;
    between.server.on('connection', (viewer) => between.#join(viewer, new WebSocket(`ws://${host}:${port}/`)));
    s.tells('signalling', () => between.messages.map(trimmed));
    s.after(() => {
      between.server.clients.forEach((client) => client.terminate());
      between.server.close();
    });
    return between;
  }

  #join(viewer, camera) {
    const early = [];
    const pass = (by, to) => (text) => {
      const message = this.#rewrite(by, JSON.parse(text));
      if (!message) return;
      if (message.subtype?.startsWith('call:')) this.messages.push({ by, at: performance.now(), ...message });
      if (to.readyState === WebSocket.CONNECTING) early.push(JSON.stringify(message));
      else to.send(JSON.stringify(message));
    };
    viewer.on('message', pass('viewer', camera)).on('close', () => camera.terminate()).on('error', () => {});
    camera.on('message', pass('camera', viewer)).on('close', () => viewer.close()).on('error', () => viewer.close());
    camera.on('open', () => early.splice(0).forEach((text) => camera.send(text)));
  }

  /** Replaces the candidates of either side by the relay. */
  #rewrite(by, message) {
    const { data } = message;
    if (!this.relay || !data || typeof data !== 'object') return message;
    // An init may bring an offer.
    for (const described of [data, data.offer].filter((one) => typeof one?.sdp === 'string')) {
      const lines = described.sdp.split(/\r?\n/).map((line) => (line.startsWith('a=candidate:') ? this.relay.candidate(by, line) : line));
      described.sdp = lines.filter((line) => line !== undefined).join('\r\n');
    }
    if (message.subtype === 'call:candidate' && data.candidate) {
      data.candidate = this.relay.candidate(by, data.candidate);
      if (data.candidate === undefined) return undefined;
    }
    return message;
  }

  /** The last message of a kind: `last('camera', 'call:answer')`. */
  last(by, subtype) { return this.messages.findLast((message) => message.by === by && message.subtype === subtype); }
}

/** A message in one line, for failures. */
function trimmed({ by, subtype, data }) {
  const words = typeof data?.sdp === 'string' ? data.sdp.trim().split(/\r?\n/).join(' ; ') : JSON.stringify(data);
  return `${by} ${subtype} ${words}`;
}

const LATE = 30; // ms: a video frame of 30 fps, and some audio

/** The id that a STUN request and its response share (RFC 8489, 5). */
const transaction = (datagram) => datagram.toString('hex', 8, 20);

/** Forwards datagrams between a camera and its viewers; each sender has a port of its own. */
class Relay {
  /** The share of the camera's datagrams that do not arrive, and of the viewers'. */
  loss = 0;
  lossBack = 0;
  /** The share of the camera's datagrams that arrive `LATE` ms after those behind them, and of the viewers'. */
  late = 0;
  lateBack = 0;
  /** How long all datagrams take, each way, in ms. */
  delay = 0;
  /** The number of the camera's datagrams that did not arrive, did, and did late. */
  lost = 0;
  passed = 0;
  overtaken = 0;
  /** The same of the viewers'. */
  lostBack = 0;
  passedBack = 0;
  /** The size of the camera's largest datagram, in bytes. */
  largest = 0;
  /** Whether the viewer sent an ICE check from a new port, and whether it answered the camera's check there. */
  checked = false;
  proven = false;
  /** The number of media datagrams that the camera sent to a port that is dead, although the new one was proven. */
  astray = 0;
  #senders = new Map();
  #old = [];
  #asked = new Set(); // the transactions of the camera's checks to new ports
  #random = 1;

  static async start(s, camera) {
    const relay = new Relay();
    Object.assign(relay, { camera, socket: createSocket('udp4'), open: true });
    relay.socket.on('message', (datagram, { address, port }) => relay.#out(`${address} ${port}`, datagram));
    await new Promise((done) => relay.socket.bind(0, camera.host, done));
    s.after(() => {
      relay.open = false;
      relay.socket.close();
      [...relay.#senders.values(), ...relay.#old].forEach((sender) => sender.close());
    });
    return relay;
  }

  /** The camera's candidate, replaced by this relay; the viewer's is not forwarded: the camera learns it from its checks. */
  candidate(by, line) {
    const parts = line.split(' ');
    if (by === 'viewer' || parts[2].toLowerCase() !== 'udp' || parts[4] !== this.camera.host) return undefined;
    return [...parts.slice(0, 5), this.socket.address().port, ...parts.slice(6)].join(' ');
  }

  #out(key, datagram) {
    if (!this.#senders.has(key)) this.#senders.set(key, this.#sender(key));
    if (this.#chance() < this.lossBack) return this.lostBack++;
    this.passedBack++;
    // STUN has 0 to 3 in its first byte (RFC 7983); a Binding success response is 0x0101 (RFC 8489, 5).
    if (this.#old.length && datagram[0] < 4) {
      this.checked = true;
      this.proven ||= datagram.readUInt16BE(0) === 0x0101 && this.#asked.has(transaction(datagram));
    }
    const sender = this.#senders.get(key);
    return this.#pass(() => sender.send(datagram, this.camera.port, this.camera.host, () => {}), this.lateBack);
  }

  /** Sends after the delay, or some later than that. Returns whether it is overtaken. */
  #pass(send, late) {
    const overtaken = this.#chance() < late;
    const ms = this.delay + (overtaken ? LATE : 0);
    // The relay may be closed by then.
    if (ms) setTimeout(() => this.open && send(), ms);
    else send();
    return overtaken;
  }

  #sender(key) {
    const [address, port] = key.split(' ');
    const sender = createSocket('udp4');
    sender.on('message', (datagram) => {
      this.largest = Math.max(this.largest, datagram.length);
      if (this.#old.length && datagram.readUInt16BE(0) === 0x0001) this.#asked.add(transaction(datagram));
      if (this.#chance() < this.loss) return this.lost++;
      this.passed++;
      if (this.#pass(() => this.socket.send(datagram, Number(port), address, () => {}), this.late)) this.overtaken++;
      return undefined;
    });
    sender.bind(0, this.camera.host);
    return sender;
  }

  // The same in every run: a linear congruential generator, with the constants of rand() in POSIX.
  #chance() {
    this.#random = (Math.imul(this.#random, 1103515245) + 12345) & 0x7fffffff;
    return this.#random / 0x80000000;
  }

  /** From now on viewers' datagrams come from other ports, and the old ones are dead, as after a NAT rebinding. */
  rebind() {
    for (const [key, sender] of this.#senders) {
      this.#old.push(sender);
      // Media has 128 to 191 in its first byte.
      sender.removeAllListeners('message').on('message', ([first]) => this.proven && first >> 6 === 2 && this.astray++);
      this.#senders.set(key, this.#sender(key));
    }
  }
}
