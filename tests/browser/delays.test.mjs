// Where the time of a frame goes: the arithmetic, and in Chromium beside the clock that the test pattern shows.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Delays, askCaptureTime, capturedAt } from '../../src/web/delays.js';
import { Figures } from '../../src/web/figures.js';
import { SPAN, UNITS, dropped, facts, path, words } from '../../src/web/minute.js';
import { routeOf, words as wayOf } from '../../src/web/route.js';
import { scenario, until } from './harness.mjs';
import { judge } from './axe.mjs';
import { playing, watch } from './page.mjs';

const MEASURED = { rtt: 20, buffer: 30, decoding: 5 };

test('what is not measured here is the camera\'s', () => {
  const delays = new Delays();
  assert.equal(delays.parts(MEASURED), null);
  // The camera's clock is 1000 ms behind; a report takes 10 ms of a round trip of 20, or more.
  delays.report({ sent: 50_000, came: 51_010, rtt: 20 });
  delays.report({ sent: 51_000, came: 52_150, rtt: 20 });
  assert.equal(delays.ahead, 1000);
  delays.frame({ captured: null, decoded: 52_000, shown: 52_000 });
  assert.equal(delays.parts(MEASURED), null, 'a frame without a time of capture says nothing');
  delays.frame({ captured: 51_000, decoded: 52_113, shown: 52_120 });
  assert.deepEqual(delays.parts(MEASURED), { total: 120, camera: 68, network: 10, buffer: 30, decoding: 5, screen: 7 });
  assert.equal(delays.parts({ ...MEASURED, buffer: null }), null);
  assert.equal(delays.parts({ ...MEASURED, buffer: 500 })?.camera, 0, 'never less than nothing');
});

test('delays follow within seconds, and old reports do not count for ever', () => {
  const delays = new Delays();
  delays.report({ sent: 0, came: 0, rtt: null });
  delays.report({ sent: 0, came: 900, rtt: null });
  assert.equal(delays.ahead, 0, 'the same report again');
  for (let n = 1; n <= 20; n += 1) delays.report({ sent: n * 1000, came: n * 1000 + 50, rtt: null });
  assert.equal(delays.ahead, 50);
  for (let n = 0; n < 60; n += 1) delays.frame({ captured: n, decoded: n + 150, shown: n + 150 });
  for (let n = 0; n < 60; n += 1) delays.frame({ captured: n, decoded: n + 250, shown: n + 250 });
  const total = delays.parts(MEASURED)?.total ?? 0;
  assert.ok(Math.abs(total - 200) < 5, `${total}`);
});

test('the time of capture is that of the frame which is shown', () => {
  const receiver = (sources) => ({ getSynchronizationSources: () => sources });
  const receivers = [receiver([{ rtpTimestamp: 7 }]), receiver([{ rtpTimestamp: 9, captureTimestamp: 2_208_988_801_234 }]), {}];
  assert.equal(capturedAt(receivers, 9), 1234);
  assert.equal(capturedAt(receivers, 7), null);
  assert.equal(capturedAt(receivers, undefined), null);
});

test('a browser that cannot ask for it is left alone', () => {
  const asked = [];
  const uri = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';
  askCaptureTime([
    {},
    { getHeaderExtensionsToNegotiate: () => { throw new Error('closed'); } },
    {
      getHeaderExtensionsToNegotiate: () => [{ uri, direction: 'stopped' }, { uri: 'another', direction: 'stopped' }],
      setHeaderExtensionsToNegotiate: (all) => asked.push(...all),
    },
  ]);
  assert.deepEqual(asked.map(({ direction }) => direction), ['sendrecv', 'stopped']);
});

