// Actions of the camera: it calls a viewer, and it hangs up.

import assert from 'node:assert/strict';
import { forward, scenario } from './harness.mjs';
import { as, HANGUP, inOrder, online, RETRY, viewers, watch, words } from './page.mjs';

scenario('the camera calls the browser', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ RING: 'visitor' });
  // The page plays the only camera automatically, so both call at once; as `visitor` is the greater name, the page's
  // call is dropped in favour of the camera's.
  const page = await watch(await s.chromium(), camera.url, { before: as('visitor') });
  await viewers(camera, 1);
  const calls = await page.evaluate('symple.calls.list().map(({ state, outgoing }) => ({ state, outgoing: !!outgoing }))');
  assert.deepEqual(calls, [{ state: 'active', outgoing: false }], 'the call is the one that the camera made');
  inOrder(await page.pictures(30), forward);
  await page.sound();
});

scenario('the camera hangs up, and calls', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await watch(await s.chromium(), camera.url, { before: as('visitor') });
  camera.process.tell('hangup');
  await words(page, /ended the call/);
  await viewers(camera, 0);
  assert.equal(await page.probe('open'), 0, 'no connection stays open');
  // The page does not call back after a hangup; the viewer may.
  await page.click(RETRY);
  await page.firstPicture();
  await page.moves('#video', 10);
  await page.click(HANGUP);
  await viewers(camera, 0);
  camera.process.tell('call visitor');
  await viewers(camera, 1);
  inOrder(await page.pictures(30), forward);
});

scenario('an invalid candidate or offer does not affect the call', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const stays = await watch(browser, camera.url);
  const bad = await browser.page(camera.url);
  await bad.firstPicture();
  await online(bad);
  // Sent by the page's own client, so that the camera gets it from a peer in a call with it.
  await bad.evaluate(`(() => {
    const [to] = symple.roster.cameras().map((peer) => peer.address);
    const call = symple.calls.list()[0].wire;
    for (const data of [{ candidate: 'candidate:nonsense' }, { candidate: 7 }, null, [], { candidate: 'x'.repeat(10000) }])
      symple.client.send({ type: 'message', to, subtype: 'call:candidate', call, data });
    symple.client.send({ type: 'message', to, subtype: 'call:offer', call, data: { type: 'offer', sdp: 'v=0\\r\\nnonsense' } });
  })()`);
  await camera.process.says(/refused a renegotiation/);
  for (const page of [stays, bad]) {
    await page.inner.bringToFront();
    await page.moves('#video', 30);
  }
  await viewers(camera, 2);
});
