// A relay whose publishers have different codecs: viewers follow, and those who cannot are told.

import assert from 'node:assert/strict';
import { freePort, scenario, until } from './harness.mjs';
import { as, online, watch, words } from './page.mjs';

/** For a page's `before`: the user has this name, and a browser that knows but one video codec, if one is given. */
const person = (name, codec = '') => async (page) => {
  await as(name)(page);
  if (!codec) return;
  await page.addInitScript(`{
    const { addTransceiver } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.addTransceiver = function (what, init) {
      const transceiver = addTransceiver.call(this, what, init);
      if ((what.kind ?? what) !== 'video') return transceiver;
      const all = RTCRtpReceiver.getCapabilities('video').codecs;
      transceiver.setCodecPreferences(all.filter(({ mimeType }) => mimeType === 'video/${codec}' || mimeType === 'video/rtx'));
      return transceiver;
    };
  }`);
};

async function publish(s, url, name, codec) {
  const page = await (await s.chromium({ devices: true })).page(url, { before: person(name, codec) });
  await online(page);
  await until('there is a button to publish', () => page.visible('#publish'));
  await page.click('#publish');
  await page.click('#publish-camera');
  await words(page, /Live on /);
  return page;
}

/** What a viewer decodes: its codec, and how many frames of it. */
const decodes = (page) => page.evaluate(`(async () => {
  const all = [...(await symple.player.connection.getStats()).values()];
  const video = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
  return { codec: all.find(({ id }) => id === video?.codecId)?.mimeType, frames: video?.framesDecoded ?? 0 };
})()`);

/** Waits until a viewer has decoded 10 more frames, and those are of this codec. Returns how long that took, in ms. */
async function sees(page, codec) {
  const [before, start] = [(await decodes(page)).frames, performance.now()];
  await until(`it sees ${codec}`, async () => {
    const now = await decodes(page);
    return (now.codec === `video/${codec}` && now.frames >= before + 10) || Promise.reject(new Error(JSON.stringify(now)));
  });
  return Math.round(performance.now() - start);
}

scenario('viewers follow a relay from one codec to another without another call, and who cannot is told', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  await s.symple(['relay', '--port', port, '--occupied', 'replace'], { ready: /^open http/ });
  const url = `http://127.0.0.1:${port}/`;
  const ann = await publish(s, url, 'ann', 'H264');
  const carol = await watch(await s.chromium(), url, { before: person('carol') });
  await sees(carol, 'H264');
  const dave = await watch(await s.chromium(), url, { before: person('dave', 'H264') });
  await sees(dave, 'H264');
  const calls = () => carol.evaluate('symple.calls.list().map(({ id }) => id).join()');
  const call = await calls();

  // Somebody takes over whose browser has VP8 alone.
  const bob = await publish(s, url, 'bob', 'VP8');
  const took = await sees(carol, 'VP8');
  s.note(`${took} ms after the page says that it is live, the viewer saw ten frames in VP8`);
  assert.ok(took < 2000, `${took} ms`);
  assert.equal(await calls(), call, 'no other call was made');
  await words(dave, /No common video format/);
  await words(ann, /Somebody else is live/).catch(() => {});

  // A newcomer without VP8 is told, too, and one with it is not.
  const eve = await (await s.chromium()).page(url, { before: person('eve', 'H264') });
  await words(eve, /No common video format/);
  await bob.click('#hangup');
  await publish(s, url, 'ann2', 'H264');
  s.note(`and back in ${await sees(carol, 'H264')} ms`);
  assert.equal(await calls(), call, 'no other call was made');
});

scenario('a browser of both codecs publishes what all who wait support', { needs: ['chromium'] }, async (s) => {
  for (const codec of ['VP8', 'H264']) {
    const port = String(await freePort());
    await s.symple(['relay', '--port', port], { ready: /^open http/ });
    const url = `http://127.0.0.1:${port}/`;
    const viewer = await (await s.chromium()).page(url, { before: person('carol', codec) });
    await until('it waits for a picture', () => viewer.evaluate('symple.player?.connection?.connectionState === "connected"'));
    await publish(s, url, 'ann');
    await sees(viewer, codec);
  }
});
