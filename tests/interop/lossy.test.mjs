// Networks that lose packets, or change their order: video goes on, lost packets come again, and no datagram is too large.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { scenario, until } from '../browser/harness.mjs';
import { calls, lone } from './cases.mjs';
import { STACKS } from './stacks.mjs';
import { Viewer } from './viewer.mjs';

const WATCHED = 15_000; // ms
/** What an MTU of 1280, the least of IPv6 (RFC 8200, 5), leaves between the headers of IPv6 and UDP. */
const LONGEST = 1280 - 40 - 8;

/** `fps` is the least of a debug build on two busy cores, `freeze` the longest time without a frame, in ms. */
const NETWORKS = [
  { what: 'loses every twentieth packet both ways', by: { loss: 0.05, lossBack: 0.05 }, fps: 5, freeze: 3000 },
  { what: 'loses every fifth packet both ways', by: { loss: 0.2, lossBack: 0.2 }, fps: 2, freeze: 5000 },
  { what: 'has every fifth packet overtaken', by: { late: 0.2 }, fps: 5, freeze: 3000 },
];

for (const name of ['aiortc', 'werift', 'Chromium', 'Firefox']) {
  const stack = STACKS.find((one) => one.name === name);
  const needs = [() => lone() || stack.needs()];
  for (const { what, by, fps, freeze } of NETWORKS) {
    scenario(`${name} watches while the network ${what}`, { needs, timeout: 60_000 }, async (s) => {
      const { viewer, between } = await calls(s, stack, { relay: true });
      const { relay } = between;
      Object.assign(relay, by);
      const { frames, longest } = await watched(viewer, WATCHED);
      const { sessions: [session] } = await (await fetch(`http://${relay.camera.host}:${relay.camera.port}/api/status`)).json();
      s.note(`${Math.round(frames / WATCHED * 1000)} fps, ${longest} ms without a frame at most, ${relay.lost} of `
        + `${relay.lost + relay.passed} lost, ${relay.overtaken} overtaken, ${session.retransmissions} of ${session.packets} again, `
        + `${session.estimate} bit/s, datagrams of ${relay.largest} bytes at most`);
      assert.ok(relay.lost + relay.overtaken >= 20, 'the network was rough');
      assert.ok(frames >= fps * WATCHED / 1000, `${frames} frames`);
      assert.ok(longest <= freeze, `no frame for ${longest} ms`);
      assert.ok(!by.loss || session.retransmissions > 0, 'lost packets came again');
      assert.ok(relay.largest > LONGEST / 2 && relay.largest <= LONGEST, `a datagram of ${relay.largest} bytes`);
    });
  }
  after(() => Viewer.end(name));
}

/** The frames that arrive within `ms`, and the longest time without any. */
async function watched(viewer, ms) {
  const [start, from] = [performance.now(), viewer.counts.video.frames];
  let [last, at, longest] = [from, start, 0];
  await until('the time is over', () => {
    const [now, { frames }] = [performance.now(), viewer.counts.video];
    longest = Math.max(longest, now - at);
    if (frames !== last) [last, at] = [frames, now];
    return now - start >= ms;
  }, { within: ms + 5000 });
  return { frames: last - from, longest: Math.round(longest) };
}
