// The codes of ended calls and what the page does about each. The code is sent as `reason` in call:hangup and
// call:reject, its text as `message`; no decision depends on the text.

/** When the page automatically calls a camera again. */
export const AGAIN = Object.freeze({
  now: 'now', // at once; if that fails, like `soon`
  back: 'back', // when the camera is online again
  reopen: 'reopen', // since a call reopens the source: after 5 s, doubling up to 60 s
  soon: 'soon', // after 2 s, then every 4 s
  never: 'never', // until a person decides
});

/**
 * Who ended a call: the other side (`remote`) or we. `name` is the other side's name.
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
 * For each code: when to call again, and [title, advice] for people.
 * @type {Record<string, [When, (who: Who) => Words]>}
 */
const TABLE = {
  ended: [AGAIN.never, title((name, remote) => (remote ? `${name} ended the call` : 'Stopped'))],
  declined: [AGAIN.never, title((name) => `${name} declined`)],
  'not-allowed': [AGAIN.never, title((name) => `${name} does not allow you to watch`, 'Ask its owner.')],
  'no-codec': [AGAIN.never, title(() => 'No common video format', (name) => `${name} sends no format that this browser can play. It needs H.264 or VP8: try Chrome, Edge or Safari, or enable VP8 on the camera.`)],
  'bad-description': [AGAIN.never, title(() => 'The call failed in this browser', 'Try again, or use another browser.')],
  replaced: [AGAIN.never, title(() => 'Now playing elsewhere', 'Another window took over this call.')],
  vanished: [AGAIN.now, title(() => 'Connection lost', 'Reconnecting.')],
  lost: [AGAIN.now, title(() => 'Connection lost', 'Reconnecting.')],
  'no-such-call': [AGAIN.now, title(() => 'Connection lost', 'Reconnecting.')],
  'ice-failed': [AGAIN.now, title(() => 'No network path for the video', (name) => `${name} answered, but no media arrived. A firewall or another network may be in between: allow its UDP port, or set up a TURN server.`)],
  offline: [AGAIN.back, title((name) => `${name} is offline`, 'It will play here as soon as it is back.')],
  shutdown: [AGAIN.back, title((name) => `${name} was switched off`, 'It will play here as soon as it is back.')],
  'source-ended': [AGAIN.reopen, title((name) => `The recording of ${name} has ended`, 'Trying again in a while.')],
  'source-failed': [AGAIN.reopen, title((name) => `${name} has no picture`, 'Its source cannot be opened. Trying again in a while.')],
  busy: [AGAIN.soon, title((name) => `${name} is busy`, 'It has the maximum number of viewers. Trying again shortly.')],
  timeout: [AGAIN.soon, title((name) => `${name} does not answer`, 'Trying again shortly.')],
};

/**
 * Unknown codes call again, like `busy`.
 * @type {[When, (who: Who) => Words]}
 */
const UNKNOWN = [AGAIN.soon, title((name) => `The call with ${name} ended`, 'Trying again shortly.')];

export const CODES = Object.freeze(Object.keys(TABLE));

/** @param {string} code */
const row = (code) => (Object.hasOwn(TABLE, code) ? TABLE[code] : UNKNOWN);

/**
 * Returns when to call again after a call that ended with this code.
 * @param {string} code
 */
export const again = (code) => row(code)[0];

/**
 * Returns the wait in ms before call number `tries` since the last picture (0 is the first); `random` is 0 to 1.
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
  // Jitter, so that many viewers of one camera do not return at the same moment. It only shortens the wait.
  return full * (0.8 + 0.2 * random);
}

/**
 * Returns [title, advice] for people. `remote`: the other side ended the call.
 * @param {string} code
 * @param {Partial<Who>} [who]
 */
export function words(code, { name = 'The camera', remote = true } = {}) {
  return row(code)[1]({ name, remote });
}

/** @type {Record<string, (name: string) => Words>} */
const PUBLISHED = {
  'not-allowed': (name) => [`You cannot publish to ${name} now`, 'Somebody else may be live there, or its owner does not allow you to.'],
  busy: (name) => [`You cannot publish to ${name} now`, 'Somebody else is live there.'],
  replaced: (name) => [`Somebody else is live on ${name} now`, ''],
  'no-codec': (name) => [`${name} takes no video of this browser`, 'Its owner chose another codec.'],
};

/**
 * Why we do not publish to a relay any more: [title, advice].
 * @param {string} code
 * @param {{ name?: string, remote?: boolean }} [call]
 * @returns {Words}
 */
export function published(code, call = {}) {
  return PUBLISHED[code]?.(call.name ?? '') ?? [words(code, call)[0], ''];
}
