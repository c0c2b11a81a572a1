// <symple-camera> in pages of other origins: those that are allowed, and those that are not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { judge } from './axe.mjs';
import { ROOT, freePort, scenario, until } from './harness.mjs';
import { viewers } from './page.mjs';

const EVENTS = ['playing', 'waiting', 'ended', 'error'];

scenario('a page of an allowed origin embeds the camera', { needs: ['chromium'] }, async (s) => {
  const port = await freePort();
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${port}`, TOKEN: 'open sesame' });
  const url = await host(s, port, `<symple-camera src="${camera.url}" token="open sesame" muted controls></symple-camera>`, `${camera.url}element.js`);
  const page = await (await s.chromium()).page(url);
  await moves(page);
  assert.deepEqual(await events(page), ['playing null']);
  assert.equal(await count(camera, 1, 'open sesame'), 1);

  // Buttons and attributes stay in sync.
  assert.deepEqual(await element(page, '[it.muted, it.video.muted]'), [true, true]);
  assert.deepEqual(await element(page, '[...it.shadowRoot.querySelectorAll("button")].filter((b) => b.checkVisibility()).map((b) => b.textContent)'),
    ['Stop', 'Unmute', 'Full screen']);
  await page.press('symple-camera >> #sound');
  assert.deepEqual(await element(page, '[it.muted, it.hasAttribute("muted"), it.video.muted]'), [false, false, false]);
  await element(page, 'void (it.controls = false)');
  assert.deepEqual(await element(page, '[it.hasAttribute("controls"), it.shadowRoot.querySelector("#bar").checkVisibility()]'), [false, false]);
  await element(page, 'void (it.controls = true)');
  await judge(s, page, 'playing', 5);

  await page.press('symple-camera >> #stop');
  assert.equal(await count(camera, 0, 'open sesame'), 0);
  assert.equal((await events(page)).at(-1), 'ended ended');
  await judge(s, page, 'stopped', 5);
  await page.press('symple-camera >> #stop');
  await moves(page);
  assert.equal((await events(page)).at(-1), 'playing null');

  // Removed from the page it stops, put back it plays again; moving it does not interrupt it.
  await element(page, 'void (window.kept = it, it.remove())');
  assert.equal(await count(camera, 0, 'open sesame'), 0);
  assert.equal(await page.probe('open'), 0, 'no connection stays open');
  await page.evaluate('void document.body.append(window.kept)');
  await moves(page);
  const before = await page.evaluate('probe.iceServers().length');
  const moved = await page.evaluate(`document.body.moveBefore
    ? (document.body.moveBefore(window.kept, document.body.firstChild), true) : false`);
  if (moved) {
    await moves(page);
    assert.equal(await page.evaluate('probe.iceServers().length'), before, 'the same call');
  }
});

scenario('a page of another origin is refused, and the element reports it', { needs: ['chromium'] }, async (s) => {
  const [friend, stranger] = [await freePort(), await freePort()];
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${friend}` });
  const browser = await s.chromium();
  // Such a page cannot even load the element from the camera.
  const none = await browser.page(await host(s, stranger, `<symple-camera src="${camera.url}"></symple-camera>`, `${camera.url}element.js`));
  await until('the browser refuses the module', () => none.console.some((line) => /CORS|Access-Control-Allow-Origin/.test(line)));
  assert.equal(await none.evaluate('customElements.get("symple-camera") === undefined'), true);
  await none.close();

  const own = await browser.page(await host(s, await freePort(), `<symple-camera src="${camera.url}"></symple-camera>`, './element.js'));
  const said = await until('the element says so', async () => {
    const said = await element(own, 'it.shadowRoot.querySelector("[role=status]").textContent');
    return /may not show the camera.*Add http:\/\/127\.0\.0\.1:\d+ to the origins/.test(said) ? said : Promise.reject(new Error(said));
  });
  s.note(said);
  assert.ok((await events(own)).includes('error origin'), String(await events(own)));
  await judge(s, own, 'refused', 5);
  assert.equal(await own.probe('open'), 0);
});

scenario('the element reports what is missing, and plays once it is set', { needs: ['chromium'] }, async (s) => {
  const port = await freePort();
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${port}`, TOKEN: 'open sesame' });
  const page = await (await s.chromium()).page(await host(s, port, '<symple-camera muted></symple-camera>', `${camera.url}element.js`));
  const told = (event) => until(event, async () => {
    const all = await events(page);
    return all.at(-1) === event || Promise.reject(new Error(all.join(', ')));
  });
  await told('error src');
  await element(page, 'void (it.src = "ftp://127.0.0.1/")');
  await until('the wrong address is reported', () => element(page, '/begins with http: or https:/.test(it.shadowRoot.textContent)'));
  await element(page, `void (it.src = ${JSON.stringify(camera.url)})`);
  await told('error unauthorized');
  await element(page, 'void (it.token = "open barley")');
  await until('the wrong token is reported', () => element(page, '/The server responded/.test(it.shadowRoot.textContent)'));
  await element(page, 'void (it.token = "open sesame")');
  await moves(page);
  await told('playing null');
});

scenario('a socket that the browser blocks is an error with a reason', { needs: ['chromium'] }, async (s) => {
  const port = await freePort();
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${port}` });
  const browser = await s.chromium();
  const page = await browser.page(await host(s, port, `<symple-camera src="${camera.url}"></symple-camera>`, `${camera.url}element.js`), {
    // Like a page with https and the address of a camera without TLS.
    before: (page) => page.addInitScript(`window.WebSocket = class { constructor() { throw new DOMException('An insecure connection', 'SecurityError'); } }`),
  });
  await until('the element says so', () => element(page, '/An insecure connection/.test(it.shadowRoot.textContent)'));
  assert.deepEqual(await events(page), ['error src']);
  assert.deepEqual(page.console.filter((line) => line.startsWith('uncaught')), []);
});

