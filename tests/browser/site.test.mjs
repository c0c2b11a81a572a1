// What a page learns from a server by HTTP, and its messages about that.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Site } from '../../src/web/site.js';
import { START } from '../../src/web/watching.js';
import { notice } from '../../src/web/words.js';

const CONFIG = { iceServers: [], room: 'public', auth: false };
const PAGE = { href: 'https://page.example/a/b.html?c#d', origin: 'https://page.example' };
const json = (body, ok = true) => ({ ok, json: async () => body });
const refused = () => Promise.reject(new TypeError('Failed to fetch'));

/** A network: its answers to requests with and without CORS. */
function network(cors, opaque = cors) {
  const asked = [];
  const fetch = async (url, options) => {
    asked.push([url, options]);
    return options.mode === 'no-cors' ? opaque() : cors();
  };
  return { asked, fetch };
}

test('a server is found at the address of its page', () => {
  for (const [url, base, socket] of [
    ['https://camera.example:4500/', 'https://camera.example:4500/', 'wss://camera.example:4500/'],
    ['http://127.0.0.1:4500', 'http://127.0.0.1:4500/', 'ws://127.0.0.1:4500/'],
    ['https://host/cameras/door/index.html?a#token=b', 'https://host/cameras/door/', 'wss://host/cameras/door/'],
    ['door/', 'https://page.example/a/door/', 'wss://page.example/a/door/'],
    ['/', 'https://page.example/', 'wss://page.example/'],
  ]) {
    const site = new Site(url, { page: PAGE, fetch: refused });
    assert.deepEqual([site.base.href, site.socket], [base, socket], url);
  }
});

test('the token is only sent to the configuration, and without one no header requires a preflight', async () => {
  const { asked, fetch } = network(async () => json(CONFIG));
  const site = new Site('https://camera.example/', { page: PAGE, fetch });
  assert.deepEqual(await site.config('s3cret'), CONFIG);
  assert.deepEqual(await site.config(), CONFIG);
  assert.equal(await site.reach(), 'answers');
  assert.deepEqual(asked.map(([url, { headers }]) => [url, headers]), [
    ['https://camera.example/api/config', { Authorization: 'Bearer s3cret' }],
    ['https://camera.example/api/config', undefined],
    ['https://camera.example/api/config', undefined],
  ]);
});

test('the newest JPEG is asked for with the token, and none is no error', async () => {
  const image = { ok: true, blob: async () => 'JPEG' };
  const { asked, fetch } = network(async () => image);
  const site = new Site('https://camera.example/door/', { page: PAGE, fetch });
  assert.equal(await site.still('s3cret', 60), 'JPEG');
  assert.equal(await site.still(), 'JPEG');
  assert.deepEqual(asked.map(([url, { headers }]) => [url, headers]), [
    ['https://camera.example/door/api/snapshot.jpg?age=60', { Authorization: 'Bearer s3cret' }],
    ['https://camera.example/door/api/snapshot.jpg?age=60', undefined],
  ]);
  for (const answer of [async () => ({ ok: false }), refused]) {
    assert.equal(await new Site('https://camera.example/', { page: PAGE, fetch: network(answer).fetch }).still(), null);
  }
});

for (const [what, url, cors, opaque, reach] of [
  ['a proxy without WebSockets', 'https://camera.example/', () => json(CONFIG), refused, 'answers'],
  ['a server that does not take our origin', 'https://camera.example/', refused, () => ({ type: 'opaque' }), 'refuses'],
  ['a server that is gone', 'https://camera.example/', refused, refused, 'gone'],
  ['our own, which began to answer between two questions', 'https://page.example/', refused, () => ({ type: 'opaque' }), 'gone'],
  ['a proxy whose server is gone', 'https://camera.example/', () => json({}, false), () => ({ type: 'opaque' }), 'gone'],
]) {
  test(`why a socket does not open: ${what}`, async () => {
    const { fetch } = network(cors, opaque);
    assert.equal(await new Site(url, { page: PAGE, fetch }).reach(), reach);
  });
}

test('a refused page shows the reason also between two attempts', () => {
  const server = { refuses: 'https://page.example' };
  for (const line of ['waiting', 'connecting']) {
    const { title, more } = notice({ ...START, line }, { server });
    assert.equal(title, 'This page may not show the camera', line);
    assert.match(more, /Add https:\/\/page\.example to the origins/);
  }
  assert.equal(notice({ ...START, line: 'connecting' }, { server: {} }).title, 'Connecting to the server');
  assert.match(notice({ ...START, line: 'waiting' }, { server: {} }).title, /not reachable/);
});
