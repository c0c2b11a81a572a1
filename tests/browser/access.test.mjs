// Who may watch, and what the page's configuration contains.

import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { freePort, scenario, until } from './harness.mjs';
import { viewers, watch } from './page.mjs';

/** Waits until the whole page, also behind the dialog, says that a token is needed. */
const needsToken = (page) => until('the page says that it needs a token', async () => {
  const said = await Promise.all(['#connection', '#state', '#no-cameras', '#no-people'].map((part) => page.text(part)));
  return said.every((text) => /token/.test(text)) || Promise.reject(new Error(said.join('; ')));
}, { within: 5000 });

scenario('a token is required, and a wrong one is reported', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ TOKEN: 'open sesame' });
  const page = await (await s.chromium()).page(camera.url);
  const asks = () => page.visible('#token');
  await until('the page asks', asks);
  await needsToken(page);
  await page.fill('#token', 'open barley');
  await page.click('#token-form button');
  await until('the page reports it', async () => /not accepted/i.test(await page.text('#token-words')) && asks());
  await needsToken(page);
  await page.fill('#token', 'open sesame');
  await page.click('#token-form button');
  await page.firstPicture();
  await page.moves('#video', 10);
  for (const line of camera.process.lines) assert.ok(!line.includes('open barley'), `a token in the log: ${line}`);
});

scenario("a token in the address's fragment is used and removed", { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ TOKEN: 'open sesame' });
  const page = await watch(await s.chromium(), `${camera.url}#token=open%20sesame`);
  assert.ok(!(await page.evaluate('location.href')).includes('sesame'), 'it leaves the address bar');
  await page.reload();
  await page.firstPicture();
});

scenario('the ICE servers of the configuration are used', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url, {
    before: (page) => page.route('**/api/config', async (route) => {
      const config = await (await route.fetch()).json();
      assert.deepEqual(config.iceServers, [], 'by default nobody is phoned');
      await route.fulfill({ json: { ...config, iceServers: [{ urls: 'stun:127.0.0.1:3478' }] } });
    }),
  });
  for (const servers of await page.probe('iceServers')) assert.deepEqual(servers, [{ urls: 'stun:127.0.0.1:3478' }]);
});

scenario("sockets of other pages are refused except for configured origins", {}, async (s) => {
  const friend = `http://127.0.0.1:${await freePort()}`;
  const camera = await s.camera({ ORIGINS: friend });
  const connects = (origin) => new Promise((done) => {
    const socket = new WebSocket(camera.url.replace('http', 'ws'), { origin });
    socket.on('open', () => done(true)).on('unexpected-response', () => done(false)).on('error', () => done(false));
    s.after(() => socket.terminate());
  });
  assert.equal(await connects('http://evil.example'), false, 'a foreign page');
  assert.equal(await connects('null'), false, 'a page without an origin of its own');
  assert.equal(await connects(friend), true, 'a configured origin');
  assert.equal(await connects(camera.url.slice(0, -1)), true, 'its own page');
  assert.equal(await connects(undefined), true, 'no browser');
  await viewers(camera, 0);
});
