// What axe-core finds wrong with the page, in each state that a viewer can see: nothing.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { scenario, until } from './harness.mjs';
import { HANGUP, as, watch, words } from './page.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

scenario('axe-core finds nothing wrong with the page', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ TOKEN: 'open sesame' });
  const browser = await s.chromium();
  const asked = await browser.page(camera.url);
  await until('the page asks for the token', () => asked.visible('#token'));
  await judge(s, asked, 'asked for a token');
  await asked.close();

  const page = await watch(browser, `${camera.url}#token=open%20sesame`, { before: as('alice') });
  // Somebody else, with a name that is too long for its place.
  await watch(browser, `${camera.url}#token=open%20sesame`, { before: as('b'.repeat(120)) });
  await page.inner.bringToFront();
  await judge(s, page, 'playing');
  for (const scheme of ['dark', 'light']) {
    await page.inner.emulateMedia({ colorScheme: scheme });
    await judge(s, page, `playing, ${scheme}`);
  }
  await page.inner.setViewportSize({ width: 390, height: 844 });
  await judge(s, page, 'playing on a phone');
  await page.click(HANGUP);
  await words(page, /Stopped/);
  await judge(s, page, 'stopped');
  await camera.stop();
  await until('the page notices', async () =>
    (await page.probe('attribute', '#connection', 'data-state')) !== 'online');
  await judge(s, page, 'offline');
});

async function judge(s, page, state) {
  // Evaluated by the debugger, which the page's Content-Security-Policy does not stop.
  await page.evaluate(`void (window.axe ?? (() => { ${AXE} })())`);
  const { violations, passes } = await page.evaluate(`axe.run(document).then(({ violations, passes }) => ({
    violations: violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary) })),
    passes: passes.length,
  }))`);
  assert.ok(passes > 10, `only ${passes} rules applied`);
  assert.deepEqual(violations, [], `${state}: ${JSON.stringify(violations, null, 2)}`);
  s.note(`${state}: ${passes} rules hold`);
}
