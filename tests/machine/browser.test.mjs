// A browser on this machine watches the camera of an emulated ARM board through QEMU's user network: a router that
// forwards one port, for TCP and UDP, and whose address is the only way to the board.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { found, freePort, ROOT, scenario, until } from '../browser/harness.mjs';
import { watch, words } from '../browser/page.mjs';

const PATIENCE = 240; // s: 15 to boot, and an encoder on an emulated processor
const SLOW = { within: 60_000 };
const SYMPLE = join(ROOT, 'target/board/generic-arm64/symple');

const needs = ['chromium', 'qemu'];

scenario('Chromium plays the camera of an emulated board behind a port forward', { needs, timeout: PATIENCE * 1000 }, async (s) => {
  const board = await start(s);
  const page = await watch(await s.chromium(), `${board.url}#token=secret`, SLOW);
  s.note(`first picture ${page.first} ms after the page's start`);

  await plays(s, page);
  const used = await page.probe('remoteCandidate');
  assert.deepEqual([used.address, used.port, used.protocol], ['127.0.0.1', board.port, 'udp'], JSON.stringify(used));

  const call = await page.evaluate('symple.calls.list().map(({ id }) => id).join()');
  board.tell('unbind');
  await board.says(/^vivid: unbind/);
  const unplugged = performance.now();
  const said = await words(page, /has no picture at the moment.*not plugged in/, SLOW);
  s.note(`the page, ${Math.round(performance.now() - unplugged)} ms after the camera was unplugged: ${said}`);
  assert.equal(await page.probe('attribute', '#stage', 'data-state'), 'stalled', 'the last frame stays, dimmed');
  s.note(`the board: ${await board.says(/^source: .*/)}`);
  // The camera probes the path every few seconds, with packets without video.
  const state = () => page.probe('attribute', '#stage', 'data-state');
  const mind = until('another state', async () => (await state()) !== 'stalled', { within: 8000 }).then(state, () => 'stalled');
  assert.equal(await mind, 'stalled', 'it says so until a picture comes');
  board.tell('bind');
  await board.says(/^vivid: bind/);
  const plugged = performance.now();
  await until('it plays again', async () => (await state()) === 'playing', SLOW);
  s.note(`the picture is back ${Math.round(performance.now() - plugged)} ms after the camera was plugged in; an emulated processor`);
  assert.equal(await page.evaluate('symple.calls.list().map(({ id }) => id).join()'), call, 'in the same call');
  await plays(s, page);

  board.tell('end');
  assert.equal(await board.machine.ended, 'exit 0', 'told to end, it ends well');
});

/** Boots the board, whose camera the page may ask for when this is done. */
async function start(s) {
  if (!existsSync(SYMPLE)) throw new Error(`No ${SYMPLE}: run 'boards/build generic-arm64' first`);
  const port = await freePort();
  const share = join(s.dir, 'share');
  mkdirSync(share);
  copyFileSync(SYMPLE, join(share, 'symple'));
  const settings = {
    source: '/dev/video0', size: '320x180', fps: 10, listen: 'all', port, token: 'secret', advertise: `127.0.0.1:${port}`,
  };
  writeFileSync(join(share, 'camera.toml'),
    Object.entries(settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`).join(''), { mode: 0o600 });
  const began = performance.now();
  const machine = await s.program('tests/machine/run', [], { env: { FORWARD: String(port), SHARE: share, PATIENCE: String(PATIENCE) } });
  machine.child.stdin.end(readFileSync(new URL('browser.sh', import.meta.url)));

  const output = () => (existsSync(join(share, 'output')) ? readFileSync(join(share, 'output'), 'utf8').split('\n').filter(Boolean) : []);
  s.tells('the board', output);
  const alive = () => {
    if (machine.end) throw Object.assign(new Error(`the machine ended (${machine.end})`), { fatal: true });
  };
  const url = `http://127.0.0.1:${port}/`;
  const answers = async () => {
    alive();
    return (await fetch(url, { signal: AbortSignal.timeout(5000) })).status === 200;
  };
  await until("the board's page answers", answers, { within: 120_000, every: 500 });
  s.note(`the board's page answers after ${Math.round((performance.now() - began) / 1000)} s`);
  return {
    machine, port, url,
    /** Grants a wish of browser.sh. */
    tell: (wish) => writeFileSync(join(share, wish), ''),
    /** The first match in what the board says. */
    says: (pattern) => until(`the board says ${pattern}`, () => {
      alive();
      return output().map((line) => line.match(pattern)?.[0]).find(Boolean);
    }, SLOW),
  };
}

/** That pictures of the right size are decoded, and differ, while the time goes on. */
async function plays(s, page) {
  const { decoded } = (await page.probe('received')).video;
  const time = await page.evaluate("document.querySelector('#video').currentTime");
  const seen = await page.probe('different', '#video', 10);
  assert.ok(seen.pictures > 5 && seen.colours > 10, `different pictures: ${JSON.stringify(seen)}`);
  assert.deepEqual([seen.width, seen.height], [320, 180]);
  const { video } = await page.probe('received');
  const later = await page.evaluate("document.querySelector('#video').currentTime");
  assert.ok(video.decoded >= decoded + 5, `decoded ${decoded}, then ${video.decoded}`);
  assert.ok(later > time, `at ${time} s, then ${later} s`);
  s.note(`${video.codec} ${seen.width}x${seen.height}, ${video.decoded - decoded} pictures in ${(later - time).toFixed(1)} s`);
}
