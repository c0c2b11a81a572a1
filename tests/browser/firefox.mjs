// Firefox, driven over WebDriver BiDi, its own remote protocol.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import WebSocket from 'ws';
import { found, PageUnderTest, PROBE } from './harness.mjs';

// Prevents prompts, updates and muted pages. It also prevents the download of the H.264 codec, since the test needs a
// browser without one.
const PREFERENCES = {
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-provider.enabled': false,
  'media.navigator.permission.disabled': true,
  'media.navigator.streams.fake': true,
  'media.peerconnection.ice.loopback': true,
  'app.update.disabledForTesting': true,
  'app.normandy.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'browser.safebrowsing.downloads.remote.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
  'toolkit.telemetry.enabled': false,
};

export class Firefox {
  static async start(s, { preferences = {} } = {}) {
    const profile = join(s.dir, 'firefox');
    mkdirSync(profile);
    const lines = Object.entries({ ...PREFERENCES, ...preferences }).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
    writeFileSync(join(profile, 'user.js'), lines.join(''));
    const program = await s.program(found('firefox-esr') ?? found('firefox'), [
      '--headless', '--no-remote', '--remote-debugging-port=0', '--profile', profile, '--width=1280', '--height=800', 'about:blank',
    ], { env: { MOZ_CRASHREPORTER_DISABLE: '1', HOME: s.dir }, ready: /WebDriver BiDi listening on (ws:\S+)/, within: 60_000 });
    const [, address] = await program.says(/WebDriver BiDi listening on (ws:\S+)/);
    const self = Object.assign(new Firefox(), { name: 'Firefox', pages: new Map() });
    self.bidi = await Bidi.open(`${address}/session`, (method, params) => self.#event(method, params));
    const { capabilities } = await self.bidi.call('session.new', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    self.version = capabilities.browserVersion;
    await self.bidi.call('session.subscribe', { events: ['log.entryAdded'] });
    await self.bidi.call('script.addPreloadScript', { functionDeclaration: `() => {${PROBE}}` });
    return self;
  }

  async page(url) {
    const { context } = await this.bidi.call('browsingContext.create', { type: 'tab' });
    const page = new FirefoxPage(this.bidi, context);
    this.pages.set(context, page);
    this.opened?.(page);
    if (url) await page.goto(url);
    return page;
  }

  #event(method, { source, level, text }) {
    if (method === 'log.entryAdded') this.pages.get(source.context)?.console.push(`${level}: ${text}`);
  }

  // The program is ended by its scenario.
  close() { this.bidi.socket.terminate(); }
}

class FirefoxPage extends PageUnderTest {
  constructor(bidi, context) {
    super();
    Object.assign(this, { bidi, context });
  }

  goto(url) { return this.bidi.call('browsingContext.navigate', { context: this.context, url, wait: 'complete' }); }
  reload() { return this.bidi.call('browsingContext.reload', { context: this.context, wait: 'complete' }); }
  close() { return this.bidi.call('browsingContext.close', { context: this.context }); }

  async evaluate(expression) {
    const answer = await this.bidi.call('script.evaluate', {
      // As JSON, which is simpler than the protocol's own format of values.
      expression: `(async () => JSON.stringify(await (${expression})) ?? null)()`,
      target: { context: this.context },
      awaitPromise: true,
      userActivation: true,
    });
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
    return answer.result.type === 'string' ? JSON.parse(answer.result.value) : undefined;
  }

  press(selector) { return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`); }

  fill(selector, text) {
    return this.evaluate(`((input) => {
      input.value = ${JSON.stringify(text)};
      input.dispatchEvent(new Event('input', { bubbles: true }));
    })(document.querySelector(${JSON.stringify(selector)}))`);
  }

  async screenshot(path) {
    const { data } = await this.bidi.call('browsingContext.captureScreenshot', { context: this.context });
    writeFileSync(path, Buffer.from(data, 'base64'));
  }
}

/** Commands with numbers, their answers, and events. */
class Bidi {
  #next = 1;
  #waiting = new Map();

  static open(url, event) {
    return new Promise((done, failed) => {
      const self = new Bidi();
      self.socket = new WebSocket(url, { perMessageDeflate: false });
      self.socket.on('open', () => done(self));
      self.socket.on('error', failed);
      self.socket.on('close', () => self.#waiting.forEach(({ failed }) => failed(new Error('Firefox closed the connection'))));
      self.socket.on('message', (text) => {
        const message = JSON.parse(text);
        if (message.type === 'event') return event(message.method, message.params);
        const waiting = self.#waiting.get(message.id);
        self.#waiting.delete(message.id);
        if (message.type === 'error') waiting?.failed(new Error(`${waiting.method}: ${message.error}: ${message.message}`));
        else waiting?.done(message.result);
      });
    });
  }

  call(method, params) {
    const id = this.#next++;
    return new Promise((done, failed) => {
      this.#waiting.set(id, { method, done, failed });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
