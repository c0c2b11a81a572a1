// The camera as a client of a server elsewhere, over wss://, watched through that server.

import { freePort, scenario } from './harness.mjs';
import { watch } from './page.mjs';

scenario('a camera is watched through a server in another process', { needs: ['chromium', 'openssl'] }, async (s) => {
  const certificate = s.certificate();
  const port = await freePort();
  await s.example('server', { env: { PORT: String(port) }, ready: new RegExp(`:${port}\\b`) });
  // TLS ends at a proxy before the server, as it mostly does.
  const front = await s.front(port, certificate);
  await s.example('camera', {
    env: { SOURCE: 'test', SERVER: `wss://${front.host}/`, CA: certificate.ca },
    ready: new RegExp(`wss://${front.host}`),
  });
  const page = await watch(await s.chromium(), `https://${front.host}/`);
  await page.moves('#video', 30);
  await page.sound();
});
