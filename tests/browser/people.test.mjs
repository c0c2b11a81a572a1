// People who call each other from the page, with picture and sound: two browsers, and a server between them.

import assert from 'node:assert/strict';
import { judge } from './axe.mjs';
import { freePort, scenario, until } from './harness.mjs';
import { HANGUP, as, online, viewers, watch, words } from './page.mjs';

const PERSON = '#people button';
/** Sent tracks that are live, by kind. */
const SENDS = `(() => {
  const kinds = symple.player?.connection.getSenders().map(({ track }) => track).filter((track) => track?.readyState === 'live').map(({ kind }) => kind) ?? [];
  return kinds.sort().join(' ');
})()`;
const FRAMES = 'symple.player?.stats?.frames ?? 0';

/** Ann and Bob, each in a browser of their own with devices, at the page of a server. */
async function two(s, { ann = {}, bob = {} } = {}) {
  const port = String(await freePort());
  await s.symple(['serve', '--listen', '127.0.0.1', '--port', port], { ready: /^listening/ });
  const open = async (name, options) => {
    const browser = await s.chromium({ devices: true, ...options });
    const page = await browser.page(`http://127.0.0.1:${port}/`, { before: async (inner) => {
      await as(name)(inner);
      await inner.addInitScript(`localStorage.setItem('symple.name', ${JSON.stringify(name)})`);
    } });
    await online(page);
    return page;
  };
  return { a: await open('ann', ann), b: await open('bob', bob) };
}

/** Ann calls, Bob accepts, both see each other. */
async function talk({ a, b }) {
  await a.click(PERSON);
  await b.click('#accept');
  for (const page of [a, b]) await sees(page);
}

/** Waits until the other's picture moves. */
async function sees(page) {
  let before;
  await until('frames of the other', async () => {
    const frames = await page.evaluate(FRAMES);
    before ??= frames;
    return (await page.probe('attribute', '#stage', 'data-state')) === 'playing' && frames >= before + 15;
  });
}

const says = (page, selector, pattern) => until(`${selector} says ${pattern}`, async () => {
  const text = await page.text(selector);
  return pattern.test(text) || Promise.reject(new Error(text));
});

