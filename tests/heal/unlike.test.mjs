// Viewers on different networks do not affect each other. Nine watch on fast links, one on 300 kbit/s; all are pages in
// Chromium. UNLIKE_FAST=3 for a machine that does not bear ten.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { TARGET, scenario, until } from '../browser/harness.mjs';
import { seen, watch } from '../browser/page.mjs';
import { CAMERA, Street, lacking } from './street.mjs';
import { WITNESS, seconds } from './world.mjs';

const FPS = 20;
const SETTINGS = ['--source', 'test', '--size', '640x360', '--fps', `${FPS}`, '--bitrate', '1500', '--max-bitrate', '1500'];
const URL = `http://${CAMERA}:4500/`;
const FAST = Number(process.env.UNLIKE_FAST ?? 9);
const FAST_LINK = 20_000; // kbit/s of each
const SLOW_LINK = 300;
const KEPT = 0.9; // what each of the fast ones keeps of its bitrate and frame rate
const STEADY = 5; // frames in each second at the slow one
const AIM = 3000; // ms from its call until then
const SOON = 5000; // what is asserted
const SPAN = 10_000; // ms for which all are measured

const status = (page) => page.evaluate(`fetch('/api/status').then((answer) => answer.json())`);
/** Counted now: the page's own figures are up to a second old. */
const decoded = (page) => page.evaluate(`symple.player.connection.getStats().then((all) =>
  [...all.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video').framesDecoded)`);
const user = (page) => page.evaluate('symple.client.user');

/** What each page gets in so many ms: { fps, kbit } by its own count of frames, and by the camera's of bytes. */
async function measure(pages, users) {
  const count = async () => {
    const { sessions, bitrate } = await status(pages[0]);
    const frames = await Promise.all(pages.map(decoded));
    const bytes = users.map((name) => sessions.find((session) => session.user === name)?.bytes ?? 0);
    return { at: performance.now(), frames, bytes, bitrate };
  };
  const before = await count();
  const bitrates = [];
  for (const end = performance.now() + SPAN; performance.now() < end;) {
    await pause(1000);
    bitrates.push((await status(pages[0])).bitrate);
  }
  const after = await count();
  const span = (after.at - before.at) / 1000;
  return {
    each: pages.map((_, i) => ({ fps: (after.frames[i] - before.frames[i]) / span, kbit: ((after.bytes[i] - before.bytes[i]) * 8) / 1000 / span })),
    bitrates,
  };
}

/** From which frame on there are never fewer than STEADY in the second before; null: never for long enough. */
function steadyFrom(frames, until) {
  let from = null;
  for (let end = frames[0] + 1000; end <= until; end += 50) {
    const enough = frames.filter((at) => at > end - 1000 && at <= end).length >= STEADY;
    from = enough ? from ?? end - 1000 : null;
  }
  return from !== null && until - from >= SPAN / 2 ? from : null;
}

scenario(`one viewer on ${SLOW_LINK} kbit/s beside ${FAST} fast ones costs them nothing, and sees a steady picture`, { needs: ['chromium', lacking], timeout: 300_000 }, async (s) => {
  const street = new Street(s);
  await s.program(...street.at('camera', join(TARGET, 'debug/symple'), 'camera', '--listen', CAMERA, '--port', '4500', ...SETTINGS), { ready: /^online/ });
  // They share one machine, and so one link, of what all of theirs carry.
  street.narrows(FAST * FAST_LINK, 'server');
  const fast = await s.chromium({ executablePath: street.browser('server') });
  const pages = [];
  for (let i = 0; i < FAST; i += 1) pages.push(await watch(fast, URL, { before: seen, within: 60_000 }));
  const users = await Promise.all(pages.map(user));
  await until('the fast viewers get the full stream', async () => {
    const { bitrate, sessions } = await status(pages[0]);
    return bitrate >= 1_400_000 && sessions.length === FAST && sessions.every((session) => session.share === 'full');
  }, { within: 60_000 });
  const before = await measure(pages, users);

  street.narrows(SLOW_LINK);
  const browser = await s.chromium({ executablePath: street.browser() });
  await browser.context.addInitScript(WITNESS);
  const slow = await watch(browser, URL, { within: 60_000 });
  const name = await user(slow);
  const share = async () => (await status(pages[0])).sessions.find((session) => session.user === name);
  await until('the slow one gets the small rendition', async () => (await share())?.rendition === 1, { within: 20_000 });
  const { shareCode } = await share();
  const words = await until('the page says why', async () => {
    const [hidden, text] = await slow.evaluate('[document.querySelector("#share").hidden, document.querySelector("#share").textContent]');
    return !hidden && text;
  });
  const after = await measure(pages, users);
  const [began] = await slow.evaluate('witness.calls()');
  const { frames } = await slow.evaluate(`witness.since(${began})`);
  const steady = steadyFrom(frames, Date.now() - 500);
  const counts = Array.from({ length: Math.floor((Date.now() - began) / 1000) }, (_, second) =>
    frames.filter((at) => Math.floor((at - began) / 1000) === second).length);
  const recent = frames.filter((at) => at > Date.now() - SPAN).length / (SPAN / 1000);

  const rounded = ({ fps, kbit }) => `${fps.toFixed(1)} fps ${Math.round(kbit)} kbit/s`;
  s.note(`the slow one: first frame ${seconds(frames[0] - began)} s after its call, steady after ${steady && seconds(steady - began)} s (aim ${seconds(AIM)} s), ${recent} fps, in each second ${counts.join(' ')} frames: "${words}"`);
  s.note(`the ${FAST} fast ones before: ${before.each.map(rounded).join(', ')}`);
  s.note(`beside the slow one:         ${after.each.map(rounded).join(', ')}`);
  s.note(`the encoder: ${Math.min(...after.bitrates) / 1000} of ${Math.min(...before.bitrates) / 1000} kbit/s at least`);
  assert.equal(shareCode, 'network');
  assert.match(words, /^Smaller picture: the network carries \d+ kbit\/s/);
  assert.ok(Math.min(...after.bitrates) >= KEPT * Math.min(...before.bitrates), `the encoder went down to ${Math.min(...after.bitrates)}`);
  for (const [i, { fps, kbit }] of after.each.entries()) {
    const was = before.each[i];
    assert.ok(fps >= KEPT * was.fps && kbit >= KEPT * was.kbit, `fast viewer ${i}: ${rounded(after.each[i])} of ${rounded(was)}`);
  }
  assert.ok(steady !== null && steady - began <= SOON, `steady ${steady && steady - began} ms after its call`);
  const { sessions } = await status(pages[0]);
  assert.equal(sessions.filter((session) => session.share === 'full').length, FAST);

  // Its link is fast again.
  street.narrows(null);
  const mended = Date.now();
  await until('it gets the full stream again', async () => (await share()).rendition === 0, { within: 20_000 });
  s.note(`the full stream again after ${Date.now() - mended} ms after the link`);
});
