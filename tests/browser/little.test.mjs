// A picture that is shown small: less is asked for, and everything again once it is shown large.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { WHOLE, look, width } from '../../src/web/little.js';
import { freePort, scenario, until } from './harness.mjs';
import { as, seen, watch } from './page.mjs';

/** What is decided of pictures shown at these widths, one a second. */
const decided = (came, all) => {
  let state = WHOLE;
  return all.map((shown, second) => {
    state = look(state, { came: state.little ? came / 2 : came, shown, now: second * 1000 });
    return state.little;
  });
};

test('a picture is little once it was shown at a third of its width for three seconds', () => {
  assert.deepEqual(decided(1200, [400, 400, 400, 400, 400]), [false, false, false, true, true]);
  assert.deepEqual(decided(1200, [401, 401, 401, 401, 401]), [false, false, false, false, false]);
  assert.deepEqual(decided(1200, [300, 300, 800, 300, 300, 300]), [false, false, false, false, false, false], 'somebody drags the edge of a window');
});

test('it is not at half of its width, and between the two it stays what it was', () => {
  const [little, between, large] = [[300, 300, 300, 300], [599, 450, 599], [600]];
  assert.deepEqual(decided(1200, [...little, ...between, ...large, ...between]).slice(3), [true, true, true, true, false, false, false, false]);
});

test('the small rendition does not count as the size of the picture', () => {
  // 600 wide comes then, and 300 is half of that.
  assert.deepEqual(decided(1200, Array(9).fill(350)).slice(3), Array(6).fill(true));
});

test('nothing shown says nothing, and proportions are kept', () => {
  assert.deepEqual(decided(1200, [0, 0, 0, 0, 0]), Array(5).fill(false));
  assert.deepEqual(decided(1200, [300, 300, 300, 300, 0, 0]).slice(3), [true, true, true]);
  assert.deepEqual(decided(0, [300, 300, 300, 300]), Array(4).fill(false), 'no frame came yet');
  assert.equal(width({ clientWidth: 400, clientHeight: 100, videoWidth: 1280, videoHeight: 640 }, 2), 400);
  assert.equal(width({ clientWidth: 300, clientHeight: 900, videoWidth: 1280, videoHeight: 640 }, 1.5), 450);
  assert.equal(width({ clientWidth: 300, clientHeight: 900, videoWidth: 0, videoHeight: 0 }, 1), 0);
});

scenario('a picture in a small window costs less, and is whole again in a large one', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  const url = `http://127.0.0.1:${port}/`;
  await s.symple(['camera', '--source', 'test', '--size', '1280x720', '--fps', '10', '--listen', '127.0.0.1', '--port', port], { ready: /https?:/ });
  const browser = await s.chromium();
  const other = await watch(browser, url, { before: async (page) => { await as('other')(page); await seen(page); } });
  const page = await watch(browser, url, { before: async (page) => { await as('small')(page); await seen(page); } });
  const session = async (user) => (await (await fetch(`${url}api/status`)).json()).sessions.find((one) => one.user === user);
  const gets = (rendition) => until(`it gets rendition ${rendition}`, async () => {
    const now = await session('small');
    return now.rendition === rendition && now;
  });
  // Until its network is known, a viewer may get less for that reason.
  await until('its network is known to carry it', async () => (await gets(0)).estimate > 3_000_000);

  await page.inner.setViewportSize({ width: 330, height: 700 });
  const began = Date.now();
  const small = await gets(1);
  s.note(`smaller ${Date.now() - began} ms after the window became small`);
  assert.deepEqual([small.share, small.shareCode], ['small', 'wish']);
  await until('it is shown', () => page.evaluate('document.querySelector("#video").videoWidth === 640'));
  // Frames still come, and nobody is told of what nobody misses.
  await page.moves('#video', 5);
  assert.equal(await page.evaluate('document.querySelector("#share").hidden'), true);
  assert.equal((await session('other')).share, 'full');
  assert.equal(await other.evaluate('document.querySelector("#video").videoWidth'), 1280);

  const large = Date.now();
  await page.inner.setViewportSize({ width: 1280, height: 800 });
  // One that asked for many key frames, as on a busy machine, gets the small rendition for 30 s.
  await until('the whole picture', () => page.evaluate('document.querySelector("#video").videoWidth === 1280'), { within: 60_000 });
  s.note(`whole ${Date.now() - large} ms after it became large`);
  assert.equal((await gets(0)).share, 'full');
});