scenario('two people see and hear each other, and mute, stop and start what they send', { needs: ['chromium'] }, async (s) => {
  const { a, b } = await two(s);
  await talk({ a, b });
  for (const page of [a, b]) {
    await page.sound();
    assert.equal(await page.evaluate(SENDS), 'audio video');
    assert.ok(await page.visible('#self'), 'one sees oneself');
  }

  await a.click('#microphone');
  await says(a, '#microphone', /Unmute/);
  await until('silence at the other side', async () => (await b.probe('sound', '#video')).level < 0.001);
  await a.click('#microphone');
  await b.sound();

  await a.click('#film');
  await words(b, /ann The camera is off/);
  assert.equal(await a.evaluate(SENDS), 'audio', 'the camera is given back');
  assert.ok(!await a.visible('#self'));
  await sees(a);
  await b.sound();
  await a.click('#film');
  await sees(b);

  await a.inner.setViewportSize({ width: 390, height: 844 });
  await judge(s, a, 'a call with a person on a phone', 10);
  assert.ok(await a.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing is cut off');
  await a.click(HANGUP);
  await until('the call is over', async () => !(await b.evaluate('symple.calls.list().length')));
  for (const page of [a, b]) {
    assert.ok(!await page.visible('#self'), 'nothing is sent any more');
    assert.ok(!await page.visible('#microphone'), 'the buttons of a call are gone');
  }
});

scenario('renegotiated ten times, and by both at once, a call goes on', { needs: ['chromium'] }, async (s) => {
  const { a, b } = await two(s);
  await talk({ a, b });
  for (let i = 0; i < 5; i += 1) {
    // At the same moment: the offers cross.
    await Promise.all([a, b].map((page) => page.evaluate("document.getElementById('film').click()")));
    await Promise.all([a, b].map((page) => words(page, /The camera is off/)));
    await Promise.all([a, b].map((page) => page.evaluate("document.getElementById('film').click()")));
    await Promise.all([a, b].map(sees));
  }
  for (const page of [a, b]) {
    await page.sound();
    assert.equal(await page.evaluate('symple.player.connection.getTransceivers().length'), 2, 'sections are used again');
  }
});

/** Two players in one page, each with the other's calls behind a network of 30 ms. */
const PAIR = `(async () => {
  const [{ Calls }, { Player }] = await Promise.all(['call.js', 'player.js'].map((name) => import(new URL(name, location.href))));
  const at = {};
  const calls = (own, other) => new Calls({ address: () => own, send: (message) => setTimeout(() => at[other].calls.handle({ ...message, from: own }), 30) });
  const play = async (side, call) => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const video = Object.assign(document.createElement('video'), { muted: true });
    Object.assign(side, { stream, camera: stream.getVideoTracks()[0], player: new Player({ call, video, stream }) });
  };
  at['ann|1'] = { calls: calls('ann|1', 'bob|2') };
  at['bob|2'] = { calls: calls('bob|2', 'ann|1') };
  at['bob|2'].calls.on('incoming', async (call) => { await play(at['bob|2'], call); call.accept(); });
  const call = at['ann|1'].calls.invite('bob|2');
  await play(at['ann|1'], call);
  window.pair = Object.values(at);
  return true;
})()`;
/** What the two agreed on: descriptions without candidates, and whether each has the other's. */
const AGREED = `(() => {
  const bare = (description) => description?.sdp.split('\\r\\n').filter((line) => !/^a=(candidate|end-of-candidates)|^c=|^m=|^a=rtcp:/.test(line)).join();
  const [a, b] = pair.map(({ player }) => player.connection);
  return {
    stable: [a, b].every(({ signalingState }) => signalingState === 'stable'),
    same: bare(a.currentLocalDescription) === bare(b.currentRemoteDescription) && bare(b.currentLocalDescription) === bare(a.currentRemoteDescription),
    ways: [a, b].map((one) => one.getTransceivers().map(({ currentDirection }) => currentDirection).join(' ')),
    seen: pair.map(({ player }) => player.seen),
  };
})()`;

scenario('of two offers that cross the caller\'s counts, and the callee makes its own anew', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  await s.symple(['serve', '--listen', '127.0.0.1', '--port', port], { ready: /^listening/ });
  const browser = await s.chromium({ devices: true });
  const page = await browser.page(`http://127.0.0.1:${port}/`);
  await page.evaluate(PAIR);
  const agree = (ways, seen) => until(`${ways} at both`, async () => {
    const agreed = await page.evaluate(AGREED);
    const right = agreed.stable && agreed.same && agreed.ways.every((way) => way === ways) && agreed.seen.every((it) => it === seen);
    return right || Promise.reject(new Error(JSON.stringify(agreed)));
  }, { within: 10_000 });
  await agree('sendrecv sendrecv', true);
  for (let i = 0; i < 3; i += 1) {
    await page.evaluate("pair.forEach(({ player, stream, camera }) => { stream.removeTrack(camera); player.send('video', null); })");
    await agree('sendrecv inactive', false);
    await page.evaluate("pair.forEach(({ player, stream, camera }) => { stream.addTrack(camera); player.send('video', camera); })");
    await agree('sendrecv sendrecv', true);
  }
  // An offer that comes between a new track in the stream and its turn to be sent makes no section for it.
  await page.evaluate("pair.forEach(({ player, stream, camera }) => { stream.removeTrack(camera); player.send('video', null); })");
  await agree('sendrecv inactive', false);
  const generation = () => page.evaluate("pair[0].player.connection.currentRemoteDescription.sdp.match(/a=ice-ufrag:(.*)/)[1]");
  const before = await generation();
  await page.evaluate("pair[1].stream.addTrack(pair[1].camera); pair[0].player.restart()");
  await until('the answer', async () => (await generation()) !== before);
  await page.evaluate("pair[1].player.send('video', pair[1].camera)");
  await until('the video of one', async () => {
    const { stable, same, seen, ways } = await page.evaluate(AGREED);
    return (stable && same && seen[0]) || Promise.reject(new Error(JSON.stringify({ ways, seen })));
  }, { within: 10_000 });
  assert.deepEqual(await page.evaluate('pair.map(({ player }) => player.connection.getTransceivers().length)'), [2, 2]);
});

