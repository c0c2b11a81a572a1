// A person publishes from the page to a relay, and somebody else watches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './axe.mjs';
import { freePort, scenario, until } from './harness.mjs';
import { HANGUP, as, online, watch, words } from './page.mjs';
import { encodings, fit } from '../../src/web/publish.js';

test('a small video has fewer encodings, so that the largest is sent', () => {
  const table = [
    [{ width: 1920, height: 1080 }, 'l4 m2 h1'], [{ width: 960, height: 540 }, 'l4 m2 h1'], [{ width: 959, height: 540 }, 'm2 h1'],
    [{ width: 640, height: 480 }, 'm2 h1'], [{}, 'm2 h1'], [{ width: 480, height: 270 }, 'm2 h1'], [{ width: 320, height: 240 }, 'h1'],
    [{ width: 1080, height: 1920 }, 'l4 m2 h1'],
  ];
  for (const [size, expected] of table) {
    assert.equal(encodings(size).map(({ rid, scaleResolutionDownBy }) => rid + scaleResolutionDownBy).join(' '), expected, JSON.stringify(size));
  }
});

test('encodings that were agreed are adapted to another size', async () => {
  const sender = (rids) => ({
    set: 0,
    encodings: rids.map((rid) => ({ rid, active: true })),
    getParameters() { return { encodings: this.encodings.map((encoding) => ({ ...encoding })) }; },
    async setParameters({ encodings: all }) { Object.assign(this, { encodings: all, set: this.set + 1 }); },
  });
  const seen = ({ encodings: all }) => all.map(({ rid, active, scaleResolutionDownBy: by }) => (active ? rid + by : '-')).join(' ');
  for (const [rids, steps] of [
    [['l', 'm', 'h'], [[1280, 720, 'l4 m2 h1'], [640, 480, 'l2 m1 -'], [320, 240, 'l1 - -'], [1280, 720, 'l4 m2 h1']]],
    [['m', 'h'], [[640, 480, 'm2 h1'], [1280, 720, 'm2 h1'], [320, 240, 'm1 -']]],
    [['h'], [[320, 240, 'h1'], [1280, 720, 'h1']]],
  ]) {
    const one = sender(rids);
    for (const [width, height, expected] of steps) {
      await fit(one, { width, height });
      assert.equal(seen(one), expected, `${width}x${height}`);
      const { set } = one;
      await fit(one, { width, height });
      await fit(one, {});
      assert.equal(one.set, set, 'nothing has changed');
    }
  }
});

async function relay(s, ...args) {
  const port = String(await freePort());
  const program = await s.symple(['relay', '--port', port, ...args], { ready: /^open http/ });
  return { program, url: `http://127.0.0.1:${port}/` };
}

/** Opens the page of somebody with devices. */
async function person(s, url, name) {
  const page = await (await s.chromium({ devices: true })).page(url, { before: as(name) });
  await online(page);
  await until('there is a button to publish', () => page.visible('#publish'));
  return page;
}

/** Waits until 20 more frames are shown: Chromium's fake camera has no counter in its picture. */
async function sees(page) {
  const shown = () => page.evaluate("document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames");
  const before = await shown();
  await until('20 more frames are shown', async () => await shown() >= before + 20);
}

const width = (page) => page.evaluate("document.getElementById('video').videoWidth");
const live = (page) => words(page, /Live on /);
const state = (page) => page.probe('attribute', '#stage', 'data-state');

scenario('a page publishes its camera to a relay, and another one watches', { needs: ['chromium'] }, async (s) => {
  const { url } = await relay(s, '--codec', 'vp8');
  const ann = await person(s, url, 'ann');
  await judge(s, ann, 'may publish', 10);
  await ann.click('#publish');
  await until('the dialog is there', () => ann.visible('#publishing'));
  await s.shot(ann, 'dialog');
  await judge(s, ann, 'is asked what to publish', 10);
  await ann.click('#publish-cancel');
  await until('the dialog is gone', async () => !(await ann.visible('#publishing')));
  assert.equal(await ann.evaluate('symple.player?.publishes ?? false'), false, 'nothing was opened');

  await ann.click('#publish');
  await ann.click('#publish-camera');
  await live(ann);
  assert.equal(await state(ann), 'playing');
  await until('one sees oneself', () => ann.evaluate("document.getElementById('video').videoWidth > 0"));
  assert.equal(await ann.evaluate("document.getElementById('video').muted"), true, 'nobody hears oneself');
  await judge(s, ann, 'is live', 10);

  const bob = await watch(await s.chromium(), url, { before: as('bob') });
  await sees(bob);
  await until('the whole camera', async () => (await width(bob)) === 640);
  await until('the figures are those of what is sent', async () => /^\d+×\d+$/.test(await ann.text('#stat-size')) && /bit\/s$/.test(await ann.text('#stat-bitrate')));
  await s.shot(ann, 'live');
  // Nothing comes back.
  assert.deepEqual(await ann.evaluate("symple.player.connection.getTransceivers().map(({ currentDirection }) => currentDirection)"), ['sendonly', 'sendonly']);

  await ann.click('#film');
  await words(ann, /Only your microphone is sent/);
  await ann.click('#film');
  await until('the camera is on again', async () => (await state(ann)) === 'playing');
  await sees(bob);

  await ann.click(HANGUP);
  await until('the page watches again', () => ann.evaluate('symple.watching.phase !== "none"'));
  await until('the camera is off', () => ann.evaluate("!document.getElementById('self').srcObject && symple.player?.publishes !== true"));
  await words(bob, /Nobody publishes at/);
});

