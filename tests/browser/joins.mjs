// Measures how long a viewer waits after a click: `node tests/browser/joins.mjs [programs…]`, or `make bench`.
//
// Two others watch in the same browser while one page joins and leaves JOINS times (50). From the click to the first
// decoded frame, as requestVideoFrameCallback tells of it, with what happened on the way (and what had come by then). Several programs (cameras, as
// examples/camera.rs) take turns, so that a busy machine is fair to each. It prints, and judges nothing.

import { readFileSync } from 'node:fs';
import { scenario, until } from './harness.mjs';
import { CAMERA, HANGUP, online, playing, seen, viewers, watch } from './page.mjs';

const JOINS = Number(process.env.JOINS ?? 50);
const TIMELINE = readFileSync(new URL('timeline.js', import.meta.url), 'utf8');
const programs = process.argv.slice(2);
if (programs.length === 0) programs.push('');

const at = (values, share) => {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length ? Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]) : NaN;
};

scenario('joins', { needs: ['chromium'], timeout: 1_800_000 }, async (s) => {
  const sides = [];
  for (const program of programs) {
    if (program) process.env.CAMERA = program;
    const camera = await s.camera();
    const browser = await s.chromium();
    for (let i = 0; i < 2; i += 1) await watch(browser, camera.url, { before: seen });
    const page = await watch(browser, camera.url, { before: (inner) => inner.addInitScript(TIMELINE) });
    sides.push({ program, camera, page, joins: [] });
  }
  const join = async ({ camera, page, joins }) => {
    await page.click(HANGUP);
    await viewers(camera, 2);
    await online(page);
    // Somebody who looks at the page before the click: what it prepares is there.
    await page.evaluate('new Promise((done) => setTimeout(done, 700))');
    await page.click(CAMERA);
    const seen = await until('a first frame', async () => {
      const taken = await page.evaluate('timeline.take()');
      return taken.marks['(kB received)'] !== undefined && taken;
    });
    await playing(page);
    joins.push(seen);
  };
  for (const side of sides) await join(side); // not counted
  for (const side of sides) side.joins = [];
  for (let i = 0; i < JOINS; i += 1) for (const side of sides) await join(side);
  for (const { program, joins } of sides) {
    const pictures = joins.map(({ marks }) => marks.picture);
    console.log(`${program || 'camera'}: click to first frame: median ${at(pictures, 0.5)} ms, p95 ${at(pictures, 0.95)} ms of ${pictures.length} joins`);
    const names = [...new Set(joins.flatMap(({ marks }) => Object.keys(marks)))];
    const rows = names.map((name) => [name, at(joins.map(({ marks }) => marks[name]), 0.5), at(joins.map(({ marks }) => marks[name]), 0.95)]);
    for (const [name, median, p95] of rows.sort((a, b) => a[1] - b[1])) console.log(`    ${String(median).padStart(5)} ${String(p95).padStart(5)}  ${name}`);
    const told = joins.map(({ messages }) => messages.filter((it) => !/candidate|hangup/.test(it)).join(' '));
    for (const one of new Set(told)) console.log(`    ${told.filter((it) => it === one).length} times: ${one}`);
  }
});
