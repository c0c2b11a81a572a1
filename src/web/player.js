// One call's media: a peer connection that receives, or sends and receives, and what it measures.
//
// Events: state(state): connecting → playing ⇄ stalled → ended; stats(stats) every second;
// picture(ms since the player was made), once; sound(muted), when the browser forced silence.

import { Channel, open } from './channel.js';
import { Delays, askCaptureTime, capturedAt } from './delays.js';
import { Emitter, has, isObject, kind, need } from './events.js';
import { fit, publish, sentOf } from './publish.js';
import { routeOf } from './route.js';
import { StuckTracks, receives } from './stuck.js';

/**
 * @typedef {'connecting' | 'playing' | 'stalled' | 'ended'} PlayerState
 *
 * What was measured in the last second; null where nothing was.
 * @typedef {object} Stats
 * @property {PlayerState} state
 * @property {number} width
 * @property {number} height
 * @property {number | null} fps
 * @property {number | null} bitrate bit/s
 * @property {number | null} videoBitrate bit/s, the part of `bitrate` that is received video
 * @property {number | null} rtt ms
 * @property {string | null} codec
 * @property {number | null} loss 0 to 1, of this interval
 * @property {number | null} delay ms from a frame's first packet to its decoding
 * @property {import('./delays.js').Parts | null} delays from a frame's capture to the screen, by part; where the browser tells
 * @property {import('./route.js').Route | null} route which way media takes
 * @property {number} lost packets, in all
 * @property {number} frames decoded, in all
 *
 * @typedef {object} PlayerEvents
 * @property {[state: PlayerState]} state
 * @property {[stats: Stats]} stats
 * @property {[ms: number]} picture
 * @property {[muted: boolean]} sound
 * @property {[state: RTCPeerConnectionState]} path
 *
 * @typedef {object} PlayerOptions
 * @property {import('./call.js').Call} call
 * @property {HTMLVideoElement} video
 * @property {RTCIceServer[]} [iceServers]
 * @property {MediaStream | null} [stream] our own, where we send too
 * @property {import('./prepared.js').Prepared | null} [prepared] a connection with its offer, for a call that only receives
 * @property {boolean} [publishes] whether our stream is sent, in several encodings, and nothing is received
 * @property {boolean} [commands] whether the call that we make has a channel for commands
 *
 * @typedef {{ now: number, bytes: number, frames: number, media: number, lost: number, received: number, processing: number, buffered: number, emitted: number, decoding: number, seen: number, moved: number, fresh: number }} Counters
 */

const INTERVAL = 1000; // ms between measurements
const LOOK = 250; // ms between looks at whether frames come
const STALLED = 1000; // ms without a frame before we say so; without video, 2 measurements without sound
const CROSSING = 5000; // ms after which an offer that nobody answered counts as lost on its way
const DEAD = 8000; // ms without a byte on a disconnected path before we give up; ICE itself takes longer

/** @extends {Emitter<PlayerEvents>} */
export class Player extends Emitter {
  #connection;
  #prepared;
  #commands;
  /** @type {Promise<void>} descriptions and candidates are applied one after another */
  #work = Promise.resolve();
  #timer;
  #looking;
  /** @type {number | null} */
  #looked = null;
  /** @type {number | null} when a frame was shown last, as the browser tells of each */
  #shown = null;
  /** @type {Counters | null} */
  #last = null;
  #delays = new Delays();
  #due = false; // what we send changed while an offer was open: another follows
  #offered = 0; // when our open offer was made
  #stuck = new StuckTracks();
  #rolledBack = false; // an offer of ours gave way, and a track may be stuck
  /** @type {RTCRtpTransceiver | null} receives nothing for a moment, so that its track is unmuted */
  #paused = null;

