// A page that nobody looks at asks for less, and has its picture again as soon as somebody does.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort, scenario, until } from './harness.mjs';
import { as, seen, watch } from './page.mjs';

/** Makes the page hidden, or seen again, for its scripts. */
const hide = (page, hidden) => page.evaluate(`{
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${hidden} });
  document.dispatchEvent(new Event('visibilitychange'));
}`);

scenario('a hidden page gets single frames, and everything within a second when it is seen again', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  const url = `http://127.0.0.1:${port}/`;
  await s.symple(['camera', '--source', 'test', '--size', '320x180', '--fps', '20', '--listen', '127.0.0.1', '--port', port], { ready: /https?:/ });
  const browser = await s.chromium();
  await watch(browser, url, { before: async (page) => { await as('other')(page); await seen(page); } });
  const page = await watch(browser, url, { before: as('hidden') });
  const session = async (user) => (await (await fetch(`${url}api/status`)).json()).sessions.find((one) => one.user === user);
  const frames = async () => (await session('hidden')).frames;
  const share = (wanted) => until(`it gets ${wanted}`, async () => {
    const { share, shareCode } = await session('hidden');
    return share === wanted && shareCode;
  });
  await share('full');

  await hide(page, true);
  assert.equal(await share('key-frames'), 'wish');
  const before = await frames();
  await pause(6000);
  const few = await frames() - before;
  // Audio is counted too, at up to 17 packets a second.
  const audio = await page.evaluate('symple.player.remote.getAudioTracks().length') * 6 * 17;
  s.note(`${few} frames in 6 s while it is hidden, of which audio up to ${audio}`);
  assert.equal(await page.probe('attribute', '#stage', 'data-state'), 'playing', 'that few frames come is nothing');
  assert.ok(few <= audio + 4, `${few} frames`);
  assert.equal((await session('other')).share, 'full');

  const decoded = () => page.evaluate('symple.player.connection.getStats().then((all) => [...all.values()].find((it) => it.type === "inbound-rtp" && it.kind === "video").framesDecoded)');
  const last = await decoded();
  const began = Date.now();
  await hide(page, false);
  await until('frames come again', async () => (await decoded()) >= last + 5, { every: 20 });
  const took = Date.now() - began;
  s.note(`five frames ${took} ms after it is seen again`);
  assert.ok(took <= 2000, `${took} ms`);
  await share('full');
  await until('the page says nothing of it', () => page.evaluate('document.querySelector("#share").hidden'));
});
