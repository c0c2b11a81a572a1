// A track that stays muted though its media comes, as it is found by what a browser measures.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StuckTracks } from '../../src/web/stuck.js';

/** Which lane is found at each measurement: of a video track, whether it is muted, and its decoded frames. */
function found(measured, currentDirection = 'sendrecv') {
  const track = { id: 'picture', kind: 'video', muted: false };
  const [lane, stuck] = [{ receiver: { track }, currentDirection }, new StuckTracks()];
  return measured.map(([muted, framesDecoded]) => {
    track.muted = muted;
    return stuck.find([{ type: 'inbound-rtp', trackIdentifier: 'picture', framesDecoded }], [lane]) === lane;
  });
}

test('a track is stuck if frames are decoded while it is muted, twice in a row', () => {
  assert.deepEqual(found([[true, 10], [true, 30], [true, 50], [true, 70]]), [false, false, true, true]);
  assert.deepEqual(found([[true, 10], [true, 30], [false, 50], [true, 70], [true, 70], [true, 90]]), Array(6).fill(false));
});

test('a track is not stuck if nothing comes, or nothing should', () => {
  assert.deepEqual(found([[true, 10], [true, 10], [true, 10], [true, 10]]), Array(4).fill(false));
  assert.deepEqual(found([[true, 10], [true, 30], [true, 50], [true, 70]], 'sendonly'), Array(4).fill(false));
  assert.deepEqual(found([[false, 10], [false, 30], [false, 50], [false, 70]]), Array(4).fill(false));
  assert.equal(new StuckTracks().find([], [{ receiver: { track: { id: 'none', kind: 'audio', muted: true } }, currentDirection: 'recvonly' }]), undefined);
});
