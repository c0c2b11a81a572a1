// From the click to the picture: what is sent, what is shown until the first frame, and what was made ready before.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { scenario, until } from './harness.mjs';
import { CAMERA, HANGUP, online, playing, viewers, watch } from './page.mjs';

const TIMELINE = readFileSync(new URL('timeline.js', import.meta.url), 'utf8');

/** Runs scripts in the page before its own. */
const first = (...scripts) => async (page) => {
  for (const script of scripts) await page.addInitScript(script);
};

/** The messages of calls since the click, candidates apart: `<` before those that came. */
const turns = ({ messages }) => messages.filter((it) => !/candidate|hangup/.test(it));

/** Leaves the camera, waits until the page has something ready, clicks, and returns what happened until the picture. */
async function rejoin(page, camera) {
  await page.click(HANGUP);
  await viewers(camera, 0);
  await online(page);
  await until('a connection is ready', async () => (await page.probe('ready')) === 1);
  assert.equal(await page.probe('open'), 0, 'no call is open');
  await page.click(CAMERA);
  const seen = await until('a first frame', async () => {
    const taken = await page.evaluate('timeline.take()');
    return taken.marks.picture !== undefined && taken;
  });
  await playing(page);
  return seen;
}

scenario('a click takes one turn, and a still is shown until the first frame', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  // The newest JPEG that there is; pages within a minute are given it.
  assert.equal((await fetch(`${camera.url}api/snapshot.jpg`)).status, 200);
  const page = await watch(await s.chromium(), camera.url, { before: first(TIMELINE) });
  for (let i = 0; i < 3; i += 1) {
    const seen = await rejoin(page, camera);
    assert.deepEqual(turns(seen), ['init', '<accept', '<answer'], 'one turn');
    const { still, picture } = seen.marks;
    assert.ok(still < picture, `the still was shown at ${still} ms, the first frame at ${picture} ms`);
    s.note(`sent after ${Math.round(seen.marks['sent init'])} ms, still ${Math.round(still)} ms, first frame ${Math.round(picture)} ms`);
    assert.equal(await page.visible('#still'), false, 'the picture takes its place');
    assert.equal(await page.probe('ready'), 0, 'nothing is kept ready during a call');
  }
  await page.moves('#video', 10);
});

scenario('a still needs the token that viewers need', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ TOKEN: 'open sesame' });
  for (const [token, status] of [['', 401], ['wrong', 401], ['open sesame', 200]]) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    assert.equal((await fetch(`${camera.url}api/snapshot.jpg?age=60`, { headers })).status, status, token);
  }
  const page = await (await s.chromium()).page(`${camera.url}#token=open%20sesame`, { before: first(TIMELINE) });
  await page.firstPicture();
  await page.click(HANGUP);
  await online(page);
  await page.click(CAMERA);
  await until('the still was shown', async () => (await page.evaluate('timeline.take()')).marks.still !== undefined);
  await playing(page);
});

/** Rewrites what comes and goes by the page's sockets: `came(message)` and `sent(message)` may change it. */
const between = (came, sent) => `(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    const message = JSON.parse(text);
    (${sent})(message);
    return send.call(this, JSON.stringify(message));
  };
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
  Object.defineProperty(WebSocket.prototype, 'onmessage', {
    set(run) {
      set.call(this, run && (({ data }) => {
        const message = JSON.parse(data);
        for (const one of message.type === 'presence:batch' ? message.data : [message]) (${came})(one);
        return run.call(this, { data: JSON.stringify(message) });
      }));
    },
  });
})()`;

scenario('a camera that knows nothing of offers in inits is called as ever', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const silent = between('({ type, data }) => { if (type === "presence") delete data.answers; }', '() => {}');
  const page = await watch(await s.chromium(), camera.url, { before: first(silent, TIMELINE) });
  assert.deepEqual(turns(await rejoin(page, camera)), ['init', '<accept', 'offer', '<answer']);
  await page.moves('#video', 10);
});

scenario('a callee that ignores the offer of the init gets it after its accept', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const deaf = between('() => {}', '({ subtype, data }) => { if (subtype === "call:init") delete data.offer; }');
  const page = await watch(await s.chromium(), camera.url, { before: first(deaf, TIMELINE) });
  assert.deepEqual(turns(await rejoin(page, camera)), ['init', '<accept', 'offer', '<answer']);
  await page.moves('#video', 10);
});

scenario('what was made ready is renewed after a change of network, and after the camera restarts', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url, { before: first(TIMELINE) });
  await page.click(HANGUP);
  await until('a connection is ready', async () => (await page.probe('ready')) === 1);
  const made = await page.evaluate('probe.iceServers().length');
  await page.evaluate('void (navigator.connection ?? window).dispatchEvent(new Event(navigator.connection ? "change" : "online"))');
  await until('another is ready, and only that', async () => (await page.probe('ready')) === 1
    && (await page.evaluate('probe.iceServers().length')) === made + 1);

  await camera.stop();
  await until('the page notices', async () => (await page.probe('attribute', '#connection', 'data-state')) !== 'online');
  await until('nothing is kept ready', async () => (await page.probe('ready')) === 0);
  await camera.start();
  await online(page, { within: 60_000 });
  await until('a connection is ready', async () => (await page.probe('ready')) === 1);
  await page.click(CAMERA);
  await page.firstPicture();
  assert.deepEqual(turns(await page.evaluate('timeline.take()')), ['init', '<accept', '<answer']);
  await viewers(camera, 1);
  await page.moves('#video', 10);
});
