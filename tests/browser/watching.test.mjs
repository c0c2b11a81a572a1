// What the page plays and when it retries, on a virtual clock: `node --test tests/browser/watching.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { START, due, step } from '../../src/web/watching.js';
import { AGAIN, CODES, again, wait, words } from '../../src/web/reasons.js';
import { notice, standing } from '../../src/web/words.js';

const door = { address: 'door|1', user: 'door', name: 'Door' };
const door2 = { ...door, address: 'door|2' };
const shed = { address: 'shed|1', user: 'shed', name: 'Shed' };

// ── Every state with every event ──

const on = { ...START, line: 'online', auto: false };
const STATES = {
  start: START,
  idle: on,
  offline: { ...on, wish: door },
  later: { ...on, wish: door, cameras: [door], hold: { until: 5000 }, end: { code: 'busy' } },
  going: { ...on, wish: door, cameras: [door], hold: { gone: 'door|1', until: 5000 } },
  over: { ...on, wish: door, cameras: [door], hold: { never: true }, end: { code: 'declined', peer: door } },
  paused: { ...on, wish: door, cameras: [door], paused: true },
  calling: { ...on, wish: door, cameras: [door], phase: 'calling', peer: door },
  playing: { ...on, wish: door, cameras: [door], phase: 'playing', peer: door },
  stalled: { ...on, wish: door, cameras: [door], phase: 'stalled', peer: door },
  suspect: { ...on, wish: door, cameras: [door2], phase: 'playing', peer: door, suspect: true },
  moved: { ...on, wish: door, cameras: [door], phase: 'stalled', peer: door, moved: true },
};

const ended = (code) => ({ type: 'ended', code, remote: true });
const EVENTS = {
  'line waiting': { type: 'line', state: 'waiting' },
  'line online': { type: 'line', state: 'online' },
  'door is there': { type: 'cameras', cameras: [door] },
  'door is back': { type: 'cameras', cameras: [door2] },
  'nobody is there': { type: 'cameras', cameras: [] },
  'choose shed': { type: 'choose', peer: shed },
  stop: { type: 'stop' },
  again: { type: 'again' },
  pause: { type: 'pause' },
  resume: { type: 'resume' },
  'called by shed': { type: 'called', peer: shed },
  picture: { type: 'picture' },
  stalled: { type: 'stalled' },
  flowing: { type: 'flowing' },
  'ended lost': ended('lost'),
  'ended busy': ended('busy'),
  'ended offline': ended('offline'),
  'ended source-failed': ended('source-failed'),
  'ended declined': ended('declined'),
  time: { type: 'time' },
  woke: { type: 'woke' },
  moved: { type: 'moved' },
};