scenario('a page publishes its whole screen to a relay until the browser stops that', { needs: ['chromium'] }, async (s) => {
  const { url } = await relay(s, '--codec', 'vp8');
  const ann = await person(s, url, 'ann');
  // There may be no screen to capture: a canvas is one.
  await ann.evaluate(`navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 800, height: 450 });
    const drawing = canvas.getContext('2d');
    setInterval(() => { drawing.fillStyle = drawing.fillStyle === '#ff0000' ? '#ff0001' : '#ff0000'; drawing.fillRect(0, 0, 800, 450); }, 40);
    return window.screen_ = canvas.captureStream(25);
  }`);
  await ann.click('#publish');
  await ann.click('#publish-screen');
  await live(ann);
  const bob = await watch(await s.chromium(), url, { before: as('bob') });
  await sees(bob);
  await until('the whole screen', async () => (await width(bob)) === 800);
  // The browser's own button.
  await ann.evaluate("screen_.getTracks().forEach((track) => { track.stop(); track.dispatchEvent(new Event('ended')); })");
  await words(ann, /Only your microphone is sent/);
});

scenario('another camera of the same call is seen at its full size, too', { needs: ['chromium'] }, async (s) => {
  const { url } = await relay(s, '--codec', 'vp8');
  const ann = await person(s, url, 'ann');
  await ann.evaluate(`{
    const { getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getUserMedia = (wish) => getUserMedia.call(navigator.mediaDevices, { ...wish, video: wish.video && globalThis.camera_ });
    globalThis.camera_ = { width: { exact: 1280 }, height: { exact: 720 } };
  }`);
  await ann.click('#publish');
  await ann.click('#publish-camera');
  await live(ann);
  const bob = await watch(await s.chromium(), url, { before: as('bob') });
  await sees(bob);
  const active = () => ann.evaluate(`symple.player.connection.getSenders().find(({ track }) => track?.kind === 'video')
    ?.getParameters().encodings.map(({ active }) => active).join()`);
  assert.equal(await active(), 'true,true,true');
  await ann.click('#film');
  await words(ann, /Only your microphone is sent/);
  await ann.evaluate('globalThis.camera_ = { width: { exact: 640 }, height: { exact: 480 } }');
  await ann.click('#film');
  await until('the whole other camera', async () => (await width(bob)) === 640 || Promise.reject(new Error(`${await width(bob)}`)));
  assert.equal(await active(), 'true,true,false');
});

scenario('only one publishes at a time, and the other one is told', { needs: ['chromium'] }, async (s) => {
  const { url } = await relay(s, '--codec', 'vp8');
  const ann = await person(s, url, 'ann');
  await ann.click('#publish');
  await ann.click('#publish-microphone');
  await live(ann);
  const bob = await person(s, url, 'bob');
  await bob.click('#publish');
  await bob.click('#publish-camera');
  await until('it is told why', async () => (await bob.text('#toast')).length > 0);
  s.note(await bob.text('#toast'));
  await until('it watches again', () => bob.evaluate('symple.watching.phase !== "none"'));
  assert.equal(await ann.evaluate('symple.player.publishes'), true);
});

scenario('where nobody may publish there is no button', { needs: ['chromium'] }, async (s) => {
  const { url } = await relay(s, '--publish', 'nobody');
  const page = await (await s.chromium()).page(url, { before: as('ann') });
  await until('it calls the relay', () => page.evaluate('symple.watching.phase === "calling"'));
  assert.equal(await page.visible('#publish'), false);
});
