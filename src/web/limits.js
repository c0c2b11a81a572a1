// The times and limits of a client, and how long it waits: for the next attempt, for a socket, for an answer.

export const LIMITS = {
  beat: 4000, // ms of silence before a heartbeat; with `answer` a dead server is noticed in 8 s
  answer: 4000, // ms a heartbeat waits for any frame
  check: 1500, // ms it waits after sleep, or when the network changed; less where sockets open fast
  quick: 500, // ms it waits then at least
  hurry: 5000, // ms after that in which the waits don't grow: a network may have no address or route yet
  open: 8000, // ms for a socket to open
  reopen: 2000, // ms for that where one opened in a quarter of it before
  welcome: 15000, // ms from auth to welcome; a host may ask elsewhere before it admits
  firstDelay: 500, // ms; doubled at every attempt
  lastDelay: 4000, // somebody looks at the page: the picture is back within 5 s of its server
  stable: 5000, // ms online after which the delays start over
  rate: 80, // messages a second; the server's own limit is 100
  burst: 200, // the server's is 500
  queue: 2000, // messages that wait for their turn; more is a mistake of the page
};

/**
 * Milliseconds before reconnect number `attempt`: doubled each time, and half of it by chance.
 * @param {number} attempt
 * @param {number} random
 */
export function nextDelay(attempt, random, { firstDelay, lastDelay } = LIMITS) {
  const full = Math.min(lastDelay, firstDelay * 2 ** Math.min(attempt, 16));
  return full / 2 + (full / 2) * random;
}

/**
 * Milliseconds that a server which is still there needs to answer, by those that its socket took to open, which is two
 * round trips and more.
 * @param {number | null} took
 */
export function promptness(took, { check, quick } = LIMITS) {
  return took === null ? check : Math.min(check, Math.max(quick, took * 4));
}

/**
 * Milliseconds for a socket to open, after `hung` that did not. Where the network was gone the system sends the first
 * packet of a connection again after 1, 2, 4 … s, but that of a new one at once; and browsers open one socket to a server
 * at a time. So where sockets open fast one that hangs is given up soon. Not for good: another network may be slow, and
 * after that many failures Chromium delays each attempt by up to 5 s.
 * @param {number} hung
 * @param {number | null} took ms that the last one took that opened
 */
export function patience(hung, took, { open, reopen } = LIMITS) {
  if (took === null || hung >= 20 || hung % 8 === 7) return open;
  return Math.min(open, Math.max(reopen, took * 4));
}
