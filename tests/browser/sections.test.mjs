// What a page may do to the sections of its offers while it watches: stop the first, and take its place with another.

import assert from 'node:assert/strict';
import { scenario, until } from './harness.mjs';
import { viewers, watch } from './page.mjs';

/** Keeps the page's connections, and the answers that they take. */
const kept = (page) => page.addInitScript(`(() => {
  const kept = globalThis.kept = { connections: [], answers: 0 };
  globalThis.RTCPeerConnection = new Proxy(RTCPeerConnection, {
    construct(target, args) {
      const connection = Reflect.construct(target, args);
      const take = connection.setRemoteDescription.bind(connection);
      connection.setRemoteDescription = (description) => take(description).then(() => { kept.answers += 1; });
      kept.connections.push(connection);
      return connection;
    },
  });
})()`);

/** Changes the page's connection, and offers that in the call. */
async function renegotiate(page, change) {
  const before = await page.evaluate('kept.answers');
  await page.evaluate(`(async () => {
    const connection = kept.connections.at(-1);
    ${change}
    await connection.setLocalDescription();
    const [to] = symple.roster.cameras().map((peer) => peer.address);
    const { wire } = symple.calls.list()[0];
    const { type, sdp } = connection.localDescription;
    symple.client.send({ type: 'message', to, subtype: 'call:offer', call: wire, data: { type, sdp } });
  })()`);
  await until('the answer fits', async () => (await page.evaluate('kept.answers')) > before);
}

/** Waits until more of a kind has arrived than there was. */
async function grows(page, kind, by, what) {
  const much = async () => (await page.probe('received'))[kind]?.[what] ?? 0;
  const before = await much();
  await until(`${kind} arrives`, async () => (await much()) > before + by);
}

scenario('the first section is stopped, and comes again', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url, { before: kept });
  await viewers(camera, 1);
  for (let round = 0; round < 2; round += 1) {
    // Chromium gives up the transport with the section that the bundle is named after.
    await renegotiate(page, `connection.getTransceivers().find((one) => one.receiver.track.kind === 'video' && !one.stopped).stop();`);
    await grows(page, 'audio', 5000, 'bytes');
    await renegotiate(page, `connection.addTransceiver('video', { direction: 'recvonly' });`);
    await grows(page, 'video', 30, 'decoded');
    await grows(page, 'audio', 5000, 'bytes');
  }
  assert.equal((await viewers(camera, 1)).viewers, 1);
  assert.equal(await page.evaluate('kept.connections.length'), 1, 'it is the same call');
});
