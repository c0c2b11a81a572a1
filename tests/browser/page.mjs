// What the tests know about the page in src/web: its elements, and how a viewer uses it.

import assert from 'node:assert/strict';
import { until } from './harness.mjs';

export const CAMERA = '#cameras button'; // the first camera of the list
export const HANGUP = '#hangup';
export const RETRY = '#retry';

/** Waits until the page's own server has admitted it. */
export const online = (page, options) => until('the page is online', async () =>
  (await page.probe('attribute', '#connection', 'data-state')) === 'online', options);

/** Waits until the page shows that it plays. */
export const playing = (page, options) => until('the page says that it plays', async () =>
  (await page.probe('attribute', '#stage', 'data-state')) === 'playing', options);

/** Waits until the text over the picture matches. */
export const words = (page, pattern, options) => until(`the page says ${pattern}`, async () => {
  const said = `${await page.text('#state')} ${await page.text('#advice')}`;
  return pattern.test(said) ? said : Promise.reject(new Error(said));
}, options);

/** For a page's `before`: the viewer is this user, without a random name. */
export const as = (user) => (page) => page.addInitScript(`sessionStorage.setItem('symple.user', ${JSON.stringify(user)})`);

/** For a page's `before`: its scripts take it for seen, though another page of the browser is in front of it. */
export const seen = (page) => page.addInitScript("Object.defineProperty(Document.prototype, 'hidden', { get: () => false })");

/** Opens a camera's page, which plays the only camera automatically; returns the page, with a picture. */
export async function watch(browser, url, { within, ...options } = {}) {
  const page = await browser.page(url, options);
  page.first = await page.firstPicture('#video', { within });
  await playing(page, { within });
  return page;
}

/** Waits until the camera counts this many viewers. */
export const viewers = (camera, count, { within = 15_000 } = {}) => until(`the camera has ${count} viewers`, async () => {
  const status = await camera.status();
  return status.viewers === count ? status : Promise.reject(new Error(JSON.stringify(status)));
}, { within });

/** Asserts that the picture moves: each counter is later than the previous one. */
export function inOrder(pictures, forward) {
  for (const [i, { counter }] of pictures.entries()) {
    if (i === 0) continue;
    const steps = forward(pictures[i - 1].counter, counter);
    assert.ok(steps < 0x8000, `picture ${i} shows frame ${counter} after ${pictures[i - 1].counter}`);
  }
}