test('a chart ends with the newest value, and has gaps', () => {
  assert.equal(path([]), '');
  assert.equal(path([0, 5, 10]), 'M58,20L59,10L60,0');
  assert.equal(path([null, 5, null, undefined, 10, 10]), 'M56,10M59,0L60,0');
  assert.equal(path([0, 0]), 'M59,20L60,20', 'nothing is at the bottom');
  const whole = path(Array.from({ length: SPAN }, () => 1));
  assert.ok(whole.startsWith('M1,0L2,0') && whole.endsWith('L60,0'));
  assert.equal(words([null, 2, 7], (value) => `${value} s`), '2 s to 7 s');
  assert.equal(words([29.8, 30.2], (fps) => `${Math.round(fps)} fps`), '30 fps', 'ends that read the same are one');
  assert.equal(words([940_000, 4_068_000, 4_156_000], UNITS['minute-bitrate']), '940 kbit/s to 4.2 Mbit/s');
  assert.equal(words([4_120_000, 4_130_000], UNITS['minute-bitrate']), '4.1 Mbit/s');
  assert.equal(words([0, 0], UNITS['minute-loss']), '0 %');
  assert.equal(words([null], String), 'nothing measured');
});

test('the path in use is told in words', () => {
  const report = new Map([
    ['a', { candidateType: 'host', protocol: 'udp' }],
    ['b', { candidateType: 'srflx', protocol: 'udp', address: '192.0.2.7', port: 4501 }],
    ['c', { candidateType: 'relay', protocol: 'udp', relayProtocol: 'tcp' }],
    ['d', { candidateType: 'host', protocol: 'udp', address: '2001:db8::1', port: 9 }],
  ]);
  const way = (localCandidateId, remoteCandidateId) => routeOf(report, { localCandidateId, remoteCandidateId });
  assert.deepEqual(way('a', 'b'), { protocol: 'udp', relayed: false, mapped: true, remote: '192.0.2.7:4501' });
  assert.equal(wayOf(way('a', 'b')), 'UDP, direct, through NAT');
  assert.equal(wayOf(way('a', 'd')), 'UDP, direct');
  assert.equal(way('a', 'd')?.remote, '[2001:db8::1]:9');
  assert.equal(wayOf(way('c', 'b')), 'TCP, relayed');
  assert.equal(routeOf(report, undefined), null);
  assert.equal(wayOf(null), null);
});

test('what the camera knows stands beside what the browser measured', () => {
  const skipped = { joining: 2, network: 12, socket: 1 };
  assert.equal(dropped({ skipped }, { skipped: { ...skipped, network: 9 } }), 3);
  assert.equal(dropped({ skipped }, null), null);
  assert.equal(dropped({ skipped: { joining: 0, network: 0, socket: 0 } }, { skipped }), 0, 'another session counts anew');
  const none = { 'now-path': null, 'now-encoder': null, 'now-dropped': null, 'now-delay': null };
  assert.deepEqual(facts(undefined), none);
  const delays = { total: 90, camera: 30, network: 10, buffer: 20, decoding: 5, screen: 25 };
  assert.equal(facts({ delays })['now-delay'], 'camera 30 ms, network 10 ms, jitter buffer 20 ms, decoding 5.0 ms, screen 25 ms');
  const camera = { encoder: 'x264enc', rendition: 1, skipped, delaysMs: { capture: 12.3, encoding: 8.7, queue: 1 } };
  const all = facts({ delays, camera, route: { protocol: 'udp', relayed: false, mapped: false, remote: null } });
  assert.equal(all['now-path'], 'UDP, direct');
  assert.equal(all['now-encoder'], 'x264enc, smaller picture');
  assert.equal(all['now-dropped'], 'network 12, socket 1, before the first frame 2');
  assert.match(all['now-delay'] ?? '', /^capture 12 ms, encoding 8\.7 ms, queue 1\.0 ms, network 10 ms, /);
  assert.match(facts({ camera: { delaysMs: { capture: 30, encoding: null, queue: 1 } } })['now-delay'] ?? '', /^capture 30 ms, queue 1\.0 ms$/);
});

