// A viewer opens the page, and sees and hears the camera.

import assert from 'node:assert/strict';
import { forward, scenario, spread, until } from './harness.mjs';
import { CAMERA, HANGUP, RETRY, inOrder, online, playing, viewers, watch, words } from './page.mjs';

scenario('a viewer sees the camera move and hears it', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const page = await watch(browser, camera.url);
  s.note(`first picture ${page.first} ms after the page's start`);

  await page.moves('#video', 30);
  const pictures = await page.pictures(60);
  inOrder(pictures, forward);
  s.note(`burned-in clock to page: ${spread(pictures.map(({ delay }) => delay))}`);

  const heard = await page.sound();
  s.note(`sound at level ${heard.level.toFixed(3)}, strongest tone ${heard.hertz} Hz`);
  const { video, audio } = await page.probe('received');
  assert.equal(video.codec, 'video/H264');
  assert.equal(audio.codec, 'audio/opus');

  await page.click(HANGUP);
  await viewers(camera, 0);
  await page.click(CAMERA);
  s.note(`first picture ${await page.firstPicture()} ms after the click`);
  await page.moves('#video', 10);
  s.note(`screenshot ${await s.shot(page)}`);
});

scenario('three viewers share one encoder', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const pages = [];
  for (let i = 0; i < 3; i++) pages.push(await watch(browser, camera.url));
  await viewers(camera, 3);
  // Until its network is known, one may get a small rendition, which has an encoder of its own.
  const status = await until('one pipeline and one encoder for all', async () => {
    const now = await camera.status();
    return now.pipelines === 1 && now.encoders === 1 && now;
  });
  s.note(`encoder ${JSON.stringify(status.encoder)}`);
  // A page in the background shows nothing: each is checked while it is in front.
  for (const page of pages) {
    await page.inner.bringToFront();
    await page.moves('#video', 10);
  }
  await pages[0].close();
  await viewers(camera, 2);
  await pages[1].inner.bringToFront();
  await pages[1].moves('#video', 10);
});

scenario('a viewer hangs up', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await viewers(camera, 1);
  await page.click(HANGUP);
  await viewers(camera, 0);
  await words(page, /Stopped/);
  assert.equal(await page.probe('open'), 0, 'no connection stays open');
  // The pipeline continues for a while for the next viewer, then stops.
  await until('the pipeline rests', async () => (await camera.status()).pipelines === 0, { within: 20_000 });
  await page.click(CAMERA);
  s.note(`first picture ${await page.firstPicture()} ms after the click, from a pipeline at rest`);
});

scenario('a viewer who muted hears nothing until unmuting', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  const muted = () => page.evaluate("document.getElementById('video').muted");
  const says = (label) => until(`the button says ${label}`, async () => (await page.text('#mute')) === label);
  await says('Unmute');
  for (const label of ['Mute', 'Unmute']) {
    await page.click('#mute');
    await says(label);
  }
  for (const again of [RETRY, CAMERA]) {
    await page.click(HANGUP);
    await viewers(camera, 0);
    await page.click(again);
    await page.firstPicture();
    await playing(page);
    assert.equal(await muted(), true, `after ${again}`);
  }
  await page.click('#mute');
  await page.click(HANGUP);
  await viewers(camera, 0);
  await page.click(RETRY);
  await page.firstPicture();
  assert.equal(await muted(), false, 'unmuted, it sounds again');
});

scenario('a viewer that vanishes is gone within 10 s', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const stays = await watch(await s.chromium(), camera.url);
  const other = await s.chromium();
  const goes = await watch(other, camera.url);
  await viewers(camera, 2);
  // A crash sends no goodbye.
  await goes.inner.goto('chrome://crash').catch(() => {});
  await viewers(camera, 1, { within: 10_000 });
  await stays.moves('#video', 10);
});

scenario('a second load and a reload while one plays', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const first = await watch(browser, camera.url);
  const second = await watch(browser, camera.url);
  await viewers(camera, 2);
  await second.reload();
  await second.firstPicture();
  await second.moves('#video', 10);
  await viewers(camera, 2);
  await first.inner.bringToFront();
  await first.moves('#video', 10);
});

scenario('the page survives a restart of its server and plays again', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await page.evaluate('void (window.neverReloaded = true)');
  await camera.stop();
  const began = performance.now();
  await until('the page notices', async () =>
    (await page.probe('attribute', '#connection', 'data-state')) !== 'online', { within: 10_000 });
  s.note(`noticed after ${Math.round(performance.now() - began)} ms`);
  await camera.start();
  await online(page);
  await viewers(camera, 1, { within: 60_000 });
  await playing(page);
  await page.moves('#video', 30);
  assert.equal(await page.evaluate('window.neverReloaded'), true);
});

scenario('the page notices a server that only went silent', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  // Its sockets stay open, and nothing arrives: like a board without power.
  const began = performance.now();
  camera.process.signal('SIGSTOP');
  // It takes 8 s; the rest is for a machine whose cores are all busy.
  await until('the page notices', async () =>
    (await page.probe('attribute', '#connection', 'data-state')) !== 'online', { within: 15_000 });
  s.note(`noticed after ${Math.round(performance.now() - began)} ms`);
  camera.process.signal('SIGCONT');
  await online(page, { within: 60_000 });
  await until('it moves again', async () => (await page.moves('#video', 10)) || true, { within: 60_000 });
});

scenario('the page fits a phone', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true });
  const page = await watch(browser, camera.url);
  const [wide, room] = await page.evaluate('[document.documentElement.scrollWidth, innerWidth]');
  assert.ok(wide <= room, `the page is ${wide} px wide on a screen of ${room}`);
  s.note(`screenshot ${await s.shot(page)}`);
});
