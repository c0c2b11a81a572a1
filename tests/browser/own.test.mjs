// What a person sends, without a browser: `node --test tests/browser/own.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Own } from '../../src/web/own.js';

class Track extends EventTarget {
  static all = [];
  enabled = true;
  readyState = 'live';
  constructor(kind, deviceId) {
    super();
    Object.assign(this, { kind, deviceId });
    Track.all.push(this);
  }
  stop() { this.readyState = 'ended'; }
  getSettings() { return { deviceId: this.deviceId }; }
  /** Its device is unplugged, or its button of the browser pressed. */
  end() {
    this.readyState = 'ended';
    this.dispatchEvent(new Event('ended'));
  }
}

class Stream {
  constructor(tracks = []) { this.tracks = new Set(tracks); }
  getTracks() { return [...this.tracks]; }
  getVideoTracks() { return this.getTracks().filter(({ kind }) => kind === 'video'); }
  addTrack(track) { this.tracks.add(track); }
  removeTrack(track) { this.tracks.delete(track); }
}

const fault = (name) => Object.assign(new Error(name), { name });

globalThis.MediaStream ??= Stream;

/** Devices as a browser has them; `fail(wish)` may return an error. */
function world({ there = ['mic', 'mic2', 'cam', 'cam2'], fail = () => null } = {}) {
  Track.all = [];
  const w = { there, fail, asked: [], said: [], sent: [] };
  const pick = (kind, wish) => {
    const of = w.there.filter((id) => id.startsWith(kind === 'audio' ? 'mic' : 'cam'));
    const id = wish.deviceId?.exact ?? of[0];
    if (!of.includes(id)) throw fault('NotFoundError');
    return new Track(kind, id);
  };
  w.own = new Own({ devices: {
    async getUserMedia(wish) {
      w.asked.push(wish);
      const error = w.fail(wish);
      if (error) throw error;
      return new Stream(Object.entries(wish).map(([kind, of]) => pick(kind, of)));
    },
    async getDisplayMedia() {
      const error = w.fail({ screen: true });
      if (error) throw error;
      return new Stream([new Track('video', 'screen')]);
    },
    async enumerateDevices() {
      return w.there.map((id) => ({ deviceId: id, kind: id.startsWith('mic') ? 'audioinput' : 'videoinput', label: id }));
    },
  } });
  w.own.on('said', (words) => w.said.push(words));
  w.own.on('track', (kind, track) => w.sent.push(`${kind} ${track?.deviceId ?? 'none'}`));
  w.live = () => Track.all.filter(({ readyState }) => readyState === 'live').map(({ deviceId }) => deviceId).sort();
  return w;
}

test('camera and microphone are taken together, and given back', async () => {
  const w = world();
  assert.equal(await w.own.take(), true);
  assert.deepEqual(w.live(), ['cam', 'mic']);
  w.own.release();
  assert.deepEqual(w.live(), []);
  assert.equal(w.own.stream, null);
  assert.deepEqual(w.sent, [], 'nobody is told of what a call begins or ends with');
});

test('without a camera it is the microphone; blocked, nothing; and it is said', async () => {
  const none = world({ there: ['mic'] });
  assert.equal(await none.own.take(), true);
  assert.deepEqual([none.live(), none.said], [['mic'], ['No camera found: sound only.']]);
  const used = world({ fail: (wish) => (wish.video ? fault('NotReadableError') : null) });
  assert.equal(await used.own.take(), true);
  assert.deepEqual([used.live(), used.said], [['mic'], ['Your camera is in use by another program.']]);
  const blocked = world({ fail: () => fault('NotAllowedError') });
  assert.equal(await blocked.own.take(), false);
  assert.match(blocked.said.join(), /blocked/);
  assert.equal(blocked.asked.length, 1, 'who says no is not asked again');
});

test('the screen or the microphone is taken alone, and a camera comes when it is asked for', async () => {
  const w = world();
  assert.equal(await w.own.take('screen'), true);
  assert.deepEqual([w.live(), w.own.sharing, w.asked], [['mic', 'screen'], true, [{ audio: true }]]);
  w.own.picture.end();
  assert.deepEqual([w.live(), w.own.sharing, w.sent], [['mic'], false, ['video none']]);
  await w.own.film(true);
  assert.deepEqual([w.live(), w.sent], [['cam', 'mic'], ['video none', 'video cam']]);
  w.own.release();
  const silent = world({ fail: ({ audio }) => (audio ? fault('NotAllowedError') : null) });
  assert.equal(await silent.own.take('screen'), true);
  assert.deepEqual(silent.live(), ['screen']);
  assert.match(silent.said.join(), /without sound/);
  const refused = world({ fail: ({ screen }) => (screen ? fault('NotAllowedError') : null) });
  assert.equal(await refused.own.take('screen'), false);
  assert.deepEqual([refused.live(), refused.asked], [[], []]);
  const spoken = world();
  assert.equal(await spoken.own.take('microphone'), true);
  assert.deepEqual([spoken.live(), spoken.own.picture], [['mic'], null]);
});

