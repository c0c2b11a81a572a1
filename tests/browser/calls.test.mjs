// What the camera does of its own: it calls a viewer, and it hangs up. Lines on its input say when.

import assert from 'node:assert/strict';
import { forward, scenario } from './harness.mjs';
import { HANGUP, inOrder, online, RETRY, viewers, watch, words } from './page.mjs';

scenario('the camera calls the browser', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await watch(await s.chromium(), camera.url);
  // Nothing plays and nothing will by itself.
  await page.click(HANGUP);
  await viewers(camera, 0);
  const connections = (await page.probe('iceServers')).length;
  camera.process.tell(`call ${await page.evaluate('symple.client.user')}`);
  await viewers(camera, 1);
  const pictures = await page.pictures(30);
  inOrder(pictures, forward);
  await page.sound();
  assert.equal((await page.probe('iceServers')).length, connections + 1, 'one connection for the call');
});

scenario('the camera hangs up', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await watch(await s.chromium(), camera.url);
  camera.process.tell('hangup');
  await words(page, /ended the call/);
  await viewers(camera, 0);
  await page.click(RETRY);
  await page.firstPicture();
  await page.moves('#video', 10);
});

scenario('what is no candidate and no answer ends at most its call', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const stays = await watch(browser, camera.url);
  const bad = await browser.page(camera.url);
  await bad.firstPicture();
  await online(bad);
  // The page's own client says it, so the camera gets it from a peer in a call with it.
  await bad.evaluate(`(() => {
    const [to] = symple.roster.cameras().map((peer) => peer.address);
    const call = symple.calls.list()[0].wire;
    for (const data of [{ candidate: 'candidate:nonsense' }, { candidate: 7 }, null, [], { candidate: 'x'.repeat(10000) }])
      symple.client.send({ type: 'message', to, subtype: 'call:candidate', call, data });
    symple.client.send({ type: 'message', to, subtype: 'call:offer', call, data: { type: 'offer', sdp: 'v=0\\r\\nnonsense' } });
  })()`);
  await viewers(camera, 1);
  await stays.inner.bringToFront();
  await stays.moves('#video', 10);
});
