// Chromium, driven by playwright-core: the system's browser, no download.

import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { found, PageUnderTest, PROBE } from './harness.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];
const FAKE_DEVICES = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

export class Chromium {
  static #count = 0;

  /** `devices`: with a fake camera and microphone, allowed; `viewport` and the like go to playwright. */
  static async start(s, { devices = false, ...options } = {}) {
    const context = await chromium.launchPersistentContext(join(s.dir, `chromium-${Chromium.#count++}`), {
      executablePath: found('chromium'),
      args: [...FLAGS, ...(devices ? FAKE_DEVICES : [])],
      viewport: { width: 1280, height: 800 },
      ignoreHTTPSErrors: true,
      ...options,
    });
    await context.addInitScript(PROBE);
    return Object.assign(new Chromium(), { name: 'Chromium', context });
  }

  /** A page, at `url` if one is given; `before(page)` gets playwright's page ahead of that. */
  async page(url, { before } = {}) {
    const page = new ChromiumPage(await this.context.newPage());
    this.opened?.(page);
    await before?.(page.inner);
    if (url) await page.goto(url);
    return page;
  }

  close() { return this.context.close(); }
}

class ChromiumPage extends PageUnderTest {
  constructor(inner) {
    super();
    this.inner = inner; // playwright's page, for features that only it has
    inner.on('console', (message) => this.console.push(`${message.type()}: ${message.text()}`));
    inner.on('pageerror', (error) => this.console.push(`uncaught: ${error.stack ?? error}`));
  }

  goto(url) { return this.inner.goto(url, { waitUntil: 'load' }); }
  reload() { return this.inner.reload({ waitUntil: 'load' }); }
  evaluate(expression) { return this.inner.evaluate(expression); }
  press(selector) { return this.inner.click(selector, { timeout: 10_000 }); }
  fill(selector, text) { return this.inner.fill(selector, text, { timeout: 10_000 }); }
  screenshot(path) { return this.inner.screenshot({ path, timeout: 10_000 }); }
  close() { return this.inner.close(); }
}
