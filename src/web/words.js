// What the page says over the picture, for each state: [title, advice].

import { words } from './reasons.js';

/**
 * @typedef {import('./reasons.js').Words} Words
 * @typedef {import('./watching.js').State} State
 *
 * What is known of a server that does not let us in: it answers by HTTP alone; it refuses pages of this origin; its
 * words when there were too many tries.
 * @typedef {{ answers?: boolean, refuses?: string, limited?: string }} Server
 *
 * Why no frame may come: `source` is what the camera tells of its own, `path` the state of the network path, `bitrate`
 * what comes, in bit/s.
 * @typedef {{ source?: { state?: string, message?: unknown }, online?: boolean, server?: Server, path?: string, bitrate?: number }} Why
 *
 * What stands over the picture; `retry` names a button.
 * @typedef {{ title: string, more?: string, kind: 'playing' | 'stalled' | 'busy' | 'waiting' | 'idle', retry?: string }} Notice
 */

/** @type {Words} */
const SERVER = ['The server is gone', 'This page connects again by itself. If it stays so, look whether the server runs and this device is on its network.'];
/** @type {Words} */
const PROXY = ['The server answers, but opens no WebSocket', 'A proxy in between must pass the headers Upgrade, Connection and Host. If there is none, too many pages of your address may be open. The log of the server says which.'];
/** @type {(origin: string) => Words} */
const REFUSED = (origin) => ['This page may not show the camera', `The camera's server must have ${origin} among its origins. If it has, it is not there at the moment.`];
const TOKEN = 'Whoever runs the camera knows the token.';

/** What needs a person before anything can play. */
export const PAGE = Object.freeze({
  /** @type {(detail: string) => Words} */
  token: (detail) => ['A token is needed', detail ? `The server said: ${detail}` : TOKEN],
  unplayable: /** @type {Words} */ (['This browser cannot play it', 'It has neither H.264 nor VP8 over WebRTC. Try a current Chrome, Edge, Safari or Firefox.']),
  /** @type {(detail: string) => Words} */
  media: (detail) => ['The call failed in this browser', detail || 'Try again, or another browser.'],
});

/**
 * Why there is no connection.
 * @type {(server?: Server) => Words}
 */
const away = ({ answers = false, refuses = '', limited = '' } = {}) => {
  if (limited) return ['Too many tries', sentence(limited)];
  if (refuses) return REFUSED(refuses);
  return answers ? PROXY : SERVER;
};

/**
 * Why no frame comes although a call stands.
 * @param {Why & { name: string }} why
 * @returns {Words | [title: string]}
 */
export function standing({ name, source, online, server, path, bitrate = 0 }) {
  if (source?.state === 'lost') return [`${name} has no picture at the moment`, `${sentence(source.message)} It is tried again.`.trim()];
  if (source?.state === 'failed') return [`${name} has no picture`, sentence(source.message) || 'Its source failed.'];
  if (source?.state === 'starting') return [`${name} is starting`, 'Its source is being opened.'];
  if (source?.state === 'ended') return [`The recording of ${name} is over`];
  if (!online) return away(server);
  if (path !== 'connected') return ['Reconnecting', `The network path to ${name} is being looked for again.`];
  if (bitrate > 0 && bitrate < 200000) return ['The network is slow', `Your network carries ${Math.max(1, Math.round(bitrate / 1000))} kbit/s at the moment.`];
  return ['The picture stands still', `Nothing comes from ${name} at the moment. The network may be slow, or its source has stopped.`];
}

/**
 * What is over the picture while no person is called. `ringing`: the camera has not accepted yet.
 * @param {State} state
 * @param {{ ringing?: boolean, why?: Why, server?: Server }} [more]
 * @returns {Notice}
 */
export function notice(state, { ringing = false, why = {}, server } = {}) {
  const { line, phase, peer, wish, hold, end, cameras } = state;
  const name = peer?.name ?? peer?.user ?? '';
  if (phase === 'playing') return { title: `Playing ${name}`, kind: 'playing' };
  if (phase === 'stalled') return { ...said(standing({ ...why, name })), kind: 'stalled' };
  if (phase === 'calling') {
    const source = why.source?.state;
    if (source && source !== 'playing' && !ringing) return { ...said(standing({ ...why, name })), kind: 'busy' };
    return { title: `${ringing ? 'Calling' : 'Connecting to'} ${name}`, kind: 'busy' };
  }
  // Between two tries to a server that refuses us nothing new is said.
  if (line === 'waiting' || (line === 'connecting' && server?.refuses)) return { ...said(away(server)), kind: 'busy' };
  if (line !== 'online') return { title: 'Connecting to the server', kind: 'busy' };
  if (end && (wish || hold || !end.remote)) {
    const [title, more] = words(end.code, { name: end.peer.name, remote: end.remote });
    const never = hold?.never || !wish;
    return { title, more: sentence(end.message) || more, kind: never ? 'idle' : 'busy', retry: never ? 'Play again' : '' };
  }
  if (wish) return { ...said(words('offline', { name: wish.name })), kind: 'waiting' };
  if (cameras.length) return { title: 'Choose a camera', more: 'Those that are online are in the list.', kind: 'idle' };
  return { title: 'No camera is online', more: 'One that comes will play here by itself.', kind: 'waiting' };
}

/** @param {Words | [title: string]} words */
const said = ([title, more = '']) => ({ title, more });

/**
 * Words of the other side, as one sentence of bounded length.
 * @param {unknown} text
 */
function sentence(text) {
  if (typeof text !== 'string' || !text.trim()) return '';
  const line = text.replace(/\s+/g, ' ').trim().slice(0, 240);
  return /[.!?…]$/.test(line) ? line : `${line}.`;
}