test('the camera is stopped and started, the microphone muted in place', async () => {
  const w = world();
  await w.own.take();
  await w.own.film(false);
  assert.deepEqual([w.live(), w.sent], [['mic'], ['video none']]);
  await w.own.film(true);
  assert.deepEqual([w.live(), w.sent], [['cam', 'mic'], ['video none', 'video cam']]);
  w.own.mute(true);
  assert.equal(w.own.muted, true);
  assert.equal(w.own.microphone.enabled, false);
  assert.deepEqual(w.live(), ['cam', 'mic'], 'the device stays open');
});

test('another microphone is as muted as the one before', async () => {
  const w = world();
  await w.own.take();
  w.own.mute(true);
  await w.own.use('audio', 'mic2');
  assert.equal(w.own.muted, true);
  assert.deepEqual([w.live(), w.sent], [['cam', 'mic2'], ['audio mic2']]);
  w.own.mute(false);
  await w.own.use('audio', 'mic');
  assert.equal(w.own.muted, false);
});

test('the screen takes the place of the camera until either button ends it', async () => {
  const w = world();
  await w.own.take();
  await w.own.share(true);
  assert.deepEqual([w.own.sharing, w.own.picture.deviceId], [true, 'screen']);
  assert.deepEqual(w.live(), ['cam', 'mic', 'screen'], 'the camera is back at once');
  await w.own.share(false);
  assert.deepEqual([w.own.sharing, w.live()], [false, ['cam', 'mic']]);
  await w.own.share(true);
  w.own.picture.end(); // the browser's own button
  assert.deepEqual([w.own.sharing, w.own.picture.deviceId, w.live()], [false, 'cam', ['cam', 'mic']]);
  assert.deepEqual(w.sent, ['video screen', 'video cam', 'video screen', 'video cam']);
  await w.own.share(true);
  w.own.release();
  assert.deepEqual(w.live(), [], 'hanging up ends everything');
});

test('the screen without a camera, and a camera that was chosen meanwhile', async () => {
  const w = world();
  await w.own.take();
  await w.own.film(false);
  await w.own.share(true);
  await w.own.share(false);
  assert.equal(w.own.picture, null);
  await w.own.film(true);
  await w.own.share(true);
  await w.own.use('video', 'cam2');
  assert.equal(w.own.picture.deviceId, 'screen');
  await w.own.share(false);
  assert.deepEqual([w.own.picture.deviceId, w.live()], ['cam2', ['cam2', 'mic']]);
});

test('who does not share after all changes nothing; a browser that cannot says why', async () => {
  const w = world({ fail: (wish) => (wish.screen ? fault('NotAllowedError') : null) });
  await w.own.take();
  await w.own.share(true);
  assert.deepEqual([w.own.sharing, w.said, w.sent], [false, [], []]);
  w.fail = (wish) => (wish.screen ? fault('NotFoundError') : null);
  await w.own.share(true);
  assert.match(w.said.join(), /cannot be shared/);
});

test('a device that is unplugged is told, and nothing is sent of it', async () => {
  const w = world();
  await w.own.take();
  w.own.microphone.end();
  assert.deepEqual([w.sent, w.own.muted], [['audio none'], true]);
  assert.match(w.said.join(), /microphone was disconnected/);
  await w.own.use('audio', 'mic2');
  assert.deepEqual([w.own.muted, w.sent.at(-1)], [false, 'audio mic2'], 'another one speaks at once');
  w.own.picture.end();
  assert.equal(w.own.picture, null);
  assert.match(w.said.join(), /camera was disconnected/);
});

test('a chosen device is asked for in later calls too, while it is there', async () => {
  const w = world();
  await w.own.take();
  await w.own.use('video', 'cam2');
  w.own.release();
  await w.own.take();
  assert.deepEqual(w.live(), ['cam2', 'mic']);
  w.own.release();
  w.there = ['mic', 'cam'];
  assert.equal(await w.own.take(), true);
  assert.deepEqual(w.live(), ['cam', 'mic']);
});

test('a call that ends while the browser asks leaves no device on', async () => {
  const w = world();
  await w.own.take();
  const opening = [w.own.use('video', 'cam2'), w.own.share(true)];
  w.own.release();
  await Promise.all(opening);
  assert.deepEqual(w.live(), []);
});
