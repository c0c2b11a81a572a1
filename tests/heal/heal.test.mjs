// Causes each fault for real, and measures how long it takes until a viewer sees the picture again: `make test-heal`, or
// `node --test --test-name-pattern='address' tests/heal/heal.test.mjs` for some of them. Prints a table at the end.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { scenario } from '../browser/harness.mjs';
import { ENDS } from './ends.mjs';
import { LINKS } from './links.mjs';
import { lacking } from './street.mjs';
import { seconds, shown, suffer, world } from './world.mjs';

const rows = [];

for (const { fault, aim, options, act, within, check, timeout = 180_000 } of [...LINKS, ...ENDS]) {
  scenario(`heals: ${fault}`, { needs: ['chromium', lacking, ...(options?.rtsp ? ['rtsp'] : [])], timeout }, async (s) => {
    const w = await world(s, options);
    const found = await suffer(w, act, { within });
    rows.push({ fault, aim, ...found });
    s.note(`${shown(found)}; the call: ${found.call}; back after ${seconds(found.back)} s, at most ${seconds(found.longest)} s without a frame`);
    check?.(found, w);
    assert.ok(aim === undefined || found.back <= aim * 1000, `the picture was back after ${found.back} ms, not ${aim} s`);
  });
}

scenario('heals: a viewer is killed', { needs: ['chromium', lacking] }, async (s) => {
  const w = await world(s);
  const began = Date.now();
  w.browser.kill();
  await w.camera.says(/call 1: ended/);
  const took = Date.now() - began;
  s.note(`the camera notices after ${seconds(took)} s`);
  // The camera gives up a silent viewer after 8 s; one more for a busy machine.
  assert.ok(took <= 9000, `after ${took} ms`);
});

after(() => {
  console.log('\n| fault | the page showed | call | picture back after | aim |\n|---|---|---|---|---|');
  for (const row of rows) {
    console.log(`| ${row.fault} | ${shown(row)} | ${row.call} | ${seconds(row.back)} s | ${row.aim === undefined ? '' : `${row.aim} s`} |`);
  }
});
