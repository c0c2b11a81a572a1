// A viewer gets three or four Opus frames in a packet, and hears all of them.

import assert from 'node:assert/strict';
import { scenario, until } from './harness.mjs';
import { watch } from './page.mjs';

const RATE = 48_000; // of what Opus decodes to
const PACKET = 2 / 30; // s of audio on average: 60 ms or more, until the next frame of 30 a second
const WINDOW = 5; // s

scenario('a browser plays every frame of joined audio', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await page.sound();
  const heard = async () => (await page.probe('received')).audio;
  let from = await heard();
  const played = await until('audio is played without concealment for a while', async () => {
    const to = await heard();
    const seconds = (to.at - from.at) / 1000;
    if (seconds < WINDOW) return false;
    const of = (member) => to[member] - from[member];
    const figures = {
      seconds, packets: of('packets'), lost: of('lost'), concealed: of('concealed') / of('samples'),
      decoded: (of('samples') - of('concealed')) / RATE,
    };
    from = to;
    // A busy machine is late now and then. Where only the first frame of a packet played, two thirds were concealed.
    if (figures.concealed < 0.01 && figures.lost === 0) return figures;
    throw new Error(JSON.stringify(figures));
  }, { within: 120_000 });
  s.note(JSON.stringify(played));
  // Statistics are some tens of ms apart from each other.
  const near = (value, expected, part) => assert.ok(Math.abs(value / expected - 1) < part, `${value}, not ${expected}`);
  near(played.packets * PACKET, played.seconds, 0.05);
  near(played.decoded, played.packets * PACKET, 0.05);
});
