// Talking to a camera, without a browser: `node --test tests/browser/talkback.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { INSECURE, TalkBack } from '../../src/web/talkback.js';

const fault = (name) => Object.assign(new Error(name), { name });
const soon = () => new Promise((next) => setImmediate(next));

/** A page with a camera on screen; what it asked for and sent is in order in `log`. */
async function world({ talk = { mode: 'half' }, may = 200, reply = { status: 200, data: { mode: 'half' } }, devices } = {}) {
  const w = { log: [], said: [], reply, timers: [], fail: null, tracks: [] };
  const track = () => {
    const made = Object.assign(new EventTarget(), { kind: 'audio', readyState: 'live', stop() { this.readyState = 'ended'; } });
    w.tracks.push(made);
    return made;
  };
  w.devices = devices === undefined ? { async getUserMedia() {
    w.log.push('microphone');
    await w.prompt;
    if (w.fail) throw fault(w.fail);
    const made = track();
    return { getAudioTracks: () => [made] };
  } } : devices;
  w.current = {
    call: { remote: 'camera|1' },
    player: { send: (kind, it) => w.log.push(`send ${kind} ${it.readyState}`), pause: (kind) => w.log.push(`pause ${kind}`) },
  };
  const client = { address: 'me|1', async command(to, { node, action }) {
    if (action === 'read') return { status: may };
    w.log.push(`${node} ${action} ${to}`);
    if (action === 'start') return w.reply;
    return { status: 200 };
  } };
  const clock = { after: (ms, run) => w.timers.push({ ms, run }) && run, cancel: (run) => { w.timers = w.timers.filter((it) => it.run !== run); } };
  w.talkback = new TalkBack({ client, devices: w.devices, clock });
  w.talkback.on('said', (words) => w.said.push(words));
  w.talkback.of(w.current, talk);
  await soon();
  return w;
}

test('the first press asks for the microphone, and the next ones are heard at once', async () => {
  const w = await world();
  await w.talkback.start();
  assert.equal(w.talkback.state, 'talking');
  w.talkback.stop();
  assert.equal(w.talkback.state, 'quiet');
  await w.talkback.start();
  assert.deepEqual(w.log, [
    'microphone', 'send audio live', 'camera:talk start camera|1', 'pause audio', 'camera:talk stop camera|1',
    'send audio live', 'camera:talk start camera|1',
  ]);
  w.talkback.stop();
  const [{ ms, run }] = w.timers;
  assert.equal(ms, 30000);
  run();
  assert.deepEqual(w.tracks.map(({ readyState }) => readyState), ['ended'], 'the browser shows no open microphone for ever');
  await w.talkback.start();
  assert.equal(w.log.filter((it) => it === 'microphone').length, 2);
});

test('who lets go while the browser asks sends nothing, and is told that it is ready', async () => {
  const w = await world();
  let allow;
  w.prompt = new Promise((next) => { allow = next; });
  const started = w.talkback.start();
  assert.equal(w.talkback.state, 'opening');
  w.talkback.stop();
  allow();
  await started;
  assert.equal(w.talkback.state, 'quiet');
  assert.ok(!w.log.some((it) => it.startsWith('send') || it.includes('start')), w.log.join());
  assert.deepEqual(w.said, ['The microphone is ready. Hold the button to talk.']);
  assert.equal(w.timers.length, 1, 'and is given back later');
});

test('a camera that refuses is quoted, and nothing is sent on', async () => {
  const w = await world({ reply: { status: 503, data: { code: 'busy', message: 'somebody else is talking' } } });
  await w.talkback.start();
  assert.equal(w.talkback.state, 'quiet');
  assert.equal(w.log.at(-1), 'pause audio');
  assert.deepEqual(w.said, ['Somebody else is talking.']);
});

test('a browser that refuses is explained', async () => {
  for (const [name, words] of [['NotAllowedError', /blocked.*Allow it/], ['NotReadableError', /in use/], ['NotFoundError', /No microphone/], ['OddError', /cannot be used: OddError/]]) {
    const w = await world();
    w.fail = name;
    await w.talkback.start();
    assert.equal(w.talkback.state, 'quiet');
    assert.match(w.said[0], words);
    assert.deepEqual(w.log, ['microphone']);
  }
  const insecure = await world({ devices: null });
  assert.equal(insecure.talkback.refused, INSECURE);
  await insecure.talkback.start();
  assert.deepEqual(insecure.said, [INSECURE]);
  assert.match(INSECURE, /--ssl-enabled/);
});

test('only a camera that grants it can be talked to', async () => {
  const w = await world({ talk: null });
  assert.equal(w.talkback.mode, null);
  await w.talkback.start();
  assert.deepEqual(w.log, []);
  assert.equal((await world({ may: 403 })).talkback.mode, null, 'the button is for those who may');
  assert.equal((await world({ may: 0 })).talkback.mode, 'half', 'who gets no answer may try');
  w.talkback.of(w.current, { mode: 'other' });
  assert.equal(w.talkback.mode, null, 'a mode of a later version');
});

test('what the camera tells is shown: who else talks, and why nobody is heard', async () => {
  const w = await world();
  w.talkback.of(w.current, { mode: 'half', by: 'ann|2' });
  assert.equal(w.talkback.other, 'ann|2');
  w.talkback.of(w.current, { mode: 'half', by: 'me|1', problem: { code: 'no-output', message: 'the speaker is missing' } });
  assert.deepEqual([w.talkback.other, w.talkback.problem], [null, 'the speaker is missing']);
  // Somebody else took over.
  await w.talkback.start();
  w.talkback.of(w.current, { mode: 'half', by: 'ann|2' });
  assert.equal(w.talkback.state, 'quiet');
  assert.equal(w.log.at(-1), 'pause audio');
});

test('the end of the call, and a camera that no longer grants it, end the talk', async () => {
  const w = await world();
  await w.talkback.start();
  w.talkback.of(w.current, {});
  await soon();
  assert.equal(w.talkback.state, 'quiet');
  assert.deepEqual(w.log.slice(-2), ['pause audio', 'camera:talk stop camera|1']);
  w.talkback.of(w.current, { mode: 'half' });
  await w.talkback.start();
  w.talkback.of(null, null);
  assert.equal(w.talkback.state, 'quiet');
  assert.equal(w.tracks.at(-1).readyState, 'ended', 'the microphone is given back with the call');
});

test('a microphone that is unplugged ends the talk', async () => {
  const w = await world();
  await w.talkback.start();
  w.tracks[0].readyState = 'ended';
  w.tracks[0].dispatchEvent(new Event('ended'));
  assert.equal(w.talkback.state, 'quiet');
  assert.deepEqual(w.said, ['Your microphone was disconnected.']);
});
