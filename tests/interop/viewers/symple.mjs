// A viewer's side of a call, independent of the WebRTC stack: the messages over the WebSocket, and the test's commands
// on the viewer's input. viewers/symple.py is the same in Python.
//
// Input, one command per line: `open ws://HOST:PORT/ USER`; `call`, optionally with `data` (a data channel too),
// `video` (no audio), `main` (only the main profile of H.264); `pause`, `resume`, `stop`, `add`, `restart`, `hangup`;
// `close`. Output, one JSON object per line, whose member `saw` says what it is.

import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const COUNT = 100; // ms, how often the counters are polled

export const say = (saw, more = {}) => console.log(JSON.stringify({ saw, ...more }));
const fault = (what) => (error) => say('fault', { what, error: String(error?.stack ?? error) });

/** Counters of one medium. */
export const medium = () => ({ codec: null, frames: 0, errors: 0, packets: 0, lost: 0 });

/**
 * Runs a viewer. `connect(events, wishes)` makes a peer connection: `offer()`, `answer(sdp)`, `accept(sdp)`,
 * `candidate(init)`, `change(command)`, which prepares what the next offer asks for, `counts()` and `close()`;
 * it calls `events.candidate(init)` and `events.state(word)`. Wishes are the words after `call`.
 */
export function run(connect) {
  let socket;
  let camera; // its address
  let call; // { id, to, peer, ready, waiting, end }
  let wanted; // by a command before the camera was online

  const send = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  const signal = (subtype, data) => call && send({ type: 'message', subtype, to: call.to, call: call.id, data });

  function begin(to, id, wishes = []) {
    call?.peer.close();
    const mine = { id, to, ready: false, waiting: [] };
    mine.peer = connect({
      candidate: (init) => mine === call && signal('call:candidate', init),
      state: (state) => mine === call && say('state', { state }),
    }, new Set(wishes));
    call = mine;
  }

  function end(reason) {
    if (!call) return undefined;
    say('counts', { ...call.peer.counts() });
    const { peer } = call;
    call = undefined;
    say('ended', { reason });
    return peer.close();
  }

  // Candidates that arrive before the description are kept.
  async function described() {
    call.ready = true;
    for (const init of call.waiting.splice(0)) await candidate(init);
  }
  async function candidate(init) {
    if (!call.ready) return call.waiting.push(init);
    if (!init?.candidate) return say('end-of-candidates');
    await call.peer.candidate({ ...init, candidate: init.candidate.replace(/^a=/, '') });
  }

  async function offer() {
    const sdp = await call.peer.offer();
    signal('call:offer', { type: 'offer', sdp });
  }

  const heard = {
    'call:init': ({ from, call: id }) => {
      say('called', { from });
      begin(from, id);
      signal('call:accept', {});
    },
    'call:accept': offer,
    'call:offer': async ({ data }) => {
      say('offered');
      const sdp = await call.peer.answer(data.sdp);
      signal('call:answer', { type: 'answer', sdp });
      await described();
    },
    'call:answer': async ({ data }) => {
      await call.peer.accept(data.sdp);
      await described();
      say('answered');
    },
    'call:candidate': ({ data }) => candidate(data),
    'call:reject': ({ data }) => end(data?.reason),
    'call:hangup': ({ data }) => end(data?.reason),
  };

  // One after the other: a candidate must not overtake the description that it belongs to.
  let queue = Promise.resolve();
  const next = (what, job) => (queue = queue.then(job).catch(fault(what)));

  function open(url, user) {
    camera = wanted = undefined;
    const mine = socket = new WebSocket(url);
    mine.on('open', () => send({ type: 'auth', user, rooms: ['public'] }));
    mine.on('error', (error) => mine === socket && fault('socket')(error));
    mine.on('close', () => mine === socket && end('offline'));
    mine.on('message', (text) => {
      if (mine !== socket) return;
      const message = JSON.parse(text);
      if (message.type === 'presence' && message.data?.peerType === 'camera' && message.data.online) {
        if (!camera) say('online');
        camera = `${message.data.user}|${message.data.id}`;
        wanted?.();
        wanted = undefined;
      }
      const act = heard[message.subtype];
      if (act && (message.subtype === 'call:init' || message.call === call?.id)) next(message.subtype, () => act(message));
    });
  }

  async function close() {
    const last = socket;
    [socket, queue] = [undefined, Promise.resolve()]; // the rest of the queue is discarded
    last?.close();
    await end('closed');
    say('closed');
  }

  function command(line) {
    const [word, ...more] = line.split(' ');
    if (word === 'open') open(...more);
    else if (word === 'close') close().catch(fault(word));
    else if (word === 'call') {
      const dial = () => {
        begin(camera, randomBytes(16).toString('hex'), more);
        signal('call:init', {});
      };
      if (camera) dial();
      else wanted = dial;
    } else if (word === 'hangup') {
      signal('call:hangup', { reason: more[0] ?? 'ended' });
      end('hung up');
    } else {
      next(word, async () => {
        await call.peer.change(word);
        await offer();
      });
    }
  }
  createInterface({ input: process.stdin }).on('line', command).on('close', () => process.exit(0));

  let last;
  setInterval(() => {
    const now = call && JSON.stringify({ saw: 'counts', ...call.peer.counts() });
    if (now && now !== last) console.log((last = now));
  }, COUNT);
}
