// aiortc sends to us, and each frame comes as its encoder made it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { scenario, until } from '../browser/harness.mjs';
import { lone } from './cases.mjs';
import { decoders, pace, plays, Recorder } from './sending.mjs';
import { STACKS } from './stacks.mjs';
import { Viewer } from './viewer.mjs';

const aiortc = STACKS.find(({ name }) => name === 'aiortc');
const needs = [lone, () => aiortc.needs(), decoders];
const [python] = aiortc.command;
const script = fileURLToPath(new URL('viewers/aiortc_sender.py', import.meta.url));

/** What was recorded of a codec, as positions among what was sent; each frame was, after the one before. */
function positions(recorder, codec, sent) {
  let at = -1;
  return recorder.data(codec).map((data) => {
    const hash = createHash('sha1').update(data).digest('hex');
    at = sent.indexOf(hash, at + 1);
    assert.ok(at >= 0, `a frame of ${codec}, ${data.length} bytes, was sent`);
    return at;
  });
}

for (const codec of ['H264', 'VP8']) {
  for (const loss of [0, 0.05]) {
    const how = loss ? ` while ${loss * 100} % of packets are lost` : '';
    scenario(`aiortc sends ${codec} and Opus${how}, and each frame is what was encoded`, { needs, timeout: 120_000 }, async (s) => {
      const recorder = await Recorder.start(s, { relay: true });
      const [name, file] = [`aiortc that sends ${codec} at ${loss}`, `${s.dir}/sent`];
      s.after(() => Viewer.end(name));
      const viewer = await Viewer.start(s, { name, command: [python, script, codec, file] }, recorder.between.url);
      await recorder.calls('visitor');
      await recorder.frames(codec, 10);
      Object.assign(recorder.relay, { lossBack: loss, loss });
      await recorder.frames(codec, 250, { within: 60_000 });
      const told = await viewer.wait('reports of ours', () => {
        const { told: { video, audio } = {} } = viewer.counts;
        return video && audio && { video, audio };
      });
      const { nacks, requests } = recorder.counts.stats;
      Object.assign(recorder.relay, { lossBack: 0, loss: 0 });
      await recorder.frames(codec, 30, { within: 60_000 });
      const { keys } = recorder.counts.codecs[codec];
      recorder.program.tell('key');
      await until('a key frame, because one was asked for', () => recorder.counts.codecs[codec].keys > keys);
      await recorder.hangUp();
      plays(recorder, codec, [320, 180]);
      const sent = readFileSync(file, 'utf8').trim().split('\n').map((line) => line.split(' '));
      for (const one of [codec, 'OPUS']) {
        const at = positions(recorder, one, sent.filter(([name]) => name === one).map(([, , hash]) => hash));
        const missing = at.at(-1) - at[0] + 1 - at.length;
        s.note(`${at.length} frames of ${one}, ${missing} between them missing, ${JSON.stringify(pace(recorder.index(), one))}`);
        if (!loss) assert.equal(missing, 0, `each frame of ${one} came`);
        else assert.ok(missing <= at.length * (one === 'OPUS' ? 0.12 : 0.4), `${missing} frames of ${one} are missing`);
      }
      s.note(`${nacks} NACKs, ${requests} PLIs; told ${JSON.stringify(told)}`);
      if (loss) assert.ok(nacks > 0 && told.video.lost > 0, 'it knows of the loss');
      else assert.equal(told.video.lost + told.audio.lost, 0);
    });
  }
}

for (const loss of [0, 0.05]) {
  const how = loss ? ` while ${loss * 100} % of packets are lost` : '';
  scenario(`aiortc and we open data channels in a call with media${how}`, { needs, timeout: 120_000 }, async (s) => {
    const recorder = await Recorder.start(s, { relay: true });
    const name = `aiortc with channels at ${loss}`;
    s.after(() => Viewer.end(name));
    const viewer = await Viewer.start(s, { name, command: [python, script, 'VP8', `${s.dir}/sent`] }, recorder.between.url);
    await recorder.calls('visitor');
    await recorder.frames('VP8', 10);
    Object.assign(recorder.relay, { lossBack: loss, loss });
    // The call began without channels: the first one is offered, the others are in it.
    const talked = async (label, ...more) => {
      recorder.program.tell(['talk', label, ...more].join(' '));
      return (await recorder.sees('talked', { label }, { within: 60_000 })).told;
    };
    assert.deepEqual(await talked('file'), { sent: 111, came: 111, wrong: 0, bytes: 578_246 });
    const { sent, came, wrong } = await talked('position', 'lossy');
    s.note(`${came} of ${sent} messages came there and back`);
    assert.equal(wrong, 0);
    if (loss) assert.ok(came < sent && came > sent / 3, 'what was lost was not sent again');
    assert.deepEqual(viewer.saw('echoes', { label: 'position' }), { saw: 'echoes', label: 'position', protocol: '', ordered: false, retransmits: 0 });
    await viewer.sees('echoed', { label: 'file' });

    viewer.tell('talk theirs');
    assert.deepEqual(await viewer.sees('talked', undefined, { within: 60_000 }), { saw: 'talked', label: 'theirs', came: 108 });
    assert.deepEqual(await recorder.sees('channel', { label: 'theirs' }), { saw: 'channel', label: 'theirs', protocol: 'echo/1' });
    await recorder.sees('channel closed', { label: 'theirs' });
    await recorder.frames('VP8', 30, { within: 60_000 });
    await recorder.hangUp();
  });
}
