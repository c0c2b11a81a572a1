// The base of the tests in which other WebRTC stacks send to us: a recorder that calls them, and what it recorded.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { freePort, until } from '../browser/harness.mjs';
import { HOST } from './cases.mjs';
import { SignallingRelay } from './relay.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const SCRIPT = readFileSync(here('sender.js'), 'utf8');

/** Why GStreamer's decoders are absent, or nothing. */
export function decoders() {
  const asked = spawnSync('/usr/bin/python3', ['-c', `
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
missing = [name for name in ["avdec_h264", "h264parse", "vp8dec", "opusdec"] if not Gst.ElementFactory.find(name)]
assert not missing, missing`]);
  return asked.status === 0 ? '' : 'no decoders here (Debian: python3-gi gstreamer1.0-libav gstreamer1.0-plugins-good)';
}

/** A program that watches and records, and what stands between it and who sends. */
export class Recorder {
  /** `relay`: datagrams go by a relay; `camera`: the port of the camera that it calls, if it is not itself the server. */
  static async start(s, { relay, camera } = {}) {
    const port = await freePort();
    const self = new Recorder();
    self.dir = s.dir;
    const env = { LISTEN: HOST, PORT: String(port), DIR: s.dir };
    const meet = async (port) => {
      self.between = await SignallingRelay.start(s, { host: HOST, port }, { relay });
      self.relay = self.between.relay;
    };
    if (camera) {
      await meet(camera);
      env.SERVER = self.between.url;
    }
    self.program = await s.example('recorder', { env, ready: /^online/ });
    if (!camera) await meet(port);
    return self;
  }

  get #lines() { return this.program.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)); }

  /** The latest counters: { codecs: { H264: { frames, keys, bytes, breaks } … }, stats, kib }. */
  get counts() { return this.#lines.findLast(({ saw }) => saw === 'counts') ?? { codecs: {} }; }
  /** Waits for the line that says this. */
  async sees(what, match = {}, options) {
    const is = (line) => line.saw === what && Object.entries(match).every(([member, value]) => line[member] === value);
    return until(`the recorder: ${what} ${JSON.stringify(match)}`, () => this.#lines.findLast(is), options);
  }
  get ended() { return this.#lines.findLast(({ saw }) => saw === 'ended'); }

  watch(user, kinds = 'audio,video') { this.program.tell(`watch ${user} ${kinds}`); }

  /** Waits until somebody is there, and calls. */
  async calls(user, kinds) {
    await until(`${user} is online`, () => this.#lines.some((line) => line.saw === 'peer' && line.user === user));
    this.watch(user, kinds);
  }

  /** Waits until this many more frames of a codec have come: returns how long that took in ms. */
  async frames(codec, more, { within = 20_000 } = {}) {
    const count = () => this.counts.codecs[codec]?.frames ?? 0;
    const [from, start] = [count(), performance.now()];
    await until(`${more} frames of ${codec}`, () => {
      if (this.ended) throw Object.assign(new Error(`the call has ended: ${JSON.stringify(this.ended)}`), { fatal: true });
      return count() >= from + more || Promise.reject(new Error(JSON.stringify(this.counts)));
    }, { within });
    return Math.round(performance.now() - start);
  }

  /** Waits until no frame of a codec has come for `ms`. */
  async still(codec, ms, { within = 15_000 } = {}) {
    let [last, since] = [-1, performance.now()];
    return until(`no frame of ${codec} for ${ms} ms`, () => {
      const frames = this.counts.codecs[codec]?.frames ?? 0;
      if (frames !== last) [last, since] = [frames, performance.now()];
      return performance.now() - since > ms;
    }, { within });
  }

  /** Ends the call, once all that came has been written. */
  async hangUp() {
    this.program.tell('hangup');
    await until('the call has ended', () => this.ended);
  }

  /** What was recorded: [{ codec, key, gap, pts, came, duration }], times in ms. */
  index() {
    return readFileSync(`${this.dir}/index`, 'utf8').trim().split('\n').map((line) => {
      const [codec, key, gap, ...times] = line.split(' ');
      const [pts, came, duration] = times.map((time) => Number(time) / 1000);
      return { codec, key: key === '1', gap: gap === '1', pts, came, duration };
    });
  }

  /** The recorded frames of a codec, as buffers. */
  data(codec) {
    const all = readFileSync(`${this.dir}/frames`);
    let at = 0;
    return this.index().map((frame) => {
      const begin = at + 4;
      at = begin + all.readUInt32BE(at);
      return frame.codec === codec && all.subarray(begin, at);
    }).filter(Boolean);
  }

  /** Decodes what was recorded. */
  played() {
    const made = spawnSync('/usr/bin/python3', [here('played.py'), this.dir], { encoding: 'utf8', maxBuffer: 1 << 26 });
    assert.equal(made.status, 0, made.stderr);
    return JSON.parse(made.stdout);
  }
}

/** That all that was recorded decodes, in a size that browsers make of what they send: they scale it down to what they can. */
export function plays(recorder, codec, size) {
  const { [codec]: video, OPUS: audio } = recorder.played();
  for (const [name, one] of Object.entries({ [codec]: video, OPUS: audio })) {
    assert.ok(one, `${name} was recorded`);
    assert.equal(one.damaged, 0, `all of ${name} decodes: ${one.words}`);
    assert.equal(one.decoded, one.frames, `each frame of ${name} decodes`);
  }
  if (size) {
    const [width, height] = size;
    const scaled = ([w, h]) => w <= width && h <= height && Math.abs(w / h - width / height) < 0.05;
    assert.ok(video.sizes.every(scaled), `${JSON.stringify(video.sizes)} of ${size}`);
  }
  return { video, audio };
}

/** The frames of a codec a second by their times, the longest time between two, and between their arrivals, in ms. */
export function pace(index, codec) {
  const frames = index.filter((frame) => frame.codec === codec);
  const most = (member) => Math.round(Math.max(...frames.slice(1).map((frame, i) => frame[member] - frames[i][member])));
  const span = frames.at(-1).pts - frames[0].pts;
  return { frames: frames.length, fps: Math.round(((frames.length - 1) / span) * 10_000) / 10, apart: most('pts'), frozen: most('came') };
}

/**
 * How far sound and picture part: for each second, how much later than its time the earliest frame of each stream
 * arrives; and the difference of the two streams, less what it was at first. In ms.
 */
export function drift(index, { from = 2000 } = {}) {
  const seconds = new Map();
  const start = index[0].came + from;
  for (const { codec, pts, came } of index.filter((frame) => frame.came >= start)) {
    const second = Math.floor((came - start) / 5000);
    const kind = codec === 'OPUS' ? 'audio' : 'video';
    const one = seconds.get(second) ?? seconds.set(second, {}).get(second);
    one[kind] = Math.min(one[kind] ?? Infinity, came - pts);
  }
  const apart = [...seconds.values()].filter(({ audio, video }) => audio !== undefined && video !== undefined).map(({ audio, video }) => audio - video);
  return { apart, most: Math.max(...apart.map((ms) => Math.abs(ms - apart[0]))) };
}

/** A page that sends, in a browser with fake devices. */
export async function sendingPage(s, browser, between, user, options = {}) {
  // Devices are there for secure contexts only, and loopback is one.
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>sender</title>'));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  s.after(() => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  }));
  const page = await browser.page(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(`(() => { ${SCRIPT} })()`);
  await page.evaluate(`send(${JSON.stringify(between.url)}, ${JSON.stringify(user)}, ${JSON.stringify(options)})`);
  await until('the page is online', () => page.evaluate('sender.online === true'));
  return page;
}
