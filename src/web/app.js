// The page: who is online, one call at a time, and words for everything that can go wrong.
// What it plays, and whether it plays again after a loss, is decided in consider() and ended().

import { Client } from './client.js';
import { Calls } from './call.js';
import { Player, playable } from './player.js';
import { Controls } from './controls.js';
import { randomId } from './events.js';
import { advice } from './words.js';

const $ = (id) => document.getElementById(id);
const video = $('video');

// ── State ──

let config = { iceServers: [], room: 'public', auth: false };
let current = null; // { call, player, peer, stream }
let wanted = null; // the camera to play, again too: { user, address, name }, `refused`: not at this address
let auto = true; // until the user chooses: a single camera plays by itself
let sound = false; // the user asked for it; browsers play silence before that
let again = null; // timer of the next try
let tries = 0;
let preparing = false; // the browser asks the user for the camera
let tuning = false; // the camera's controls are shown
let told = false; // why the last call ended stays on screen
let answers = false; // the server answers HTTP, but gives no WebSocket

const token = takeToken();
const user = remember(sessionStorage, 'symple.user', () => `viewer-${randomId().slice(0, 10)}`);
const socket = new URL('./', location.href);
socket.protocol = socket.protocol.replace('http', 'ws');
socket.hash = socket.search = '';

const client = new Client({
  url: socket.href,
  user,
  name: remember(localStorage, 'symple.name', () => `Viewer ${user.slice(-4)}`),
  token,
  data: { peerType: 'person' },
});
const { roster } = client;
const calls = Calls.over(client);

const controls = new Controls({ client, form: $('tuning-form'), said: toast, changed: () => show() });

// For tests, and the curious.
Object.defineProperty(window, 'symple', {
  value: Object.freeze({ client, roster, calls, get player() { return current?.player ?? null; } }),
});

// ── The connection ──

client.on('state', (state, { reason = '', opened = true }) => {
  if (state === 'online') answers = false;
  const words = {
    connecting: 'Connecting…',
    online: 'Online',
    waiting: answers ? 'No WebSocket, trying again' : 'Server gone, trying again',
    denied: 'A token is needed',
    idle: 'Disconnected',
  };
  const pill = $('connection');
  pill.dataset.state = state;
  // Between two tries nothing new is said.
  if (state !== 'connecting' || pill.textContent !== words.waiting) pill.textContent = words[state];
  pill.title = reason;
  if (state === 'denied') askToken(client.token ? reason : '');
  if (state === 'waiting' && !current) {
    told = false;
    const limited = client.lastError?.status === 429;
    say(advice(limited ? 'limited' : answers ? 'proxy' : 'server', { detail: reason }), { busy: true });
    if (!opened) lookWhy();
  }
  if (state === 'online') settle();
  show();
});
client.on('welcome', () => loadConfig());

/** A socket that does not open while the server answers: something in between passes no WebSockets. */
async function lookWhy() {
  let health = null;
  try { health = await fetch('api/health', { cache: 'no-store' }); } catch { /* gone indeed */ }
  answers = Boolean(health?.ok);
  if (answers && client.state === 'waiting' && !current) {
    $('connection').textContent = 'No WebSocket, trying again';
    say(advice('proxy'), { busy: true });
  }
}
client.on('error', ({ status, message }) => status !== 401 && toast(`${message} (${status})`));

addEventListener('online', () => client.check());
addEventListener('offline', () => client.check());
document.addEventListener('visibilitychange', () => document.hidden || client.check());
addEventListener('pagehide', () => {
  current?.call.hangup('left');
  client.close();
});
addEventListener('pageshow', ({ persisted }) => persisted && client.connect());

async function loadConfig() {
  try {
    const response = await fetch('api/config', {
      cache: 'no-store',
      headers: client.token ? { Authorization: `Bearer ${client.token}` } : {},
    });
    if (response.ok) config = { ...config, ...(await response.json()) };
  } catch { /* the socket will say that the server is gone */ }
}

