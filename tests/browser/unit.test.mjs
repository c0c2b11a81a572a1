// The page's modules that need no browser, on a virtual clock: `node --test tests/browser/unit.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import './globals.mjs';
import { Client } from '../../src/web/client.js';
import { LIMITS, nextDelay, patience, promptness } from '../../src/web/limits.js';
import { Calls, candidateOf, compareBytes } from '../../src/web/call.js';
import { Roster } from '../../src/web/roster.js';

// ── A clock that the test advances, and a socket with the test as its server ──

class Clock {
  time = 0;
  #timers = new Map();
  #next = 1;
  now = () => this.time;
  random = () => 1;
  after = (ms, run) => {
    this.#timers.set(this.#next, { at: this.time + ms, run });
    return this.#next++;
  };
  cancel = (timer) => this.#timers.delete(timer);
  advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const [id, due] = [...this.#timers].sort(([a, x], [b, y]) => x.at - y.at || a - b)[0] ?? [];
      if (!due || due.at > end) break;
      this.#timers.delete(id);
      this.time = due.at;
      due.run();
    }
    this.time = end;
  }
}

function world(options = {}) {
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    constructor(url) { this.url = url; sockets.push(this); }
    send(text) { this.sent.push({ at: clock.time, ...JSON.parse(text) }); }
    close() { this.readyState = 3; }
    open() { this.readyState = 1; this.onopen?.({}); }
    say(frame) { this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) }); }
    die(code = 1006, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
    of(type) { return this.sent.filter((frame) => frame.type === type); }
    welcome(id = 'ME', rooms = ['me', 'public']) {
      this.open();
      this.say({ type: 'welcome', protocol: 'symple/4', status: 200, peer: { id, user: 'me', online: true }, rooms });
      return this;
    }
  }
  const clock = new Clock();
  const client = new Client({ url: 'ws://server/', user: 'me', name: 'Me', WebSocket: Socket, clock, ...options });
  const states = [];
  client.on('state', (state) => states.push(state));
  client.connect();
  return { client, clock, sockets, states, get socket() { return sockets.at(-1); } };
}

const presence = (user, id, data = {}, more = {}) => (
  { type: 'presence', from: `${user}|${id}`, data: { user, id, online: true, ...data }, ...more });

// ── Client ──

test('auth is the first frame, with its token, and welcome makes us online', () => {
  const w = world({ token: 't0', data: { peerType: 'person' }, rooms: ['team'] });
  assert.equal(w.socket.sent.length, 0, 'nothing before the socket is open');
  w.socket.open();
  assert.deepEqual(w.socket.sent, [
    { at: 0, type: 'auth', user: 'me', name: 'Me', token: 't0', rooms: ['team'], data: { peerType: 'person' },
      accept: ['presence:batch'] },
  ]);
  w.socket.say({ type: 'welcome', peer: { id: 'X', user: 'me' }, rooms: ['me', 'team'] });
  assert.deepEqual(w.states, ['connecting', 'online']);
  assert.equal(w.client.address, 'me|X');
  assert.equal(w.socket.of('presence')[0].probe, true);
  assert.equal(w.socket.of('join').length, 0, 'the server put us there');
});

test('batched presences are reported one by one, and other content is passed to the page', () => {
  const w = world();
  w.socket.open();
  w.socket.welcome();
  const told = [];
  w.client.on('presence', ({ from }) => told.push(from));
  w.client.on('other', ({ type }) => told.push(type));
  const bob = presence('bob', 'B');
  const data = [bob, presence('eve', 'E', {}, { probe: true }), 7, { type: 'message', from: 'x|X' },
    presence('bob', 'B', { online: false })];
  w.socket.say({ type: 'presence:batch', data });
  w.socket.say({ type: 'presence:batch', data: bob });
  w.socket.say({ type: 'else' });
  assert.deepEqual(told, ['bob|B', 'eve|E', 'bob|B', 'presence:batch', 'else']);
  assert.deepEqual(w.client.roster.list().map(({ address }) => address), ['eve|E']);
  assert.ok(w.socket.of('presence').some(({ to }) => to === 'eve|E'), 'a probe is answered');
});

test('a 401 is not retried until requested', () => {
  const w = world({ token: 'wrong' });
  w.socket.open();
  w.socket.say({ type: 'error', status: 401, message: 'Authentication failed: No session' });
  assert.equal(w.client.state, 'denied');
  w.clock.advance(3_600_000);
  assert.equal(w.sockets.length, 1);
  w.client.token = 'right';
  w.client.connect();
  w.socket.welcome();
  assert.equal(w.client.state, 'online');
  w.socket.say({ type: 'error', status: 401, message: 'Session expired' });
  w.clock.advance(60_000);
  assert.equal(w.client.state, 'denied', 'the same in the middle of a session');
});

test('the first connect is also retried, and never given up', () => {
  const w = world();
  for (let i = 0; i < 50; i += 1) {
    w.socket.die();
    assert.equal(w.client.state, 'waiting');
    w.clock.advance(nextDelay(i, 1));
    assert.equal(w.sockets.length, i + 2);
  }
});

