// Commands by the channel of a call, without a browser: `node --test tests/browser/commands.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import './globals.mjs';
import { Channel, Commands } from '../../src/web/channel.js';

/** A clock that the test advances. */
class Clock {
  #time = 0;
  #timers = new Set();
  after = (ms, run) => {
    const timer = { at: this.#time + ms, run };
    this.#timers.add(timer);
    return timer;
  };
  cancel = (timer) => this.#timers.delete(timer);
  advance(ms) {
    this.#time += ms;
    for (const timer of [...this.#timers]) if (timer.at <= this.#time && this.#timers.delete(timer)) timer.run();
  }
}

/** A data channel that keeps what is sent. */
class Wire {
  readyState = 'open';
  bufferedAmount = 0;
  sent = [];
  send(text) { this.sent.push(JSON.parse(text)); }
  close() {}
  /** Something comes: a frame, or bytes. */
  gets(data) { this.onmessage({ data: data instanceof ArrayBuffer ? data : typeof data === 'string' ? data : JSON.stringify(data) }); }
}

function world() {
  const clock = new Clock();
  const wire = new Wire();
  return { clock, wire, channel: new Channel(wire, { clock }) };
}

const ends = (promise) => promise.then((value) => ({ value }), ({ message }) => ({ message }));

test('a reply is found by its id, and what comes before it is progress', async () => {
  const { wire, channel } = world();
  const progress = [];
  const [one, two] = [channel.command({ node: 'pan', action: 'left' }, { progress: (frame) => progress.push(frame.data) }), channel.command({ node: 'pan' })];
  const [{ id, type, node, action }, { id: other }] = wire.sent;
  assert.deepEqual([type, node, action], ['command', 'pan', 'left']);
  for (const junk of ['garbage', '7', '{"type":"message"}', `{"type":"command","id":"${id}"}`, '{"type":"command","id":"none","status":200}']) wire.gets(junk);
  wire.gets({ type: 'receipt', id, status: 200, delivered: 1 });
  wire.gets({ type: 'command', id: other, status: 403 });
  wire.gets({ type: 'command', id, status: 202, data: 'soon' });
  wire.gets({ type: 'command', id, status: 200, data: 'done' });
  assert.deepEqual([(await one).data, (await two).status, progress], ['done', 403, ['soon']]);
});

test('a command fails without an answer, and with the channel', async () => {
  const { clock, wire, channel } = world();
  const late = ends(channel.command({ node: 'a' }, { timeout: 1000 }));
  clock.advance(1000);
  assert.equal((await late).message, 'No answer in time');
  const all = [ends(channel.command({ node: 'b' })), ends(channel.snapshot())];
  wire.readyState = 'closed';
  wire.onclose();
  for (const one of all) assert.match((await one).message, /closed/);
  assert.match((await ends(channel.command({ node: 'c' }))).message, /not open/);
  const next = world();
  const last = ends(next.channel.command({ node: 'd' }));
  next.channel.close();
  assert.match((await last).message, /ended/);
});

test('a snapshot is put together, and one that is not as announced is refused', async () => {
  const { clock, wire, channel } = world();
  const bytes = (length, byte = 7) => new Uint8Array(length).fill(byte).buffer;
  const take = (data, status = 200) => {
    const taken = ends(channel.snapshot());
    const { id, node, action } = wire.sent.at(-1);
    assert.deepEqual([node, action], ['camera:snapshot', 'take']);
    wire.gets(bytes(3)); // of none that was announced
    if (data) wire.gets({ type: 'command', node, id, status, data });
    return taken;
  };
  const whole = take({ type: 'image/jpeg', bytes: 30 });
  assert.equal((await ends(channel.snapshot())).message, 'Another snapshot is being received');
  wire.gets(bytes(20, 1));
  wire.gets({ type: 'command', id: 'other', status: 200 });
  wire.gets(bytes(10, 2));
  const { value } = await whole;
  assert.deepEqual([value.type, value.size], ['image/jpeg', 30]);
  assert.deepEqual([...new Uint8Array(await value.arrayBuffer())].slice(18, 22), [1, 1, 2, 2]);

  const more = take({ type: 'image/jpeg', bytes: 10 });
  wire.gets(bytes(11));
  assert.match((await more).message, /more than/);
  for (const data of [{ type: 'text/html', bytes: 5 }, { type: 'image/jpeg', bytes: 1e12 }, { type: 'image/jpeg', bytes: -1 }, 'x']) {
    assert.match((await take(data)).message, /no JPEG/);
  }
  assert.equal((await take({ message: 'no lens' }, 404)).message, 'no lens');
  const late = take(null);
  clock.advance(8000);
  assert.match((await late).message, /in time/);
  const again = take({ type: 'image/jpeg', bytes: 1 });
  wire.gets(bytes(1));
  assert.equal((await again).value.size, 1, 'what failed is over');
});

test('commands go by the server where the channel takes none', async () => {
  const { wire, channel } = world();
  const asked = [];
  const client = { online: false, address: 'me|1', command: async (to) => asked.push(to) };
  const commands = new Commands(client, (to) => (to === 'cam|1' ? channel : null));
  assert.deepEqual([commands.reaches('cam|1'), commands.reaches('cam|2')], [true, false]);
  commands.command('cam|1', { node: 'a' }).catch(() => {});
  assert.deepEqual([wire.sent.length, asked], [1, []]);
  wire.bufferedAmount = 1e6;
  await commands.command('cam|1', { node: 'a' });
  wire.bufferedAmount = 0;
  wire.readyState = 'connecting';
  await commands.command('cam|1', { node: 'a' });
  await commands.command('cam|2', { node: 'a' });
  assert.deepEqual([wire.sent.length, asked], [1, ['cam|1', 'cam|1', 'cam|2']]);
  assert.equal(commands.reaches('cam|1'), false);
  assert.equal(commands.address, 'me|1');
  client.address = null;
  assert.equal(commands.address, 'me|1', 'while the server is away');
});
