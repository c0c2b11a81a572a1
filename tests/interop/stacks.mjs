// The WebRTC stacks that watch the camera, what each needs on the machine, and what it cannot do.

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
    cannot: { main: 'aiortc offers profiles of its own', restart: 'aiortc cannot restart ICE', stop: 'aiortc cannot stop a transceiver and negotiate that' },
  },
  {
    name: 'werift',
    command: ['node', here('viewers/werift.mjs')],
    needs: () => npm('werift') || npm('ws') || decoder(),
    codec: 'H264',
    cannot: { stop: 'werift 0.24 offers a stopped transceiver as before', bye: 'werift reads no BYE' },
  },
  {
    name: 'libdatachannel',
    command: ['node', here('viewers/libdatachannel.mjs')],
    needs: () => npm('node-datachannel') || npm('ws') || decoder(),
    codec: 'H264',
    cannot: {
      direct: 'libdatachannel cannot change a direction',
      stop: 'libdatachannel cannot stop a transceiver',
      restart: 'libdatachannel cannot restart ICE',
      repair: 'libdatachannel does not ask for lost packets',
    },
  },
  {
    name: 'libwebrtc',
    command: ['node', here('viewers/wrtc.mjs')],
    needs: () => npm('@roamhq/wrtc') || npm('ws'),
    codec: 'VP8',
    cannot: { main: 'libwebrtc has no H.264 here', overhear: 'libwebrtc shows the reports of audio alone' },
  },
  {
    name: 'webrtcbin',
    command: [VENV, here('viewers/webrtcbin.py')],
    needs: () => python(VENV, `import websockets\n${elements(['webrtcbin', 'nicesrc', 'avdec_h264', 'opusdec'])}`, 'webrtcbin (Debian: gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0)'),
    codec: 'H264',
    cannot: {
      direct: 'webrtcbin 1.22 cannot change a direction',
      restart: 'webrtcbin 1.22 cannot restart ICE',
      stop: 'webrtcbin 1.22 cannot stop a transceiver',
      move: 'webrtcbin checks a path that works no more (RFC 7675)',
    },
  },
  {
    name: 'Janus',
    command: ['node', here('viewers/janus.mjs')],
    needs: () => (existsSync('/usr/bin/janus') ? '' : `Janus is not installed (Debian: janus): ${SETUP}`) || npm('ws') || decoder(),
    codec: 'H264',
    cannot: { call: 'Janus asks for no media' },
  },
  {
    name: 'Chromium',
    command: ['node', here('viewers/browser.mjs'), 'chromium'],
    needs: () => browser('Chromium', 'chromium') || playwright() || npm('ws'),
    codec: 'H264',
    cannot: { main: 'Chromium offers profiles of its own', overhear: 'Chromium shows the reports of audio alone' },
  },
  {
    name: 'Firefox',
    command: ['node', here('viewers/browser.mjs'), 'firefox'],
    needs: () => browser('Firefox', 'firefox-esr', 'firefox') || npm('ws'),
    codec: 'VP8',
    cannot: { main: 'Firefox offers profiles of its own', overhear: 'Firefox shows no names' },
  },
];
