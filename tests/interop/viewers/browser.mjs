// A browser: the page has the peer connection, and this process the signalling.
//
//   node browser.mjs chromium|firefox

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program, ROOT } from '../../browser/harness.mjs';
import { standard } from './standard.mjs';
import { run } from './symple.mjs';

const LOOK = 50; // ms, how often the page is polled

const name = process.argv[2];
const dir = mkdtempSync(join(tmpdir(), 'symple-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));

/** The part of a scenario that the browsers of the browser tests need. */
const scenario = {
  dir,
  async program(command, args, { env, ready, within }) {
    const program = new Program(command, args, { env, cwd: ROOT });
    await program.says(ready, { within });
    return program;
  },
};

async function open() {
  const { Chromium, Firefox } = await import(`../../browser/${name}.mjs`);
  const browser = await (Chromium ?? Firefox).start(scenario);
  const page = await browser.page();
  await page.evaluate(`(() => {
    window.standard = ${standard};
    window.connect = (wishes) => {
      const told = [];
      const tell = (what) => (value) => told.push([what, value]);
      window.peer = standard(RTCPeerConnection, { candidate: tell('candidate'), state: tell('state') }, new Set(wishes));
      window.look = () => ({ told: told.splice(0), counts: peer.counts() });
    };
  })()`);
  return page;
}

const page = await open();

run((events, wishes) => {
  let counts = { video: { frames: 0 }, audio: { frames: 0 } };
  let over = false;
  const connected = page.evaluate(`connect(${JSON.stringify([...wishes])})`);
  const ask = async (method, ...args) => {
    await connected;
    return page.evaluate(`peer.${method}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  };
  (async () => {
    await connected;
    while (!over) {
      const { told, ...more } = await page.evaluate('look()');
      counts = more.counts;
      for (const [what, value] of told) events[what](value);
      await new Promise((next) => setTimeout(next, LOOK));
    }
  })().catch((error) => over || console.error(error));

  return {
    counts: () => counts,
    offer: () => ask('offer'),
    answer: (sdp) => ask('answer', sdp),
    accept: (sdp) => ask('accept', sdp),
    candidate: (init) => ask('candidate', init),
    change: (command) => ask('change', command),
    close() {
      over = true;
      return ask('close');
    },
  };
});