/** At 1000 ms, with the longest waits: the phase and the camera, the wish, the end of the wait, the actions. */
const TABLE = {
  start: {
    'line waiting': 'none',
    'line online': 'none',
    'door is there': 'none',
    'door is back': 'none',
    'nobody is there': 'none',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'none, check',
    'pause': 'none',
    'resume': 'none',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none',
    'stalled': 'none',
    'flowing': 'none',
    'ended lost': 'none',
    'ended busy': 'none',
    'ended offline': 'none',
    'ended source-failed': 'none',
    'ended declined': 'none',
    'time': 'none',
    'woke': 'none, check',
    'moved': 'none, check',
  },
  idle: {
    'line waiting': 'none',
    'line online': 'none',
    'door is there': 'none',
    'door is back': 'none',
    'nobody is there': 'none',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'none, check',
    'pause': 'none',
    'resume': 'none',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none',
    'stalled': 'none',
    'flowing': 'none',
    'ended lost': 'none',
    'ended busy': 'none',
    'ended offline': 'none',
    'ended source-failed': 'none',
    'ended declined': 'none',
    'time': 'none',
    'woke': 'none, check',
    'moved': 'none, check',
  },
  offline: {
    'line waiting': 'none, for door',
    'line online': 'none, for door',
    'door is there': 'calling door|1, for door, call door|1',
    'door is back': 'calling door|2, for door, call door|2',
    'nobody is there': 'none, for door',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'none, for door, check',
    'pause': 'none, for door',
    'resume': 'none, for door',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none, for door',
    'stalled': 'none, for door',
    'flowing': 'none, for door',
    'ended lost': 'none, for door',
    'ended busy': 'none, for door',
    'ended offline': 'none, for door',
    'ended source-failed': 'none, for door',
    'ended declined': 'none, for door',
    'time': 'none, for door',
    'woke': 'none, for door, check',
    'moved': 'none, for door, check',
  },
  later: {
    'line waiting': 'none, for door, until 5000',
    'line online': 'none, for door, until 5000',
    'door is there': 'none, for door, until 5000',
    'door is back': 'calling door|2, for door, call door|2',
    'nobody is there': 'none, for door, until 5000',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'calling door|1, for door, check, call door|1',
    'pause': 'none, for door, until 5000',
    'resume': 'calling door|1, for door, call door|1',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none, for door, until 5000',
    'stalled': 'none, for door, until 5000',
    'flowing': 'none, for door, until 5000',
    'ended lost': 'none, for door, until 5000',
    'ended busy': 'none, for door, until 5000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 5000',
    'ended declined': 'none, for door, until 5000',
    'time': 'none, for door, until 5000',
    'woke': 'calling door|1, for door, check, call door|1',
    'moved': 'calling door|1, for door, check, call door|1',
  },
  going: {
    'line waiting': 'none, for door, until 5000',
    'line online': 'none, for door, until 5000',
    'door is there': 'none, for door, until 5000',
    'door is back': 'calling door|2, for door, call door|2',
    'nobody is there': 'none, for door',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'calling door|1, for door, check, call door|1',
    'pause': 'none, for door, until 5000',
    'resume': 'calling door|1, for door, call door|1',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none, for door, until 5000',
    'stalled': 'none, for door, until 5000',
    'flowing': 'none, for door, until 5000',
    'ended lost': 'none, for door, until 5000',
    'ended busy': 'none, for door, until 5000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 5000',
    'ended declined': 'none, for door, until 5000',
    'time': 'none, for door, until 5000',
    'woke': 'calling door|1, for door, check, call door|1',
    'moved': 'calling door|1, for door, check, call door|1',
  },
  over: {
    'line waiting': 'none, for door, never',
    'line online': 'none, for door, never',
    'door is there': 'none, for door, never',
    'door is back': 'none, for door, never',
    'nobody is there': 'none, for door, never',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'calling door|1, for door, check, call door|1',
    'pause': 'none, for door, never',
    'resume': 'none, for door, never',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none, for door, never',
    'stalled': 'none, for door, never',
    'flowing': 'none, for door, never',
    'ended lost': 'none, for door, never',
    'ended busy': 'none, for door, never',
    'ended offline': 'none, for door, never',
    'ended source-failed': 'none, for door, never',
    'ended declined': 'none, for door, never',
    'time': 'none, for door, never',
    'woke': 'none, for door, never, check',
    'moved': 'none, for door, never, check',
  },
  paused: {
    'line waiting': 'none, for door',
    'line online': 'none, for door',
    'door is there': 'none, for door',
    'door is back': 'none, for door',
    'nobody is there': 'none, for door',
    'choose shed': 'none, for shed',
    'stop': 'none',
    'again': 'none, for door, check',
    'pause': 'none, for door',
    'resume': 'calling door|1, for door, call door|1',
    'called by shed': 'calling shed|1, for shed',
    'picture': 'none, for door',
    'stalled': 'none, for door',
    'flowing': 'none, for door',
    'ended lost': 'none, for door',
    'ended busy': 'none, for door',
    'ended offline': 'none, for door',
    'ended source-failed': 'none, for door',
    'ended declined': 'none, for door',
    'time': 'none, for door',
    'woke': 'none, for door, check',
    'moved': 'none, for door, check',
  },
  calling: {
    'line waiting': 'calling door|1, for door',
    'line online': 'calling door|1, for door',
    'door is there': 'calling door|1, for door',
    'door is back': 'calling door|1, for door',
    'nobody is there': 'calling door|1, for door',
    'choose shed': 'none, for shed, hangup ended',
    'stop': 'none, hangup ended',
    'again': 'calling door|1, for door, check',
    'pause': 'none, for door, hangup ended',
    'resume': 'calling door|1, for door',
    'called by shed': 'calling shed|1, for shed, hangup ended',
    'picture': 'playing door|1, for door',
    'stalled': 'calling door|1, for door',
    'flowing': 'calling door|1, for door',
    'ended lost': 'calling door|1, for door, call door|1',
    'ended busy': 'none, for door, until 3000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 6000',
    'ended declined': 'none, for door, never',
    'time': 'calling door|1, for door',
    'woke': 'calling door|1, for door, check',
    'moved': 'calling door|1, for door, check',
  },
  playing: {
    'line waiting': 'playing door|1, for door',
    'line online': 'playing door|1, for door',
    'door is there': 'playing door|1, for door',
    'door is back': 'playing door|1, for door',
    'nobody is there': 'playing door|1, for door',
    'choose shed': 'none, for shed, hangup ended',
    'stop': 'none, hangup ended',
    'again': 'playing door|1, for door, check',
    'pause': 'none, for door, hangup ended',
    'resume': 'playing door|1, for door',
    'called by shed': 'calling shed|1, for shed, hangup ended',
    'picture': 'playing door|1, for door',
    'stalled': 'stalled door|1, for door',
    'flowing': 'playing door|1, for door',
    'ended lost': 'calling door|1, for door, call door|1',
    'ended busy': 'none, for door, until 3000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 6000',
    'ended declined': 'none, for door, never',
    'time': 'playing door|1, for door',
    'woke': 'playing door|1, for door, check',
    'moved': 'playing door|1, for door, check',
  },
  stalled: {
    'line waiting': 'stalled door|1, for door',
    'line online': 'stalled door|1, for door',
    'door is there': 'stalled door|1, for door',
    'door is back': 'calling door|2, for door, hangup lost, call door|2',
    'nobody is there': 'stalled door|1, for door',
    'choose shed': 'none, for shed, hangup ended',
    'stop': 'none, hangup ended',
    'again': 'stalled door|1, for door, check',
    'pause': 'none, for door, hangup ended',
    'resume': 'stalled door|1, for door',
    'called by shed': 'calling shed|1, for shed, hangup ended',
    'picture': 'stalled door|1, for door',
    'stalled': 'stalled door|1, for door',
    'flowing': 'playing door|1, for door',
    'ended lost': 'calling door|1, for door, call door|1',
    'ended busy': 'none, for door, until 3000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 6000',
    'ended declined': 'none, for door, never',
    'time': 'stalled door|1, for door',
    'woke': 'stalled door|1, for door, check',
    'moved': 'stalled door|1, for door, check',
  },
  suspect: {
    'line waiting': 'playing door|1, for door',
    'line online': 'playing door|1, for door',
    'door is there': 'playing door|1, for door',
    'door is back': 'playing door|1, for door',
    'nobody is there': 'playing door|1, for door',
    'choose shed': 'none, for shed, hangup ended',
    'stop': 'none, hangup ended',
    'again': 'playing door|1, for door, check',
    'pause': 'none, for door, hangup ended',
    'resume': 'playing door|1, for door',
    'called by shed': 'calling shed|1, for shed, hangup ended',
    'picture': 'playing door|1, for door',
    'stalled': 'calling door|2, for door, hangup lost, call door|2',
    'flowing': 'playing door|1, for door',
    'ended lost': 'calling door|2, for door, call door|2',
    'ended busy': 'none, for door, until 3000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 6000',
    'ended declined': 'none, for door, never',
    'time': 'playing door|1, for door',
    'woke': 'playing door|1, for door, check',
    'moved': 'playing door|1, for door, check',
  },
  moved: {
    'line waiting': 'stalled door|1, for door',
    'line online': 'stalled door|1, for door, restart',
    'door is there': 'stalled door|1, for door',
    'door is back': 'calling door|2, for door, hangup lost, call door|2',
    'nobody is there': 'stalled door|1, for door',
    'choose shed': 'none, for shed, hangup ended',
    'stop': 'none, hangup ended',
    'again': 'stalled door|1, for door, check',
    'pause': 'none, for door, hangup ended',
    'resume': 'stalled door|1, for door',
    'called by shed': 'calling shed|1, for shed, hangup ended',
    'picture': 'stalled door|1, for door',
    'stalled': 'stalled door|1, for door',
    'flowing': 'playing door|1, for door',
    'ended lost': 'calling door|1, for door, call door|1',
    'ended busy': 'none, for door, until 3000',
    'ended offline': 'none, for door, until 5000',
    'ended source-failed': 'none, for door, until 6000',
    'ended declined': 'none, for door, never',
    'time': 'stalled door|1, for door',
    'woke': 'stalled door|1, for door, check',
    'moved': 'stalled door|1, for door, check',
  },
};

