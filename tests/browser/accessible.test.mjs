// axe-core finds no faults in the page, in each state that a viewer can see.

import { judge } from './axe.mjs';
import { scenario, until } from './harness.mjs';
import { HANGUP, as, watch, words } from './page.mjs';

scenario('axe-core finds nothing wrong with the page', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ TOKEN: 'open sesame' });
  const browser = await s.chromium();
  const asked = await browser.page(camera.url);
  await until('the page asks for the token', () => asked.visible('#token'));
  await judge(s, asked, 'asked for a token', 10);
  await asked.close();

  const page = await watch(browser, `${camera.url}#token=open%20sesame`, { before: as('alice') });
  // Another user, whose name is too long for its place.
  await watch(browser, `${camera.url}#token=open%20sesame`, { before: as('b'.repeat(120)) });
  await page.inner.bringToFront();
  await judge(s, page, 'playing', 10);
  for (const scheme of ['dark', 'light']) {
    await page.inner.emulateMedia({ colorScheme: scheme });
    await judge(s, page, `playing, ${scheme}`, 10);
  }
  await page.inner.setViewportSize({ width: 390, height: 844 });
  await judge(s, page, 'playing on a phone', 10);
  await page.click(HANGUP);
  await words(page, /Stopped/);
  await judge(s, page, 'stopped', 10);
  await camera.stop();
  await until('the page notices', async () =>
    (await page.probe('attribute', '#connection', 'data-state')) !== 'online');
  await judge(s, page, 'offline', 10);
});
