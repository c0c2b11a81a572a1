// The page: watcher.js plays cameras, talk.js calls people, and view.js shows the state.

import { Client } from './client.js';
import { Calls } from './call.js';
import { Controls } from './controls.js';
import { Site } from './site.js';
import { AGE, Still } from './still.js';
import { Figures } from './figures.js';
import { Minute } from './minute.js';
import { Talk, cannotTalk } from './talk.js';
import { TalkBack, hold } from './talkback.js';
import { Watcher } from './watcher.js';
import { randomId } from './events.js';
import { PAGE, notice, standing } from './words.js';
import { published, words } from './reasons.js';
import { $, keep, line, list, measure, remember, say, sayDevices, sayOwn, sayShare, sayTalk, toast } from './view.js';

const video = $('video');

// ── State ──

let config = { iceServers: [], room: 'public', auth: false };
let sound = false; // a person asked for it; browsers play silence before that
let silenced = false; // a person muted it, which only a person undoes
let tuning = false; // the camera's controls are shown
let choosing = false; // the list of our own devices is shown
let denied = null; // why the server wants a token: its words
/** What the camera says that we get of its video: `{ share, code, message }`. */
let share = null;
let answers = false; // the server answers HTTP, but gives no WebSocket

const token = takeToken();
const user = remember(sessionStorage, 'symple.user', () => `viewer-${randomId().slice(0, 10)}`);
const site = new Site(location.href);

const client = new Client({
  url: site.socket,
  user,
  name: remember(localStorage, 'symple.name', () => `Viewer ${user.slice(-4)}`),
  token,
  data: { peerType: 'person' },
  knock: (signal) => site.answers(signal),
});
const { roster } = client;
// A camera's call, and a person's that is not answered yet.
const calls = Calls.over(client, { limits: { calls: 2 } });
const talk = new Talk({ calls, roster, video, ice: () => config.iceServers });
const newest = new Still($('still'), () => site.still(client.token, AGE));
const watcher = new Watcher({ client, calls, video, still: newest, ice: () => config.iceServers });
const talkback = new TalkBack({ client: watcher.commands });
const minute = new Minute();
const figures = new Figures(watcher.commands);
const controls = new Controls({ client: watcher.commands, form: $('tuning-form'), said: toast, changed: () => show() });

// For tests, and the curious.
Object.defineProperty(window, 'symple', {
  value: Object.freeze({
    client, roster, calls,
    get player() { return talk.player ?? watcher.current?.player ?? null; },
    get watching() { return watcher.state; },
  }),
});

// ── What happens, and what is done about it ──

watcher.on('changed', () => show());
watcher.on('begun', () => {
  video.muted = !sound;
  minute.clear();
  figures.clear();
  share = null;
});
watcher.on('over', () => measure());
const measured = (stats) => {
  measure(stats);
  minute.push(stats);
  minute.draw();
};
watcher.on('stats', (stats) => {
  const { peer } = watcher.current ?? {};
  if (peer && minute.open) figures.ask(peer.address, performance.now());
  measured({ ...stats, camera: minute.open ? figures.newest : null });
});
$('minute').addEventListener('toggle', () => minute.draw());

calls.on('incoming', (call) => {
  const known = roster.get(call.remote);
  const of = call.remote.split('|')[0];
  const peer = known ?? { address: call.remote, user: of, name: of };
  if (peer.peerType !== 'camera') return void talk.incoming(call, peer);
  if (talk.busy) return void call.reject('busy');
  watcher.answer(call, peer);
});

// ── People ──

talk.on('changed', show);
talk.on('said', toast);
talk.on('stats', measured);
talk.on('stage', () => {
  watcher.happens({ type: 'pause' });
  minute.clear();
  sound = !talk.publishing && !silenced; // nobody wants to hear oneself
  video.muted = !sound;
});
talk.on('over', ({ call, peer, player, staged }) => {
  if (call.reason === 'glare') return;
  const [title, more] = (player?.publishes ? published : words)(call.reason, { name: peer.name, remote: call.endedByRemote });
  if (call.endedByRemote || call.reason !== 'ended') toast([title, player?.error?.message ?? (staged && !player.publishes ? '' : more)].filter(Boolean).join('. '));
  if (staged) video.srcObject = null;
  measure();
  if (staged) watcher.happens({ type: 'resume' });
});