function seen({ state, effects }) {
  const did = effects.map((it) => (it.call ? `call ${it.call.address}` : it.hangup ? `hangup ${it.hangup}` : Object.keys(it)[0]));
  const { phase, peer, wish, hold } = state;
  const until = hold && (hold.never ? 'never' : `until ${hold.until}`);
  return [peer ? `${phase} ${peer.address}` : phase, wish && `for ${wish.user}`, until, ...did].filter(Boolean).join(', ');
}

for (const [name, state] of Object.entries(STATES)) {
  test(`${name}: what each event does`, () => {
    const before = structuredClone(state);
    for (const [event, what] of Object.entries(EVENTS)) {
      assert.equal(seen(step(state, what, { now: 1000, random: 1 })), TABLE[name][event], `${name}, ${event}`);
    }
    assert.deepEqual(state, before, 'a state is never changed, only followed by another');
  });
}

test('an unknown event is an error of the page', () => {
  assert.throws(() => step(START, { type: 'clicked' }, { now: 0 }), /no event clicked/);
});

test('a single camera plays automatically, until the viewer has chosen', () => {
  const online = step(START, EVENTS['line online'], { now: 0 }).state;
  assert.equal(seen(step(online, EVENTS['door is there'], { now: 0 })), 'calling door|1, for door, call door|1');
  const two = step(online, { type: 'cameras', cameras: [door, shed] }, { now: 0 });
  assert.equal(seen(two), 'none');
  const stopped = step(online, { type: 'stop' }, { now: 0 }).state;
  assert.equal(seen(step(stopped, EVENTS['door is there'], { now: 0 })), 'none');
});

