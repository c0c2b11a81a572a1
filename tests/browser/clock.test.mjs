// A board whose clock begins in 1970: its WebRTC certificate has expired when a browser sees it, but browsers only
// check the fingerprint in the description (RFC 8122, 5.1).

import assert from 'node:assert/strict';
import { FAKETIME, scenario } from './harness.mjs';
import { watch } from './page.mjs';

for (const name of ['chromium', 'firefox']) {
  scenario(`A camera whose clock says 1970 is watched in ${name}`, { needs: [name, 'faketime'] }, async (s) => {
    const camera = await s.camera({
      LD_PRELOAD: FAKETIME, FAKETIME: '@1970-01-01 00:00:30', FAKETIME_DONT_FAKE_MONOTONIC: '1', TZ: 'UTC',
    });
    const { headers } = await fetch(camera.url);
    assert.match(headers.get('date'), / 1970 /);
    const page = await watch(await s[name](), camera.url);
    await page.moves('#video', 20);
  });
}