/** The token of the address's fragment, which then leaves the address bar; else the session's. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    history.replaceState(null, '', location.pathname + location.search);
    keep(sessionStorage, 'symple.token', given);
  }
  return given ?? remember(sessionStorage, 'symple.token', () => '');
}

function askToken(reason) {
  say(advice('token', { detail: reason }), { retry: 'Enter token', run: () => askToken('') });
  $('token-words').textContent = reason
    ? `It was not accepted: ${reason}. Look for a typing error, or ask whoever runs the server.`
    : 'Whoever runs it has it: it was printed where the server was started.';
  $('token').value = '';
  if (!$('token-dialog').open) $('token-dialog').showModal();
}

$('token-form').addEventListener('submit', async () => {
  client.token = $('token').value.trim();
  keep(sessionStorage, 'symple.token', client.token);
  await loadConfig(); // what it says of ICE servers is for those who know the token
  client.connect();
});

// ── What to play ──

/** Snapshots come one by one after the welcome: look once they are in. */
let settling;
function settle() {
  clearTimeout(settling);
  settling = setTimeout(consider, 150);
}

roster.on('added', (peer) => {
  // The camera of this call has a new session: it may have been restarted, and know nothing of us.
  if (current?.peer.user === peer.user) current.suspect = true;
  show();
  settle();
});
roster.on('updated', show);
roster.on('removed', (peer, { lost }) => {
  show();
  if (!lost) settle();
});

function consider() {
  if (!client.online || current || again || preparing || asking) return;
  const cameras = roster.cameras();
  if (auto && cameras.length === 1 && !(wanted && cameras[0].address === wanted.refused)) {
    wanted = { ...wanted, ...cameras[0] };
  }
  if (!wanted) {
    if (told) return;
    if (cameras.length) say(['Choose a camera', 'Those that are online are in the list.']);
    else say(['No camera is online', 'One that comes will play here by itself.'], { waiting: true });
    return;
  }
  const mine = cameras.filter((peer) => peer.user === wanted.user && peer.address !== wanted.refused);
  const peer = mine.find((it) => it.address === wanted.address) ?? mine.at(-1);
  if (peer) ring(peer, null);
  else if (!roster.get(wanted.refused)) say(advice('offline', wanted), { waiting: true });
}

/** A click on a peer. */
async function choose(peer) {
  if (current?.peer.address === peer.address) return;
  auto = false;
  sound = true;
  tries = 0;
  stop('hangup');
  clearTimer();
  if (peer.peerType === 'camera') {
    wanted = { ...peer };
    consider();
  } else {
    wanted = null;
    say([`Calling ${peer.name}`, 'Allow the camera and the microphone when the browser asks.'], { busy: true });
    preparing = true;
    const stream = await ownMedia();
    preparing = false;
    if (!stream) say(['Not called', 'A call needs your microphone at least.'], { retry: 'Try again', run: () => choose(peer) });
    else if (roster.get(peer.address) && !current) ring(peer, stream);
    else {
      release(stream);
      if (!current) say(advice('offline', { name: peer.name, camera: false }));
    }
  }
}

function ring(peer, stream) {
  if (!playable()) return say(advice('unplayable'));
  const direction = stream ? 'sendrecv' : 'recvonly';
  begin(calls.invite(peer.address, { video: true, audio: true, direction }), peer, stream);
}

// ── A call ──

function begin(call, peer, stream) {
  let player;
  try {
    player = new Player({ call, video, iceServers: config.iceServers, stream });
  } catch (error) {
    call.hangup('media');
    return say(advice('media', { detail: error.message }));
  }
  told = false;
  current = { call, player, peer, stream, suspect: false };
  video.muted = !sound;
  $('self').srcObject = stream;
  $('self').hidden = !stream?.getVideoTracks().length;
  if (stream) $('self').play().catch(() => {});
  player.on('state', show);
  player.on('sound', show);
  player.on('picture', () => { tries = 0; });
  player.on('stats', (stats) => {
    measure(stats);
    if (current?.suspect && player.quiet > 2000) call.failed('lost');
  });
  call.on('state', show);
  show();
}

