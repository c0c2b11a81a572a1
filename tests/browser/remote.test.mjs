// The camera as a client of another server, over wss://, watched through that server.

import { readFileSync } from 'node:fs';
import { freePort, scenario } from './harness.mjs';
import { as, watch } from './page.mjs';

scenario('a camera is watched through a server in another process', { needs: ['chromium', 'openssl'] }, async (s) => {
  const { ca, cert, key } = s.certificate();
  const port = await freePort();
  await s.example('server', { env: { PORT: String(port), CERT: cert, KEY: key }, ready: /listening/ });
  const camera = await s.example('camera', {
    // The user list of examples/server.rs contains both.
    env: { SOURCE: 'test', CONNECT: `wss://localhost:${port}/`, ROOTS: ca, TOKEN: 'lens' },
    ready: /^online/,
  });
  // That server has no page; another one serves it and forwards its sockets.
  const front = await s.front({ port, ca: readFileSync(ca) });
  const page = await watch(await s.chromium(), `${front}#token=wonderland`, { before: as('alice') });
  await page.moves('#video', 30);
  await page.sound();
  await camera.says(/alice is watching/);
});

scenario('a server with an untrusted certificate is refused with a reason', { needs: ['openssl'] }, async (s) => {
  const { cert, key } = s.certificate();
  const port = await freePort();
  await s.example('server', { env: { PORT: String(port), CERT: cert, KEY: key }, ready: /listening/ });
  const camera = await s.example('camera', {
    env: { SOURCE: 'test', CONNECT: `wss://localhost:${port}/`, TOKEN: 'lens' },
    ready: /offline/,
  });
  const [said] = await camera.says(/offline: .*certificate.*/i);
  s.note(said);
});
