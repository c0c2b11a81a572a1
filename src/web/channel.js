// Commands to the peer of a call by its data channel `symple`, which needs no server once it is open.
//
// Text messages are those of the server's connection; a reply has the id of its command. The reply to a snapshot is
// followed by its bytes, in binary messages.

import { clock as realClock, has, isObject, kind, need, randomId } from './events.js';

/**
 * @typedef {import('./client.js').Frame} Frame
 * @typedef {{ node?: string, action?: string, data?: unknown }} Command
 * @typedef {{ timeout?: number, progress?: (frame: Frame) => void }} Options
 *
 * Who waits for a reply.
 * @typedef {{ progress?: (frame: Frame) => void, done: (frame: Frame) => void, fail: (error: Error) => void }} Waiter
 *
 * The snapshot that is being received.
 * @typedef {{ type: string, missing: number, parts: ArrayBuffer[], done: (blob: Blob) => void, fail: (error: Error) => void }} Picture
 */

const LABEL = 'symple';
const PROTOCOL = 'symple/4';
/** What may wait to be sent, in bytes; with more, commands go by the server again. */
const QUEUE = 64 * 1024;
/** The largest snapshot that is taken, in bytes: twice that of the largest sensors. */
const LARGEST = 32 * 1024 * 1024;
/** How long a snapshot may take, in ms: the camera's source may have to open its encoder first. */
const PATIENCE = 8000;

/**
 * Opens the channel in a connection; its next offer has the section for it.
 * @param {RTCPeerConnection} connection
 */
export const open = (connection) => connection.createDataChannel(LABEL, { protocol: PROTOCOL });

export class Channel {
  #channel;
  #clock;
  /** @type {Map<string, Waiter>} by the id of the command */
  #waiters = new Map();
  /** @type {Picture | null} */
  #picture = null;

  /**
   * @param {RTCDataChannel} channel
   * @param {{ clock?: import('./events.js').Clock }} [options]
   */
  constructor(channel, { clock = realClock } = {}) {
    need(has(channel, 'send', 'close'), () => `Channel takes an RTCDataChannel, not ${kind(channel)}`);
    this.#channel = channel;
    this.#clock = clock;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => (typeof data === 'string' ? this.#text(data) : this.#bytes(data));
    channel.onclose = () => this.#fail('The call\'s channel is closed');
  }

  /** Whether commands can be sent now. */
  get open() { return this.#channel.readyState === 'open' && this.#channel.bufferedAmount < QUEUE; }

  /**
   * Sends a command; resolves with its reply. 202 means "working on it" and goes to `progress`.
   * @param {Command} command
   * @param {Options} [options]
   * @returns {Promise<Frame>}
   */
  command({ node, action, data }, { timeout = 10000, progress } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.open) return reject(new Error('The call\'s channel is not open'));
      const id = randomId();
      this.#channel.send(JSON.stringify({ type: 'command', id, node, action, data }));
      const timer = this.#clock.after(timeout, () => this.#waiters.get(id)?.fail(new Error('No answer in time')));
      /** @type {<Value>(settle: (value: Value) => void) => (value: Value) => void} */
      const ends = (settle) => (value) => {
        this.#clock.cancel(timer);
        this.#waiters.delete(id);
        settle(value);
      };
      this.#waiters.set(id, { progress, done: ends(resolve), fail: ends(reject) });
    });
  }

  /**
   * The camera's newest frame as a JPEG of its own, in full size.
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<Blob>}
   */
  async snapshot({ timeout = PATIENCE } = {}) {
    if (this.#picture) throw new Error('Another snapshot is being received');
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeout, () => picture.fail(new Error('No snapshot in time')));
      /** @type {<Value>(settle: (value: Value) => void) => (value: Value) => void} */
      const ends = (settle) => (value) => {
        this.#clock.cancel(timer);
        if (this.#picture === picture) this.#picture = null;
        settle(value);
      };
      /** @type {Picture} */
      const picture = this.#picture = { type: '', missing: 0, parts: [], done: ends(resolve), fail: ends(reject) };
      this.command({ node: 'camera:snapshot', action: 'take' }, { timeout }).then(({ status, data }) => {
        if (status !== 200) picture.fail(new Error(data?.message ?? 'The camera makes no snapshots'));
      }, picture.fail);
    });
  }

  /** The call has ended: nobody waits any more. */
  close() {
    this.#channel.close();
    this.#fail('The call has ended');
  }

  /** @param {string} text */
  #text(text) {
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    if (!isObject(frame) || frame.type !== 'command' || frame.status === undefined) return;
    const waiter = this.#waiters.get(frame.id);
    if (!waiter) return;
    if (frame.status === 202) return waiter.progress?.(frame);
    // Its bytes follow, perhaps before anybody could look at the reply.
    if (frame.node === 'camera:snapshot' && frame.status === 200) this.#announced(frame.data);
    waiter.done(frame);
  }

  /** @param {any} data of the reply */
  #announced(data) {
    const picture = this.#picture;
    if (!picture) return;
    const { type, bytes } = isObject(data) ? data : {};
    if (type !== 'image/jpeg' || !Number.isSafeInteger(bytes) || bytes <= 0 || bytes > LARGEST) {
      return picture.fail(new Error('The camera sent no JPEG'));
    }
    Object.assign(picture, { type, missing: bytes });
  }

  /** @param {ArrayBuffer} data */
  #bytes(data) {
    const picture = this.#picture;
    if (!picture?.missing) return;
    picture.missing -= data.byteLength;
    picture.parts.push(data);
    if (picture.missing === 0) picture.done(new Blob(picture.parts, { type: picture.type }));
    else if (picture.missing < 0) picture.fail(new Error('The camera sent more than the snapshot'));
  }

  /** @param {string} why */
  #fail(why) {
    for (const waiter of this.#waiters.values()) waiter.fail(new Error(why));
    this.#picture?.fail(new Error(why));
  }
}

/** Sends commands by the channel of a call with their peer where one is open, else by the server, as a Client does. */
export class Commands {
  #client;
  #channelTo;
  /** @type {string | null} as the server knew it last */
  #address = null;

  /**
   * @param {import('./client.js').Client} client
   * @param {(to: string) => Channel | null} channelTo returns the channel of the call with this peer
   */
  constructor(client, channelTo) {
    this.#client = client;
    this.#channelTo = channelTo;
  }

  /** Our own address; while the server is away, the last one. */
  get address() { return this.#address = this.#client.address ?? this.#address; }

  /**
   * Whether there is a way to this peer.
   * @param {string} to
   */
  reaches(to) { return this.#client.online || Boolean(this.#channelTo(to)?.open); }

  /**
   * @param {string} to
   * @param {Command} command
   * @param {Options} [options]
   * @returns {Promise<Frame>}
   */
  command(to, command, options) {
    const channel = this.#channelTo(to);
    return channel?.open ? channel.command(command, options) : this.#client.command(to, command, options);
  }
}