scenario('the element reconnects automatically', { needs: ['chromium'] }, async (s) => {
  const port = await freePort();
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${port}` });
  const page = await (await s.chromium()).page(await host(s, port, `<symple-camera src="${camera.url}" muted></symple-camera>`, `${camera.url}element.js`));
  await moves(page);
  await camera.stop();
  await until('it waits', async () => (await events(page)).at(-1).startsWith('waiting'), { within: 15_000 });
  await camera.start();
  await moves(page);
  await viewers(camera, 1);
  s.note((await events(page)).join(', '));
  assert.equal((await events(page)).at(-1), 'playing null');
});

scenario('the page plays in a frame of an allowed origin and is not shown in others', { needs: ['chromium'] }, async (s) => {
  const [friend, stranger] = [await freePort(), await freePort()];
  const camera = await s.camera({ ORIGINS: `http://127.0.0.1:${friend}` });
  const browser = await s.chromium();
  for (const [port, shown] of [[friend, true], [stranger, false]]) {
    const page = await browser.page(await host(s, port, `<iframe src="${camera.url}" width="800" height="600"></iframe>`));
    const frame = () => page.inner.frames()[1];
    if (shown) await until('the frame plays', () => frame().evaluate('document.querySelector("#stage").dataset.state === "playing"'));
    else {
      await until('the browser refuses the frame', () => page.console.some((line) => /frame-ancestors/.test(line)));
      assert.equal(await frame().evaluate('Boolean(document.querySelector("#stage"))').catch(() => false), false);
    }
    await page.close();
  }
});

/** Serves a page on a port of its own, which loads the element from `script`; beside it the viewer's modules, as from a package. */
async function host(s, port, body, script) {
  // As strict as possible: nothing inline except these lines, which record the events.
  const note = `window.told = []; const it = document.querySelector('symple-camera');
    for (const name of ${JSON.stringify(EVENTS)}) it?.addEventListener(name, ({ detail }) => window.told.push(name + ' ' + detail.code));`;
  const html = `<!doctype html><html lang="en"><title>A page</title><body><main><h1>A page</h1>${body}</main><script src="note.js"></script>
    ${script ? `<script type="module" src="${script}"></script>` : ''}</body></html>`;
  const server = createServer(({ url }, response) => {
    const module = /^\/([a-z]+\.js)$/.exec(url)?.[1];
    const [type, text] = url === '/' ? ['text/html', html]
      : url === '/note.js' ? ['text/javascript', note]
      : module ? ['text/javascript', readFileSync(join(ROOT, 'src/web', module))] : [];
    response.writeHead(text ? 200 : 404, {
      'content-type': type ?? 'text/plain',
      'content-security-policy': "default-src 'none'; script-src http:; connect-src http: ws:; frame-src http:; media-src blob:",
    }).end(text ?? '');
  });
  await new Promise((done, failed) => server.on('error', failed).listen(port, '127.0.0.1', done));
  s.after(() => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  }));
  return `http://127.0.0.1:${port}/`;
}

/** Evaluates something of the element, `it`. */
const element = (page, expression) => page.evaluate(`{ const it = document.querySelector('symple-camera'); ${expression} }`);

const events = (page) => page.evaluate('window.told');

/** Waits until the picture in the element moves: the probe's own way looks at elements of the page, not of shadows. */
async function moves(page) {
  await until('the element shows moving pixels', () => page.evaluate(`(async () => {
    const video = document.querySelector('symple-camera')?.shadowRoot?.querySelector('video');
    if (!video?.videoWidth) return false;
    const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 90 });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const seen = new Set();
    for (let i = 0; i < 10; i++) {
      await new Promise((next) => { video.requestVideoFrameCallback(next); setTimeout(next, 500); });
      context.drawImage(video, 0, 0, 160, 90);
      seen.add(context.getImageData(0, 0, 160, 90).data.join());
    }
    return seen.size >= 5;
  })()`));
}

async function count(camera, wanted, token) {
  const headers = { authorization: `Bearer ${token}` };
  return until(`${wanted} viewers`, async () => {
    const { viewers } = await (await fetch(`${camera.url}api/status`, { headers })).json();
    return viewers === wanted ? { viewers } : Promise.reject(new Error(`${viewers}`));
  }).then(({ viewers }) => viewers);
}
