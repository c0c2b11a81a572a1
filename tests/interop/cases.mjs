// The cases for every other WebRTC stack as a viewer: it calls the camera, and is called by it. Each stack has a file
// of tests, so that two run at a time.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { freePort, scenario, until } from '../browser/harness.mjs';
import { STACKS } from './stacks.mjs';
import { Viewer } from './viewer.mjs';

// One end of the cable that `run` created.
export const HOST = process.env.INTEROP_HOST;
const FRAMES = 60; // in 10 s, which two busy cores manage with a debug build
const SIZE = '320x180';
export const lone = () => (HOST ? '' : 'no network of its own: start this by tests/interop/run');

/** A camera, and what stands between it and a viewer. */
async function world(s, stack, { relay, camera = watched } = {}) {
  const { SignallingRelay } = await import('./relay.mjs');
  const port = await freePort();
  const process = await camera(s, port);
  const between = await SignallingRelay.start(s, { host: HOST, port }, { relay });
  const viewer = await Viewer.start(s, stack, between.url);
  return { camera: process, between, viewer };
}

/** The program, which is called. */
const watched = (s, port) => s.symple(['camera', '--source', 'test', '--size', SIZE, '--listen', HOST, '--port', String(port), '--log', 'info'], { ready: /^online/ });
/** A camera that calls when it is told to. */
const calling = (s, port) => s.example('steered', { env: { LISTEN: HOST, PORT: String(port), SIZE } });

/** A viewer that called, and sees the first frame. */
export async function calls(s, stack, { wish = '', ...options } = {}) {
  const all = await world(s, stack, options);
  all.viewer.tell(`call ${wish}`.trim());
  await all.viewer.wait('an answer', () => {
    const ended = all.viewer.saw('ended');
    if (ended) throw Object.assign(new Error(`the call ended: ${ended.reason}`), { fatal: true });
    return all.viewer.saw('answered');
  }, { within: 10_000 });
  await all.viewer.frames(1);
  return all;
}

/** A viewer that was called, and sees the first frame. */
async function called(s, stack) {
  const all = await world(s, stack, { camera: calling });
  all.camera.tell('call visitor');
  await all.viewer.sees('offered');
  await until('the call fails or brings frames', () => {
    const failed = all.camera.lines.find((line) => line.includes('failed'));
    if (failed) throw Object.assign(new Error(failed), { fatal: true });
    return all.viewer.counts.video.frames > 0;
  }, { within: 10_000 });
  return all;
}

/** Has the viewer change its call; ends when it has the answer, since no offer may follow an offer (RFC 3264, 4). */
async function renegotiates({ viewer }, change, options) {
  const answers = viewer.count('answered');
  viewer.tell(change);
  await viewer.wait(`the answer to ${change}`, () => viewer.count('answered') > answers, options);
}

const CASES = [];

/** A case of every stack that can take part in it. */
function each(what, run, { call = true, cannot } = {}) {
  CASES.push({ what, run, call, cannot });
}

/** Has a stack go through all cases. */
export function watch(name) {
  const stack = STACKS.find((one) => one.name === name);
  const lacks = lone() || stack.needs();
  after(() => Viewer.end(name));
  for (const { what, run, call, cannot } of CASES) {
    const needs = [() => lacks || (call && stack.cannot.call) || stack.cannot[cannot] || ''];
    scenario(`${name} ${what}`, { needs, timeout: 60_000 }, (s) => run(s, stack));
  }
}

/** Frames and audio arrive, and all of it decodes. */
async function plays(s, { viewer }, stack, { frames = FRAMES, audio: heard = true } = {}) {
  // The camera's second, software encoder is the first to run out of CPU time.
  const took = await viewer.frames(frames, { within: stack.codec === 'VP8' ? 15_000 : 10_000 });
  if (heard) await viewer.frames(25, { medium: 'audio' });
  const { video, audio } = viewer.counts;
  assert.match(video.codec, new RegExp(stack.codec));
  assert.equal(video.errors, 0, 'every frame decodes');
  assert.equal(audio.errors, 0, 'all audio decodes');
  s.note(`${frames} frames of ${stack.codec} in ${took} ms, ${video.lost + audio.lost} of ${video.packets + audio.packets} packets lost`);
}

