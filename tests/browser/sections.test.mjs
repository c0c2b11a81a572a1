// What a page may do with the sections of its offers while it watches: stop the first one, and reuse it.

import assert from 'node:assert/strict';
import { scenario, until } from './harness.mjs';
import { viewers, watch } from './page.mjs';

/** Records the page's connections, and the answers that they get. */
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

/** Waits until more packets of a kind have arrived. */
async function grows(page, kind, by, what) {
  const much = async () => (await page.probe('received'))[kind]?.[what] ?? 0;
  const before = await much();
  await until(`${kind} arrives`, async () => (await much()) > before + by);
}

scenario('the first section is stopped, and returns', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url, { before: kept });
  await viewers(camera, 1);
  for (let round = 0; round < 2; round += 1) {
    // Chromium drops the transport together with the section that the bundle is named after.
    await renegotiate(page, `connection.getTransceivers().find((one) => one.receiver.track.kind === 'video' && !one.stopped).stop();`);
    await grows(page, 'audio', 5000, 'bytes');
    await renegotiate(page, `connection.addTransceiver('video', { direction: 'recvonly' });`);
    await grows(page, 'video', 30, 'decoded');
    await grows(page, 'audio', 5000, 'bytes');
  }
  assert.equal((await viewers(camera, 1)).viewers, 1);
  assert.equal(await page.evaluate('kept.connections.length'), 1, 'it is the same call');
});
