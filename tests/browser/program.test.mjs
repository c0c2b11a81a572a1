// The program in normal use: a server, and a camera as its client. The server's own page plays it.

import { freePort, scenario } from './harness.mjs';
import { as, watch } from './page.mjs';

scenario('the page of `symple serve` plays a `symple camera` elsewhere', { needs: ['chromium'] }, async (s) => {
  const port = String(await freePort());
  const env = { SYMPLE_TOKEN: 'secret' };
  await s.symple(['serve', '--listen', '127.0.0.1', '--port', port], { env, ready: /^listening/ });
  const camera = await s.symple(['camera', '--connect', `ws://127.0.0.1:${port}`], { env, ready: /^online/ });
  const url = `http://127.0.0.1:${port}/#token=secret`;
  const page = await watch(await s.chromium(), url, { before: as('alice') });
  await page.moves('#video', 30);
  await page.sound();
  await camera.says(/alice is watching/);
});
