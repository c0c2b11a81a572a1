// A browser publishes to `symple relay` in several encodings, and a viewer gets the one that it wants.

import assert from 'node:assert/strict';
import { freePort, scenario, until } from './harness.mjs';
import { HANGUP, online, watch } from './page.mjs';

/** Publishes the fake camera in three encodings, by the page's own client and player. */
const PUBLISH = `(async () => {
  const { addTrack } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTrack = function (track, ...streams) {
    if (track.kind !== 'video') return addTrack.call(this, track, ...streams);
    const sendEncodings = [4, 2, 1].map((scaleResolutionDownBy, i) => ({ rid: 'lmh'[i], scaleResolutionDownBy, maxBitrate: [150_000, 500_000, 1_500_000][i] }));
    return this.addTransceiver(track, { direction: 'sendonly', streams, sendEncodings }).sender;
  };
  const { Player } = await import(new URL('player.js', location.href));
  const [{ address }] = symple.roster.cameras();
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 } });
  const call = symple.calls.invite(address);
  window.published = new Player({ call, stream, video: document.createElement('video') });
  return address;
})()`;

/** The encodings that leave, with their widths and frames: { l: [320, 17], … }. */
const SENT = `(async () => Object.fromEntries([...(await published.connection.getStats()).values()]
  .filter(({ type, rid }) => type === 'outbound-rtp' && rid)
  .map(({ rid, frameWidth, framesSent }) => [rid, [frameWidth ?? 0, framesSent]])))()`;

for (const codec of ['vp8', 'h264']) {
  scenario(`a relay takes three encodings of ${codec}, and a viewer gets one of them`, { needs: ['chromium'] }, async (s) => {
    const port = await freePort();
    await s.symple(['relay', '--port', String(port), '--codec', codec], { ready: /^open http/ });
    const url = `http://127.0.0.1:${port}/`;
    const publisher = await (await s.chromium({ devices: true })).page(url);
    await online(publisher);
    // The page calls the only camera by itself, until a person hangs up.
    await until('the page calls', () => publisher.evaluate('symple.calls.list().length'));
    await publisher.click(HANGUP);
    await until('the page rests', () => publisher.evaluate('!symple.calls.list().length'));
    const address = await publisher.evaluate(PUBLISH);
    await until('one encoding is sent', async () => Object.values(await publisher.evaluate(SENT)).some(([, frames]) => frames > 5));
    const viewer = await watch(await s.chromium(), url);
    const all = await until('three encodings are sent', async () => {
      const sent = await publisher.evaluate(SENT);
      const widths = Object.values(sent).filter(([, frames]) => frames > 30).map(([width]) => width).sort((a, b) => a - b);
      return widths.join() === '320,640,1280' || Promise.reject(new Error(JSON.stringify(sent)));
    }, { within: 60_000 });
    assert.ok(all);
    const width = () => viewer.evaluate("document.getElementById('video').videoWidth");
    const shows = (wanted) => until(`the viewer sees ${wanted} pixels`, async () => {
      const found = await width();
      return found === wanted || Promise.reject(new Error(`${found}`));
    }, { within: 40_000 });
    const wish = (share) => viewer.evaluate(`symple.client.command('${address}', { node: 'camera:share', action: 'wish', data: { share: '${share}' } })`);
    await shows(1280);
    for (let i = 0; i < 2; i += 1) {
      await wish('small');
      await shows(320);
      await wish('full');
      await shows(1280);
    }
    // No other call was made for that.
    assert.equal(await viewer.evaluate('symple.calls.list().length'), 1);
    const frozen = await viewer.evaluate(`(async () => [...(await symple.player.connection.getStats()).values()]
      .find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video').totalFreezesDuration)()`);
    s.note(`froze for ${frozen} s in all`);
  });
}
