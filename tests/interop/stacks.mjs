// The WebRTC stacks that watch the camera: what each requires on the machine, and what it does not support.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { found } from '../browser/harness.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const require = createRequire(import.meta.url);
const VENV = here('.venv/bin/python');
const SETUP = 'run .ci/setup interop';

function npm(name) {
  try {
    require.resolve(name);
    return '';
  } catch {
    return `the npm package ${name} is not installed: ${SETUP}`;
  }
}

function python(program, code, what) {
  if (!existsSync(program)) return `${what} is not installed: ${SETUP}`;
  const asked = spawnSync(program, ['-c', code], { encoding: 'utf8' });
  return asked.status === 0 ? '' : `${what} does not load (${asked.stderr.trim().split('\n').pop()}): ${SETUP}`;
}

const browser = (name, ...programs) => (programs.some(found) ? '' : `${name} is not installed: run .ci/setup test`);
const playwright = () => (existsSync(here('../browser/node_modules/playwright-core')) ? '' : 'playwright-core is not installed: run .ci/setup test');

const elements = (names) => `
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstWebRTC", "1.0"); gi.require_version("GstSdp", "1.0")
from gi.repository import Gst, GstWebRTC, GstSdp
Gst.init(None)
missing = [name for name in ${JSON.stringify(names)} if not Gst.ElementFactory.find(name)]
assert not missing, "no " + ", ".join(missing)`;

const decoder = () => python('/usr/bin/python3', elements(['rtpstreamdepay', 'rtpjitterbuffer', 'avdec_h264', 'opusdec']), 'the decoder (Debian: python3-gi gstreamer1.0-libav)');

/** `needs` says what is missing, or nothing; `cannot` says why a stack has no part in a case. */
export const STACKS = [
  {
    name: 'aiortc',
    command: [VENV, here('viewers/aiortc_viewer.py')],
    needs: () => python(VENV, 'import aiortc, websockets', 'aiortc'),
    codec: 'H264',
    cannot: { main: 'its profiles are its own', restart: 'its API has no ICE restart', stop: 'its API has no negotiated stop' },
  },
  {
    name: 'werift',
    command: ['node', here('viewers/werift.mjs')],
    needs: () => npm('werift') || npm('ws') || decoder(),
    codec: 'H264',
    cannot: { stop: 'its API has no negotiated stop', bye: 'its API shows no BYE' },
  },
  {
    name: 'libdatachannel',
    command: ['node', here('viewers/libdatachannel.mjs')],
    needs: () => npm('node-datachannel') || npm('ws') || decoder(),
    codec: 'H264',
    cannot: {
      direct: 'its API has no change of direction',
      stop: 'its API has no negotiated stop',
      restart: 'its API has no ICE restart',
      repair: 'it asks for no packet again',
    },
  },
  {
    name: 'libwebrtc',
    command: ['node', here('viewers/wrtc.mjs')],
    needs: () => npm('@roamhq/wrtc') || npm('ws'),
    codec: 'VP8',
    cannot: { main: 'this build has no H.264', overhear: 'its API shows reports of audio alone' },
  },
  {
    name: 'webrtcbin',
    command: [VENV, here('viewers/webrtcbin.py')],
    needs: () => python(VENV, `import websockets\n${elements(['webrtcbin', 'nicesrc', 'avdec_h264', 'opusdec'])}`, 'webrtcbin (Debian: gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0)'),
    codec: 'H264',
    cannot: {
      direct: 'its API has no change of direction',
      restart: 'its API has no ICE restart',
      stop: 'its API has no negotiated stop',
      move: 'it checks no path that is connected (RFC 7675)',
    },
  },
  {
    name: 'Janus',
    command: ['node', here('viewers/janus.mjs')],
    needs: () => (existsSync('/usr/bin/janus') ? '' : `Janus is not installed (Debian: janus): ${SETUP}`) || npm('ws') || decoder(),
    codec: 'H264',
    cannot: { call: 'it makes no calls' },
  },
  {
    name: 'Chromium',
    command: ['node', here('viewers/browser.mjs'), 'chromium'],
    needs: () => browser('Chromium', 'chromium') || playwright() || npm('ws'),
    codec: 'H264',
    cannot: { main: 'its profiles are its own', overhear: 'its API shows reports of audio alone' },
  },
  {
    name: 'Firefox',
    command: ['node', here('viewers/browser.mjs'), 'firefox'],
    needs: () => browser('Firefox', 'firefox-esr', 'firefox') || npm('ws'),
    codec: 'VP8',
    cannot: { main: 'its profiles are its own', overhear: 'its API shows no names' },
  },
];
