// A publisher of a relay that sends sound alone, for a while or from the beginning: viewers hear it, and are told why
// there is no picture.

import assert from 'node:assert/strict';
import { judge } from './axe.mjs';
import { freePort, scenario, until } from './harness.mjs';
import { HANGUP, as, online, watch, words } from './page.mjs';

/** Starts a relay. Returns its page's address. */
async function relay(s) {
  const port = String(await freePort());
  await s.symple(['relay', '--port', port], { ready: /^open http/ });
  return `http://127.0.0.1:${port}/`;
}

/** Opens the page of somebody who then publishes a camera, a screen or a microphone. */
async function publish(s, url, what) {
  const page = await (await s.chromium({ devices: true })).page(url, { before: as('ann') });
  await online(page);
  await until('there is a button to publish', () => page.visible('#publish'));
  await page.click('#publish');
  await page.click(`#publish-${what}`);
  await words(page, /Live on /);
  return page;
}

/** Waits until 20 more frames are shown: Chromium's fake camera has no counter in its picture. */
async function sees(page) {
  const shown = () => page.evaluate("document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames");
  const before = await shown();
  await until('20 more frames are shown', async () => await shown() >= before + 20);
}

const state = (page) => page.probe('attribute', '#stage', 'data-state');
const NOBODY = /Nobody publishes at stage It plays here as soon as somebody does\./;
const VIDEO_OFF = /stage's video is off Only sound arrives at the moment\./;

/** Waits until a viewer's page says calmly that there is sound alone, and plays it. */
async function hears(page) {
  await words(page, VIDEO_OFF);
  await until('it is calm', async () => (await state(page)) === 'voice');
  await until('sound can be turned on', () => page.visible('#unmute'));
  await page.sound();
}

scenario('a publisher turns its video off and on again, in the same calls', { needs: ['chromium'] }, async (s) => {
  const url = await relay(s);
  const ann = await publish(s, url, 'camera');
  const bob = await watch(await s.chromium(), url, { before: as('bob') });
  await sees(bob);
  const calls = () => bob.evaluate('symple.calls.list().map(({ id }) => id).join()');
  const call = await calls();

  await ann.click('#film');
  const off = performance.now();
  await hears(bob);
  s.note(`the viewer is told ${Math.round(performance.now() - off)} ms after the video was turned off`);
  // All that the page says from now on, to whoever looks at it.
  await bob.evaluate(`globalThis.said = new Set(); new MutationObserver(() => said.add(document.getElementById('state').textContent))
    .observe(document.getElementById('state'), { childList: true, characterData: true })`);
  await s.shot(bob, 'video-off');
  await judge(s, bob, 'hears', 10);
  // Whoever comes now hears it, too.
  const carol = await (await s.chromium()).page(url, { before: as('carol') });
  await hears(carol);
  assert.deepEqual(await bob.evaluate('[...said]'), [], 'it says nothing else meanwhile');

  await ann.click('#film');
  const on = performance.now();
  await words(bob, /Playing stage/);
  await sees(bob);
  s.note(`20 frames were seen ${Math.round(performance.now() - on)} ms after the video was turned on`);
  await words(carol, /Playing stage/);
  await sees(carol);
  assert.equal(await calls(), call, 'no other call was made');
});

scenario('a shared screen that ends leaves the sound, and one without sound nothing', { needs: ['chromium'] }, async (s) => {
  const url = await relay(s);
  const ann = await publish(s, url, 'screen');
  const bob = await watch(await s.chromium(), url, { before: as('bob') });
  await sees(bob);
  /** What the browser does when its own button ends the sharing. */
  const end = (kind) => ann.evaluate(`for (const { sender: { track } } of symple.player.connection.getTransceivers()) {
    if (track?.kind === '${kind}') track.stop(), track.dispatchEvent(new Event('ended'));
  }`);
  await end('video');
  await hears(bob);
  // A microphone that is unplugged then.
  await end('audio');
  await words(bob, /no picture at the moment The source delivers no frames/);
});

scenario('a microphone alone is heard', { needs: ['chromium'] }, async (s) => {
  const url = await relay(s);
  const bob = await (await s.chromium()).page(url, { before: as('bob') });
  await words(bob, NOBODY);
  await s.shot(bob, 'nobody-publishes');
  const ann = await publish(s, url, 'microphone');
  await hears(bob);
  // A camera joins later.
  await ann.click('#film');
  await sees(bob);
  await words(bob, /Playing stage/);
  await ann.click(HANGUP);
  await words(bob, NOBODY);
  const carol = await publish(s, url, 'camera');
  await sees(bob);
  await carol.close();
  await words(bob, NOBODY);
});
