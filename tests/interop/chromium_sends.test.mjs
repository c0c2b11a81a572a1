// Chromium sends its camera and its microphone to us, and what arrives is decoded.

import assert from 'node:assert/strict';
import { scenario, until } from '../browser/harness.mjs';
import { lone } from './cases.mjs';
import { decoders, drift, Recorder, sendingPage } from './sending.mjs';

const needs = [() => lone(), 'chromium', decoders];

for (const codec of ['VP8', 'H264']) {
  scenario(`Chromium sends ${codec} and Opus, and all of it decodes`, { needs, timeout: 90_000 }, async (s) => {
    const recorder = await Recorder.start(s);
    const page = await sendingPage(s, await s.chromium({ devices: true }), recorder.between, 'visitor', { codecs: [codec] });
    recorder.watch('visitor');
    await recorder.frames(codec, 200);
    const stats = await page.evaluate('sender.stats()');
    s.note(JSON.stringify(stats));
    await recorder.hangUp();
    s.note(JSON.stringify(recorder.counts));
    s.note(JSON.stringify(recorder.played()));
    s.note(JSON.stringify(drift(recorder.index())));
  });
}