  /** @param {PlayerOptions} options */
  constructor(options) {
    super(['state', 'stats', 'picture', 'sound', 'path']);
    need(isObject(options), () => `Player takes { call, video }, not ${kind(options)}`);
    const { call, video, iceServers = [], stream = null, prepared = null, publishes = false, commands = false } = options;
    need(has(call, 'describe', 'on'), () => `call must be a Call, of Calls.invite() or its event "incoming", not ${kind(call)}`);
    need(has(video, 'play'), () => `video must be a video element, not ${kind(video)}`);
    need(Array.isArray(iceServers), () => `iceServers must be a list of RTCIceServer, not ${kind(iceServers)}`);
    need(stream === null || has(stream, 'getTracks'), () => `stream must be a MediaStream, not ${kind(stream)}`);
    this.call = call;
    this.video = video;
    this.stream = stream;
    this.publishes = publishes;
    /** @type {PlayerState} */
    this.state = 'connecting';
    /** @type {Stats | null} */
    this.stats = null;
    this.sparse = false; // few frames are asked for, and that none comes for a while is nothing
    this.soundAlone = false; // no video comes for now, as the other side has said
    /** @type {number | null} */
    this.firstPicture = null;
    /** @type {Error | null} */
    this.error = null; // why a description could not be used
    this.began = performance.now();
    this.remote = new MediaStream();
    this.#prepared = prepared;
    /** @type {Channel | null} for commands to the other side */
    this.channel = prepared ? new Channel(prepared.channel) : null;
    this.#commands = commands;
    const connection = this.#connection = prepared?.connection ?? new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    connection.ontrack = ({ track }) => this.#track(track);
    connection.onicecandidate = ({ candidate }) => {
      // An empty candidate ends one generation, null ends them all; the wire knows one end.
      if (candidate?.candidate !== '') call.addCandidate(candidate);
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'connected') call.connected();
      if (connection.connectionState === 'failed') call.failed(call.state === 'active' ? 'lost' : 'ice-failed');
      this.emit('path', connection.connectionState);
    };
    // What was gathered before is in its offer.
    if (connection.iceGatheringState === 'complete') call.addCandidate(null);
    call.on('accepted', () => this.#do(() => this.#offer()));
    call.on('description', (description) => this.#do(() => this.#describe(description)));
    call.on('candidate', (candidate) => this.#do(() => this.#candidate(candidate)));
    call.on('ended', () => this.close());
    this.#timer = setInterval(() => this.#measure(), INTERVAL);
    this.#looking = setInterval(() => this.#look(), LOOK);
    this.#frames();
  }

  get connection() { return this.#connection; }

  /** Of the network path: connecting, connected, disconnected … */
  get path() { return this.#connection.connectionState; }

  /** Milliseconds since the last byte of media, as of the measurements. */
  get quiet() { return performance.now() - (this.#last?.moved ?? this.began); }

  // ── Sound, snapshot, full screen ──

  get muted() { return this.video.muted; }
  set muted(muted) {
    this.video.muted = muted;
    this.emit('sound', muted);
  }

  /**
   * The picture as a PNG, in the size it came.
   * @returns {Promise<Blob>}
   */
  snapshot() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    canvas.getContext('2d')?.drawImage(this.video, 0, 0);
    return new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('No picture yet'))), 'image/png');
    });
  }

  // ── What we send, and what comes ──

  /**
   * Sends another track of one kind from now on; null sends none. `stream`, as it was given, has the track already.
   * @param {'audio' | 'video'} kind
   * @param {MediaStreamTrack | null} track
   */
  send(kind, track) {
    need(kind === 'audio' || kind === 'video', () => `send takes "audio" or "video", not ${JSON.stringify(kind)}`);
    this.#do(async () => {
      const lane = this.#lanes(kind)[0];
      if (!lane) {
        // Before the first description it is in that; after it the call gets a section for it.
        if (!track || !this.#connection.currentRemoteDescription) return;
        if (this.publishes && this.stream) publish(this.#connection, track, this.stream);
        else this.#connection.addTransceiver(track, { direction: 'sendrecv', streams: this.stream ? [this.stream] : [] });
        return this.#renegotiate();
      }
      await lane.sender.replaceTrack(track);
      // A section that was inactive for a while would have lost its encodings.
      if (this.publishes) return this.#fit();
      const listens = receives(lane.direction);
      const direction = track ? (listens ? 'sendrecv' : 'sendonly') : listens ? 'recvonly' : 'inactive';
      if (lane.direction === direction) return;
      lane.direction = direction;
      if (track && this.stream) lane.sender.setStreams?.(this.stream);
      return this.#renegotiate();
    });
  }

  /**
   * Sends nothing of one kind until the next `send`, and keeps its section: nothing is negotiated then.
   * @param {'audio' | 'video'} kind
   */
  pause(kind) {
    need(kind === 'audio' || kind === 'video', () => `pause takes "audio" or "video", not ${JSON.stringify(kind)}`);
    this.#do(async () => { await this.#lanes(kind)[0]?.sender.replaceTrack(null); });
  }

