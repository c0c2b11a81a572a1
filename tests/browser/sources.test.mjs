// The sources of video: a file, and a real RTSP server.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { freePort, scenario, until } from './harness.mjs';
import { online, watch } from './page.mjs';

const SECONDS = 4;
const TONE = 523; // Hz, different from all other sources here

scenario('a file plays with its sound in a loop', { needs: ['chromium', 'gstreamer'] }, async (s) => {
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
  // After its end it continues from its start.
  const { decoded } = (await page.probe('received')).video;
  await until('the file has played twice over', async () =>
    (await page.probe('received')).video.decoded > decoded + 2 * SECONDS * 20);
  await plays(s, page);
});

scenario('an RTSP source plays with its sound', { needs: ['chromium', 'rtsp'] }, async (s) => {
  const server = await s.program('/usr/bin/python3', ['tests/rtsp_server.py'], { ready: /PORT/ });
  const [, port] = await server.says(/PORT (\d+)/);
  // The name and the password of a network camera are in its address.
  const camera = await s.camera({ SOURCE: `rtsp://me:p%40ss@127.0.0.1:${port}/secret` });
  const page = await watch(await s.chromium(), camera.url);
  s.note(`first picture ${page.first} ms after the page's start`);
  const seen = await page.probe('different', '#video', 20);
  assert.ok(seen.pictures > 10, `different pictures: ${JSON.stringify(seen)}`);
  const heard = await page.sound();
  s.note(`${seen.width}x${seen.height}, tone ${heard.hertz} Hz at level ${heard.level.toFixed(3)}`);
  for (const line of camera.process.lines) assert.doesNotMatch(line, /p%40ss|p@ss/, 'a password in the log');
});

scenario('an unreachable address is an event with a reason, and the page stays', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ SOURCE: `rtsp://127.0.0.1:${await freePort()}/none` });
  const page = await (await s.chromium()).page(camera.url);
  await online(page);
  const [said] = await camera.process.says(/^source: .+/);
  s.note(said);
  await until('words on the page', async () => {
    const words = `${await page.text('#state')} ${await page.text('#advice')}`;
    assert.match(words, /has no picture at the moment The network camera cannot be reached\. Trying again\./);
    return true;
  });
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