calls.on('ended', (call) => {
  if (call.id === asking?.id) closePrompt();
  if (current?.call !== call) return;
  const { peer, player } = current;
  const kept = call.reason === 'glare' ? current.stream : (release(current.stream), null);
  current = null;
  measure({});
  $('self').hidden = true;
  $('self').srcObject = null;
  held = kept;
  ended(call, peer, player);
  show();
});

/** What a call's end means: words, and whether to try again. */
function ended({ reason, endedByRemote }, peer, player) {
  if (['glare', 'replaced', 'left'].includes(reason)) return;
  const camera = peer.peerType === 'camera';
  const what = reason === 'offline' && !client.online ? 'server' : reason;
  const source = reason.startsWith('source-');
  const detail = source ? roster.get(peer.address)?.source?.message : player.error?.message;
  const words = advice(what, { name: peer.name, detail, remote: endedByRemote, camera });
  if (camera && wanted && (source || ['lost', 'offline', 'busy'].includes(reason))) {
    // It may well be back: soon, then less and less often.
    say(words, { busy: true });
    const wait = source ? Math.min(60000, 5000 * 2 ** tries) : reason === 'busy' ? 5000 : tries === 0 ? 0 : Math.min(15000, 1000 * 2 ** tries);
    tries += 1;
    again = setTimeout(() => { again = null; consider(); }, wait * (0.75 + Math.random() / 2));
    return;
  }
  // It ended the call, or cannot be reached: not again before it has a new session, or we are asked to.
  if (camera && wanted) wanted.refused = peer.address;
  video.srcObject = null;
  told = true;
  say(words, { retry: camera ? 'Play again' : 'Call again', run: () => retry(peer) });
}

function retry(peer) {
  const now = roster.get(peer.address) ?? roster.of(peer.user).at(-1);
  if (now) choose(now);
  else {
    wanted = peer.peerType === 'camera' ? { ...peer } : null;
    say(advice('offline', { name: peer.name, camera: Boolean(wanted) }), { waiting: true });
  }
}

function stop(reason) {
  if (reason === 'hangup') wanted = null;
  current?.call.hangup(reason);
}

function clearTimer() {
  clearTimeout(again);
  again = null;
}

// ── Being called ──

let asking = null; // the incoming call of the prompt
let held = null; // our stream of a call that gave way to the other's

calls.on('incoming', (call) => {
  const peer = roster.get(call.remote) ?? { address: call.remote, user: call.remote.split('|')[0], name: call.remote.split('|')[0] };
  if (peer.peerType === 'camera') {
    clearTimer();
    wanted = { ...peer };
    return answer(call, peer, null);
  }
  if (call.mutual) return answer(call, peer, held);
  asking = call;
  $('incoming-title').textContent = `${peer.name} calls`;
  $('accept').onclick = async () => {
    const stream = await ownMedia();
    asking = null;
    $('incoming').close();
    if (call.state === 'incoming') {
      sound = true;
      wanted = null;
      auto = false;
      answer(call, peer, stream);
    } else release(stream);
  };
  $('incoming').showModal();
  show();
});

function answer(call, peer, stream) {
  held = null;
  begin(call, peer, stream);
  call.accept();
}

function closePrompt() {
  if (asking?.reason === 'timeout' || asking?.endedByRemote) toast('The caller gave up.');
  asking = null;
  $('incoming').close();
}

$('decline').addEventListener('click', () => $('incoming').close());
$('incoming').addEventListener('close', () => {
  const call = asking;
  asking = null;
  call?.reject('declined');
  settle();
  show();
});