test('delays double up to a limit, and jitter removes up to half', () => {
  const delays = [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => nextDelay(attempt, 1));
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000]);
  assert.deepEqual([0, 4].map((attempt) => nextDelay(attempt, 0)), [250, 2000]);
});

test('delays start over only after the connection was stable for a while', () => {
  const w = world();
  const delay = () => {
    const began = w.clock.time;
    const sockets = w.sockets.length;
    for (let step = 0; step < 400 && w.sockets.length === sockets; step += 1) w.clock.advance(50);
    return w.clock.time - began;
  };
  w.socket.welcome().die();
  assert.equal(delay(), 500);
  w.socket.welcome().die();
  assert.equal(delay(), 1000, 'a server that welcomes and closes is not hammered');
  w.socket.welcome();
  w.clock.advance(3000);
  w.socket.say({ type: 'join:ok', room: 'x' });
  w.clock.advance(3000);
  w.socket.die();
  assert.equal(delay(), 500);
});

test('a server that went silent is noticed within 10 s', () => {
  const w = world();
  w.socket.welcome();
  w.clock.advance(7000);
  assert.deepEqual(w.socket.of('join').map(({ room }) => room), ['public'], 'the heartbeat is a join of a room we are in');
  assert.equal(w.client.state, 'online');
  w.clock.advance(3000);
  assert.notEqual(w.client.state, 'online');
  assert.ok(w.states.includes('waiting'));
});

test('any frame is a sign of life, and a refused heartbeat too', () => {
  const w = world();
  w.socket.welcome();
  const errors = [];
  w.client.on('error', (error) => errors.push(error));
  for (let i = 0; i < 20; i += 1) {
    w.clock.advance(2 * LIMITS.beat - 1);
    assert.equal(w.socket.of('join').length, i + 1);
    const answers = [{ type: 'join:ok', room: 'public' }, { type: 'error', status: 403, message: 'No dynamic rooms' }, { type: 'error', message: 'No dynamic rooms' }];
    w.socket.say(answers[i % 3]);
  }
  assert.equal(w.client.state, 'online');
  assert.equal(w.sockets.length, 1);
  assert.deepEqual(errors, []);
});

test('a socket that never opens, or gets no welcome, times out', () => {
  const w = world();
  w.clock.advance(LIMITS.open);
  assert.equal(w.client.state, 'waiting');
  w.clock.advance(500);
  w.socket.open();
  w.clock.advance(LIMITS.welcome);
  assert.equal(w.client.state, 'waiting');
  w.sockets[0].welcome();
  assert.notEqual(w.client.state, 'online', 'what a socket of the past says counts for nothing');
});

test('where sockets open fast, one that hangs is given up soon, but not for good', () => {
  const w = world();
  w.clock.advance(100);
  w.socket.welcome();
  w.socket.die();
  const waits = [];
  for (let i = 0; i < 30; i += 1) {
    w.clock.advance(nextDelay(0, 1)); // half a second between them, however many there were
    const began = w.clock.time;
    assert.equal(w.client.state, 'connecting');
    while (w.client.state === 'connecting') w.clock.advance(100);
    waits.push(w.clock.time - began);
  }
  const { open, reopen } = LIMITS;
  assert.deepEqual(waits, Array.from({ length: 30 }, (_, i) => (i >= 20 || i % 8 === 7 ? open : reopen)));
});

test('a socket has the time that a slow network needs', () => {
  assert.equal(patience(0, null), LIMITS.open, 'nothing is known of the network');
  assert.equal(patience(0, 1500), 6000);
  assert.equal(patience(0, 5000), LIMITS.open);
  assert.equal(patience(0, 1), LIMITS.reopen);
});

test('a changed network is tried at once, and again soon', () => {
  const w = world();
  for (let i = 0; i < 6; i += 1) {
    w.socket.die();
    w.clock.advance(nextDelay(i, 1));
  }
  w.socket.die();
  const tried = w.sockets.length;
  w.client.check();
  assert.equal(w.sockets.length, tried + 1, 'at once');
  w.socket.die();
  w.clock.advance(nextDelay(0, 1));
  assert.equal(w.sockets.length, tried + 2, 'the waits begin small again');
  for (let i = 3; i < 8; i += 1) {
    w.socket.die();
    w.clock.advance(nextDelay(0, 1));
    assert.equal(w.sockets.length, tried + i, 'and stay so while the network may have no route yet');
  }
  const before = w.socket;
  w.client.check();
  assert.equal(w.sockets.length, tried + 8, 'in the place of one that may belong to the network before');
  assert.equal(before.readyState, 3, 'which is closed: browsers open one at a time');
});

test('a server that is gone since the network changed is noticed sooner than by heartbeats', () => {
  const w = world();
  w.socket.welcome();
  w.client.check();
  w.clock.advance(LIMITS.quick - 1);
  assert.equal(w.sockets.length, 1);
  w.clock.advance(1);
  assert.deepEqual(w.states, ['connecting', 'online', 'waiting', 'connecting'], 'and another is tried at once');
  w.socket.welcome('BACK');
  w.client.check();
  w.socket.say({ type: 'join:ok', room: 'public' });
  w.clock.advance(LIMITS.check);
  assert.equal(w.client.state, 'online', 'one that answers is kept');
});