each('calls, and hangs up', async (s, stack) => {
  const all = await calls(s, stack);
  await plays(s, all, stack);
  // By message or in the description (RFC 8838, 14).
  const described = /^a=end-of-candidates/m.test(all.between.last('camera', 'call:answer').data.sdp);
  assert.ok(described || all.viewer.saw('end-of-candidates'), 'the camera has no further candidates, and says it');
  all.viewer.tell('hangup');
  // By the message or by the close of DTLS, whichever comes first; the code is `ended`.
  await all.camera.says(/call .*: ended \((the call was ended|the other side closed the connection)/);
});

each('is called, and the camera hangs up', async (s, stack) => {
  const all = await called(s, stack);
  await plays(s, all, stack);
  all.camera.tell('hangup');
  await all.viewer.sees('ended', { reason: 'ended' });
}, { call: false });

each('gets sender reports of one name, and a goodbye', async (s, stack) => {
  const all = await calls(s, stack);
  const { viewer } = all;
  // Before a player has to guess which audio belongs to which frame.
  const media = stack.cannot.overhear ? 1 : 2;
  await viewer.wait('reports', () => Object.keys(viewer.counts.reports).length >= media, { within: 4000 });
  await all.camera.stop();
  await viewer.sees('ended', { reason: 'shutdown' });
  if (stack.cannot.overhear) return;
  assert.equal(new Set(Object.values(viewer.counts.cnames)).size, 1, `one name: ${JSON.stringify(viewer.counts.cnames)}`);
  if (!stack.cannot.bye) assert.ok(viewer.counts.byes > 0, 'a goodbye (RTCP BYE) comes');
});

each('calls with a data channel beside', async (s, stack) => {
  const all = await calls(s, stack, { wish: 'data' });
  const answer = all.between.last('camera', 'call:answer').data.sdp;
  const ports = [...answer.matchAll(/^m=(\w+) (\d+)/gm)].map(([, kind, port]) => [kind, port !== '0']);
  assert.deepEqual(ports, [['audio', true], ['video', true], ['application', true]], 'the data channel is taken, too');
  await plays(s, all, stack, { frames: 15 });
});

each('reads descriptions as JSEP has them', async (s, stack) => {
  const all = await calls(s, stack);
  const { between } = all;
  const [offer, answer] = [between.last('viewer', 'call:offer'), between.last('camera', 'call:answer')].map(({ data }) => data.sdp);
  const has = (pattern) => [offer, answer].map((sdp) => pattern.test(sdp));
  // Nothing that was not offered is in the answer (RFC 3264, 6; RFC 4585, 4.2; RFC 8285, 6).
  for (const pattern of [/^a=extmap-allow-mixed/m, /^a=rtcp-fb:\S+ ccm fir/m]) {
    const [offered, answered] = has(pattern);
    assert.ok(offered || !answered, `${pattern} is answered, and was not offered`);
  }
  const [offered, answered] = has(/^a=rtcp-rsize/m);
  assert.equal(answered, offered, 'reduced-size RTCP is answered where it was offered (RFC 5506)');
  const names = [...answer.matchAll(/^a=ssrc:\d+ cname:(\S+)/gm)].map(([, name]) => name);
  assert.equal(new Set(names).size, 1, `one CNAME (RFC 8834, 4.9): ${names}`);
  const [, ip, port] = answer.match(/^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host/m) ?? assert.fail('a candidate');
  assert.equal(ip, HOST, 'the camera offers no address of loopback');
  assert.match(answer, new RegExp(`^m=audio ${port} `, 'm'), 'the default candidate is in the m-line (RFC 8829, 5.3.1)');
  assert.match(answer, new RegExp(`^c=IN IP4 ${HOST}`, 'm'));
  if (!stack.cannot.direct) {
    const version = () => BigInt(between.last('camera', 'call:answer').data.sdp.match(/^o=\S+ \d+ (\d+)/m)[1]);
    const before = version();
    await renegotiates(all, 'pause');
    assert.equal(version(), before + 1n, 'the version of a description grows by one (RFC 3264, 8)');
    const video = between.last('camera', 'call:answer').data.sdp.split(/^m=/m).find((section) => section.startsWith('video'));
    assert.doesNotMatch(video, /^a=(msid|ssrc):/m, 'what is not sent has no source (RFC 8829, 5.3.1)');
  }
});

each('calls for video alone', async (s, stack) => {
  const all = await calls(s, stack, { wish: 'video' });
  await plays(s, all, stack, { frames: 15, audio: false });
});

each('offers H.264 of the main profile alone', async (s, stack) => {
  const all = await calls(s, stack, { wish: 'main' });
  // A decoder for the main profile plays constrained baseline (RFC 6184, 8.1).
  await plays(s, all, stack, { frames: 15 });
}, { cannot: 'main' });

each('pauses video, and resumes it', async (s, stack) => {
  const all = await calls(s, stack);
  await renegotiates(all, 'pause');
  await all.viewer.still(700);
  await all.viewer.frames(25, { medium: 'audio' });
  await renegotiates(all, 'resume');
  await plays(s, all, stack, { frames: 15 });
}, { cannot: 'direct' });

each('stops video, and adds it again', async (s, stack) => {
  const all = await calls(s, stack);
  await renegotiates(all, 'stop');
  await all.viewer.still(700);
  await all.viewer.frames(25, { medium: 'audio' });
  await renegotiates(all, 'add');
  await plays(s, all, stack, { frames: 15 });
}, { cannot: 'stop' });

each('restarts ICE', async (s, stack) => {
  const all = await calls(s, stack);
  const ufrags = () => ['viewer', 'camera'].map((by) => all.between.last(by, by === 'viewer' ? 'call:offer' : 'call:answer').data.sdp.match(/a=ice-ufrag:(\S+)/)[1]);
  const before = ufrags();
  await renegotiates(all, 'restart', { within: 5000 });
  ufrags().forEach((ufrag, i) => assert.notEqual(ufrag, before[i], 'both sides have new credentials'));
  await plays(s, all, stack, { frames: 15 });
}, { cannot: 'restart' });

each('loses 5 % of all packets, and sees every frame', async (s, stack) => {
  const all = await calls(s, stack, { relay: true });
  const { relay } = all.between;
  relay.loss = 0.05;
  await all.viewer.wait('twenty packets are lost', () => relay.lost >= 20, { within: 15_000 });
  await all.viewer.frames(FRAMES);
  const { video } = all.viewer.counts;
  assert.equal(video.errors, 0, 'every frame decodes');
  s.note(`${relay.lost} of ${relay.lost + relay.passed} lost`);
}, { cannot: 'repair' });

each('comes from another port, and media follows', async (s, stack) => {
  const all = await calls(s, stack, { relay: true });
  const { relay } = all.between;
  await all.viewer.frames(15);
  relay.rebind();
  await until('the viewer checks from the new port', () => relay.checked, { within: 15_000 });
  const took = await all.viewer.frames(30, { what: 'packets' });
  s.note(`30 packets of video within ${took} ms of the first check from there, ${relay.astray} to the old port`);
  // What the camera sends in 2 s: a browser nominates with its next check. Counted, since a busy machine sends less.
  assert.ok(relay.astray <= 260, `${relay.astray} datagrams of media to the old port`);
  // How long a stack waits for lost packets is up to the stack.
  await all.viewer.frames(15);
}, { cannot: 'move' });
