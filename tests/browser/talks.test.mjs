// Viewers who talk to a camera: Chromium's fake microphone beeps, and what the camera plays is measured.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { judge } from './axe.mjs';
import { freePort, scenario, until } from './harness.mjs';
import { as, watch } from './page.mjs';

const RATE = 48000;

/** A camera that writes what viewers say into a file, as signed 16 bit samples. */
async function camera(s, { talk = 'everybody', duplex = 'half', output } = {}) {
  const port = String(await freePort());
  const heard = join(s.dir, `heard-${port}.raw`);
  const launch = output ?? `audioconvert ! audio/x-raw,format=S16LE,rate=${RATE},channels=1 ! filesink location=${heard} buffer-mode=unbuffered sync=false async=false`;
  const args = ['camera', '--listen', '127.0.0.1', '--port', port, '--size', '320x180', '--talk', talk, '--talk-duplex', duplex, '--talk-output', launch];
  const process = await s.symple(args, { ready: /^open / });
  const url = `http://127.0.0.1:${port}/`;
  const status = async () => (await fetch(`${url}api/status`)).json();
  return {
    url, process, status,
    /** The number of samples so far. */
    get length() { return existsSync(heard) ? statSync(heard).size / 2 : 0; },
    /** The level of each 20 ms from a sample on: root mean square, 0 to 1. */
    levels(from = 0) {
      const bytes = readFileSync(heard).subarray(2 * from);
      const samples = new Int16Array(bytes.buffer, bytes.byteOffset - (bytes.byteOffset % 2), bytes.length >> 1);
      const step = RATE / 50;
      return Array.from({ length: Math.floor(samples.length / step) }, (_, i) => {
        const part = samples.subarray(i * step, (i + 1) * step);
        return Math.hypot(...part) / 32768 / Math.sqrt(step);
      });
    },
  };
}

const viewer = async (s, url, name, options) => {
  const browser = await s.chromium({ devices: true, ...options });
  return watch(browser, url, { before: as(name) });
};

/** Presses the button, and keeps it down. */
async function press(page) {
  const box = await page.inner.locator('#talk').boundingBox();
  await page.inner.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.inner.mouse.down();
}

const by = (camera, user) => until(`${user} talks`, async () => (await camera.status()).talk.by === user, { every: 10 });

/** Waits until what a decoder makes up after the last packet is over. */
async function silent(c) {
  let before = -1;
  await until('the output rests', () => {
    const rests = c.length === before;
    before = c.length;
    return rests;
  }, { every: 300 });
}

/** Packets of the camera's audio that the page received. */
const RECEIVED = `symple.player.connection.getStats().then((all) =>
  [...all.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio')?.packetsReceived ?? 0)`;

/** Counts the page's own descriptions (RFC 8829, 5.2.1). */
const VERSION = "symple.player.connection.currentLocalDescription.sdp.match(/^o=\\S+ \\S+ (\\d+)/m)[1]";

/** How many packets of the camera's audio come in a second. */
async function hears(page) {
  const before = await page.evaluate(RECEIVED);
  await page.evaluate('new Promise((next) => setTimeout(next, 1000))');
  return await page.evaluate(RECEIVED) - before;
}

scenario('a viewer holds the button, and is heard at the camera', { needs: ['chromium'] }, async (s) => {
  const c = await camera(s);
  const page = await viewer(s, c.url, 'ann');
  await until('the button is there', () => page.visible('#talk'));
  assert.match(await page.text('#talk'), /Hold to talk/);
  assert.equal((await c.status()).talk.by, null);

  const [times, versions] = [[], [await page.evaluate(VERSION)]];
  for (const turn of [1, 2, 3]) {
    await silent(c);
    const [{ talk: { frames } }, samples] = [await c.status(), c.length];
    const pressed = performance.now();
    await press(page);
    await until('audio at the camera', async () => (await c.status()).talk.frames > frames, { every: 5 });
    const arrived = performance.now() - pressed;
    await until('audio at the output', () => c.length > samples, { every: 5 });
    times.push([Math.round(arrived), Math.round(performance.now() - pressed)]);
    await by(c, 'ann');
    await until('the button says so', async () => /Talking/.test(await page.text('#talk')));
    if (turn === 1) {
      await until('beeps', () => c.levels().some((level) => level > 0.02));
      await judge(s, page, 'talking to a camera', 10);
    }
    await page.inner.mouse.up();
    await by(c, null);
    await until('the button says so', async () => /Hold to talk/.test(await page.text('#talk')));
    versions.push(await page.evaluate(VERSION));
  }
  s.note(`press to the first audio that arrives, and that is played: ${times.map((pair) => pair.join(' / ')).join(', ')} ms`);
  assert.notEqual(versions[0], versions[1]);
  assert.equal(new Set(versions.slice(1)).size, 1, `only the first press negotiates: ${versions}`);

  // After a pause that is so long that the microphone's clock, which stands meanwhile, is far behind.
  await silent(c);
  await page.evaluate('new Promise((next) => setTimeout(next, 2000))');
  const [before, { talk: { frames: first } }] = [c.length, await c.status()];
  await press(page);
  await until('three seconds of audio', () => c.length > before + 3 * RATE);
  await page.inner.mouse.up();
  await by(c, null);
  await silent(c);
  const [came, played] = [(await c.status()).talk.frames - first, Math.round((c.length - before) / (RATE / 50))];
  s.note(`${came} frames of 20 ms came, and ${played} were played, with those that a decoder makes up at the end`);
  assert.ok(played > came - 15, 'the first words are played');
  const levels = c.levels(before);
  const beeps = levels.filter((level, i) => level > 0.02 && !(levels[i - 1] > 0.02)).length;
  s.note(`${levels.length * 20} ms with ${beeps} beeps, the loudest at ${Math.max(...levels).toFixed(3)}`);
  assert.ok(beeps >= 2, 'a beep each second');

  // By key, and whatever takes the focus away lets go.
  await page.evaluate("document.getElementById('talk').focus()");
  await page.inner.keyboard.down(' ');
  await by(c, 'ann');
  await page.evaluate("document.getElementById('name').focus()");
  await by(c, null);
  await page.inner.keyboard.up(' ');
  assert.equal(await page.evaluate('symple.player.state'), 'playing', 'the picture went on');
});

