// Janus, a server that treats the camera as a publisher in a room and forwards its RTP to us: it answers calls, and
// makes none. It has no decoder.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { counters, Receiver } from './rtp.mjs';
import { run, say } from './symple.mjs';

const ROOM = 1;

/** Starts it with a plugin, a transport and its own configuration; returns the address of its API. */
async function start() {
  const dir = mkdtempSync(join(tmpdir(), 'symple-janus-'));
  const lib = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'janus')).find((path) => readable(path));
  for (const [kind, name] of [['plugins', 'videoroom'], ['transports', 'websockets']]) {
    mkdirSync(join(dir, kind));
    symlinkSync(join(lib, kind, `libjanus_${name}.so`), join(dir, kind, `libjanus_${name}.so`));
  }
  for (const kind of ['events', 'loggers']) mkdirSync(join(dir, kind));
  const port = await freePort();
  const folders = ['plugins', 'transports', 'events', 'loggers'].map((kind) => `${kind}_folder = "${join(dir, kind)}"`);
  const config = {
    'janus.jcfg': `general: { configs_folder = "${dir}"\n${folders.join('\n')}\ndebug_level = 3 }`,
    'janus.transport.websockets.jcfg': `general: { json = "compact"\nws = true\nws_ip = "127.0.0.1"\nws_port = ${port} }`,
    'janus.plugin.videoroom.jcfg': '',
  };
  for (const [name, text] of Object.entries(config)) writeFileSync(join(dir, name), `${text}\n`);
  const child = spawn('janus', ['--config', join(dir, 'janus.jcfg'), '--configs-folder', dir], { stdio: ['ignore', 2, 2] });
  process.on('exit', () => {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });
  process.on('SIGTERM', () => process.exit(0));
  return `ws://127.0.0.1:${port}/`;
}

function readable(path) {
  try {
    return readdirSync(path);
  } catch {
    return undefined;
  }
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** Its API over a WebSocket: `ask` resolves with the answer to a request. */
class Api {
  #asked = new Map();

  static async open(url, heard) {
    const api = new Api();
    // It listens once it has its certificate.
    for (;;) {
      api.socket = new WebSocket(url, 'janus-protocol');
      const opened = await new Promise((done) => api.socket.once('open', () => done(true)).once('error', () => done(false)));
      if (opened) break;
      await new Promise((next) => setTimeout(next, 50));
    }
    api.socket.on('message', (text) => {
      const message = JSON.parse(text);
      // An acknowledgement comes before the answer.
      if (message.janus === 'ack' || message.janus === 'keepalive') return;
      const asked = api.#asked.get(message.transaction);
      if (!asked) return heard(message);
      api.#asked.delete(message.transaction);
      const { error } = message.plugindata?.data ?? {};
      if (message.janus === 'error' || error) asked.failed(new Error(JSON.stringify(message.error ?? message.plugindata.data)));
      else asked.done(message);
    });
    api.session = (await api.ask({ janus: 'create' })).data.id;
    api.handle = (await api.ask({ janus: 'attach', plugin: 'janus.plugin.videoroom' })).data.id;
    return api;
  }

  send(request) {
    const transaction = String(Math.random());
    this.socket.send(JSON.stringify({ ...request, transaction, session_id: this.session, handle_id: this.handle }));
    return transaction;
  }

  ask(request) {
    return new Promise((done, failed) => this.#asked.set(this.send(request), { done, failed }));
  }

  /** A request to the room, optionally with a description. */
  room(body, jsep) { return this.ask({ janus: 'message', body: { room: ROOM, ...body }, jsep }); }
}

const url = start();

run((events) => {
  const [video, audio] = [new Receiver('H264'), new Receiver('OPUS')];
  const counts = counters(video.counts, audio.counts);
  const ends = [];

  const api = url.then((address) => Api.open(address, ({ janus, reason }) => {
    if (janus === 'webrtcup') events.state('connected');
    if (janus === 'hangup') say('janus', { janus, reason });
  }));

  /** The port to which it forwards a medium. */
  async function sink(receiver) {
    const socket = createSocket('udp4');
    socket.on('message', (packet) => receiver.packet(packet));
    await new Promise((done) => socket.bind(0, '127.0.0.1', done));
    ends.push(() => socket.close());
    return socket.address().port;
  }

  return {
    counts: () => counts,
    offer() { throw new Error('it makes no calls'); },
    async answer(sdp) {
      const janus = await api;
      await janus.room({ request: 'create', videocodec: 'h264', audiocodec: 'opus' });
      const joined = await janus.room({ request: 'join', ptype: 'publisher' });
      const { jsep } = await janus.room({ request: 'publish' }, { type: 'offer', sdp });
      audio.describe(video.describe(jsep.sdp));
      // One section each, in the order of the offer.
      const kinds = [...jsep.sdp.matchAll(/^m=(\w+)[^]*?^a=mid:(\S+)/gm)].map(([, kind, mid]) => [kind, mid]);
      const streams = await Promise.all(kinds.map(async ([kind, mid]) => ({ mid, port: await sink(kind === 'video' ? video : audio) })));
      await janus.room({ request: 'rtp_forward', publisher_id: joined.plugindata.data.id, host: '127.0.0.1', streams });
      const mid = kinds.find(([kind]) => kind === 'video')[1];
      const looks = setInterval(() => !video.counts.frames && janus.send({ janus: 'message', body: { request: 'configure', streams: [{ mid, keyframe: true }] } }), 500);
      ends.push(() => clearInterval(looks));
      return jsep.sdp;
    },
    async candidate(init) { (await api).send({ janus: 'trickle', candidate: init }); },
    change(command) { throw new Error(`${command} is for those who call`); },
    async close() {
      ends.forEach((end) => end());
      video.close();
      audio.close();
      (await api).send({ janus: 'hangup' });
    },
  };
});