test('a server far away has the time that it needs to answer', () => {
  assert.equal(promptness(null), LIMITS.check, 'nothing is known of the network');
  assert.equal(promptness(200), 800);
  assert.equal(promptness(3000), LIMITS.check);
});

test('while the server is gone no sockets fail, and one is tried as soon as it answers', async () => {
  let there = true;
  const knocks = [];
  const w = world({ knock: (signal) => { knocks.push(signal); return Promise.resolve(there); } });
  w.socket.welcome();
  assert.equal(knocks.length, 0, 'the first socket needs no knock');
  const turn = async (ms) => {
    w.clock.advance(ms);
    for (let i = 0; i < 5; i += 1) await null; // the answers to knocks
  };
  there = false;
  w.socket.die();
  for (let i = 0; i < 60; i += 1) await turn(1000);
  const tried = w.sockets.length - 1;
  assert.ok(knocks.length >= 12, `${knocks.length} knocks in a minute`);
  // Something may let only sockets pass, so that one in four attempts is made without a knock.
  assert.ok(tried >= 1 && tried <= knocks.length / 3, `${tried} sockets beside ${knocks.length} knocks`);
  if (w.socket.readyState === 0) w.socket.die();
  there = true;
  const before = w.sockets.length;
  w.client.check();
  await turn(0);
  assert.equal(w.sockets.length, before + 1, 'at once');
  w.socket.welcome();
  assert.equal(w.client.state, 'online');
});

test('a knock that nobody answers is given up as a socket is, and its late answer counts for nothing', async () => {
  const answers = [];
  const w = world({ knock: (signal) => new Promise((done) => answers.push({ signal, done })) });
  w.socket.welcome().die();
  w.clock.advance(nextDelay(0, 1));
  assert.equal(answers.length, 1);
  w.clock.advance(LIMITS.reopen);
  assert.deepEqual([w.client.state, answers[0].signal.aborted], ['waiting', true]);
  answers[0].done(true);
  await null;
  assert.equal(w.sockets.length, 1);
});

test('a socket that never opened is distinguished from a lost one', () => {
  const w = world();
  const opened = [];
  w.client.on('state', (state, detail) => state === 'waiting' && opened.push(detail.opened));
  w.socket.die();
  w.clock.advance(nextDelay(0, 1));
  w.socket.welcome().die();
  w.clock.advance(nextDelay(1, 1));
  w.socket.die();
  assert.deepEqual(opened, [false, true, false]);
});

test('rooms survive a reconnect, and left ones stay left', async () => {
  const w = world();
  w.socket.welcome();
  const joined = w.client.join('team');
  w.client.join('gone');
  w.socket.say({ type: 'join:ok', room: 'team' });
  await joined;
  w.client.leave('gone');
  w.socket.die();
  assert.equal(w.client.joined.size, 0);
  w.clock.advance(500);
  w.socket.open();
  assert.deepEqual(w.socket.sent[0].rooms, ['team']);
  w.socket.welcome('ME2');
  assert.deepEqual(w.socket.of('join').map(({ room }) => room), ['team']);
});

for (const status of [403, undefined]) test(`a join while offline is answered after the welcome; one refused with status ${status} is rejected`, async () => {
  const w = world();
  const later = w.client.join('later');
  w.socket.welcome();
  w.socket.say({ type: 'join:ok', room: 'later' });
  await later;
  const refused = w.client.join('no');
  w.socket.say({ type: 'error', status, message: 'Dynamic rooms are off' });
  await assert.rejects(refused, { status, message: 'Dynamic rooms are off' });
  assert.ok(!w.client.rooms.has('no'), 'not asked for again');
});

test('a probe is answered once, to its sender, without a probe', () => {
  const w = world({ data: { peerType: 'person' } });
  w.socket.welcome();
  w.socket.sent.length = 0;
  w.socket.say(presence('bob', 'B', {}, { probe: true }));
  w.socket.say(presence('bob', 'B'));
  assert.equal(w.socket.sent.length, 1);
  const [answer] = w.socket.sent;
  assert.deepEqual([answer.type, answer.to, answer.probe], ['presence', 'bob|B', undefined]);
  assert.deepEqual(answer.data, { peerType: 'person', name: 'Me' });
});

test('commands get their replies: progress, the final one, other senders, the deadline, a lost connection', async () => {
  const w = world();
  w.socket.welcome();
  const steps = [];
  const asked = w.client.command('cam|C', { node: 'light', action: 'on' }, { progress: ({ status }) => steps.push(status) });
  const { id, node, action } = w.socket.of('command')[0];
  assert.deepEqual([node, action], ['light', 'on']);
  w.socket.say({ type: 'command', id, from: 'eve|E', status: 200 });
  w.socket.say({ type: 'command', id, from: 'cam|C', status: 202 });
  w.socket.say({ type: 'command', id, from: 'cam|C', status: 200, data: { lit: true } });
  assert.deepEqual((await asked).data, { lit: true });
  assert.deepEqual(steps, [202]);
  const late = w.client.command('cam|C', { node: 'x' });
  w.clock.advance(4500);
  w.socket.say({ type: 'join:ok', room: 'public' });
  w.clock.advance(4500);
  w.socket.say({ type: 'join:ok', room: 'public' });
  w.clock.advance(1000);
  await assert.rejects(late, /No answer/);
  const lost = w.client.command('cam|C', { node: 'x' });
  w.socket.die();
  await assert.rejects(lost);
  await assert.rejects(w.client.command('cam|C', { node: 'x' }), /Not connected/);
});

