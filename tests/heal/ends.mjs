// Faults at the ends of the network: servers and sources that stop and come back.

import { until } from '../browser/harness.mjs';
import { assert, pause } from './world.mjs';

const restarts = (seconds) => async (w) => {
  await w.server.stop('SIGKILL');
  await pause(seconds * 1000);
  await w.serve();
  const began = Date.now();
  await until('the page knows the call again', async () => (await w.page.evaluate('symple.client.online && !symple.calls.list()[0]?.gone')));
  w.s.note(`the page knows the call again ${Date.now() - began} ms after the start`);
  return began;
};

/** The video continued, in the same call. */
const went = (found) => {
  assert.ok(found.longest <= 1000, `no frame for ${found.longest} ms`);
  assert.equal(found.call, 'the same');
};

export const ENDS = [
  { fault: 'the signalling server restarts at once', options: { server: true }, act: restarts(0), check: went },
  { fault: 'the signalling server is back after 6 s', options: { server: true }, act: restarts(6), check: went },
  {
    fault: 'an RTSP camera is gone for 10 s', aim: 2, options: { rtsp: true },
    async act(w) {
      await w.rtsp.stop('SIGKILL');
      await pause(10_000);
      await w.film();
    },
    check(found) {
      const said = found.said.find(({ text }) => /has no picture at the moment/.test(text));
      assert.ok(said && said.after <= 1500, `the page showed the reason after ${said?.after} ms`);
      assert.equal(found.call, 'the same');
    },
  },
];
