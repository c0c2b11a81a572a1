/**
 * Milliseconds before reconnect number `attempt`: doubled each time, and half of it by chance.
 * @param {number} attempt
 * @param {number} random
 */
export function nextDelay(attempt: number, random: number, { firstDelay, lastDelay }?: {
    beat: number;
    answer: number;
    check: number;
    quick: number;
    hurry: number;
    open: number;
    reopen: number;
    welcome: number;
    firstDelay: number;
    lastDelay: number;
    stable: number;
    rate: number;
    burst: number;
    queue: number;
}): number;
/**
 * Milliseconds that a server which is still there needs to answer, by those that its socket took to open, which is two
 * round trips and more.
 * @param {number | null} took
 */
export function promptness(took: number | null, { check, quick }?: {
    beat: number;
    answer: number;
    check: number;
    quick: number;
    hurry: number;
    open: number;
    reopen: number;
    welcome: number;
    firstDelay: number;
    lastDelay: number;
    stable: number;
    rate: number;
    burst: number;
    queue: number;
}): number;
/**
 * Milliseconds for a socket to open, after `hung` that did not. Where the network was gone the system sends the first
 * packet of a connection again after 1, 2, 4 … s, but that of a new one at once; and browsers open one socket to a server
 * at a time. So where sockets open fast one that hangs is given up soon. Not for good: another network may be slow, and
 * after that many failures Chromium delays each attempt by up to 5 s.
 * @param {number} hung
 * @param {number | null} took ms that the last one took that opened
 */
export function patience(hung: number, took: number | null, { open, reopen }?: {
    beat: number;
    answer: number;
    check: number;
    quick: number;
    hurry: number;
    open: number;
    reopen: number;
    welcome: number;
    firstDelay: number;
    lastDelay: number;
    stable: number;
    rate: number;
    burst: number;
    queue: number;
}): number;
export namespace LIMITS {
    let beat: number;
    let answer: number;
    let check: number;
    let quick: number;
    let hurry: number;
    let open: number;
    let reopen: number;
    let welcome: number;
    let firstDelay: number;
    let lastDelay: number;
    let stable: number;
    let rate: number;
    let burst: number;
    let queue: number;
}