/** Our camera and microphone; null with words when there is none. */
async function ownMedia() {
  if (!navigator.mediaDevices?.getUserMedia) {
    toast('Browsers give a camera only to pages from https or localhost. Open this page by https to be seen and heard.');
    return null;
  }
  for (const wish of [{ video: true, audio: true }, { audio: true }]) {
    try {
      return await navigator.mediaDevices.getUserMedia(wish);
    } catch ({ name }) {
      if (name === 'NotAllowedError') {
        toast('The browser was told not to give the camera and microphone. Allow them at the left of the address.');
        return null;
      }
      if (wish.video) toast(name === 'NotReadableError' ? 'Your camera is used by another program.' : 'No camera was found here: sound only.');
    }
  }
  return null;
}

const release = (stream) => stream?.getTracks().forEach((track) => track.stop());

// ── Controls ──

function setSound(on) {
  sound = on;
  if (current) current.player.muted = !on;
  if (on) video.play().catch(() => {});
}

$('mute').addEventListener('click', () => {
  offered = false;
  setSound(video.muted);
});
$('unmute').addEventListener('click', () => setSound(true));
$('hangup').addEventListener('click', () => {
  auto = false;
  clearTimer();
  if (!current) told = false;
  stop('hangup');
  consider();
  show();
});
$('snapshot').addEventListener('click', async () => {
  try {
    const blob = await current.player.snapshot();
    const name = `${current.peer.name} ${new Date().toISOString().slice(0, 19)}`.replace(/[^\p{L}\p{N}]+/gu, '-');
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: `${name}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    toast(`Saved ${link.download}`);
  } catch {
    toast('There is no picture to save yet.');
  }
});
$('fullscreen').addEventListener('click', () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('stage').requestFullscreen) $('stage').requestFullscreen().catch(() => toast('The browser does not allow full screen here.'));
  else video.webkitEnterFullscreen?.(); // iPhones know it for videos only
});
video.addEventListener('dblclick', () => $('fullscreen').click());

// In full screen the bar leaves when nothing moves.
let still;
$('stage').addEventListener('pointermove', () => {
  $('stage').classList.remove('still');
  clearTimeout(still);
  still = setTimeout(() => $('stage').classList.add('still'), 3000);
});

$('adjust').addEventListener('click', () => {
  tuning = !tuning;
  if (tuning) controls.read(); // some change by themselves
  show();
});
$('tuning-reset').addEventListener('click', () => controls.reset());

$('name').value = client.name;
$('name').addEventListener('change', () => {
  const name = $('name').value.trim() || `Viewer ${user.slice(-4)}`;
  $('name').value = name;
  keep(localStorage, 'symple.name', name);
  client.present({ name });
});

// ── What is shown ──

let offered = true; // the big button for sound, until the small one was used

/** The words over the picture. */
function say([title, more = ''], { busy = false, waiting = false, retry = '', run = null } = {}) {
  $('stage').dataset.state = busy ? 'busy' : waiting ? 'waiting' : 'idle';
  if ($('state').textContent !== title) $('state').textContent = title;
  if ($('advice').textContent !== more) $('advice').textContent = more;
  $('retry').hidden = !run;
  $('retry').textContent = retry;
  $('retry').onclick = run;
}

function show() {
  const { call, player, peer } = current ?? {};
  const playing = player?.state === 'playing' || player?.state === 'stalled';
  if (current) {
    const camera = peer.peerType === 'camera';
    const source = roster.get(peer.address)?.source;
    if (player.state === 'playing') say([`Playing ${peer.name}`]);
    else if (client.online && source?.state === 'lost') say(advice('source-lost', { name: peer.name, detail: source.message }), { busy: true });
    else if (player.state === 'stalled') say(advice(client.online ? 'stalled' : 'server', peer), { busy: true });
    else if (call.state === 'ringing') say([`Calling ${peer.name}`, camera ? '' : 'Waiting for an answer.'], { busy: true });
    else say([`Connecting to ${peer.name}`], { busy: true });
    if (playing) $('stage').dataset.state = player.state;
  }
  const muted = video.muted;
  const audible = Boolean(player?.remote.getAudioTracks().length);
  $('live').hidden = !playing;
  $('live-name').textContent = peer?.name ?? '';
  $('unmute').hidden = !(playing && muted && audible && offered);
  $('mute').disabled = !(playing && audible);
  $('mute').setAttribute('aria-pressed', String(!muted && playing));
  $('mute').querySelector('use').setAttribute('href', muted || !playing ? '#i-silent' : '#i-sound');
  $('mute').querySelector('span').textContent = playing && !muted ? 'Mute' : 'Sound';
  $('snapshot').disabled = $('fullscreen').disabled = !playing;
  controls.of(playing ? roster.get(peer.address) ?? peer : null);
  $('adjust').hidden = !controls.any;
  $('tuning').hidden = !(tuning && controls.any);
  $('adjust').setAttribute('aria-expanded', String(!$('tuning').hidden));
  $('hangup').disabled = !current && (!wanted || told); // without a call it stops the waiting for one
  document.title = asking ? 'Incoming call · Symple' : playing ? `${peer.name} · Symple` : 'Symple';
  list($('cameras'), roster.cameras(), 'camera');
  list($('people'), roster.list().filter((it) => it.peerType !== 'camera'), 'person');
}

/** Keeps a list's items in place, so that focus stays where it is. */
function list(element, peers, kind) {
  const items = new Map([...element.children].map((item) => [item.dataset.address, item]));
  for (const peer of peers) {
    let item = items.get(peer.address);
    items.delete(peer.address);
    if (!item) {
      item = $('peer').content.firstElementChild.cloneNode(true);
      item.dataset.address = peer.address;
      item.querySelector('use').setAttribute('href', `#i-${kind}`);
      element.append(item);
    }
    const here = current?.peer.address === peer.address;
    const button = item.firstElementChild;
    button.onclick = () => choose(peer);
    button.setAttribute('aria-current', String(here));
    button.querySelector('.who').textContent = peer.name ?? peer.user;
    button.querySelector('.what').textContent = here ? (current.player.firstPicture === null ? 'Calling' : 'On screen') : kind === 'camera' ? 'Watch' : 'Call';
  }
  for (const item of items.values()) item.remove();
  const none = $(kind === 'camera' ? 'no-cameras' : 'no-people');
  none.hidden = peers.length > 0;
  none.textContent = !client.online ? 'Not known before the server answers.'
    : kind === 'camera' ? 'None online. One that comes shows up here by itself.' : 'Nobody else is here.';
}

