// A board whose clock begins in 1970: its WebRTC certificate has expired when a browser sees it, but browsers only
// check the fingerprint in the description (RFC 8122, 5.1).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { FAKETIME, found, scenario } from './harness.mjs';
import { watch } from './page.mjs';

// GStreamer waits until a monotonic time, which libfaketime takes for one of the wall clock: it would never wake up.
const SLEEP = `
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest) {
  return syscall(SYS_clock_nanosleep, clock, flags, until, rest) ? errno : 0;
}`;

/** Environment of a program whose wall clock says 1970. */
function in1970(s) {
  const [code, library] = [`${s.dir}/sleep.c`, `${s.dir}/sleep.so`];
  writeFileSync(code, SLEEP);
  const made = spawnSync('cc', ['-shared', '-fPIC', '-o', library, code], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  return {
    LD_PRELOAD: `${library} ${FAKETIME}`, FAKETIME: '@1970-01-01 00:00:30', FAKETIME_DONT_FAKE_MONOTONIC: '1', TZ: 'UTC',
  };
}

const compiler = () => (found('cc') ? '' : 'no C compiler here (Debian: gcc)');

for (const name of ['chromium', 'firefox']) {
  scenario(`A camera whose clock says 1970 is watched in ${name}`, { needs: [name, 'faketime', compiler] }, async (s) => {
    const camera = await s.camera(in1970(s));
    const { headers } = await fetch(camera.url);
    assert.match(headers.get('date'), / 1970 /);
    const page = await watch(await s[name](), camera.url);
    await page.moves('#video', 20);
  });
}