test('a stalled call is ended when its camera has a new session', () => {
  const back = step(STATES.stalled, EVENTS['door is back'], { now: 1000 });
  assert.equal(seen(back), 'calling door|2, for door, hangup lost, call door|2');
});

test('a camera is called in its newest session, while the server lists the one before', () => {
  const both = step(STATES.playing, { type: 'cameras', cameras: [door, door2] }, { now: 1000 }).state;
  assert.equal(seen(step(both, EVENTS.stalled, { now: 2000 })), 'calling door|2, for door, hangup lost, call door|2');
  // Another device of the same user, with another name, is another camera.
  const garage = { ...door2, name: 'Garage' };
  const other = step(STATES.playing, { type: 'cameras', cameras: [door, garage] }, { now: 1000 }).state;
  assert.equal(seen(step(other, EVENTS.stalled, { now: 2000 })), 'calling door|1, for door, hangup lost, call door|1');
});

test('ICE begins anew once the server is there, where it was not when the network changed', () => {
  const away = { ...STATES.stalled, line: 'waiting' };
  const moved = step(away, EVENTS.moved, { now: 1000 });
  assert.equal(seen(moved), 'stalled door|1, for door, check');
  assert.equal(seen(step(moved.state, EVENTS['line online'], { now: 2000 })), 'stalled door|1, for door, restart');
  const flowing = step(moved.state, EVENTS.flowing, { now: 1500 }).state;
  assert.equal(seen(step(flowing, EVENTS['line online'], { now: 2000 })), 'playing door|1, for door', 'not where frames come again');
  // The server may be there again before the picture is seen to stand still.
  const soon = step({ ...STATES.playing, line: 'waiting' }, EVENTS.moved, { now: 1000 });
  assert.equal(seen(step(soon.state, EVENTS['line online'], { now: 1100 })), 'playing door|1, for door, restart');
});