function measure({ width, height, fps, bitrate, rtt, codec }) {
  const put = (id, value) => { $(id).textContent = value ?? '–'; };
  put('stat-size', width ? `${width}×${height}` : null);
  put('stat-fps', fps == null ? null : `${Math.round(fps)} fps`);
  put('stat-bitrate', bitrate == null ? null : bitrate >= 995000 ? `${(bitrate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bitrate / 1000)} kbit/s`);
  put('stat-rtt', rtt == null ? null : `${rtt < 10 ? rtt.toFixed(1) : Math.round(rtt)} ms`);
  put('stat-codec', codec);
}

let toasting;
function toast(words) {
  $('toast').textContent = words;
  $('toast').hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { $('toast').hidden = true; }, 7000);
}

// ── Storage, which a private window may refuse ──

function remember(storage, key, otherwise) {
  try {
    const value = storage.getItem(key) ?? otherwise();
    storage.setItem(key, value);
    return value;
  } catch { return otherwise(); }
}

function keep(storage, key, value) {
  try { storage.setItem(key, value); } catch { /* only this page will know */ }
}

// ── Start ──

await loadConfig();
// A camera's own server has put us there; another lets us join.
if (config.room) client.rooms.add(config.room);
show();
if (config.auth && !client.token) askToken('');
else client.connect();
