// When the page makes a connection ready ahead of a call, on a virtual clock: `node --test tests/browser/preparing.test.mjs`.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { FRESH, PAUSE, REST, due, fits, step } from '../../src/web/preparing.js';

const NOW = 200_000;
const base = { ...REST, wanted: true, ice: 'A', since: NOW - 1000 };

const STATES = {
  rest: REST,
  unwanted: { ...base, wanted: false, phase: 'none' },
  making: { ...base, phase: 'making' },
  ready: { ...base, phase: 'ready' },
  stale: { ...base, phase: 'ready', since: NOW - FRESH },
  failed: { ...base, phase: 'failed' },
  paused: { ...base, phase: 'failed', since: NOW - PAUSE },
  'failed, unwanted': { ...base, phase: 'failed', wanted: false, since: NOW - PAUSE },
};

const EVENTS = {
  'a call may begin': { type: 'need', wanted: true, ice: 'A' },
  'other ICE servers': { type: 'need', wanted: true, ice: 'B' },
  'none may begin': { type: 'need', wanted: false, ice: 'A' },
  made: { type: 'made' },
  failed: { type: 'failed' },
  network: { type: 'network' },
  taken: { type: 'taken' },
  time: { type: 'time' },
};

/** The phase after each event, and what is done. */
const TABLE = {
  rest: {
    'a call may begin': 'making, make',
    'other ICE servers': 'making, make',
    'none may begin': 'none',
    made: 'none', failed: 'none', network: 'none', taken: 'none', time: 'none',
  },
  unwanted: {
    'a call may begin': 'making, make',
    'other ICE servers': 'making, make',
    'none may begin': 'none',
    made: 'none', failed: 'none', network: 'none', taken: 'none', time: 'none',
  },
  making: {
    'a call may begin': 'making',
    'other ICE servers': 'making, drop, make',
    'none may begin': 'none, drop',
    made: 'ready',
    failed: 'failed, drop',
    network: 'making, drop, make',
    taken: 'none',
    time: 'making',
  },
  ready: {
    'a call may begin': 'ready',
    'other ICE servers': 'making, drop, make',
    'none may begin': 'none, drop',
    made: 'ready',
    failed: 'failed, drop',
    network: 'making, drop, make',
    taken: 'none',
    time: 'ready',
  },
  stale: {
    'a call may begin': 'ready',
    'other ICE servers': 'making, drop, make',
    'none may begin': 'none, drop',
    made: 'ready',
    failed: 'failed, drop',
    network: 'making, drop, make',
    taken: 'none',
    time: 'making, drop, make',
  },
  failed: {
    'a call may begin': 'failed',
    'other ICE servers': 'making, make',
    'none may begin': 'failed',
    made: 'failed', failed: 'failed',
    network: 'making, make',
    taken: 'failed',
    time: 'failed',
  },
  paused: {
    'a call may begin': 'failed',
    'other ICE servers': 'making, make',
    'none may begin': 'failed',
    made: 'failed', failed: 'failed',
    network: 'making, make',
    taken: 'failed',
    time: 'making, make',
  },
  'failed, unwanted': {
    'a call may begin': 'failed',
    'other ICE servers': 'making, make',
    'none may begin': 'failed',
    made: 'failed', failed: 'failed',
    network: 'none',
    taken: 'failed',
    time: 'failed',
  },
};

test('every state with every event', () => {
  for (const [name, state] of Object.entries(STATES)) {
    const row = {};
    for (const [event, it] of Object.entries(EVENTS)) {
      const { state: next, effects } = step(state, it, { now: NOW });
      row[event] = [next.phase, ...effects.flatMap(Object.keys)].join(', ');
      assert.ok(Object.isFrozen(state) || next !== state || effects.length === 0);
    }
    assert.deepEqual(row, TABLE[name], name);
  }
});

test('there is never more than one, whatever happens', () => {
  const events = Object.values(EVENTS);
  let seed = 7;
  const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor((seed / 2147483648) * n); };
  let state = REST;
  let open = 0;
  let now = 0;
  for (let i = 0; i < 20_000; i += 1) {
    now += random(40_000);
    const event = events[random(events.length)];
    const before = open;
    const { state: next, effects } = step(state, event, { now });
    for (const { drop, make } of effects) open += (make ? 1 : 0) - (drop ? 1 : 0);
    if (event.type === 'taken') open = 0;
    state = next;
    assert.equal(open, state.phase === 'making' || state.phase === 'ready' ? 1 : 0, `${before} and ${event.type}`);
    if (!state.wanted) assert.equal(open, 0);
    if (open) assert.ok(due(state) > now - 40_000);
  }
});

test('one that is there is renewed in time, and one that failed is tried again later', () => {
  assert.equal(due(STATES.ready), STATES.ready.since + FRESH);
  assert.equal(due(STATES.failed), STATES.failed.since + PAUSE);
  assert.equal(due(STATES['failed, unwanted']), null);
  assert.equal(due(STATES.unwanted), null);
});

test('a call takes one that fits only', () => {
  assert.equal(fits(STATES.ready, { ice: 'A', now: NOW }), true);
  assert.equal(fits(STATES.making, { ice: 'A', now: NOW }), true);
  assert.equal(fits(STATES.ready, { ice: 'B', now: NOW }), false, 'other ICE servers');
  assert.equal(fits(STATES.stale, { ice: 'A', now: NOW }), false, 'the page slept');
  for (const name of ['rest', 'unwanted', 'failed']) assert.equal(fits(STATES[name], { ice: 'A', now: NOW }), false, name);
});

test('what is no event is an error', () => {
  assert.throws(() => step(REST, { type: 'nonsense' }, { now: 0 }), /no event nonsense/);
  assert.throws(() => step(REST, { type: 'time' }, {}), /milliseconds/);
});
