// Why a call ended: what each code means to the page. `code` travels as `reason` in call:hangup and call:reject, the
// words beside it as `message`; nothing is ever decided by the words.

/** When the page calls a camera again by itself. */
export const AGAIN = Object.freeze({
  now: 'now', // at once; if that does not help, as `soon`
  back: 'back', // when the camera is there again
  reopen: 'reopen', // a call opens its source again: after 5 s, doubling to 60 s
  soon: 'soon', // after 2 s, then every 4 s
  never: 'never', // a person decides
});

/**
 * Who ended a call: the other side, `remote`, whose name it is, or we.
 * @typedef {{ name: string, remote: boolean }} Who
 * @typedef {[title: string, advice: string]} Words
 * @typedef {(typeof AGAIN)[keyof typeof AGAIN]} When
 */

/**
 * @param {(name: string, remote: boolean) => string} text
 * @param {string | ((name: string) => string)} more
 * @returns {(who: Who) => Words}
 */
const title = (text, more = '') => ({ name, remote }) => [text(name, remote), typeof more === 'function' ? more(name) : more];

/**
 * For each code: when to try again, and [title, advice] for people.
 * @type {Record<string, [When, (who: Who) => Words]>}
 */
const TABLE = {
  ended: [AGAIN.never, title((name, remote) => (remote ? `${name} ended the call` : 'Stopped'), 'Choose who to see from the list.')],
  declined: [AGAIN.never, title((name) => `${name} declined`)],
  'not-allowed': [AGAIN.never, title((name) => `${name} does not let you in`, 'Ask whoever runs it.')],
  'no-codec': [AGAIN.never, title(() => 'No common video format', (name) => `${name} sends nothing that this browser plays. It needs H.264 or VP8: try Chrome, Edge or Safari, or let the camera send VP8.`)],
  'bad-description': [AGAIN.never, title(() => 'The call failed in this browser', 'Try again, or another browser.')],
  replaced: [AGAIN.never, title(() => 'It plays somewhere else now', 'Another window took this call over.')],
  vanished: [AGAIN.now, title(() => 'The picture was lost', 'Looking for it again.')],
  lost: [AGAIN.now, title(() => 'The picture was lost', 'Looking for it again.')],
  'no-such-call': [AGAIN.now, title(() => 'The picture was lost', 'Looking for it again.')],
  'ice-failed': [AGAIN.now, title(() => 'No path to the picture', (name) => `${name} answered, but no media came through. A firewall or another network may be between: allow its UDP port, or set up a TURN server.`)],
  offline: [AGAIN.back, title((name) => `${name} is offline`, 'It plays here again as soon as it is back.')],
  shutdown: [AGAIN.back, title((name) => `${name} was switched off`, 'It plays here again as soon as it is back.')],
  'source-ended': [AGAIN.reopen, title((name) => `The recording of ${name} is over`, 'It is asked for again in a while.')],
  'source-failed': [AGAIN.reopen, title((name) => `${name} has no picture`, 'Its source cannot be opened. It is tried again in a while.')],
  busy: [AGAIN.soon, title((name) => `${name} is busy`, 'It serves as many as it can. Trying again shortly.')],
  timeout: [AGAIN.soon, title((name) => `${name} does not answer`, 'Trying again shortly.')],
};

/**
 * What the page never heard of is tried again, as `busy` is.
 * @type {[When, (who: Who) => Words]}
 */
const UNKNOWN = [AGAIN.soon, title((name) => `The call with ${name} ended`, 'Trying again shortly.')];

export const CODES = Object.freeze(Object.keys(TABLE));

/** @param {string} code */
const row = (code) => (Object.hasOwn(TABLE, code) ? TABLE[code] : UNKNOWN);

/**
 * When to call again after an end with this code.
 * @param {string} code
 */
export const again = (code) => row(code)[0];

/**
 * Milliseconds to wait before call number `tries` since a picture was there (0 is the first); `random` is 0 to 1.
 * @param {string} code
 * @param {number} tries
 */
export function wait(code, tries, random = 0.5) {
  const full = {
    [AGAIN.now]: tries === 0 ? 0 : tries === 1 ? 2000 : 4000,
    [AGAIN.back]: 0,
    [AGAIN.reopen]: Math.min(60000, 5000 * 2 ** Math.min(tries, 10)),
    [AGAIN.soon]: tries === 0 ? 2000 : 4000,
    [AGAIN.never]: Infinity,
  }[again(code)];
  // Many viewers of one camera must not come back in one moment; never later than the wait itself.
  return full * (0.8 + 0.2 * random);
}

/**
 * [title, advice] for people. `remote`: the other side ended it.
 * @param {string} code
 * @param {Partial<Who>} [who]
 */
export function words(code, { name = 'The camera', remote = true } = {}) {
  return row(code)[1]({ name, remote });
}