test('commands to us are events, and are answered under their id', () => {
  const w = world();
  w.socket.welcome();
  w.client.on('command', (command) => w.client.respond(command, { status: 404 }));
  w.socket.say({ type: 'command', id: '7', from: 'bob|B', node: 'light', action: 'on' });
  const [reply] = w.socket.of('command');
  assert.deepEqual([reply.id, reply.to, reply.status], ['7', 'bob|B', 404]);
});

test('a receipt is returned to the caller that requested it', async () => {
  const w = world();
  w.socket.welcome();
  const receipt = w.client.deliver({ type: 'message', to: 'bob', data: 1 });
  const { id } = w.socket.of('message')[0];
  w.socket.say({ type: 'receipt', id, status: 404, delivered: 0 });
  assert.equal((await receipt).status, 404);
});

test('a flood is paced below the server\'s rate, in order, and nothing is lost', () => {
  const w = world();
  w.socket.welcome();
  for (let n = 0; n < 1000; n += 1) w.client.send({ type: 'message', n });
  for (let s = 0; s < 15; s += 1) {
    w.clock.advance(1000);
    w.socket.say({ type: 'join:ok', room: 'public' });
  }
  const sent = w.socket.of('message');
  assert.deepEqual(sent.map(({ n }) => n), Array.from({ length: 1000 }, (_, n) => n));
  const first = sent.filter(({ at }) => at <= 1000).length;
  assert.ok(first <= LIMITS.burst + LIMITS.rate, `${first} in the first second`);
  const second = sent.filter(({ at }) => at > 1000 && at <= 2000).length;
  assert.ok(second > 60 && second <= 85, `${second} in the next`);
});

test('invalid frames change nothing', () => {
  const w = world();
  for (const open of [false, true]) {
    if (open) w.socket.welcome();
    for (const text of ['', '{', 'null', '[]', '3', '"x"', '{}', '{"type":7}', '{"type":"welcome"}', '{"type":"presence"}',
      '{"type":"presence","data":[],"from":3}', '{"type":"error"}', '{"type":"receipt"}', '{"type":"join:ok"}',
      '{"type":"command","status":200,"id":{}}', '{"type":"message","subtype":3}', '{"type":"new"}']) {
      w.socket.say(text);
    }
    assert.equal(w.client.state, open ? 'online' : 'connecting');
  }
});

// ── Roster ──

test('the roster adds, updates, removes, and never lists ourselves', () => {
  const roster = new Roster();
  const seen = [];
  for (const name of ['added', 'updated', 'removed']) roster.on(name, (peer) => seen.push(`${name} ${peer.address}`));
  roster.handle(presence('me', 'ME'), 'me|ME');
  roster.handle(presence('cam', 'C', { peerType: 'camera', name: 'Garden' }), 'me|ME');
  roster.handle(presence('cam', 'C', { name: 'Yard' }), 'me|ME');
  assert.deepEqual(roster.cameras().map(({ name, user }) => [name, user]), [['Yard', 'cam']]);
  roster.handle(presence('cam', 'C', { online: false }), 'me|ME');
  roster.handle(presence('cam', 'C', { online: false }), 'me|ME');
  assert.deepEqual(seen, ['added cam|C', 'updated cam|C', 'removed cam|C']);
});

test('a lost server empties the roster and is given as the reason', () => {
  const w = world();
  w.socket.welcome();
  w.socket.say(presence('cam', 'C'));
  const why = [];
  w.client.roster.on('removed', (peer, { lost }) => why.push(lost));
  w.socket.die();
  assert.deepEqual(why, [true]);
  assert.equal(w.client.roster.size, 0);
});

// ── Calls ──

const OWN = 'm|M';

function desk({ own = OWN, limits } = {}) {
  const clock = new Clock();
  const sent = [];
  const calls = new Calls({ send: (message) => sent.push(message), address: () => own, clock, limits });
  const incoming = [];
  calls.on('incoming', (call) => incoming.push(call));
  return {
    clock, sent, calls, incoming,
    say: (from, subtype, data, call) => calls.handle({ type: 'message', from, subtype: `call:${subtype}`, data, call }),
    last: () => { const m = sent.at(-1); return [m.subtype.slice(5), m.to, m.call, m.data]; },
    verbs: () => sent.map(({ subtype }) => subtype.slice(5)),
  };
}

function log(call) {
  const seen = [];
  for (const name of ['accepted', 'description', 'candidate']) {
    call.on(name, (value) => seen.push(name === 'description' ? value.type : name === 'candidate' ? value?.candidate ?? null : name));
  }
  return seen;
}