test('a source that plays again is not waited for', () => {
  const failed = { ...STATES.later, cameras: [{ ...door, source: { state: 'failed' } }], hold: { until: 60000 } };
  const well = { type: 'cameras', cameras: [{ ...door, source: { state: 'playing' } }] };
  assert.equal(step(failed, well, { now: 1000 }).state.phase, 'calling');
});

test('the reason for missing frames follows from what is known', () => {
  const call = { name: 'Door', online: true, path: 'connected', bitrate: 900000 };
  for (const [known, title, advice] of [
    [{ source: { state: 'lost', message: 'The network camera cannot be reached' } }, /^Door has no picture at the moment$/, /cannot be reached\. Trying again\.$/],
    [{ source: { state: 'failed', message: 'No such file.' } }, /^Door has no picture$/, /^No such file\.$/],
    [{ source: { state: 'starting' } }, /starting/, /opening/],
    [{ source: { state: 'ended' } }, /ended/, /^$/],
    [{ online: false }, /server is not reachable/, /reconnects/],
    [{ online: false, server: { answers: true } }, /does not open a WebSocket/, /proxy/],
    [{ online: false, server: { limited: 'Wait 7 s' } }, /Too many attempts/, /^Wait 7 s\.$/],
    [{ path: 'disconnected' }, /Reconnecting/, /path to Door/],
    [{ source: { state: 'lost', code: 'video-off' } }, /^Door's video is off$/, /Only sound arrives/],
    [{ source: { state: 'lost', code: 'video-off' }, path: 'disconnected' }, /no picture/, /Trying again/],
    [{ source: { state: 'lost', code: 'no-publisher' } }, /^Nobody publishes at Door$/, /as soon as somebody does/],
    [{ bitrate: 150000 }, /network is slow/, /150 kbit\/s/],
    [{ bitrate: 150000, video: 0 }, /is frozen/, /Only sound arrives from Door/],
    [{}, /is frozen/, /Nothing arrives from Door/],
    [{ bitrate: 0 }, /is frozen/, /Nothing arrives from Door/],
  ]) {
    const [said, more = ''] = standing({ ...call, ...known });
    assert.match(said, title);
    assert.match(more, advice);
  }
});

test('sound alone is no fault, to whoever saw a picture before and to whoever did not', () => {
  const why = { source: { state: 'lost', code: 'video-off' }, online: true, path: 'connected' };
  for (const phase of ['playing', 'stalled']) assert.equal(notice({ ...STATES.playing, phase }, { why }).kind, 'voice', phase);
  assert.equal(notice(STATES.playing, { why: { ...why, source: { state: 'playing', code: 'playing' } } }).kind, 'playing');
  assert.equal(notice({ ...STATES.playing, phase: 'stalled' }, { why: { ...why, path: 'disconnected' } }).kind, 'stalled');
});

// ── Codes ──

test('each code is retried as the protocol says', () => {
  const kinds = Object.groupBy ? Object.groupBy(CODES, again) : CODES.reduce((all, code) => ({ ...all, [again(code)]: [...(all[again(code)] ?? []), code] }), {});
  assert.deepEqual(Object.fromEntries(Object.entries(kinds).map(([kind, codes]) => [kind, [...codes].sort()])), {
    [AGAIN.now]: ['ice-failed', 'lost', 'no-such-call', 'vanished'],
    [AGAIN.back]: ['offline', 'shutdown'],
    [AGAIN.reopen]: ['source-ended', 'source-failed'],
    [AGAIN.soon]: ['busy', 'timeout'],
    [AGAIN.never]: ['bad-description', 'declined', 'ended', 'no-codec', 'not-allowed', 'replaced'],
  });
  for (const unknown of ['', 'hangup', 'toString', 'the viewer vanished']) assert.equal(again(unknown), AGAIN.soon, unknown);
});

test('waits grow as the protocol says, and jitter never makes them longer', () => {
  const waits = (code) => [0, 1, 2, 3, 4, 5, 50].map((tries) => wait(code, tries, 1));
  assert.deepEqual(waits('busy'), [2000, 4000, 4000, 4000, 4000, 4000, 4000]);
  assert.deepEqual(waits('source-failed'), [5000, 10000, 20000, 40000, 60000, 60000, 60000]);
  assert.deepEqual(waits('vanished'), [0, 2000, 4000, 4000, 4000, 4000, 4000]);
  assert.equal(wait('declined', 0), Infinity);
  for (const code of CODES) assert.ok(wait(code, 3, 0) <= wait(code, 3, 1), code);
});

test('each code has a text for people, with the camera\'s name and without the code', () => {
  for (const code of [...CODES, 'from-the-future']) {
    for (const remote of [true, false]) {
      const [title, advice] = words(code, { name: 'Door', remote });
      assert.ok(title.length > 4 && typeof advice === 'string', code);
      assert.ok(!/undefined|function/.test(title + advice) && !`${title} ${advice}`.includes('from-the-future'), code);
    }
  }
});

test('beside a button to play again, no words demand anything else', () => {
  for (const code of CODES.filter((code) => again(code) === AGAIN.never)) {
    for (const remote of [true, false]) {
      const { more, retry } = notice({ ...STATES.over, end: { code, message: '', remote, peer: door } });
      assert.equal(retry, 'Play again', code);
      assert.ok(!/list|choose/i.test(more ?? ''), `${code}: ${more}`);
    }
  }
});

// ── From any state, once everything works, the picture is back within 5 s ──

/** The same numbers for a seed. */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('from any state, once server and camera work, the picture is back within 5 s', () => {
  let played = 0;
  for (let seed = 1; seed <= 2000; seed += 1) {
    const random = dice(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    let [now, state] = [0, step(START, { type: 'choose', peer: door }, { now: 0 }).state];
    const story = [];
    const happens = (event) => {
      story.push(`${now} ${JSON.stringify(event)}`);
      const next = step(state, event, { now, random: random() });
      state = next.state;
      return next.effects;
    };
    // Another wish, or a person's stop, ends this walk's promise.
    const walk = Object.entries(EVENTS).filter(([name]) => !/shed|stop/.test(name)).map(([, event]) => event);
    for (let i = 0; i < 40; i += 1) {
      now += Math.floor(random() * 3000);
      const code = pick([...CODES, 'unheard-of']);
      happens(random() < 0.3 ? ended(code) : pick(walk));
      if (due(state) !== null && random() < 0.5) {
        now = Math.max(now, due(state));
        happens({ type: 'time' });
      }
    }
    // Everything works: the server, the camera with a playing source, and no call with a person.
    happens({ type: 'line', state: 'online' });
    happens({ type: 'cameras', cameras: [{ ...door, source: { state: 'starting' } }] });
    happens({ type: 'cameras', cameras: [{ ...door, source: { state: 'playing' } }] });
    happens({ type: 'resume' });
    const began = now;
    // An earlier call is dead or plays; a running camera answers at once.
    if (state.phase === 'stalled') happens(ended('lost'));
    for (let i = 0; i < 10 && state.phase !== 'playing'; i += 1) {
      if (state.phase === 'calling') happens({ type: 'picture' });
      else if (due(state) !== null) {
        now = Math.max(now, due(state));
        happens({ type: 'time' });
      }
    }
    if (state.hold?.never) {
      assert.equal(again(state.end.code), AGAIN.never, story.join('\n'));
      continue;
    }
    played += 1;
    assert.equal(state.phase, 'playing', `seed ${seed}\n${story.join('\n')}`);
    assert.ok(now - began <= 5000, `seed ${seed}: ${now - began} ms\n${story.join('\n')}`);
  }
  assert.ok(played > 500, `most walks are of calls that are tried again: ${played}`);
});