// ── Talking to the camera ──

talkback.on('changed', show);
talkback.on('said', toast);
hold($('talk'), talkback);

// ── The connection ──

client.on('state', (state, { reason = '', opened = true }) => {
  if (state === 'online') answers = false;
  denied = null;
  if (state === 'denied') return deny(client.token ? reason : '');
  line(state, reason, answers);
  if (state === 'waiting' && !opened) lookWhy(reason);
  show();
});
client.on('welcome', () => loadConfig());
client.on('event', ({ name, from, data }) => {
  if (name !== 'share' || from !== watcher.current?.peer.address) return;
  share = typeof data?.share === 'string' ? data : null;
  show();
});

/** A socket that does not open while the server answers: something in between passes no WebSockets. */
async function lookWhy(reason) {
  const reach = await site.reach();
  if (client.online) return;
  answers = reach === 'answers';
  line(client.state, reason, answers);
  show();
}

/** What is known of a server that does not let us in. */
const server = () => ({ answers, limited: client.lastError?.status === 429 ? client.lastError.message : '' });

client.on('error', ({ status, message }) => status !== 401 && toast(status ? `${message} (${status})` : message));

// Before the client goes, which is told by it.
addEventListener('pagehide', () => talk.stop());
watcher.attend();

async function loadConfig() {
  config = { ...config, ...(await site.config(client.token)) };
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

/** The server wants a token; `reason` is why it did not accept ours. */
function deny(reason) {
  denied = reason;
  line('denied', reason);
  askToken(reason);
  show();
}

function askToken(reason) {
  $('token-words').textContent = reason
    ? `It was not accepted: ${reason}. Check it for typing errors, or ask the owner of the camera.`
    : 'Ask the owner of the camera for it.';
  $('token').value = '';
  if (!$('token-dialog').open) $('token-dialog').showModal();
}

$('token-form').addEventListener('submit', async () => {
  client.token = $('token').value.trim();
  keep(sessionStorage, 'symple.token', client.token);
  await loadConfig(); // what it says of ICE servers is for those who know the token
  client.connect();
});

// ── What a person does ──

function choose(peer) {
  sound = !silenced;
  if (peer.peerType === 'camera') {
    watcher.happens({ type: 'choose', peer });
    talk.stop();
  } else talk.start(peer);
}

function setSound(on) {
  sound = on;
  silenced = !on;
  const player = talk.player ?? watcher.current?.player;
  if (player) player.muted = !on;
  if (on) video.play().catch(() => {});
}

let offered = true; // the big button for sound, until the small one was used; calls with people always offer it
$('mute').addEventListener('click', () => {
  offered = false;
  setSound(video.muted);
});
$('unmute').addEventListener('click', () => setSound(true));
$('hangup').addEventListener('click', () => {
  if (talk.call) talk.stop();
  else watcher.happens({ type: 'stop' });
});
$('snapshot').addEventListener('click', async () => {
  const { peer } = talk.staged ? talk : watcher.current ?? {};
  try {
    const blob = await (talk.staged ? talk.player : watcher).snapshot();
    const kind = blob.type === 'image/jpeg' ? 'jpg' : 'png';
    const name = `${peer.name} ${new Date().toISOString().slice(0, 19)}`.replace(/[^\p{L}\p{N}]+/gu, '-');
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: `${name}.${kind}` });
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

document.addEventListener('fullscreenchange', () => {
  $('fullscreen').querySelector('span').textContent = document.fullscreenElement ? 'Leave full screen' : 'Full screen';
});

// Keys do what their buttons do; where something is written, or a dialog asks, they are letters.
const KEYS = { m: 'mute', s: 'snapshot', f: 'fullscreen' };
addEventListener('keydown', (event) => {
  const { key, ctrlKey, metaKey, altKey, repeat, target } = event;
  const id = KEYS[key.toLowerCase()];
  if (!id || ctrlKey || metaKey || altKey || repeat || target.closest?.('input, select, textarea, dialog')) return;
  if (document.querySelector('dialog[open]')) return;
  event.preventDefault();
  $(id).click();
});

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

$('microphone').addEventListener('click', () => talk.own.mute(!talk.own.muted));
$('film').addEventListener('click', () => talk.own.film(!talk.own.picture));
$('share-screen').addEventListener('click', () => talk.own.share(!talk.own.sharing));
$('devices').addEventListener('click', () => {
  choosing = !choosing;
  show();
});
for (const kind of ['audio', 'video']) $(`device-${kind}`).addEventListener('change', ({ target }) => talk.own.use(kind, target.value));
navigator.mediaDevices?.addEventListener?.('devicechange', () => show());

/** The relay on screen, if it takes what viewers publish. */
function publishable() {
  const peer = watcher.state.peer ?? watcher.state.wish;
  const known = peer && client.online ? watcher.known(peer) : null;
  return known?.publish === true ? known : null;
}

$('publish').addEventListener('click', () => {
  const peer = publishable();
  if (!peer) return;
  $('publish-title').textContent = `Publish to ${peer.name}`;
  $('publish-screen').hidden = !talk.own.canShare;
  $('publishing').showModal();
});
for (const what of ['camera', 'screen', 'microphone']) {
  $(`publish-${what}`).addEventListener('click', () => {
    const peer = publishable();
    $('publishing').close();
    if (peer) talk.publish(peer, what);
  });
}
$('publish-cancel').addEventListener('click', () => $('publishing').close());

$('accept').addEventListener('click', () => talk.accept());
$('decline').addEventListener('click', () => talk.decline());
$('incoming').addEventListener('cancel', () => talk.decline());

$('name').value = client.name;
$('name').addEventListener('change', () => {
  const name = $('name').value.trim() || `Viewer ${user.slice(-4)}`;
  $('name').value = name;
  keep(localStorage, 'symple.name', name);
  client.present({ name });
});

// ── What is shown ──

/** What the picture's words are told of a call. */
function why({ player, peer }) {
  const { source } = watcher.known(peer);
  const { bitrate, videoBitrate } = player.stats ?? {};
  return { source, online: client.online, server: server(), path: player.path, bitrate: bitrate ?? 0, video: videoBitrate ?? 0 };
}

/** The words over the picture. */
function over() {
  if (talk.staged) {
    const { player, peer, call } = talk;
    if (talk.publishing && player.state === 'playing') {
      if (talk.own.picture) return { title: `Live on ${peer.name}`, kind: 'playing' };
      return { title: `Live on ${peer.name}`, more: 'Only your microphone is sent.', kind: 'voice' };
    }
    if (player.state === 'playing' && !player.seen) return { title: peer.name, more: 'The camera is off.', kind: 'voice' };
    if (player.state === 'playing') return { title: `Playing ${peer.name}`, kind: 'playing' };
    if (player.state === 'stalled') return { title: standing({ ...why(talk), name: peer.name })[0], kind: 'stalled' };
    return { title: `${call.state === 'ringing' ? 'Calling' : 'Connecting to'} ${peer.name}`, kind: 'busy' };
  }
  const { state: watching, current, broken } = watcher;
  if (broken) return { title: broken[0], more: broken[1], retry: 'Try again', run: again };
  if (denied !== null) {
    const [title, more] = PAGE.token(denied);
    return { title, more, retry: 'Enter token', run: () => askToken('') };
  }
  if (watching.phase === 'none' && (talk.preparing || talk.call)) {
    const more = talk.preparing ? 'Allow camera and microphone when the browser asks.' : 'Waiting for an answer.';
    return { title: `Calling ${talk.peer.name}`, more, kind: 'busy' };
  }
  const ringing = current?.call.state === 'ringing';
  return { ...notice(watching, { ringing, why: current ? why(current) : {}, server: server() }), run: again };
}

function again() {
  sound = !silenced;
  watcher.again();
}

/** Shows what is, once a frame however much happened; a hidden page has no frames. */
let showing = null;
function show() {
  showing ??= document.hidden ? setTimeout(paint, 200) : requestAnimationFrame(paint);
}

function paint() {
  showing = null;
  const { player, peer } = talk.staged ? talk : watcher.current ?? {};
  const phase = talk.staged ? player.state : watcher.state.phase;
  const playing = phase === 'playing' || phase === 'stalled';
  const now = over();
  say(now);
  const muted = video.muted;
  if (talk.publishing && talk.staged && video.srcObject !== talk.own.stream) {
    video.srcObject = talk.own.stream;
    video.play().catch(() => {});
  }
  const audible = Boolean(player?.remote.getAudioTracks().length);
  $('live').hidden = !playing;
  $('live-name').textContent = peer?.name ?? '';
  sayShare(playing && !talk.staged ? share : null, watcher.little);
  $('unmute').hidden = !((phase === 'playing' || now.kind === 'voice') && muted && audible && (offered || talk.staged));
  $('mute').disabled = !(playing && audible);
  $('mute').querySelector('use').setAttribute('href', muted || !playing ? '#i-silent' : '#i-sound');
  $('mute').querySelector('span').textContent = playing && !muted ? 'Mute' : 'Unmute';
  $('fullscreen').disabled = !playing;
  $('snapshot').disabled = !(playing && player.seen);
  showSelf();
  talkback.of(playing && !talk.staged ? watcher.current : null, playing && !talk.staged && watcher.known(peer).talk);
  sayTalk(talkback, talkback.other && (roster.get(talkback.other)?.name ?? talkback.other.split('|')[0]));
  controls.of(playing && !talk.staged ? watcher.known(peer) : null);
  const stage = talk.busy ? null : publishable();
  $('publish').hidden = !stage;
  $('publish').disabled = Boolean(cannotTalk());
  $('publish').title = stage ? cannotTalk() || `Show ${stage.name} your camera or screen` : '';
  $('adjust').hidden = !controls.any;
  $('tuning').hidden = !(tuning && controls.any);
  $('adjust').setAttribute('aria-expanded', String(!$('tuning').hidden));
  $('hangup').disabled = !talk.call && !watcher.state.wish; // without a call it stops the waiting for one
  document.title = talk.asking ? 'Incoming call · Symple' : playing ? `${peer.name} · Symple` : 'Symple';
  showPrompt();
  showPeers();
}

/** Ourselves, small, and what a person does about it in a call. */
function showSelf() {
  const { own, staged } = talk;
  const stream = staged && !talk.publishing ? own.stream : null;
  if ($('self').srcObject !== stream) {
    $('self').srcObject = stream;
    if (stream) $('self').play().catch(() => {});
  }
  $('self').hidden = !(stream && own.picture);
  $('self').classList.toggle('screen', own.sharing);
  sayOwn(staged && own.stream ? own : null);
  choosing &&= staged && Boolean(own.stream);
  $('devices').setAttribute('aria-expanded', String(choosing));
  if (!choosing) $('own').hidden = true;
  else own.list().then((devices) => sayDevices(choosing && devices));
}

function showPrompt() {
  const dialog = $('incoming');
  if (talk.asking && !dialog.open) {
    $('incoming-title').textContent = `${talk.peer.name} is calling`;
    dialog.showModal();
  } else if (!talk.asking && dialog.open) dialog.close();
}

/** From so many peers on they can be found by name. */
const MANY = 20;
$('filter').addEventListener('input', show);

function showPeers() {
  const everybody = roster.list();
  $('filter').hidden = everybody.length < MANY;
  const part = $('filter').hidden ? '' : $('filter').value.trim().toLowerCase();
  const found = ({ name, user: of }) => !part || `${name ?? ''} ${of}`.toLowerCase().includes(part);
  const unknown = denied === null ? 'Waiting for the server.' : 'Enter the token to see who is online.';
  list($('cameras'), roster.cameras().filter(found), 'camera', client.online ? 'None online. They appear here when they come online.' : unknown, (peer) => {
    const here = !talk.staged && watcher.state.peer?.address === peer.address;
    return { here, what: !here ? 'Watch' : watcher.state.phase === 'calling' ? 'Calling' : 'On screen', run: () => choose(peer) };
  });
  const people = everybody.filter((it) => it.peerType !== 'camera' && found(it));
  const cannot = cannotTalk();
  list($('people'), people, 'person', client.online ? 'Nobody else is here.' : unknown, (peer) => {
    const here = talk.peer?.address === peer.address;
    const what = !here ? 'Call' : talk.staged ? 'On screen' : 'Calling';
    return { here, what, disabled: Boolean(cannot), title: cannot, run: () => choose(peer) };
  });
}

// ── Start ──

await loadConfig();
// A camera's own server has put us there; another lets us join.
if (config.room) client.rooms.add(config.room);
show();
if (config.auth && !client.token) deny('');
else client.connect();
