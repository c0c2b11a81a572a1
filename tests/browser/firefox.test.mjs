// Firefox, as Debian ships it: without the downloadable codec for H.264.

import assert from 'node:assert/strict';
import { forward, scenario, spread, until } from './harness.mjs';
import { CAMERA, HANGUP, inOrder, viewers, watch } from './page.mjs';

scenario('Firefox plays', { needs: ['firefox'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.firefox();
  const page = await watch(browser, camera.url);
  await page.moves('#video', 30);
  const pictures = await page.pictures(30);
  inOrder(pictures, forward);
  const { video, audio } = await page.probe('received');
  s.note(`Firefox ${browser.version}: ${video.codec}, first picture ${page.first} ms after the page's start, ` +
    `burned-in clock to page: ${spread(pictures.map(({ delay }) => delay))}`);
  assert.equal(audio.codec, 'audio/opus');
  const heard = await page.probe('sound', '#video');
  if (heard.why) {
    // Without an audio device there are no samples: only statistics show what was received.
    s.note(`sound: ${heard.why}, so its packets are counted`);
    await until('sound goes on coming', async () => (await page.probe('received')).audio.bytes > audio.bytes + 2000);
  } else {
    await page.sound();
  }
  await page.click(HANGUP);
  await viewers(camera, 0);
  await page.click(CAMERA);
  await page.firstPicture();
});

scenario('Firefox and Chromium watch at once', { needs: ['firefox', 'chromium'] }, async (s) => {
  const camera = await s.camera();
  const one = await watch(await s.chromium(), camera.url);
  const other = await watch(await s.firefox(), camera.url);
  const { pipelines, encoders } = await viewers(camera, 2);
  // A second encoder, if Firefox has no H.264; never a second pipeline.
  assert.equal(pipelines, 1);
  s.note(`${encoders} encoders`);
  await one.moves('#video', 20);
  await other.moves('#video', 20);
});