const OFFER = { type: 'offer', sdp: 'v=0 offer' };
const ANSWER = { type: 'answer', sdp: 'v=0 answer' };
const line = (n) => ({ candidate: `candidate:${n}`, sdpMid: '0', sdpMLineIndex: 0 });

/** A call in a state, from either side. */
function inState(state, outgoing = true) {
  const d = desk();
  let call;
  if (outgoing) {
    call = d.calls.invite('r|R');
    if (state !== 'ringing') {
      d.say('r|R', 'accept', {}, call.wire);
      call.describe(OFFER);
    }
  } else {
    d.say('r|R', 'init', {}, 'w1');
    [call] = d.incoming;
    if (state !== 'incoming') call.accept();
  }
  if (state === 'active') call.connected();
  assert.equal(call.state, state);
  return { ...d, call };
}

test('a call we make: init, accept, offer, answer, candidates, hangup', () => {
  const d = desk();
  const call = d.calls.invite('cam|C', { video: true });
  const seen = log(call);
  assert.match(call.wire, /^[0-9a-f]{32}$/);
  assert.deepEqual(d.last(), ['init', 'cam|C', call.wire, { video: true }]);
  call.addCandidate(line(0));
  assert.equal(d.sent.length, 1, 'no candidate before our description');
  d.say('cam|C', 'accept', {}, call.wire);
  call.describe(OFFER);
  assert.deepEqual(d.verbs(), ['init', 'offer', 'candidate']);
  d.say('cam|C', 'candidate', line(1), call.wire);
  d.say('cam|C', 'candidate', { candidate: 'a=candidate:2' }, call.wire);
  assert.deepEqual(seen, ['accepted'], 'theirs wait for their description');
  d.say('cam|C', 'answer', ANSWER, call.wire);
  d.say('cam|C', 'candidate', { candidate: '' }, call.wire);
  assert.deepEqual(seen, ['accepted', 'answer', 'candidate:1', 'candidate:2', null]);
  call.connected();
  assert.equal(call.state, 'active');
  call.addCandidate(null);
  assert.deepEqual(d.last()[3], { candidate: '', sdpMid: '0', sdpMLineIndex: 0 });
  call.hangup();
  assert.deepEqual(d.last(), ['hangup', 'cam|C', call.wire, { reason: 'ended' }]);
  assert.equal(d.calls.list().length, 0);
});

test('a call we get: candidates before the accept and before the offer are kept', () => {
  const d = desk();
  d.say('cam|C', 'init', { video: true }, 'w1');
  const [call] = d.incoming;
  const seen = log(call);
  assert.deepEqual(call.data, { video: true });
  d.say('cam|C', 'candidate', line(1), 'w1');
  call.accept();
  d.say('cam|C', 'candidate', line(2), 'w1');
  assert.deepEqual(seen, []);
  d.say('cam|C', 'offer', OFFER, 'w1');
  assert.deepEqual(seen, ['offer', 'candidate:1', 'candidate:2']);
  call.addCandidate(line(9));
  call.describe(ANSWER);
  assert.deepEqual(d.verbs(), ['accept', 'answer', 'candidate']);
  assert.ok(d.sent.every((message) => message.call === 'w1'));
});

test('an offer goes with the init, and its answer follows the accept', () => {
  const d = desk();
  const call = d.calls.invite('cam|C', { video: true }, { offer: OFFER });
  const seen = log(call);
  assert.deepEqual(d.last(), ['init', 'cam|C', call.wire, { video: true, offer: OFFER }]);
  assert.deepEqual(call.data, { video: true });
  call.addCandidate(line(0));
  assert.deepEqual(d.verbs(), ['init', 'candidate'], 'our description has left');
  d.say('cam|C', 'answer', ANSWER, call.wire);
  assert.deepEqual(seen, [], 'not before the accept');
  d.say('cam|C', 'accept', { offer: true }, call.wire);
  assert.equal(call.state, 'connecting');
  d.say('cam|C', 'candidate', line(1), call.wire);
  d.say('cam|C', 'answer', ANSWER, call.wire);
  assert.deepEqual(seen, ['answer', 'candidate:1']);
  assert.deepEqual(d.verbs(), ['init', 'candidate'], 'the offer is not sent again');
});

test('a callee that ignores the offer of the init is called as ever', () => {
  for (const accept of [{}, { offer: false }, { offer: OFFER }]) {
    const d = desk();
    const call = d.calls.invite('cam|C', {}, { offer: OFFER });
    const seen = log(call);
    d.say('cam|C', 'accept', accept);
    assert.deepEqual(seen, ['accepted']);
    call.describe(OFFER);
    assert.deepEqual(d.last(), ['offer', 'cam|C', call.wire, OFFER]);
    d.say('cam|C', 'answer', ANSWER);
    assert.deepEqual(seen, ['accepted', 'answer']);
  }
});

