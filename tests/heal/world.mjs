// A camera and a viewer in their networks, and what the viewer saw of a fault.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { TARGET, until } from '../browser/harness.mjs';
import { watch } from '../browser/page.mjs';
import { CAMERA, SERVER, Street } from './street.mjs';

export const WITNESS = readFileSync(new URL('witness.js', import.meta.url), 'utf8');
const PORT = '4500';
const RTSP = '8554';
const SYMPLE = join(TARGET, 'debug/symple');
/** Small enough for a debug build on two busy cores. */
const SMALL = ['--size', '320x180', '--fps', '20', '--log', process.env.HEAL_LOG ?? 'info'];
/** No viewer minds a gap shorter than this. */
const STILL = 500; // ms
const CALM = 3000; // ms of steady frames, after which a fault counts as over

/** A viewer's page that shows video from a camera, which has its own server or, with `server`, uses one elsewhere. */
export async function world(s, { server = false, rtsp = false, camera: settings = [] } = {}) {
  const street = new Street(s);
  const w = { s, street };
  const source = rtsp ? `rtsp://127.0.0.1:${RTSP}/av` : 'test';
  w.film = async () => (w.rtsp = await s.program(...street.at('camera', '/usr/bin/python3', 'tests/rtsp_server.py', RTSP), { ready: /PORT/ }));
  w.serve = async () => (w.server = await s.program(...street.at('server', SYMPLE, 'serve', '--listen', SERVER, '--port', PORT), { ready: /^listening|https?:/ }));
  const own = server ? ['--connect', `ws://${SERVER}:${PORT}`] : ['--listen', CAMERA, '--port', PORT];
  w.start = async () => (w.camera = await s.program(...street.at('camera', SYMPLE, 'camera', '--source', source, ...own, ...SMALL, ...settings), { ready: /^online/ }));
  w.keys = () => w.page.evaluate('witness.keys()');
  if (server) await w.serve();
  if (rtsp) await w.film();
  await w.start();
  w.browser = await s.chromium({ executablePath: street.browser() });
  await w.browser.context.addInitScript(WITNESS);
  w.page = await watch(w.browser, `http://${server ? SERVER : CAMERA}:${PORT}/`);
  await calm(w, Date.now());
  return w;
}

const since = (w, at) => w.page.evaluate(`witness.since(${at})`);
const call = (w) => w.page.evaluate('symple.calls.list().map(({ id }) => id).join()');

/** Waits until frames have arrived steadily for a while. */
export const calm = (w, from, within = 60_000) => until('frames come again', async () => {
  const { frames } = await since(w, from);
  const now = Date.now();
  const recent = frames.filter((at) => at > now - CALM);
  const steady = recent.length > 0 && recent[0] < now - CALM + STILL && now - recent.at(-1) < STILL && recent.every((at, i) => i === 0 || at - recent[i - 1] < STILL);
  return steady || Promise.reject(new Error(`${frames.length} frames since ${now - from} ms`));
}, { within, every: 250 });

/**
 * Causes a fault, and returns what the viewer saw of it. `act` resolves when everything works again; it may resolve
 * to the time at which that was.
 */
export async function suffer(w, act, { within } = {}) {
  const before = { call: await call(w), made: (await since(w, Infinity)).made };
  const broken = Date.now();
  const trace = traced(w, broken);
  const { last } = await since(w, broken);
  const mended = (await act(w)) ?? Date.now();
  await calm(w, mended, within);
  const seen = await since(w, broken);
  await trace();
  const stops = gaps([last, ...seen.frames]).filter(({ from, to }) => to - from >= STILL && to > broken);
  const stop = stops.at(-1);
  const after = await call(w);
  return {
    broken, mended, seen, stops,
    /** ms from the end of the fault to the first frame after the last gap. */
    back: stop ? Math.max(0, stop.to - mended) : 0,
    /** The longest time without a frame, in ms. */
    longest: Math.max(0, ...gaps([last, ...seen.frames]).map(({ from, to }) => to - from)),
    call: after === before.call ? 'the same' : 'another',
    made: seen.made - before.made,
    said: seen.said.map(({ at, text, state, line }) => ({ after: at - broken, text, state, line })),
  };
}

/** If HEAL_TRACE is set, prints what the programs and the page's connections did, with the ms since the fault. */
function traced(w, broken) {
  if (!process.env.HEAL_TRACE) return () => {};
  let [seen, lines] = [w.camera.lines.length, []];
  const timer = setInterval(() => {
    lines.push(...w.camera.lines.slice(seen).map((line) => ({ at: Date.now(), what: `camera: ${line}` })));
    seen = w.camera.lines.length;
  }, 5);
  return async () => {
    clearInterval(timer);
    const { paths, said } = await since(w, broken);
    const { frames } = await since(w, broken);
    const still = gaps(frames).filter(({ from, to }) => to - from >= 200).map(({ from, to }) => ({ at: from, what: `no frame for ${to - from} ms` }));
    const all = [...lines, ...paths, ...still, ...said.map(({ at, text, line }) => ({ at, what: `page: ${text}, ${line}` }))];
    for (const { at, what } of all.sort((a, b) => a.at - b.at)) w.s.note(`${at - broken} ms: ${what}`);
  };
}

const gaps = (times) => times.slice(1).map((to, i) => ({ from: times[i], to }));

/** The texts that the page showed, with the seconds since the fault; a repeated text appears once. */
export const shown = ({ said }) => said.filter(({ text }, i) => text !== said[i - 1]?.text)
  .map(({ after, text }) => `${seconds(after)} s: ${text}`).join('; ') || 'the picture';

export const seconds = (ms) => (ms / 1000).toFixed(1);

export { pause, assert };
