// Chromium, driven by playwright-core: the system's browser, no download.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
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

  /** `devices`: with a fake camera and microphone, allowed; `more` flags; `viewport` and the like go to playwright. */
  static async start(s, { devices = false, more = [], ...options } = {}) {
    const profile = join(s.dir, `chromium-${Chromium.#count++}`);
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: found('chromium'),
      args: [...FLAGS, ...(devices ? FAKE_DEVICES : []), ...more],
      viewport: { width: 1280, height: 800 },
      ignoreHTTPSErrors: true,
      ...options,
    });
    await context.addInitScript(PROBE);
    return Object.assign(new Chromium(), { name: 'Chromium', context, profile });
  }

  /** A page, at `url` if one is given; `before(page)` gets playwright's page ahead of that. */
  async page(url, { before } = {}) {
    const page = new ChromiumPage(await this.context.newPage());
    this.opened?.(page);
    await before?.(page.inner);
    if (url) await page.goto(url);
    return page;
  }

  /** Suspends it, like a laptop; returns what wakes it. */
  sleep() {
    const asleep = processes(this.profile);
    assert.ok(asleep.length > 2, `processes of the browser: ${asleep.length}`);
    signal(asleep, 'SIGSTOP');
    return () => signal(asleep, 'SIGCONT');
  }

  /** Ends it without a word, as when a machine loses power. */
  kill() { signal(processes(this.profile), 'SIGKILL'); }

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

/** The processes of the browser with this profile: the first, and all that it started. */
function processes(profile) {
  const read = (pid, file) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8');
    } catch {
      return ''; // it ended meanwhile
    }
  };
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const parent = new Map(all.map((pid) => [pid, read(pid, 'stat').split(') ').pop().split(' ')[1]]));
  const found = new Set(all.filter((pid) => read(pid, 'cmdline').includes(`--user-data-dir=${profile}`)));
  for (let size = 0; size !== found.size;) {
    size = found.size;
    for (const [pid, above] of parent) if (found.has(above)) found.add(pid);
  }
  return [...found].map(Number);
}

function signal(pids, name) {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended meanwhile.
    }
  }
}