test('a user with many devices gets the offer after the accept', () => {
  const d = desk();
  const call = d.calls.invite('cam', { video: true }, { offer: OFFER });
  const seen = log(call);
  assert.deepEqual(d.last()[3], { video: true });
  call.addCandidate(line(0));
  assert.deepEqual(d.verbs(), ['init']);
  d.say('cam|C', 'accept', { offer: true }, call.wire);
  assert.deepEqual(seen, ['accepted']);
});

test('an offer must be one', () => {
  const { calls } = desk();
  for (const offer of [ANSWER, {}, 'v=0', { type: 'offer', sdp: '' }]) {
    assert.throws(() => calls.invite('cam|C', {}, { offer }), /an offer is/);
  }
  assert.equal(calls.list().length, 0);
});

test('the offer of an init is there as soon as the call is accepted', () => {
  const d = desk();
  d.say('cam|C', 'init', { video: true, offer: OFFER }, 'w1');
  const [call] = d.incoming;
  const seen = log(call);
  assert.deepEqual(call.data, { video: true });
  d.say('cam|C', 'candidate', line(1), 'w1');
  assert.deepEqual(seen, []);
  call.accept();
  assert.deepEqual(d.last(), ['accept', 'cam|C', 'w1', { offer: true }]);
  assert.deepEqual(seen, ['offer', 'candidate:1']);
  call.describe(ANSWER);
  assert.deepEqual(d.verbs(), ['accept', 'answer']);
  d.say('cam|C', 'offer', OFFER, 'w1');
  assert.deepEqual(seen, ['offer', 'candidate:1', 'offer'], 'and later ones as ever');
});

test('what is no offer in an init is the application\'s own', () => {
  for (const offer of ['half price', {}, ANSWER, { type: 'offer', sdp: 7 }]) {
    const d = desk();
    d.say('cam|C', 'init', { offer }, 'w1');
    const [call] = d.incoming;
    assert.deepEqual(call.data, { offer });
    const seen = log(call);
    call.accept();
    assert.deepEqual([d.last()[3], seen], [{}, []]);
  }
});

test('in a glare, offers stay with their inits', () => {
  // Ours is the greater address: it takes the other's call, with its offer.
  const greater = desk({ own: 'z|Z' });
  greater.calls.invite('cam|C', {}, { offer: OFFER });
  greater.say('cam|C', 'init', { offer: { type: 'offer', sdp: 'theirs' } }, 'w1');
  const [taken] = greater.incoming;
  const seen = [];
  taken.on('description', ({ sdp }) => seen.push(sdp));
  taken.accept();
  assert.deepEqual(seen, ['theirs']);
  // Ours is the smaller: it keeps the other's, and takes it when its own is busy.
  const smaller = desk({ own: 'a|A' });
  const own = smaller.calls.invite('cam|C', {}, { offer: OFFER });
  smaller.say('cam|C', 'init', { offer: { type: 'offer', sdp: 'theirs' } }, 'w1');
  smaller.say('cam|C', 'reject', { reason: 'busy' }, own.wire);
  const [kept] = smaller.incoming;
  kept.on('description', ({ sdp }) => seen.push(sdp));
  kept.accept();
  assert.deepEqual(seen, ['theirs', 'theirs']);
});

test('a call that is replaced takes its offer with it', () => {
  const d = desk();
  d.say('cam|C', 'init', { offer: OFFER }, 'w1');
  d.say('cam|C', 'init', { offer: { type: 'offer', sdp: 'newer' } }, 'w2');
  const [first, second] = d.incoming;
  assert.equal(first.state, 'ended');
  const seen = [];
  second.on('description', ({ sdp }) => seen.push(sdp));
  second.accept();
  assert.deepEqual(seen, ['newer']);
});

test('candidates kept early are bounded', () => {
  const d = desk({ limits: { early: 3 } });
  const call = d.calls.invite('cam|C');
  const seen = log(call);
  d.say('cam|C', 'accept', {}, call.wire);
  call.describe(OFFER);
  for (let n = 0; n < 9; n += 1) d.say('cam|C', 'candidate', line(n), call.wire);
  d.say('cam|C', 'answer', ANSWER, call.wire);
  assert.equal(seen.length, 2 + 3);
});

// state before, whether we called, what comes, state after, reason
const TABLE = [
  ['ringing', true, ['accept', {}], 'connecting'],
  ['ringing', true, ['reject', { reason: 'declined' }], 'ended', 'declined'],
  ['ringing', true, ['reject', {}], 'ended', 'declined'],
  ['ringing', true, ['hangup', { reason: 'bye' }], 'ended', 'bye'],
  ['ringing', true, ['offer', OFFER], 'ringing'],
  ['ringing', true, ['answer', ANSWER], 'ringing'],
  ['connecting', true, ['accept', {}], 'connecting'],
  ['connecting', true, ['answer', ANSWER], 'connecting'],
  ['connecting', true, ['answer', { sdp: 3 }], 'connecting'],
  ['connecting', true, ['reject', { reason: 'no codec' }], 'ended', 'no codec'],
  ['connecting', true, ['hangup', {}], 'ended', 'ended'],
  ['connecting', true, ['nonsense', {}], 'connecting'],
  ['active', true, ['offer', OFFER], 'active'],
  ['active', true, ['hangup', { reason: 7 }], 'ended', 'ended'],
  ['active', true, ['hangup', { reason: 'hangup' }], 'ended', 'ended'],
  ['incoming', false, ['hangup', { reason: 'timeout' }], 'ended', 'timeout'],
  ['incoming', false, ['accept', {}], 'incoming'],
  ['incoming', false, ['reject', {}], 'incoming'],
  ['incoming', false, ['offer', OFFER], 'incoming'],
  ['connecting', false, ['offer', OFFER], 'connecting'],
  ['connecting', false, ['accept', {}], 'connecting'],
  ['active', false, ['offer', OFFER], 'active'],
  ['active', false, ['hangup', {}], 'ended', 'ended'],
];

