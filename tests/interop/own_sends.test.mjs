// Two programs of ours: a camera, and one that calls and records it, over networks that lose, reorder and delay.

import assert from 'node:assert/strict';
import { freePort, scenario, until } from '../browser/harness.mjs';
import { HOST, lone } from './cases.mjs';
import { decoders, drift, pace, plays, Recorder } from './sending.mjs';

const SPAN = 12_000; // ms
const SIZE = [320, 180];

/**
 * `least` is the share of the frames, of video and audio, that must arrive; `frozen` the longest time without one, in ms:
 * on a machine with time to spare 41, 83, 105, 66 and 133; the last 723 on a busy one.
 */
const NETWORKS = [
  { what: 'is good', by: {}, least: 0.95, frozen: 1000 },
  { what: 'loses every twentieth packet', by: { loss: 0.05, lossBack: 0.05 }, least: 0.85, frozen: 1000 },
  { what: 'loses every fifth packet', by: { loss: 0.2, lossBack: 0.2 }, least: 0.4, frozen: 2000 },
  { what: 'has every fifth packet overtaken', by: { late: 0.2, lateBack: 0.2 }, least: 0.85, frozen: 1000 },
  { what: 'takes 100 ms each way', by: { delay: 100 }, least: 0.8, frozen: 1500 },
  { what: 'takes 100 ms each way, loses every twentieth packet and has as many overtaken', by: { delay: 100, loss: 0.05, lossBack: 0.05, late: 0.05, lateBack: 0.05 }, least: 0.5, frozen: 2500 },
];

for (const { what, by, least, frozen } of NETWORKS) {
  scenario(`a program of ours watches a camera of ours while the network ${what}`, { needs: [lone, decoders], timeout: 120_000 }, async (s) => {
    const port = await freePort();
    await s.symple(['camera', '--source', 'test', '--size', SIZE.join('x'), '--listen', HOST, '--port', String(port), '--log', 'info'], { ready: /^online/ });
    const recorder = await Recorder.start(s, { relay: true, camera: port });
    const { relay } = recorder;
    await recorder.calls('camera');
    await recorder.frames('H264', 30);
    Object.assign(relay, by);
    const began = performance.now();
    await until('the time is over', () => performance.now() - began > SPAN, { within: SPAN + 5000 });
    const { nacks, requests, rtt, frames: came } = recorder.counts.stats;
    const { sessions: [session] } = await (await fetch(`http://${HOST}:${port}/api/status`)).json();
    Object.assign(relay, { loss: 0, lossBack: 0, late: 0, lateBack: 0, delay: 0 });
    await recorder.frames('H264', 50);
    await recorder.hangUp();
    const { video, audio } = plays(recorder, 'H264');
    const index = recorder.index();
    const paces = pace(index, 'H264');
    s.note(`${relay.lost} of ${relay.lost + relay.passed} lost, ${relay.overtaken} overtaken, ${video.frames} frames of ${session.frames}, ${audio.frames} of audio, ${JSON.stringify(paces)},`
      + ` ${nacks} NACKs, ${requests} PLIs, ${rtt} ms; the camera: ${session.retransmissions} of ${session.packets} again, ${session.estimate} bit/s; ${drift(index).most.toFixed(1)} ms`);
    if (by.loss) {
      assert.ok(relay.lost >= 20, 'the network was rough');
      assert.ok(session.retransmissions > 0 && nacks > 0, 'lost packets came again');
    }
    // Of what the camera sent: a busy machine makes fewer.
    assert.ok(came >= session.frames * least, `${came} of ${session.frames} frames`);
    assert.ok(paces.frozen <= frozen, JSON.stringify(paces));
    const gaps = index.filter(({ codec, gap }) => codec === 'H264' && gap).length;
    if (!by.loss) assert.ok(gaps <= 1, `${gaps} gaps without loss`);
  });
}