  /** Adapts the encodings to the size of the video that is published: it may be of another camera, or another window. */
  async #fit() {
    const sender = this.#lanes('video')[0]?.sender;
    if (sender?.track) await fit(sender, sender.track.getSettings());
  }

  /** Whether the other side sends video, as was agreed. */
  get seen() { return this.remote.getVideoTracks().length > 0; }

  /** @param {string} kind */
  #lanes(kind) {
    return this.#connection.getTransceivers().filter(({ receiver, direction }) => receiver.track.kind === kind && direction !== 'stopped');
  }

  /** Takes off the stage what the other side stopped sending. A track that comes back is told by `ontrack`. */
  #stopped() {
    for (const { receiver: { track }, currentDirection: way } of this.#connection.getTransceivers()) {
      if (this.remote.getTracks().includes(track) && !receives(way)) {
        this.remote.removeTrack(track);
        if (!this.seen) this.#shown = null;
        this.emit('state', this.state);
      }
    }
  }

  /** Opens the channel for commands in a call that goes on, by another offer. */
  openChannel() {
    this.#do(async () => {
      if (this.channel || this.call.state !== 'active') return;
      this.channel = new Channel(open(this.#connection));
      return this.#renegotiate();
    });
  }

  /** Begins ICE anew, in the same call: our addresses are others than before. */
  restart() {
    this.#do(async () => {
      // An offer of theirs is not answered yet; and what is not connected gathers our addresses still.
      if (this.call.state !== 'active' || this.#connection.signalingState === 'have-remote-offer') return;
      this.#connection.restartIce();
      await this.#tell();
    });
  }

  close() {
    if (this.state === 'ended') return;
    clearInterval(this.#timer);
    clearInterval(this.#looking);
    this.#connection.onconnectionstatechange = null;
    this.channel?.close();
    this.#connection.close();
    this.#enter('ended');
  }

  // ── Negotiation ──

  /** @param {() => Promise<void>} job */
  #do(job) {
    this.#work = this.#work.then(() => (this.state === 'ended' ? undefined : job())).catch((error) => {
      this.error = error;
      this.call.failed('bad-description');
    });
  }

  async #offer() {
    if (this.#prepared) {
      await this.#prepared.done;
      return this.#describeOurs();
    }
    this.#send();
    for (const kind of this.publishes ? [] : ['video', 'audio']) {
      const sending = this.stream?.getTracks().some((track) => track.kind === kind);
      if (!sending) this.#connection.addTransceiver(kind, { direction: 'recvonly' });
    }
    askCaptureTime(this.#connection.getTransceivers());
    if (this.#commands) this.channel = new Channel(open(this.#connection));
    await this.#tell();
  }

  async #tell() {
    await this.#connection.setLocalDescription();
    this.#offered = performance.now();
    this.#describeOurs();
  }

  /** Another offer; while one is open, after its answer. */
  async #renegotiate() {
    this.#due = this.#connection.signalingState !== 'stable';
    if (!this.#due) await this.#tell();
  }

  #describeOurs() {
    this.call.describe(/** @type {RTCSessionDescription & import('./call.js').Description} */ (this.#connection.localDescription));
  }

  /** @param {import('./call.js').Description} description */
  async #describe(description) {
    const open = this.#connection.signalingState === 'have-local-offer';
    if (description.type === 'answer' && !open) return; // to an offer that gave way
    if (description.type === 'offer' && open) {
      // Two offers crossed: the caller's counts, unless it was lost on its way. The callee makes its own anew, after it.
      if (this.call.outgoing && performance.now() - this.#offered < CROSSING) return;
      this.#due = true;
      this.#rolledBack = true;
    }
    await this.#connection.setRemoteDescription(description); // an open offer of ours is rolled back
    if (description.type === 'offer') {
      // Later changes come by send(), and adding a track again would make another section.
      if (!this.#connection.currentRemoteDescription) this.#send();
      askCaptureTime(this.#connection.getTransceivers());
      await this.#tell();
    }
    this.#stopped();
    this.#resume();
    if (this.#due) await this.#renegotiate();
    // Later both may have reasons to send nothing for a while.
    const none = !this.#connection.getTransceivers().some(({ currentDirection: way }) => way && way !== 'inactive' && way !== 'stopped');
    if (none && this.call.state === 'connecting') {
      this.call.failed('no-codec');
    }
  }

  /**
   * Agrees on receiving nothing in a section, and then on receiving again.
   * @param {RTCRtpTransceiver} stuck
   */
  #unmute(stuck) {
    this.#rolledBack = false;
    this.#do(async () => {
      this.#paused = stuck;
      stuck.direction = stuck.direction === 'sendrecv' ? 'sendonly' : 'inactive';
      return this.#renegotiate();
    });
  }

  #resume() {
    const lane = this.#paused;
    if (!lane || receives(lane.currentDirection)) return;
    this.#paused = null;
    if (lane.direction === 'stopped') return;
    lane.direction = lane.direction === 'sendonly' ? 'sendrecv' : 'recvonly';
    this.#due = true;
  }

  #send() {
    const sent = this.#connection.getSenders().map(({ track }) => track);
    const { stream } = this;
    if (!stream) return;
    for (const track of stream.getTracks().filter((it) => !sent.includes(it))) {
      if (this.publishes) publish(this.#connection, track, stream);
      else this.#connection.addTrack(track, stream);
    }
  }

  /** @param {import('./call.js').Candidate | null} candidate */
  async #candidate(candidate) {
    // One that this browser cannot use (a foreign .local name, TCP) is no reason to end the call.
    await this.#connection.addIceCandidate(candidate ?? undefined).catch(() => {});
  }

  /** @param {MediaStreamTrack} track */
  #track(track) {
    this.remote.addTrack(track);
    this.emit('state', this.state);
    if (this.video.srcObject !== this.remote) this.video.srcObject = this.remote;
    this.play();
  }

  async play() {
    try {
      await this.video.play();
    } catch (error) {
      if (/** @type {Error} */ (error).name !== 'NotAllowedError' || this.video.muted) return;
      // No sound before a gesture: silence plays everywhere.
      this.muted = true;
      await this.video.play().catch(() => {});
    }
  }

  // ── Measuring ──

  /** Follows the frames that are shown, where the browser tells of them and this call has the element. */
  #frames() {
    this.video.requestVideoFrameCallback?.((now, { expectedDisplayTime, presentationTime, rtpTimestamp }) => {
      if (this.state === 'ended') return;
      if (this.video.srcObject === this.remote) {
        this.#shown = performance.now();
        this.#delays.frame({
          captured: capturedAt(this.#connection.getReceivers(), rtpTimestamp),
          decoded: performance.timeOrigin + presentationTime,
          shown: performance.timeOrigin + Math.max(expectedDisplayTime, presentationTime),
        });
        this.#picture();
        this.#look();
      }
      this.#frames();
    });
  }

  /** Says within a second that the picture stands still. A hidden page is shown no frames: measurements tell then. */
  #look() {
    const video = this.remote.getVideoTracks().length > 0;
    if (this.firstPicture === null || document.hidden || !video || this.#shown === null) return;
    // What the page slept through is no sign of anything: the next frame or measurement is.
    const slept = performance.now() - (this.#looked ?? performance.now()) > 4 * LOOK;
    this.#looked = performance.now();
    if (slept) this.#shown = this.#looked;
    this.#flows(performance.now() - this.#shown < STALLED);
  }

  /** @param {boolean} flows */
  #flows(flows) {
    if (!flows && this.state === 'playing' && !this.sparse) this.#enter('stalled');
    else if (flows && this.state === 'stalled') this.#enter('playing');
  }

  #picture() {
    if (this.firstPicture !== null || this.state === 'ended') return;
    this.firstPicture = performance.now() - this.began;
    this.emit('picture', this.firstPicture);
    this.#enter('playing');
  }

  /** @param {PlayerState} state */
  #enter(state) {
    if (this.state === state || this.state === 'ended') return;
    this.state = state;
    this.emit('state', state);
  }

  async #measure() {
    const report = await this.#connection.getStats().catch(() => null);
    if (!report || this.state === 'ended') return;
    const now = performance.now();
    const all = [...report.values()];
    const video = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    const audio = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
    const stuck = this.#rolledBack && this.#stuck.find(all, this.#connection.getTransceivers());
    if (stuck) this.#unmute(stuck);
    const chosen = all.find(({ type }) => type === 'transport')?.selectedCandidatePairId;
    const pair = report.get(chosen)
      ?? all.find((it) => it.type === 'candidate-pair' && (it.selected || (it.nominated && it.state === 'succeeded')));
    const out = this.publishes ? sentOf(all) : null;
    if (out) this.#do(() => this.#fit());
    const bytes = out?.bytes ?? (video?.bytesReceived ?? 0) + (audio?.bytesReceived ?? 0);
    const seen = video?.bytesReceived ?? 0;
    const frames = out?.frames ?? video?.framesDecoded ?? 0;
    // Bytes come without a picture, too: a sender probes the path with padding, and with what it sent before.
    const media = (video?.framesReceived ?? frames) + (audio?.packetsReceived ?? 0);
    const lost = video?.packetsLost ?? 0;
    const received = video?.packetsReceived ?? 0;
    const processing = video?.totalProcessingDelay ?? 0;
    const { jitterBufferDelay: buffered = 0, jitterBufferEmittedCount: emitted = 0, totalDecodeTime: decoding = 0 } = video ?? {};
    const rtt = pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000; // ms
    const sent = all.find(({ type, kind }) => type === 'remote-outbound-rtp' && kind === 'video');
    if (sent?.remoteTimestamp) this.#delays.report({ sent: sent.remoteTimestamp, came: sent.timestamp, rtt });
    const last = this.#last ?? { now, bytes, frames, media, lost, received, processing, buffered, emitted, decoding, seen, moved: now, fresh: now };
    const seconds = (now - last.now) / 1000;
    this.#last = {
      now, bytes, frames, media, lost, received, processing, buffered, emitted, decoding, seen,
      moved: bytes > last.bytes ? now : last.moved,
      fresh: media > last.media ? now : last.fresh,
    };
    this.stats = {
      state: this.state,
      width: out?.width ?? this.video.videoWidth,
      height: out?.height ?? this.video.videoHeight,
      fps: seconds ? Math.max(0, (frames - last.frames) / seconds) : null,
      bitrate: seconds ? Math.max(0, ((bytes - last.bytes) * 8) / seconds) : null, // bit/s
      videoBitrate: seconds ? Math.max(0, ((seen - last.seen) * 8) / seconds) : null,
      rtt,
      codec: report.get(out?.codecId ?? video?.codecId)?.mimeType?.split('/')[1] ?? null,
      loss: lossOf(received - last.received, lost - last.lost), // 0 to 1, of this interval
      delay: perFrame(processing - last.processing, frames - last.frames), // ms, first packet to decoded frame
      delays: this.#delays.parts({
        rtt,
        buffer: perFrame(buffered - last.buffered, emitted - last.emitted),
        decoding: perFrame(decoding - last.decoding, frames - last.frames),
      }),
      route: routeOf(report, pair),
      lost,
      frames,
    };
    this.emit('stats', this.stats);
    if (frames > 0 && !out && this.firstPicture === null && this.video.videoWidth) this.#picture();
    const quiet = now - this.#last.moved;
    // Whoever agreed to send nothing is not stalled.
    const still = this.remote.getTracks().length ? now - this.#last.fresh : 0;
    const heard = !this.seen || this.soundAlone;
    if (this.state === 'connecting' && this.call.state === 'active' && heard && (out?.bytes ?? media) > 0) this.#enter('playing');
    const path = this.#connection.connectionState;
    if (this.call.state === 'active' && path !== 'connected' && quiet >= DEAD) this.call.failed('lost');
    else if (document.hidden || this.#shown === null || !video) this.#flows(still < 2 * INTERVAL);
  }
}

/**
 * The part of an interval's packets that did not arrive; null where none was due.
 * @type {(received: number, lost: number) => number | null}
 */
const lossOf = (received, lost) => (received + Math.max(0, lost) > 0 ? Math.max(0, lost) / (received + Math.max(0, lost)) : null);

/** @type {(seconds: number, frames: number) => number | null} */
const perFrame = (seconds, frames) => (frames > 0 && seconds > 0 ? (seconds * 1000) / frames : null);

/** Whether this browser can play anything that a camera sends. */
export function playable() {
  if (!globalThis.RTCPeerConnection) return false;
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs;
  return !codecs || codecs.some(({ mimeType }) => /\/(h264|vp8)$/i.test(mimeType));
}
