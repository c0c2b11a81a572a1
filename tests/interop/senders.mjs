// The cases of browsers that send to us, with the devices that each brings for tests. SENDS_SECONDS is for how long one of
// them is watched, 20 by default.

import assert from 'node:assert/strict';
import { scenario, until } from '../browser/harness.mjs';
import { lone } from './cases.mjs';
import { decoders, drift, pace, plays, Recorder, sendingPage } from './sending.mjs';

const SIZE = [640, 360];
const SPAN = 12_000; // ms of a rough network
const LONG = Number(process.env.SENDS_SECONDS ?? 20);
const EVERY = 700; // ms from a flash to the next

/** What the relay does to the datagrams of both sides; `least` is the share of the encoded frames that must arrive. */
const NETWORKS = [
  { what: 'loses every twentieth packet', by: { loss: 0.05, lossBack: 0.05 }, least: 0.9 },
  { what: 'loses every fifth packet', by: { loss: 0.2, lossBack: 0.2 }, least: 0.4 },
  { what: 'has every fifth packet overtaken', by: { late: 0.2, lateBack: 0.2 }, least: 0.9 },
  { what: 'takes 100 ms each way and loses every twentieth packet', by: { delay: 100, loss: 0.05, lossBack: 0.05 }, least: 0.8 },
];

