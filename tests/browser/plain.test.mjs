// A viewer that knows only the plain protocol: it sends no call ids, no rooms and no offer with its init, and ends a call
// with `hangup`, as the published browser client does.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { forward, freePort, scenario, until } from './harness.mjs';
import { inOrder, viewers, watch } from './page.mjs';

const RESUME = 30_000; // ms that the camera keeps a call whose viewer's signalling is gone

/** Runs in the page. */
const VIEWER = `window.plain = {
  heard: [],
  connect(user) {
    this.socket = new WebSocket(location.origin.replace('http', 'ws'));
    this.socket.onopen = () => this.write({ type: 'auth', user, name: user, token: '' });
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
  },
  write(frame) { this.socket.send(JSON.stringify(frame)); },
  say(verb, data = {}) { this.write({ type: 'message', id: Math.random().toString(36).slice(2), to: this.camera, from: this.me, subtype: 'call:' + verb, data }); },
  take(frame) {
    const { type, from, subtype, data, peer } = frame;
    if (type === 'welcome') {
      this.me = peer.user + '|' + peer.id;
      this.write({ type: 'presence', from: this.me, data: { ...peer, rooms: [] }, probe: true });
    }
    if (type === 'presence' && data.online && data.peerType === 'camera') this.camera = data.user + '|' + data.id;
    if (type === 'message') this.heard.push({ subtype, data });
    if (subtype === 'call:init') this.accept();
    if (subtype === 'call:accept') this.offer();
    if (subtype === 'call:offer' || subtype === 'call:answer') this.described(data);
  },
  open() {
    const connection = this.connection = new RTCPeerConnection();
    connection.onicecandidate = ({ candidate }) => candidate
      && this.say('candidate', { candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex });
    connection.ontrack = ({ streams }) => { document.querySelector('video').srcObject = streams[0]; };
  },
  call() { this.say('init'); },
  accept() { this.open(); this.say('accept'); },
  async offer() {
    this.open();
    for (const kind of ['audio', 'video']) this.connection.addTransceiver(kind, { direction: 'recvonly' });
    await this.connection.setLocalDescription();
    this.say('offer', { type: 'offer', sdp: this.connection.localDescription.sdp });
  },
  async described(description) {
    await this.connection.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    await this.connection.setLocalDescription();
    this.say('answer', { type: 'answer', sdp: this.connection.localDescription.sdp });
  },
  hangup() {
    this.say('hangup', { reason: 'hangup' });
    this.connection.close();
  },
};`;

async function viewer(s, camera) {
  // A document of the camera's own server, without a script.
  const page = await (await s.chromium()).page(`${camera.url}api/config`);
  await page.evaluate(`void (document.body.innerHTML = '<video id="video" autoplay playsinline muted></video>')`);
  await page.evaluate(VIEWER);
  await page.evaluate("plain.connect('visitor')");
  await sees(page);
  return page;
}

const sees = (page) => until('the viewer sees the camera', () => page.evaluate('plain.socket.readyState === 1 && plain.camera'));
/** Since the camera's last call, if it made one: the end of an earlier call may be told twice. */
const hears = (page, verb) => until(`the viewer hears ${verb}`, () => page.evaluate(`plain.heard
  .slice(Math.max(0, plain.heard.findLastIndex(({ subtype }) => subtype === 'call:init')))
  .find(({ subtype }) => subtype === 'call:${verb}')`));

scenario('a viewer without call ids calls, hangs up, is called and is hung up on', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await viewer(s, camera);
  await page.evaluate('plain.call()');
  inOrder(await page.pictures(20), forward);
  await page.sound();
  await viewers(camera, 1);
  await page.evaluate('plain.hangup()');
  await viewers(camera, 0);
  camera.process.tell('call visitor');
  await viewers(camera, 1);
  await page.moves('#video', 20);
  camera.process.tell('hangup');
  assert.deepEqual((await hears(page, 'hangup')).data, { reason: 'ended' });
  await viewers(camera, 0);
});

scenario('a tab that is closed has ended its call, and is lost if its page does not hang up', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  const args = ['camera', '--listen', '127.0.0.1', '--port', port, '--size', '320x180'];
  const camera = { url: `http://127.0.0.1:${port}/`, process: await s.symple(args, { ready: /^open / }) };
  const silent = async () => {
    const page = await viewer(s, camera);
    await page.evaluate('plain.call()');
    return page;
  };
  const ours = async () => watch(await s.chromium(), camera.url);
  // Chromium does not close DTLS when a tab is closed.
  for (const [open, expected] of [[ours, /^the call was ended$/], [silent, /^the connection was lost$/]]) {
    const page = await open();
    await page.moves('#video', 10);
    const from = camera.process.lines.length;
    await page.close();
    const [, why] = await camera.process.says(/^call \d+: ended \((.*)\)/, { from });
    s.note(why);
    assert.match(why, expected);
  }
});

scenario('a viewer without call ids keeps its picture when its socket comes back', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await viewer(s, camera);
  await page.evaluate('plain.call()');
  await page.moves('#video', 20);
  await viewers(camera, 1);
  const before = await page.evaluate('plain.me');
  await page.evaluate("plain.camera = null, plain.socket.close(), plain.connect('visitor')");
  await sees(page);
  assert.notEqual(await page.evaluate('plain.me'), before);
  await pause(RESUME + 3000);
  await page.moves('#video', 20);
  await viewers(camera, 1);
  // What the camera says reaches the new address.
  camera.process.tell('hangup');
  await hears(page, 'hangup');
  await viewers(camera, 0);
});