for (const [before, outgoing, [verb, data], after, reason] of TABLE) {
  test(`${before}, ${outgoing ? 'ours' : 'theirs'}: ${verb} ${JSON.stringify(data)} makes it ${after}`, () => {
    const d = inState(before, outgoing);
    d.say('r|R', verb, data, d.call.wire);
    assert.equal(d.call.state, after);
    assert.equal(d.call.reason, reason ?? null);
    if (after === 'ended') assert.equal(d.call.endedByRemote, true);
  });
}

test('a message without a call id is matched by its address, one with a wrong id is not', () => {
  const d = inState('connecting');
  d.say('r|R', 'hangup', {}, 'other');
  d.say('eve|E', 'hangup', {}, d.call.wire);
  d.say('eve|E', 'hangup', {});
  assert.equal(d.call.state, 'connecting');
  d.say('r|R', 'hangup', {});
  assert.equal(d.call.state, 'ended');
});

test('an init without an id is answered without one', () => {
  const d = desk();
  d.say('old|O', 'init', {});
  d.incoming[0].accept();
  assert.deepEqual(d.last(), ['accept', 'old|O', undefined, {}]);
});

test('a call to a user continues with the session that accepts it', () => {
  const d = desk();
  const call = d.calls.invite('bob');
  d.say('bob|B2', 'accept', {}, call.wire);
  call.describe(OFFER);
  assert.deepEqual(d.last()[1], 'bob|B2');
});

test('nobody answers: the caller hangs up, the callee rejects, each after 30 s', () => {
  const out = inState('ringing');
  out.clock.advance(29_999);
  assert.equal(out.call.state, 'ringing');
  out.clock.advance(1);
  assert.deepEqual([out.last()[0], out.last()[3], out.call.reason], ['hangup', { reason: 'timeout' }, 'timeout']);
  const back = inState('incoming', false);
  back.clock.advance(30_000);
  assert.deepEqual([back.last()[0], back.last()[3], back.call.reason], ['reject', { reason: 'timeout' }, 'timeout']);
});

test('one call at a time: others are busy', () => {
  const d = inState('active');
  d.say('eve|E', 'init', {}, 'w9');
  assert.deepEqual(d.last(), ['reject', 'eve|E', 'w9', { reason: 'busy' }]);
  assert.equal(d.call.state, 'active');
  assert.equal(d.incoming.length, 0);
});

test('a second init from the same remote replaces its call; the same init twice does not', () => {
  const d = inState('active', false);
  d.say('r|R', 'init', {}, 'w1');
  assert.equal(d.call.state, 'active');
  d.say('r|R', 'init', {}, 'w2');
  assert.deepEqual([d.call.state, d.call.reason], ['ended', 'replaced']);
  assert.equal(d.incoming.at(-1).wire, 'w2');
  d.say('r|R', 'hangup', {}, 'w1');
  assert.equal(d.incoming.at(-1).state, 'incoming', 'what is late for the old one leaves the new one alone');
});

test('glare: the greater address drops its own call and accepts the other', () => {
  const d = desk();
  const call = d.calls.invite('a|A');
  d.say('a|A', 'init', {}, 'theirs');
  assert.deepEqual([call.state, call.reason], ['ended', 'glare']);
  assert.deepEqual([d.incoming[0].wire, d.incoming[0].mutual], ['theirs', true]);
  assert.deepEqual(d.verbs(), ['init'], 'without a word');
});

test('glare: the smaller address keeps the other call until its own is decided', () => {
  const begin = () => {
    const d = desk();
    const call = d.calls.invite('z|Z');
    d.say('z|Z', 'init', {}, 'theirs');
    assert.deepEqual([call.state, d.incoming.length, d.sent.length], ['ringing', 0, 1]);
    return { ...d, call };
  };
  const accepted = begin();
  accepted.say('z|Z', 'accept', {}, accepted.call.wire);
  assert.deepEqual([accepted.call.state, accepted.incoming.length], ['connecting', 0]);

  const busy = begin();
  busy.say('z|Z', 'reject', { reason: 'busy' }, busy.call.wire);
  assert.deepEqual([busy.call.state, busy.incoming[0].wire, busy.incoming[0].mutual], ['ended', 'theirs', true]);

  const gaveUp = begin();
  gaveUp.say('z|Z', 'hangup', {}, 'theirs');
  gaveUp.say('z|Z', 'reject', { reason: 'busy' }, gaveUp.call.wire);
  assert.deepEqual([gaveUp.call.reason, gaveUp.incoming.length], ['busy', 0]);

  const cancelled = begin();
  cancelled.call.hangup();
  assert.deepEqual(cancelled.verbs(), ['init', 'hangup', 'reject'], 'the held one is not left ringing');
});