test('a camera is asked for its figures once a second, and an old answer is not that of another call', async () => {
  const asked = [];
  const camera = { reaches: () => true, command: (to, { node, action }) => new Promise((answer) => { asked.push({ to, node, action, answer }); }) };
  const figures = new Figures(camera);
  const first = figures.ask('a|1', 0);
  figures.ask('a|1', 500);
  assert.deepEqual(asked.map(({ to, node, action }) => [to, node, action]), [['a|1', 'camera:share', 'read']]);
  figures.ask('b|2', 600);
  asked[0].answer({ status: 200, data: { encoder: 'old' } });
  await first;
  assert.equal(figures.newest, null);
  const again = figures.ask('b|2', 1600);
  assert.equal(asked.length, 3);
  asked[2].answer({ status: 200, data: { encoder: 'x264enc' } });
  await again;
  assert.equal(figures.newest?.encoder, 'x264enc');
  const refused = figures.ask('b|2', 2600);
  asked[3].answer({ status: 404, data: { code: 'no-such-call' } });
  await refused;
  assert.equal(figures.newest, null, 'an older camera knows no such command');
});

scenario('the page shows the delay from capture to screen, as the clock in the picture has it', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await playing(page);
  const shown = await until('a delay', async () => {
    const [total, parts] = await page.evaluate('[document.querySelector("#stat-total").textContent, document.querySelector("#stat-whole").title]');
    return /\d ms/.test(total) && { total: Number.parseFloat(total), parts };
  });
  assert.match(shown.parts, /camera .* ms, network .* ms, jitter buffer .* ms, decoding .* ms, screen .* ms/);
  const sum = [...shown.parts.matchAll(/([\d.]+) ms/g)].reduce((all, [, part]) => all + Number(part), 0);
  s.note(`${shown.total} ms: ${shown.parts}`);
  assert.ok(Math.abs(sum - shown.total) <= 6, `the parts make ${sum}, the whole is ${shown.total}`);

  // The last minute, for who opens it.
  await page.evaluate('document.querySelector("#minute").open = true');
  const charts = await until('charts', async () => {
    const all = await page.evaluate(`[...document.querySelectorAll('#minute svg')].map((it) => [it.id, it.getAttribute('aria-label'), it.firstChild.getAttribute('d')])`);
    return all.every(([, , d]) => d) && all;
  });
  for (const [id, label] of charts) assert.match(label, /^\d\S* (.* to \d.* )?([kM]bit\/s|fps|ms|%)$/, id);
  const told = await until('what the camera knows', async () => {
    const all = await page.evaluate(`Object.fromEntries(['path', 'encoder', 'dropped', 'delay'].map((it) => [it, document.querySelector('#now-' + it).textContent]))`);
    return /encoding/.test(all.delay) && all;
  });
  s.note(JSON.stringify(told));
  assert.equal(told.path, 'UDP, direct');
  assert.match(told.encoder, /^\w+enc$/);
  assert.match(told.dropped, /^network \d+, socket \d+, before the first frame \d+$/);
  assert.match(told.delay, /^capture .* ms, encoding .* ms, queue .* ms, network .* ms, jitter buffer .* ms, decoding .* ms, screen .* ms$/);
  await judge(s, page, 'minute', 5);

  // What the clock in the picture says more than the time of capture that came with the same frame: one machine, one clock.
  const apart = await page.evaluate(`new Promise(async (done) => {
    const { capturedAt } = await import('./delays.js');
    const video = document.querySelector('video'), apart = [];
    const look = (now, { rtpTimestamp }) => {
      const captured = capturedAt(probe.receivers(), rtpTimestamp), picture = probe.read(video);
      if (captured && picture) apart.push(((picture.clock - Math.round(captured) + 0x18000) & 0xffff) - 0x8000);
      if (apart.length < 30) video.requestVideoFrameCallback(look); else done(apart);
    };
    video.requestVideoFrameCallback(look);
  })`);
  const [least, middle, most] = [0, 15, 29].map((at) => apart.sort((a, b) => a - b)[at]);
  s.note(`capture times and the clock in the picture: ${least} to ${most} ms apart, ${middle} in the middle`);
  assert.ok(Math.abs(middle) <= 10, `${apart}`);
});