/** Has a browser go through all cases: `open(s)` starts it, `codecs` are those that it encodes. */
export function sends(name, open, codecs, { needs: more = [], devices = [], screen = false, estimates = true, silent = '' } = {}) {
  const needs = [lone, ...more, decoders];
  const start = async (s, options, relay) => {
    const recorder = await Recorder.start(s, { relay });
    const page = await sendingPage(s, await open(s), recorder.between, 'visitor', { size: SIZE, ...options });
    await recorder.calls('visitor', options.watch);
    const stats = () => page.evaluate('sender.stats()');
    return { recorder, page, stats };
  };

  for (const codec of codecs) {
    scenario(`${name} sends ${codec} and Opus, and all of it decodes`, { needs, timeout: 120_000 }, async (s) => {
      const { recorder, page, stats } = await start(s, { codec });
      await recorder.frames('OPUS', 20);
      if ((await stats()).video.codec !== `video/${codec}`) await page.evaluate(`sender.encode('${codec}')`);
      await recorder.frames(codec, 100);
      const before = await stats();
      const { keys } = recorder.counts.codecs[codec];
      recorder.program.tell('key');
      await until('a key frame, because one was asked for', async () => (await stats()).video.pliCount > before.video.pliCount
        && recorder.counts.codecs[codec].keys > keys);
      const rises = ({ available }) => !estimates || available >= 1_000_000;
      const now = await until('the bitrate rises', async () => {
        const now = await stats();
        return rises(now) && now.video.roundTripTime !== undefined ? now : Promise.reject(new Error(JSON.stringify(now)));
      });
      assert.equal(now.video.fractionLost, 0);
      await recorder.frames('OPUS', 100);
      await page.evaluate('sender.still()');
      const { video: { framesEncoded, frameWidth, frameHeight } } = await stats();
      const came = () => Object.entries(recorder.counts.codecs).reduce((sum, [one, { frames }]) => sum + (one === 'OPUS' ? 0 : frames), 0);
      await until('all frames have come', () => came() >= framesEncoded, { within: 5000 });
      await recorder.hangUp();
      const index = recorder.index();
      const { video, audio } = plays(recorder, codec, SIZE);
      assert.deepEqual(video.sizes.at(-1), [frameWidth, frameHeight], 'as the browser encoded it last');
      const { apart, most } = drift(index);
      s.note(`${video.frames} frames and ${audio.frames} packets of audio, ${JSON.stringify(pace(index, codec))}, ${estimates ? Math.round(now.available / 1000) : '?'} kbit/s,`
        + ` sound and picture part by ${most.toFixed(1)} ms (${apart.map((ms) => ms.toFixed(1))})`);
    });
  }

  scenario(`${name} flashes and beeps, and both come at one time`, { needs: [() => silent, ...needs], timeout: 120_000 }, async (s) => {
    const codec = codecs[0];
    const { recorder, page } = await start(s, { codec, drawn: true, beeps: true });
    await recorder.frames(codec, 50);
    await page.evaluate(`sender.marks(12, ${EVERY})`);
    await recorder.frames('OPUS', 50);
    await recorder.hangUp();
    const { video, audio } = plays(recorder, codec);
    const found = video.flashes.map((flash) => {
      const tone = audio.tones.reduce((best, tone) => (Math.abs(tone - flash) < Math.abs(best - flash) ? tone : best), Infinity);
      return tone - flash;
    });
    s.note(`flashes at ${video.flashes}, tones at ${audio.tones}: ${found}`);
    assert.ok(found.length >= 8, `${found.length} flashes`);
    // On a busy machine the browser's own audio stands still at times.
    const steps = audio.tones.slice(1).map((tone, i) => tone - audio.tones[i]);
    if (steps.some((ms) => ms < EVERY - 60 || ms > EVERY * 1.5)) return s.note(`not judged: the browser's tones are ${steps} ms apart`);
    const middle = [...found].sort((a, b) => a - b)[found.length >> 1];
    assert.ok(Math.abs(middle) < 150, `the tone comes ${middle} ms after the flash`);
    // Less what the browser's own pipelines are apart.
    assert.ok(found.filter((ms) => Math.abs(ms - middle) <= 40).length >= found.length * 0.8, `${found}`);
    return undefined;
  });

  for (const { what, by, least } of NETWORKS) {
    scenario(`${name} sends while the network ${what}`, { needs, timeout: 120_000 }, async (s) => {
      const codec = codecs[0];
      const { recorder, stats } = await start(s, { codec }, true);
      const { relay } = recorder;
      await recorder.frames(codec, 30);
      const before = await stats();
      Object.assign(relay, by);
      const began = performance.now();
      await until('the time is over', () => performance.now() - began > SPAN, { within: SPAN + 5000 });
      const rough = await stats();
      const { nacks, requests } = recorder.counts.stats;
      Object.assign(relay, { loss: 0, lossBack: 0, late: 0, lateBack: 0, delay: 0 });
      await recorder.frames(codec, 50);
      await recorder.hangUp();
      const { video } = plays(recorder, codec);
      const paces = pace(recorder.index(), codec);
      const after = recorder.counts.codecs[codec];
      const last = rough.video;
      s.note(`${relay.lostBack} of ${relay.lostBack + relay.passedBack} lost, ${last.framesEncoded} frames encoded until then, ${video.frames} came, ${after.breaks} breaks,`
        + ` ${JSON.stringify(paces)}, ${nacks} NACKs, ${requests} PLIs; the browser: ${last.nackCount} and ${last.pliCount}, ${last.retransmittedPacketsSent} again of ${last.packetsSent},`
        + ` ${Math.round((last.targetBitrate ?? 0) / 1000)} kbit/s, ${last.roundTripTime} s, ${last.fractionLost} lost`);
      if (by.lossBack) {
        assert.ok(last.nackCount > before.video.nackCount, 'the browser was asked for packets');
        assert.ok(last.retransmittedPacketsSent > before.video.retransmittedPacketsSent, 'and sent them again');
        assert.ok(last.packetsLost > 0, 'it knows of the loss');
      }
      if (by.delay) assert.ok(last.roundTripTime > 0.15 && last.roundTripTime < 1, `${last.roundTripTime} s`);
      assert.ok(video.frames >= last.framesEncoded * least, `${video.frames} frames of ${last.framesEncoded}`);
      assert.ok(paces.frozen < 5000, `${paces.frozen} ms without a frame`);
    });
  }

  scenario(`${name} renegotiates ten times while it sends`, { needs, timeout: 240_000 }, async (s) => {
    const codec = codecs[0];
    const { recorder, page } = await start(s, { codec });
    let offers = 0;
    const offer = async (what) => {
      offers += 1;
      return page.evaluate(`sender.${what}`);
    };
    const flows = async (what) => {
      const ms = await recorder.frames(codec, 15);
      await recorder.frames('OPUS', 15);
      s.note(`${what}: 15 frames within ${ms} ms`);
    };
    await flows('at first');
    await offer("direct({ video: 'inactive' })");
    await recorder.still(codec, 700);
    await recorder.frames('OPUS', 25);
    await offer("direct({ video: 'sendonly' })");
    await flows('video is back');
    await offer("direct({ audio: 'inactive', video: 'inactive' })");
    await Promise.all([recorder.still(codec, 700), recorder.still('OPUS', 700)]);
    await offer("direct({ audio: 'sendrecv', video: 'sendrecv' })");
    await flows('after hold');
    await offer("direct({ audio: 'recvonly', video: 'recvonly' })");
    await Promise.all([recorder.still(codec, 700), recorder.still('OPUS', 700)]);
    await offer("direct({ audio: 'sendonly', video: 'sendonly' })");
    await flows('sends again');
    await page.evaluate('sender.replace(320, 240)');
    await flows('another track');
    for (const n of devices) {
      await page.evaluate(`sender.device(${n})`);
      await offer('negotiate()');
      await flows(`device ${n}`);
    }
    if (screen) {
      await page.evaluate('sender.screen()');
      await offer('negotiate()');
      await flows('the screen');
    }
    for (let turn = 0; turn < 2; turn++) {
      await offer("stop('video')");
      await recorder.still(codec, 700);
      await recorder.frames('OPUS', 25);
      await offer(`again('video', 480, ${270 + turn * 30})`);
      await flows('in a section that was stopped');
    }
    await offer('negotiate({ iceRestart: true })');
    await flows('ICE has begun anew');
    assert.ok(offers >= 10, `${offers} offers`);
    await recorder.hangUp();
    const { video } = plays(recorder, codec);
    s.note(`${offers} offers; sizes ${video.sizes.map((size) => size.join('x'))}`);
    const shapes = new Set(video.sizes.map(([w, h]) => (w / h).toFixed(1)));
    assert.ok(shapes.has((SIZE[0] / SIZE[1]).toFixed(1)) && shapes.has((4 / 3).toFixed(1)), 'the camera and what took its place');
    const pts = new Map();
    for (const { codec: one, pts: at } of recorder.index()) {
      assert.ok(!pts.has(one) || at > pts.get(one), `times of ${one} go forward`);
      pts.set(one, at);
    }
  });

  scenario(`${name} sends for ${LONG} s, and nothing grows`, { needs, timeout: (LONG + 60) * 1000 }, async (s) => {
    const codec = codecs[0];
    const { recorder } = await start(s, { codec });
    await recorder.frames('OPUS', 250);
    const { kib } = recorder.counts;
    const began = performance.now();
    await until('the time is over', () => performance.now() - began > LONG * 1000, { within: (LONG + 10) * 1000, every: 500 });
    const grown = recorder.counts.kib - kib;
    await recorder.hangUp();
    const { video, audio } = plays(recorder, codec, SIZE);
    const index = recorder.index();
    const { most } = drift(index);
    // By the packets of audio, whether the browser had the time for them.
    const share = audio.frames * 20 / (index.at(-1).came - index[0].came);
    s.note(`${video.frames} frames, ${audio.frames} packets of audio (${share.toFixed(3)} of the time), ${grown} KiB more, sound and picture part by ${most.toFixed(1)} ms`);
    assert.ok(grown < 4096, `${grown} KiB more`);
    if (Math.abs(share - 1) < 0.01) assert.ok(most < 40, `${most} ms`);
    else s.note('the drift is not judged: the browser had no time for its audio');
  });

  scenario(`${name} adds video to an audio call`, { needs, timeout: 120_000 }, async (s) => {
    const codec = codecs[0];
    const { recorder, page } = await start(s, { codec, kinds: ['audio'] });
    await recorder.frames('OPUS', 50);
    assert.equal(recorder.counts.codecs[codec], undefined, 'no video so far');
    await page.evaluate("sender.again('video', 640, 360)");
    await recorder.frames(codec, 30);
    await recorder.frames('OPUS', 30);
    await recorder.hangUp();
    plays(recorder, codec);
  });
}
