// Where the pictures come from: a file, and a real RTSP server.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { scenario, until } from './harness.mjs';
import { watch } from './page.mjs';

const SECONDS = 4;
const TONE = 523; // Hz, that of no other source here

scenario('a file plays with its sound, again and again', { needs: ['chromium', 'gstreamer'] }, async (s) => {
  const file = join(s.dir, 'bounce.mp4');
  const made = await s.program('gst-launch-1.0', ['-q', '-e',
    'videotestsrc', 'pattern=ball', `num-buffers=${SECONDS * 25}`, '!', 'video/x-raw,width=640,height=360,framerate=25/1', '!',
    'x264enc', 'speed-preset=ultrafast', 'key-int-max=25', '!', 'h264parse', '!', 'mp4mux', 'name=mux', '!', 'filesink', `location=${file}`,
    'audiotestsrc', `freq=${TONE}`, `num-buffers=${SECONDS * 50}`, 'samplesperbuffer=960', '!', 'audio/x-raw,rate=48000,channels=2', '!',
    'opusenc', '!', 'mux.']);
  assert.equal(await made.ended, 'exit 0', made.lines.join('\n'));

  const camera = await s.camera({ SOURCE: file });
  const page = await watch(await s.chromium(), camera.url);
  s.note(`first picture ${page.first} ms after the page's start`);
  await plays(s, page);
  // Past its end it goes on from its start.
  const { decoded } = (await page.probe('received')).video;
  await until('the file has played twice over', async () =>
    (await page.probe('received')).video.decoded > decoded + 2 * SECONDS * 20);
  await plays(s, page);
});

scenario('an RTSP source plays with its sound', { needs: ['chromium', 'rtsp'] }, async (s) => {
  const server = await s.program('/usr/bin/python3', ['tests/rtsp_server.py'], { ready: /rtsp:\/\/\S+/ });
  const [address] = await server.says(/rtsp:\/\/\S+/);
  const camera = await s.camera({ SOURCE: address });
  const page = await watch(await s.chromium(), camera.url);
  s.note(`first picture ${page.first} ms after the page's start`);
  const seen = await page.probe('different', '#video', 20);
  assert.ok(seen.pictures > 10, `different pictures: ${JSON.stringify(seen)}`);
  const heard = await page.sound();
  s.note(`${seen.width}x${seen.height}, tone ${heard.hertz} Hz at level ${heard.level.toFixed(3)}`);
});

async function plays(s, page) {
  const seen = await page.probe('different', '#video', 20);
  assert.ok(seen.pictures > 10, `different pictures: ${JSON.stringify(seen)}`);
  const heard = await until(`a tone of ${TONE} Hz`, async () => {
    const heard = await page.sound();
    return Math.abs(heard.hertz - TONE) < 25 ? heard : Promise.reject(new Error(JSON.stringify(heard)));
  });
  s.note(`${seen.width}x${seen.height}, tone ${heard.hertz} Hz at level ${heard.level.toFixed(3)}`);
}
