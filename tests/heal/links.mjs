// Faults of the network between viewer and camera, and a viewer's machine that goes to sleep.

import { assert, pause } from './world.mjs';

const gone = (seconds, cut, mend) => async ({ street }) => {
  street[cut]();
  await pause(seconds * 1000);
  street[mend]();
};

/** The call continues. */
const stays = (found) => assert.equal(found.call, 'the same');

/** The network loses packets for a while. */
const losing = (share) => async (w) => {
  w.before = await w.keys();
  w.street.loses(share);
  await pause(LOSING);
  w.after = await w.keys();
  w.street.mends();
};
const LOSING = 20_000;
/** The maximum number of key frames decoded in that time; without faults there is one every 10 s. */
const KEY_FRAMES = 8;
const keys = ({ before, after }) => after.decoded - before.decoded;
const words = (w) => `${w.after.asked - w.before.asked} key frames requested, ${keys(w)} decoded`;

export const LINKS = [
  { fault: "the viewer's address changes", aim: 3, act: ({ street }) => void street.readdresses('viewer') },
  { fault: "the viewer's network changes", aim: 3, act: ({ street }) => void street.switches() },
  { fault: "the camera's address changes", aim: 3, options: { server: true }, check: stays, act: ({ street }) => void street.readdresses('camera') },
  {
    fault: "the camera's second link takes over when the first goes down", aim: 3, options: { server: true }, check: stays,
    async act({ street }) {
      street.joins();
      await pause(5000);
      street.parts();
    },
  },
  {
    fault: "the camera's link changes, and with it the address of its own server", aim: 3, check: stays,
    act: ({ street }) => { street.joins(); street.parts(); },
  },
  { fault: 'nothing passes for 10 s', aim: 3, act: gone(10, 'cuts', 'mends') },
  { fault: 'nothing passes for 60 s', aim: 3, act: gone(60, 'cuts', 'mends') },
  { fault: "the viewer's cable is out for 10 s", aim: 3, act: gone(10, 'unplugs', 'plugs') },
  { fault: "the viewer's cable is out for 60 s", aim: 3, act: gone(60, 'unplugs', 'plugs') },
  {
    fault: "the viewer's laptop sleeps for 5 minutes", aim: 3, timeout: 500_000,
    async act({ browser }) {
      const wake = browser.sleep();
      await pause(300_000);
      wake();
    },
  },
  {
    fault: 'a network that loses 5 % both ways', act: losing(0.05),
    check(found, w) {
      w.s.note(`${found.longest} ms without a frame at most, ${words(w)}`);
      assert.ok(found.longest <= 500, `no frame for ${found.longest} ms`);
      assert.ok(keys(w) <= KEY_FRAMES, words(w));
    },
  },
  {
    fault: 'a network that loses 20 % both ways', act: losing(0.2),
    check(found, w) {
      const rate = found.seen.frames.filter((at) => at < found.mended).length / (LOSING / 1000);
      w.s.note(`${rate} frames a second, ${found.longest} ms without a frame at most, ${words(w)}`);
      assert.ok(rate >= 2, `${rate} frames a second`);
    },
  },
];
