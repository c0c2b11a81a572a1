// The camera as a client of a server elsewhere, over wss://, watched through that server.

import { readFileSync } from 'node:fs';
import { freePort, scenario } from './harness.mjs';
import { as, watch } from './page.mjs';

scenario('a camera is watched through a server in another process', { needs: ['chromium', 'openssl'] }, async (s) => {
  const { ca, cert, key } = s.certificate();
  const port = await freePort();
  await s.example('server', { env: { PORT: String(port), CERT: cert, KEY: key }, ready: /listening/ });
  const camera = await s.example('camera', {
    // The guest list of examples/server.rs knows both.
    env: { SOURCE: 'test', CONNECT: `wss://localhost:${port}/`, ROOTS: ca, TOKEN: 'lens' },
    ready: /^online/,
  });
  // That server has no page; whoever has one serves it and passes its sockets on.
  const front = await s.front({ port, ca: readFileSync(ca) });
  const page = await watch(await s.chromium(), `${front}#token=wonderland`, { before: as('alice') });
  await page.moves('#video', 30);
  await page.sound();
  await camera.says(/alice is watching/);
});

scenario('a server whose certificate nobody signed is refused in words', { needs: ['openssl'] }, async (s) => {
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
