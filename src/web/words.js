// The texts over the picture, for each state: [title, advice].

import { words } from './reasons.js';

/**
 * @typedef {import('./reasons.js').Words} Words
 * @typedef {import('./watching.js').State} State
 *
 * What is known about a server that does not admit us: it only answers HTTP; it refuses pages of this origin; its
 * message after too many attempts.
 * @typedef {{ answers?: boolean, refuses?: string, limited?: string }} Server
 *
 * Why there may be no frames: `source` is the state reported by the camera, `path` the state of the network path,
 * `bitrate` the received bitrate in bit/s, `video` the part of it that is video.
 * @typedef {{ source?: import('./watching.js').Source, online?: boolean, server?: Server, path?: string, bitrate?: number, video?: number }} Why
 *
 * A notice over the picture; `retry` is the label of a button.
 * @typedef {{ title: string, more?: string, kind: 'playing' | 'voice' | 'stalled' | 'busy' | 'waiting' | 'idle', retry?: string }} Notice
 */

/** @type {Words} */
const SERVER = ['The server is not reachable', 'This page reconnects by itself. If this goes on, check that the server is running and that this device is on its network.'];
/** @type {Words} */
const PROXY = ['The server responds, but does not open a WebSocket', 'A proxy in between must pass the headers Upgrade, Connection and Host. If there is none, too many pages may be open at your address. The server\'s log shows which.'];
/** @type {(origin: string) => Words} */
const REFUSED = (origin) => ['This page may not show the camera', `Add ${origin} to the origins of the camera's server. If it is listed there, the server is not reachable at the moment.`];
const TOKEN = 'Ask the owner of the camera for it.';
/** The code of a source whose video is off. */
export const SOUND_ALONE = 'video-off';

/** Problems that a person must solve before anything can play. */
export const PAGE = Object.freeze({
  /** @type {(detail: string) => Words} */
  token: (detail) => ['A token is required', detail ? `The server responded: ${detail}` : TOKEN],
  unplayable: /** @type {Words} */ (['This browser cannot play the video', 'It supports neither H.264 nor VP8 over WebRTC. Try a current Chrome, Edge, Safari or Firefox.']),
  /** @type {(detail: string) => Words} */
  media: (detail) => ['The call failed in this browser', detail || 'Try again, or use another browser.'],
});

/**
 * Why there is no connection.
 * @type {(server?: Server) => Words}
 */
const away = ({ answers = false, refuses = '', limited = '' } = {}) => {
  if (limited) return ['Too many attempts', sentence(limited)];
  if (refuses) return REFUSED(refuses);
  return answers ? PROXY : SERVER;
};

/**
 * Whether a relay sends sound alone, as it reports, and this may arrive.
 * @param {Why} why
 */
const isSoundAlone = ({ source, path }) => source?.code === SOUND_ALONE && path === 'connected';

/**
 * Why there are no frames during a call.
 * @param {Why & { name: string }} why
 * @returns {Words | [title: string]}
 */
export function standing({ name, source, online, server, path, bitrate = 0, video = bitrate }) {
  if (isSoundAlone({ source, path })) return [`${name}'s video is off`, 'Only sound arrives at the moment.'];
  if (source?.code === 'no-publisher') return [`Nobody publishes at ${name}`, 'It plays here as soon as somebody does.'];
  if (source?.state === 'lost') return [`${name} has no picture at the moment`, `${sentence(source.message)} Trying again.`.trim()];
  if (source?.state === 'failed') return [`${name} has no picture`, sentence(source.message) || 'Its source failed.'];
  if (source?.state === 'starting') return [`${name} is starting`, 'Its source is opening.'];
  if (source?.state === 'ended') return [`The recording of ${name} has ended`];
  if (!online) return away(server);
  if (path !== 'connected') return ['Reconnecting', `Looking for a network path to ${name}.`];
  if (video > 0 && bitrate < 200000) return ['The network is slow', `Only ${Math.max(1, Math.round(bitrate / 1000))} kbit/s arrive at the moment.`];
  if (bitrate > video) return ['The picture is frozen', `Only sound arrives from ${name} at the moment.`];
  return ['The picture is frozen', `Nothing arrives from ${name} at the moment. The network may be slow, or its source has stopped.`];
}

/**
 * The notice over the picture, outside calls with people. `ringing`: the camera has not accepted yet.
 * @param {State} state
 * @param {{ ringing?: boolean, why?: Why, server?: Server }} [more]
 * @returns {Notice}
 */
export function notice(state, { ringing = false, why = {}, server } = {}) {
  const { line, phase, peer, wish, hold, end, cameras } = state;
  const name = peer?.name ?? peer?.user ?? '';
  if ((phase === 'playing' || phase === 'stalled') && isSoundAlone(why)) return { ...said(standing({ ...why, name })), kind: 'voice' };
  if (phase === 'playing') return { title: `Playing ${name}`, kind: 'playing' };
  if (phase === 'stalled') return { ...said(standing({ ...why, name })), kind: 'stalled' };
  if (phase === 'calling') {
    const source = why.source?.state;
    if (source && source !== 'playing' && !ringing) return { ...said(standing({ ...why, name })), kind: 'busy' };
    return { title: `${ringing ? 'Calling' : 'Connecting to'} ${name}`, kind: 'busy' };
  }
  // Between two attempts at a server that refuses us, the notice stays.
  if (line === 'waiting' || (line === 'connecting' && server?.refuses)) return { ...said(away(server)), kind: 'busy' };
  if (line !== 'online') return { title: 'Connecting to the server', kind: 'busy' };
  if (end && (wish || hold || !end.remote)) {
    const [title, more] = words(end.code, { name: end.peer.name, remote: end.remote });
    const never = hold?.never || !wish;
    return { title, more: sentence(end.message) || more, kind: never ? 'idle' : 'busy', retry: never ? 'Play again' : '' };
  }
  if (wish) return { ...said(words('offline', { name: wish.name })), kind: 'waiting' };
  if (cameras.length) return { title: 'Choose a camera', more: 'The list shows those that are online.', kind: 'idle' };
  return { title: 'No camera is online', more: 'It will play here as soon as one comes online.', kind: 'waiting' };
}

/** @param {Words | [title: string]} words */
const said = ([title, more = '']) => ({ title, more });

/**
 * A message from the other side, as one sentence of limited length.
 * @param {unknown} text
 */
function sentence(text) {
  if (typeof text !== 'string' || !text.trim()) return '';
  const line = text.replace(/\s+/g, ' ').trim().slice(0, 240);
  return /[.!?…]$/.test(line) ? line : `${line}.`;
}
