// Commands to a camera by the call's own channel: from the page while the server is away, and from a client that has
// nothing of ours.

import assert from 'node:assert/strict';
import { freePort, scenario, until } from './harness.mjs';
import { as, watch } from './page.mjs';

const OPEN = 'symple.player?.channel?.open === true';

/** Keeps what the page saves as `saved`. */
const keeping = (page) => page.addInitScript(`{
  const make = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (blob) => { window.saved = blob; return make(blob); };
}`);

const slide = (page, name, value) => page.evaluate(`(() => {
  const input = document.querySelector('#tuning-form [name=${name}]');
  input.value = ${value};
  input.dispatchEvent(new Event('input', { bubbles: true }));
})()`);

scenario('the page sets controls and takes a snapshot while the server is away', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  const server = await s.symple(['serve', '--listen', '127.0.0.1', '--port', port], { ready: /^listening/ });
  const camera = await s.example('steered', { env: { PORT: port, CONNECT: `ws://127.0.0.1:${port}`, SIZE: '640x360' }, ready: /^open/ });
  const page = await watch(await s.chromium(), `http://127.0.0.1:${port}/`, { before: async (inner) => {
    await as('alice')(inner);
    await keeping(inner);
  } });
  await until('the channel is open', () => page.evaluate(OPEN));
  await until('the button is there', () => page.visible('#adjust'));

  await server.stop();
  await until('the page notices', async () => (await page.probe('attribute', '#connection', 'data-state')) !== 'online');
  await page.click('#adjust');
  await until('the form is there', () => page.visible('#tuning'));
  for (const value of [40, 41]) {
    await slide(page, 'brightness', value);
    await camera.says(new RegExp(`set {"name":"brightness","value":${value}}`));
  }
  await slide(page, 'brightness', 255);
  await until('the refusal is shown', async () => /not that bright/.test(await page.text('#toast')));
  await until('the form shows what is set', async () =>
    (await page.evaluate("document.querySelector('#tuning-form [name=brightness]').value")) === '41');

  await page.click('#snapshot');
  const name = await until('it is saved', async () => (await page.text('#toast')).match(/^Saved (.*)$/)?.[1]);
  const { type, width, height } = await page.evaluate(`(async () => {
    const { width, height } = await createImageBitmap(saved);
    return { type: saved.type, width, height };
  })()`);
  assert.deepEqual([type, width, height], ['image/jpeg', 640, 360]);
  assert.match(name, /\.jpg$/);
  await page.moves('#video', 10);
});

scenario('a camera that calls the page is steered by the channel, too', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await watch(await s.chromium(), camera.url, { before: as('alice') });
  await page.click('#hangup');
  await until('the page rests', () => page.evaluate('!symple.calls.list().length'));
  camera.process.tell('call alice');
  await until('the page answers', () => page.evaluate('symple.calls.list()[0]?.outgoing === false'));
  await until('the channel is open', () => page.evaluate(OPEN));
  await page.moves('#video', 10);
});

/** A client in the page with a WebSocket and an RTCPeerConnection of the browser's, and nothing else. */
const FOREIGN = `(async () => {
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  await new Promise((done) => { socket.onopen = done; });
  const waits = [];
  const next = (what, is) => new Promise((done) => waits.push({ is, done }));
  const came = [];
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    came.push(frame);
    for (const wait of waits.splice(0)) if (wait.is(frame)) wait.done(frame); else waits.push(wait);
  };
  const camera = next('the camera', ({ type, data }) => type === 'presence' && data?.peerType === 'camera');
  socket.send(JSON.stringify({ type: 'auth', user: 'foreign' }));
  const { data: { user, id, channel: has } } = await camera;
  const to = user + '|' + id;
  const tell = (subtype, data) => socket.send(JSON.stringify({ type: 'message', to, subtype, call: 'foreign-call', data }));
  const connection = new RTCPeerConnection();
  connection.addTransceiver('video', { direction: 'recvonly' });
  const channel = connection.createDataChannel('symple', { protocol: 'symple/4' });
  channel.binaryType = 'arraybuffer';
  connection.onicecandidate = ({ candidate }) => candidate && tell('call:candidate', candidate);
  const accepted = next('the accept', ({ subtype }) => subtype === 'call:accept');
  tell('call:init', {});
  await accepted;
  const answered = next('the answer', ({ subtype }) => subtype === 'call:answer');
  await connection.setLocalDescription();
  tell('call:offer', connection.localDescription);
  await connection.setRemoteDescription((await answered).data);
  const opened = new Promise((done) => { channel.onopen = done; });
  const texts = [];
  const bytes = [];
  channel.onmessage = ({ data }) => (typeof data === 'string' ? texts.push(JSON.parse(data)) : bytes.push(...new Uint8Array(data)));
  await opened;
  window.foreign = { connection, channel, texts, bytes, has };
  return to;
})()`;

scenario('a client with nothing of ours sends commands by the channel', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const browser = await s.chromium();
  const page = await watch(browser, camera.url, { before: as('alice') });
  await page.evaluate(FOREIGN);
  assert.equal(await page.evaluate('foreign.has'), true, 'the camera says that it reads them');
  const ask = async (message) => {
    await page.evaluate(`foreign.channel.send(${JSON.stringify(JSON.stringify({ type: 'command', ...message }))})`);
    return until(`a reply to ${message.id}`, () => page.evaluate(`foreign.texts.find(({ id, type }) => id === '${message.id}' && type === 'command')`));
  };
  const { status, data } = await ask({ id: 'a', node: 'camera:control', action: 'list', receipt: true, from: 'owner|1' });
  assert.equal(status, 200);
  assert.deepEqual(data.controls.map(({ name }) => name).slice(0, 2), ['brightness', 'exposure_auto']);
  assert.deepEqual(await page.evaluate("foreign.texts.find(({ type }) => type === 'receipt')"), { type: 'receipt', id: 'a', status: 200, delivered: 1 });
  assert.equal((await ask({ id: 'b', node: 'camera:share', action: 'read' })).data.user, 'foreign', 'the sender is the peer of the call');

  const taken = await ask({ id: 'c', node: 'camera:snapshot', action: 'take' });
  assert.deepEqual([taken.status, taken.data.type], [200, 'image/jpeg']);
  await until('all of it is there', () => page.evaluate(`foreign.bytes.length === ${taken.data.bytes}`));
  assert.deepEqual(await page.evaluate('[...foreign.bytes.slice(0, 2), ...foreign.bytes.slice(-2)]'), [0xff, 0xd8, 0xff, 0xd9]);

  // What is not for the camera is closed, and the channel goes on.
  for (const label of ['chat', 'symple']) {
    await page.evaluate(`(async () => {
      const other = foreign.connection.createDataChannel('${label}');
      await new Promise((done) => { other.onclose = done; });
    })()`);
  }
  // A flood waits at its sender, and nobody else does.
  await page.evaluate(`for (let i = 0; i < 3000; i += 1) foreign.channel.send(JSON.stringify({ type: 'message', data: 'x'.repeat(900) }))`);
  const began = performance.now();
  const other = await page.evaluate("symple.client.command(symple.roster.cameras()[0].address, { node: 'camera:share', action: 'read' })");
  assert.equal(other.status, 200);
  s.note(`beside a flood, somebody else's command took ${Math.round(performance.now() - began)} ms`);
  assert.ok(await page.evaluate('foreign.channel.bufferedAmount > 1_000_000'), 'it is held');
  await page.moves('#video', 20);
  assert.equal(await page.evaluate('foreign.connection.connectionState'), 'connected');
});
