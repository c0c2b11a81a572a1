// All sequence numbers are used up while a stack receives, so SRTP's rollover counter goes up (RFC 3711, 3.3.1): what it
// opens then was sealed with it.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { scenario } from '../browser/harness.mjs';
import { calls, lone } from './cases.mjs';
import { STACKS } from './stacks.mjs';
import { Viewer } from './viewer.mjs';

const ALL = 65_536;
const AT_ONCE = 500; // fits the buffer of a socket
const AFTER = 2000; // packets with the next rollover counter

for (const name of ['aiortc', 'Chromium']) {
  const stack = STACKS.find((one) => one.name === name);
  const needs = [() => lone() || stack.needs()];
  scenario(`${name} opens what comes after all sequence numbers were used`, { needs, timeout: 300_000 }, async (s) => {
    const camera = (owner, port) => owner.example('rolling', { env: { LISTEN: process.env.INTEROP_HOST, PORT: String(port) } });
    const all = await calls(s, stack, { camera });
    const { viewer } = all;
    const seen = () => viewer.counts.audio.packets;
    await viewer.frames(10, { medium: 'audio' });
    const first = seen();
    let [sent, rolled] = [0, undefined];
    // A stack that does not count rollovers gets more packets than there are numbers.
    while (sent < (rolled ?? ALL) + AFTER) {
      const before = seen();
      all.camera.tell(`speak ${AT_ONCE}`);
      sent += AT_ONCE;
      // Nine of ten, since a busy machine drops some.
      await viewer.wait('most of the packets', () => seen() >= before + AT_ONCE * 0.9, { within: 30_000 });
      if (viewer.counts.audio.rollovers) rolled ??= sent;
    }
    const got = seen() - first;
    assert.ok(got >= sent * 0.9, `${got} of ${sent} packets were opened`);
    // Video waits for a while, since so much audio is more than the network is known to carry.
    await viewer.frames(50, { medium: 'audio' });
    assert.equal(viewer.counts.audio.errors, 0, 'all audio decodes');
    s.note(`${got} packets of audio, ${sent} of them at once, ${viewer.counts.audio.lost} lost; ${rolled ?? 'unknown'} before the numbers began anew`);
  });
  after(() => Viewer.end(name));
}
