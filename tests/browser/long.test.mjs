// A call that lasts: a viewer watches a camera and talks to it all the time, for CALL_MINUTES.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { freePort, scenario, until } from './harness.mjs';
import { as, watch } from './page.mjs';

const MINUTES = Number(process.env.CALL_MINUTES ?? 0);
const long = () => (MINUTES ? '' : 'takes long; CALL_MINUTES=10 runs it, as `make test-all` does');

/** How much later the page shows video than it plays audio of the same time, in ms, as the browser estimates it. */
const SKEW = `symple.player.connection.getStats().then((all) => {
  const [audio, video] = ['audio', 'video'].map((kind) => [...all.values()].find((one) => one.type === 'inbound-rtp' && one.kind === kind));
  return audio?.estimatedPlayoutTimestamp && video?.estimatedPlayoutTimestamp ? audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp : null;
})`;

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

scenario('a long call in both directions does not grow, and picture and sound stay together', { needs: ['chromium', long], timeout: (MINUTES + 3) * 60_000 }, async (s) => {
  const port = String(await freePort());
  const output = 'audioconvert ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! fakesink sync=true';
  const args = ['camera', '--listen', '127.0.0.1', '--port', port, '--size', '320x180', '--talk', 'everybody', '--talk-duplex', 'full', '--talk-output', output];
  const camera = await s.symple(args, { ready: /^open / });
  const url = `http://127.0.0.1:${port}/`;
  const status = async () => (await fetch(`${url}api/status`)).json();
  const memory = () => Number(readFileSync(`/proc/${camera.child.pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]);
  const page = await watch(await s.chromium({ devices: true }), url, { before: as('ann') });
  await until('the button is there', () => page.visible('#talk'));
  await page.click('#talk');
  await until('ann talks', async () => (await status()).talk.by === 'ann');

  const began = performance.now();
  const minutes = () => (performance.now() - began) / 60_000;
  const skews = [];
  let [before, frames] = [0, (await status()).talk.frames];
  // What the first minutes of a call need is not growth.
  const settled = Math.min(2, MINUTES / 2);
  while (minutes() < MINUTES) {
    await page.evaluate('new Promise((next) => setTimeout(next, 2000))');
    const skew = await page.evaluate(SKEW);
    if (skew !== null) skews.push(skew);
    if (!before && minutes() >= settled) before = memory();
    const heard = (await status()).talk.frames;
    assert.ok(heard > frames, 'the viewer is heard all the time');
    frames = heard;
  }
  const grown = memory() - before;
  const part = Math.max(10, skews.length >> 3);
  const [first, last] = [median(skews.slice(0, part)), median(skews.slice(-part))];
  s.note(`${MINUTES} minutes: ${before} KiB after ${settled} of them, and ${grown} more at the end; video after audio by ${first.toFixed(1)} ms at first and ${last.toFixed(1)} ms at the end, of ${skews.length} samples; ${frames} packets of the viewer's audio`);
  assert.equal(await page.evaluate('symple.player.state'), 'playing');
  assert.ok(grown < 4096, `${grown} KiB more`);
  // Not how far they are apart: Chromium's estimate contains the delay of its audio output.
  assert.ok(Math.abs(last - first) < 40, 'they drift apart');
});