scenario('a person shares the screen, and chooses another camera', { needs: ['chromium'] }, async (s) => {
  const { a, b } = await two(s, { ann: { more: ['--use-fake-device-for-media-stream=device-count=3', '--auto-select-desktop-capture-source=Entire screen'] } });
  // There may be no screen to capture: a canvas is one.
  await a.evaluate(`navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 800, height: 450 });
    const drawing = canvas.getContext('2d');
    setInterval(() => { drawing.fillStyle = drawing.fillStyle === '#ff0000' ? '#ff0001' : '#ff0000'; drawing.fillRect(0, 0, 800, 450); }, 40);
    return canvas.captureStream(25);
  }`);
  await talk({ a, b });
  const width = () => b.evaluate("document.getElementById('video').videoWidth");
  // A browser begins small where it does not know the network yet.
  await until('the whole camera', async () => (await width()) === 640);
  await a.click('#share-screen');
  await until('the screen', async () => (await width()) === 800);
  await says(a, '#share-screen', /Stop sharing/);
  await a.click('#share-screen');
  await until('the camera again', async () => (await width()) === 640);
  await sees(b);

  await a.click('#devices');
  // The second of Chromium's fake cameras measures depth, which no encoder takes.
  const cameras = await until('three cameras', () => a.evaluate("(() => { const all = [...document.getElementById('device-video').options]; return all.length === 3 && all.map(({ value }) => value); })()"));
  const other = cameras[2];
  await judge(s, a, 'a call with a person, devices', 10);
  await a.evaluate(`(() => {
    const select = document.getElementById('device-video');
    select.value = ${JSON.stringify(other)};
    select.dispatchEvent(new Event('change'));
  })()`);
  await until('the other camera', async () => other === await a.evaluate(
    "symple.player.connection.getSenders().find(({ track }) => track?.kind === 'video').track.getSettings().deviceId"));
  await sees(b);
  assert.equal(await a.evaluate(SENDS), 'audio video');
});

scenario('a call to a person keeps the video until it is answered, and gives it back', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const open = async (name) => {
    const page = await watch(await s.chromium({ devices: true }), camera.url, { before: as(name) });
    await viewers(camera, name === 'ann' ? 1 : 2);
    return page;
  };
  const [a, b] = [await open('ann'), await open('bob')];
  await a.click(PERSON);
  await until('Bob is asked', () => b.visible('#accept'));
  for (const page of [a, b]) await page.moves('#video', 10);
  await b.click('#accept');
  for (const page of [a, b]) await sees(page);
  await viewers(camera, 0);
  await a.click(HANGUP);
  for (const page of [a, b]) await page.moves('#video', 10);
  await viewers(camera, 2);
});

scenario('a viewer who muted a camera is offered the sound of a call', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const open = async (name) => watch(await s.chromium({ devices: true }), camera.url, { before: as(name) });
  const [a, b] = [await open('ann'), await open('bob')];
  const muted = () => a.evaluate("document.getElementById('video').muted");
  for (const label of [/Mute/, /Unmute/]) {
    await a.click('#mute');
    await says(a, '#mute', label);
  }
  await a.click(PERSON);
  await b.click('#accept');
  await sees(a);
  assert.equal(await muted(), true);
  assert.ok(await a.visible('#unmute'));
  await a.click(HANGUP);
  await a.moves('#video', 10);
  assert.equal(await muted(), true, 'back at the camera');
  assert.ok(!await a.visible('#unmute'));
});

scenario('a call is declined, given up, and answered without a camera', { needs: ['chromium'] }, async (s) => {
  const { a, b } = await two(s, { bob: { devices: false } });
  await a.click(PERSON);
  await b.click('#decline');
  await says(a, '#toast', /declined|does not want/i);
  await a.click(PERSON);
  await until('Bob is asked', () => b.visible('#accept'));
  await a.click(HANGUP);
  await says(b, '#toast', /hung up/);
  await until('the dialog is gone', async () => !(await b.visible('#accept')));
  // Bob has neither camera nor microphone, and watches all the same.
  await a.click(PERSON);
  await b.click('#accept');
  await sees(b);
  await b.sound();
  await words(a, /bob The camera is off|Connecting/);
});
