// A link with little bandwidth: the kernel's token bucket between a camera and a browser, each in a network of its own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TARGET, found, scenario, until } from './harness.mjs';
import { playing, watch } from './page.mjs';

const CAMERA = '192.0.2.1'; // TEST-NET-1 (RFC 5737)
const VIEWER = '192.0.2.2';
const KBIT = 50; // less than the small rendition takes, which would play

scenario('the page shows how little the network carries', { needs: ['chromium', shaping] }, async (s) => {
  const { camera, viewer } = street(s);
  const port = '4500';
  const inside = (of) => ['netns', 'exec', of];
  const path = join(TARGET, 'debug/symple');
  // Video that needs more than the link carries, so that it stalls repeatedly.
  await s.program('ip', [...inside(camera), path, 'camera', '--listen', CAMERA, '--port', port, '--min-bitrate', '600', '--no-audio', '--no-adapt'],
    { ready: /https?:/ });
  // The camera is there before its link has a carrier, as on a board that has just started.
  run('ip', ['-n', viewer, 'link', 'set', 'eth0', 'up']);
  const isUp = (name) => /state UP/.test(spawnSync('ip', ['-n', name, 'link', 'show', 'eth0'], { encoding: 'utf8' }).stdout);
  await until('both ends have a carrier', () => isUp(camera) && isUp(viewer));
  const browser = join(s.dir, 'browser');
  writeFileSync(browser, `#!/bin/sh\nexec ip netns exec ${viewer} ${found('chromium')} "$@"\n`);
  chmodSync(browser, 0o755);
  const page = await watch(await s.chromium({ executablePath: browser }), `http://${CAMERA}:${port}/`);

  // A short queue in the bucket, so that heartbeats arrive in time.
  run('ip', [...inside(camera), 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', `${KBIT}kbit`, 'burst', '4kb', 'limit', '24kb']);
  const number = await until('the page says what the network carries', async () => {
    const said = `${await page.text('#state')} ${await page.text('#advice')}`;
    const [, kbit] = said.match(/^The network is slow Only (\d+) kbit\/s arrive at the moment\./) ?? [];
    // In the second in which the link became slow, more arrives than it carries.
    return kbit <= KBIT * 1.1 ? Number(kbit) : Promise.reject(new Error(said));
  }, { within: 60_000, every: 20 });
  s.note(`a link of ${KBIT} kbit/s: "Only ${number} kbit/s arrive"`);
  assert.ok(number >= KBIT / 3, `${number} kbit/s on a link of ${KBIT}`);

  run('ip', [...inside(camera), 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root']);
  await playing(page, { within: 30_000 });
  await page.moves('#video', 30);
});

/** The reason why no link can be shaped here. */
function shaping() {
  const name = `symple-try-${process.pid}`;
  const made = [['netns', 'add', name], ['netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '1mbit', 'burst', '4kb', 'limit', '8kb']]
    .map((args) => spawnSync('ip', args)).every(({ status }) => status === 0);
  spawnSync('ip', ['netns', 'del', name]);
  return made ? '' : 'no network namespaces with a token bucket can be made here (root and iproute2 are needed)';
}

/** Two networks with a cable between them: the camera's and the viewer's. */
function street(s) {
  const [camera, viewer] = ['camera', 'viewer'].map((part) => `symple-${part}-${process.pid}`);
  for (const name of [camera, viewer]) {
    run('ip', ['netns', 'add', name]);
    s.after(() => run('ip', ['netns', 'del', name]));
  }
  run('ip', ['-n', camera, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', viewer]);
  for (const [name, address] of [[camera, CAMERA], [viewer, VIEWER]]) {
    run('ip', ['-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0']);
    run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    // An IPv6 address that the link gets with its carrier would draw attention to the other one.
    run('ip', ['netns', 'exec', name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6']);
  }
  run('ip', ['-n', camera, 'link', 'set', 'eth0', 'up']);
  return { camera, viewer };
}

function run(command, args) {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}`);
}
