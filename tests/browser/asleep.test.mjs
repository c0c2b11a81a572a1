// Everything that sleeps, dies or leaves comes back: a suspended browser, a suspended or killed camera, a lost source.
// The picture returns without a click, on the page that stayed open.
//
// A browser is suspended with SIGSTOP, like a laptop. `LONG=1` adds a sleep of three minutes.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort, scenario, until } from './harness.mjs';
import { online, playing, viewers, watch, words } from './page.mjs';

const SLEEPS = [15, 30, ...(process.env.LONG ? [180] : [])]; // seconds
// The page's own limit is 5 s; these machines have two busy cores and debug builds.
const BACK = { within: 20_000 };

scenario('a browser that slept shows the picture again by itself', { needs: ['chromium'], timeout: 400_000 }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const page = await watch(browser, camera.url);
  await mark(page);
  for (const seconds of SLEEPS) {
    const wake = browser.sleep();
    await pause(seconds * 1000);
    wake();
    await back(s, page, `asleep for ${seconds} s`);
  }
  await viewers(camera, 1);
});

scenario('a page that is left and returned to plays again', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await mark(page);
  // Chromium does not cache a page that had a stream; other browsers do, and send these events.
  await page.evaluate("void dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))");
  await viewers(camera, 0);
  await page.evaluate("void dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))");
  await back(s, page, 'gone back to');
  await viewers(camera, 1);
});

scenario('a killed or stopped camera plays again after a restart', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await mark(page);
  for (const how of ['SIGKILL', 'SIGTERM']) {
    await camera.process.stop(how);
    await until('the page notices', async () =>
      (await page.probe('attribute', '#connection', 'data-state')) !== 'online', { within: 15_000 });
    await pause(6000);
    await camera.start();
    await back(s, page, `${how}, and a start 6 s later`);
    await viewers(camera, 1, BACK);
  }
});

scenario('a suspended camera plays again', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await mark(page);
  camera.process.signal('SIGSTOP');
  await pause(14_000);
  camera.process.signal('SIGCONT');
  await back(s, page, 'the camera stood still for 14 s');
  await viewers(camera, 1, BACK);
});

scenario('a camera suspended after the end of its file plays the file again', { needs: ['chromium', 'gstreamer'] }, async (s) => {
  const file = join(s.dir, 'short.mp4');
  const made = await s.program('gst-launch-1.0', ['-q', '-e', 'videotestsrc', 'pattern=ball', 'num-buffers=125', '!',
    'video/x-raw,width=640,height=360,framerate=25/1', '!', 'x264enc', 'speed-preset=ultrafast', 'key-int-max=25', '!',
    'h264parse', '!', 'mp4mux', '!', 'filesink', `location=${file}`]);
  assert.equal(await made.ended, 'exit 0', made.lines.join('\n'));
  const port = String(await freePort());
  const camera = await s.symple(['camera', '--source', file, '--no-repeat', '--listen', '127.0.0.1', '--port', port], { ready: /https?:/ });
  const page = await watch(await s.chromium(), `http://127.0.0.1:${port}/`);
  await mark(page);
  s.note(await words(page, /The recording of .* has ended/));
  // A call reopens the file after 5 s: the camera is suspended before that.
  camera.signal('SIGSTOP');
  await observe(page);
  await pause(14_000);
  const meanwhile = await observed(page);
  camera.signal('SIGCONT');
  s.note(`meanwhile: ${meanwhile.join('; ')}`);
  assert.ok(meanwhile.some((said) => /^Server not reachable/.test(said)), `the page notices: ${meanwhile}`);
  await back(s, page, 'the camera stood still for 14 s after the end of its file');
  // The file ends and is played again, without a click.
  await words(page, /The recording of .* has ended/);
  await back(s, page, 'the file was over again');
  for (const said of await observed(page)) {
    const [line, over] = said.split(' | ');
    assert.ok(line !== 'Online' || !/server is not reachable/i.test(over), `the page contradicts itself: ${said}`);
  }
});

scenario('a lost network camera is reported, and plays when it returns', { needs: ['chromium', 'rtsp'] }, async (s) => {
  const port = String(await freePort());
  const serve = () => s.program('/usr/bin/python3', ['tests/rtsp_server.py', port], { ready: /PORT/ });
  const source = await serve();
  const camera = await s.camera({ SOURCE: `rtsp://127.0.0.1:${port}/av` });
  const page = await watch(await s.chromium(), camera.url);
  await mark(page);
  await source.stop('SIGKILL');
  s.note(await words(page, /no picture at the moment|nothing comes/i));
  await serve();
  await back(s, page, 'the source is back');
  await online(page);
});

/** Marks the page, to detect a reload. */
const mark = (page) => page.evaluate('void (window.neverReloaded = true)');

/** Records the page's texts about the server and over the picture whenever they change. */
const observe = (page) => page.evaluate(`{
  const note = () => {
    const text = (id) => document.getElementById(id).textContent;
    const said = text('connection') + ' | ' + text('state');
    if (said !== window.said.at(-1)) window.said.push(said);
  };
  window.said = [];
  note();
  // Not on each mutation: between two of them the page is incomplete, which nobody sees.
  const look = () => { note(); requestAnimationFrame(look); };
  look();
}`);

const observed = (page) => page.evaluate('window.said');

async function back(s, page, after) {
  const began = performance.now();
  await until(`different pictures, ${after}`, async () => {
    const seen = await page.probe('different', '#video', 3);
    return seen.pictures >= 3 || Promise.reject(new Error(JSON.stringify(seen)));
  }, BACK);
  s.note(`${after}: the picture is back after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  await playing(page, BACK);
  assert.equal(await page.evaluate('window.neverReloaded'), true);
}
