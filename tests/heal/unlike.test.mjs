// Viewers on different networks do not affect each other. Three watch on a fast link, one on 300 kbit/s.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { TARGET, scenario, until } from '../browser/harness.mjs';
import { seen, watch } from '../browser/page.mjs';
import { CAMERA, Street, lacking } from './street.mjs';

const SETTINGS = ['--source', 'test', '--size', '640x360', '--fps', '20', '--bitrate', '1500', '--max-bitrate', '1500'];
const URL = `http://${CAMERA}:4500/`;
const FAST = 3;
const SLOW = 300; // kbit/s

const status = (page) => page.evaluate(`fetch('/api/status').then((answer) => answer.json())`);
const decoded = (page) => page.evaluate('symple.player?.stats?.frames ?? 0');
const share = async (page) => {
  const user = await page.evaluate('symple.client.user');
  return (await status(page)).sessions.find((session) => session.user === user);
};

scenario('one viewer on 300 kbit/s beside three fast ones costs them nothing, and sees a steady picture', { needs: ['chromium', lacking], timeout: 240_000 }, async (s) => {
  const street = new Street(s);
  await s.program(...street.at('camera', join(TARGET, 'debug/symple'), 'camera', '--listen', CAMERA, '--port', '4500', ...SETTINGS), { ready: /^online/ });
  const fast = await s.chromium({ executablePath: street.browser('server') });
  const pages = [];
  for (let i = 0; i < FAST; i += 1) pages.push(await watch(fast, URL, { before: seen }));
  await until('the fast viewers get the full stream', async () => {
    const { bitrate, sessions } = await status(pages[0]);
    return bitrate >= 1_400_000 && sessions.length === FAST && sessions.every((session) => session.share === 'full');
  }, { within: 30_000 });
  const before = await status(pages[0]);

  street.narrows(SLOW);
  const slow = await watch(await s.chromium({ executablePath: street.browser() }), URL);
  const began = Date.now();
  await until('the slow viewer gets the small rendition', async () => (await share(slow))?.share === 'small', { within: 20_000 });
  const decided = Date.now() - began;
  const small = (await share(slow)).shareCode;
  await until('it is shown', async () => (await share(slow)).rendition === 1, { within: 10_000 });
  const shown = Date.now() - began;
  const words = await until('the page says why', async () => {
    const [hidden, text] = await slow.evaluate('[document.querySelector("#share").hidden, document.querySelector("#share").textContent]');
    return !hidden && text;
  });

  // Observe all of them for ten seconds.
  const [frames, of] = [await decoded(slow), await Promise.all(pages.map(decoded))];
  const bitrates = [];
  for (let i = 0; i < 20; i += 1) {
    bitrates.push((await status(pages[0])).bitrate);
    await pause(500);
  }
  const rate = (await decoded(slow) - frames) / 10;
  const rates = (await Promise.all(pages.map(decoded))).map((count, i) => (count - of[i]) / 10);
  const least = Math.min(...bitrates);
  s.note(`small after ${decided} ms, shown after ${shown} ms; ${rate} fps at the slow one: "${words}"`);
  s.note(`the others: ${rates.join(', ')} fps, ${least / 1000} to ${Math.max(...bitrates) / 1000} of ${before.bitrate / 1000} kbit/s`);
  assert.equal(small, 'network');
  assert.match(words, /^Smaller picture: the network carries \d+ kbit\/s/);
  assert.ok(least >= 0.9 * before.bitrate, `the encoder's bitrate went down to ${least}`);
  assert.ok(rate >= 5, `${rate} fps`);
  const { sessions } = await status(pages[0]);
  assert.equal(sessions.filter((session) => session.share === 'full').length, FAST);

  // Its link is fast again.
  street.narrows(null);
  const mended = Date.now();
  await until('it gets the full stream again', async () => (await share(slow)).rendition === 0, { within: 20_000 });
  s.note(`the full stream again ${Date.now() - mended} ms after the link was fast again`);
});