scenario('one viewer talks at a time, and does not hear the camera meanwhile', { needs: ['chromium'] }, async (s) => {
  const c = await camera(s);
  const [ann, bob] = [await viewer(s, c.url, 'ann'), await viewer(s, c.url, 'bob')];
  await until('the button is there', () => ann.visible('#talk'));
  assert.ok(await hears(ann) > 10);
  await press(ann);
  await by(c, 'ann');
  const deaf = await hears(ann);
  assert.ok(deaf < 3, `${deaf} packets`);
  assert.ok(await hears(bob) > 10, 'the others hear the camera');
  await until('bob is told', async () => /ann|Viewer .* is talking/.test(await bob.text('#talking')));
  assert.equal(await bob.evaluate("document.getElementById('talk').disabled"), true);
  // One that does not look is told by the camera.
  const reply = await bob.evaluate("symple.client.command(symple.watching.peer.address, { node: 'camera:talk', action: 'start' })");
  assert.deepEqual([reply.status, reply.data.code], [503, 'busy']);
  await ann.inner.mouse.up();
  await until('bob may', async () => !await bob.evaluate("document.getElementById('talk').disabled"));
  assert.ok(await hears(ann) > 10, 'ann hears it again');
});

scenario('where both may be heard at once the button is a switch', { needs: ['chromium'] }, async (s) => {
  const c = await camera(s, { duplex: 'full' });
  const page = await viewer(s, c.url, 'ann');
  await until('the button is there', () => page.visible('#talk'));
  await page.click('#talk');
  await by(c, 'ann');
  assert.ok(await hears(page) > 10, 'the camera is heard meanwhile');
  await page.click('#talk');
  await by(c, null);
});

scenario('a camera that does not grant it has no button, and one whose output fails says why', { needs: ['chromium'] }, async (s) => {
  const none = await camera(s, { talk: 'nobody' });
  const quiet = await viewer(s, none.url, 'ann');
  assert.equal((await none.status()).talk, null);
  assert.ok(!await quiet.visible('#talk'));

  const broken = await camera(s, { output: 'filesink location=/nowhere/at/all' });
  const page = await viewer(s, broken.url, 'ann');
  await until('the button is there', () => page.visible('#talk'));
  await press(page);
  await until('words', async () => /speaker/.test(await page.text('#talking')));
  const { problem } = (await broken.status()).talk;
  s.note(`${problem.code}: ${problem.message}`);
  await broken.process.says(/speaker: /);
  await page.inner.mouse.up();
});

scenario('a page without a secure context, or whose microphone is blocked, says so', { needs: ['chromium'] }, async (s) => {
  const c = await camera(s);
  const page = await viewer(s, c.url, 'ann', { more: ['--deny-permission-prompts'], devices: false });
  await until('the button is there', () => page.visible('#talk'));
  await press(page);
  await until('words', async () => /microphone/i.test(await page.text('#toast')));
  assert.match(await page.text('#toast'), /blocked|No microphone/);
  await page.inner.mouse.up();

  const browser = await s.chromium();
  const plain = await watch(browser, c.url, { before: (inner) => inner.addInitScript("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })") });
  await until('the button is there', () => plain.visible('#talk'));
  await press(plain);
  await until('words', async () => /--ssl-enabled/.test(await plain.text('#toast')));
});

/** Calls the camera to send it camera and microphone, and receive nothing, as a published player does. */
const PUBLISH = `(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const [camera] = symple.roster.cameras();
  const connection = new RTCPeerConnection();
  for (const track of stream.getTracks()) connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
  const call = symple.calls.invite(camera.address, {});
  connection.onicecandidate = ({ candidate }) => candidate?.candidate !== '' && call.addCandidate(candidate);
  return new Promise((next) => {
    call.on('accepted', async () => {
      await connection.setLocalDescription();
      call.describe(connection.localDescription);
    });
    call.on('description', (description) => connection.setRemoteDescription(description));
    call.on('candidate', (candidate) => connection.addIceCandidate(candidate ?? undefined).catch(() => {}));
    call.on('ended', () => next(call.reason + ': ' + call.message));
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'connected') {
        call.connected();
        next(connection.getTransceivers().map(({ receiver, currentDirection }) => receiver.track.kind + ' ' + currentDirection).join());
      }
    };
  });
})()`;

scenario('a caller that only sends is heard where it may, and else is told why', { needs: ['chromium'] }, async (s) => {
  for (const talk of ['nobody', 'everybody']) {
    const c = await camera(s, { talk });
    const page = await viewer(s, c.url, 'ann');
    await page.click('#hangup');
    await until('nobody watches', async () => (await c.status()).viewers === 0);
    const agreed = await page.evaluate(PUBLISH);
    if (talk === 'nobody') {
      assert.match(agreed, /^not-allowed: .*who may send/);
      continue;
    }
    assert.equal(agreed, 'audio sendonly,video inactive');
    await by(c, 'ann');
    await until('beeps', () => c.levels().some((level) => level > 0.02));
  }
});