test('addresses are ordered by their bytes', () => {
  assert.ok(compareBytes('a|1', 'a|2') < 0);
  assert.ok(compareBytes('a', 'a|') < 0);
  assert.equal(compareBytes('x', 'x'), 0);
  assert.ok(compareBytes('\u{1F600}', '\uFF5E') > 0, 'where UTF-16 has it the other way round');
  assert.ok('\u{1F600}' < '\uFF5E');
});

test('the remote goes offline: before media it ends the call, after that ICE decides for 30 s', () => {
  for (const [state, outgoing] of [['ringing', true], ['incoming', false], ['connecting', true]]) {
    const d = inState(state, outgoing);
    d.calls.peerOffline('other|O');
    assert.equal(d.call.state, state);
    d.calls.peerOffline('r|R');
    assert.equal(d.call.reason, 'offline');
  }
  const d = inState('active');
  d.calls.peerOffline('r|R');
  d.clock.advance(29_999);
  assert.equal(d.call.state, 'active');
  d.clock.advance(1);
  assert.equal(d.call.reason, 'offline');
});

test('a remote that returns under a new address is matched by the call\'s id', () => {
  const d = inState('active');
  d.calls.peerOffline('r|R');
  d.say('eve|E', 'candidate', line(1), d.call.wire);
  assert.equal(d.call.remote, 'r|R', 'another user does not');
  d.say('r|R2', 'candidate', line(1), d.call.wire);
  d.clock.advance(60_000);
  assert.deepEqual([d.call.state, d.call.remote], ['active', 'r|R2']);
});

test('a remote that sends no id is back with another session of its user, unless that has a call', () => {
  for (const named of [true, false]) {
    const w = world();
    w.socket.welcome();
    const calls = Calls.over(w.client, { limits: { calls: 2 } });
    let call;
    calls.on('incoming', (came) => { call ??= came; came.accept(); });
    const id = named ? { call: 'given' } : {};
    w.socket.say(presence('r', 'R'));
    w.socket.say({ type: 'message', subtype: 'call:init', from: 'r|R', data: {}, ...id });
    call.connected();
    assert.equal(call.state, 'active');
    // The server notices only after the user's return that the first connection is lost.
    w.socket.say(presence('r', 'R2'));
    w.socket.say(presence('r', 'R', { online: false }));
    assert.deepEqual([call.remote, call.gone], named ? ['r|R', true] : ['r|R2', false]);
    if (named) continue;
    // The next session calls before the second one is noticed: it means its own call.
    w.socket.say(presence('r', 'R3'));
    w.socket.say({ type: 'message', subtype: 'call:init', from: 'r|R3', data: {} });
    w.socket.say(presence('r', 'R2', { online: false }));
    assert.deepEqual([call.remote, call.gone], ['r|R2', true]);
    for (const one of calls.list()) one.hangup();
  }
});

test('after our own reconnect, the remote gets our messages with the call\'s id', () => {
  const d = inState('active');
  d.calls.signallingLost();
  d.calls.peerOnline('other|O');
  d.calls.peerOnline('r|R2');
  assert.deepEqual(d.last().slice(0, 3), ['candidate', 'r|R2', d.call.wire]);
  d.clock.advance(60_000);
  assert.equal(d.call.state, 'active');
});

test('a call that never connects ends', () => {
  const d = inState('connecting');
  d.clock.advance(30_000);
  assert.deepEqual([d.call.reason, d.last()[0]], ['ice-failed', 'hangup']);
});

test('messages of unknown calls, or invalid ones, change nothing', () => {
  const d = inState('active');
  for (const message of [{}, { subtype: 3 }, { subtype: 'chat', from: 'r|R' }, { subtype: 'call:hangup' }, { subtype: 'call:hangup', from: {} }]) {
    assert.equal(d.calls.handle(message), false);
  }
  for (const data of [null, [], 'x', 3, { candidate: 4 }, { candidate: null }]) d.say('r|R', 'candidate', data, d.call.wire);
  for (const data of [null, [], { sdp: null }]) d.say('r|R', 'offer', data, d.call.wire);
  assert.equal(d.call.state, 'active');
});

test('candidates are accepted in every format', () => {
  assert.deepEqual(candidateOf({ candidate: 'a=candidate:1', sdpMid: 'v' }), { candidate: 'candidate:1', sdpMid: 'v' });
  assert.deepEqual(candidateOf({ candidate: 'candidate:1' }), { candidate: 'candidate:1', sdpMLineIndex: 0 });
  assert.deepEqual(candidateOf({ candidate: 'candidate:1', sdpMLineIndex: 1 }), { candidate: 'candidate:1', sdpMLineIndex: 1 });
  assert.equal(candidateOf({ candidate: '' }), null);
});
