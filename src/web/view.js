// Renders the page: notices, lists, statistics. Makes no decisions.

export const $ = (id) => document.getElementById(id);

/** Shows the notice over the picture. */
export function say({ title, more = '', kind = 'idle', retry = '', run = null }) {
  $('stage').dataset.state = kind;
  if ($('state').textContent !== title) $('state').textContent = title;
  if ($('advice').textContent !== more) $('advice').textContent = more;
  $('retry').hidden = !retry;
  $('retry').textContent = retry;
  $('retry').onclick = run;
}

const LINE = {
  connecting: 'Connecting…',
  online: 'Online',
  waiting: 'Server not reachable, trying again',
  denied: 'A token is required',
  idle: 'Disconnected',
};

/** Shows the state of the connection to the server. `answers`: the server only answers HTTP. */
export function line(state, reason, answers) {
  const pill = $('connection');
  // The text stays the same between two attempts.
  const waiting = answers ? 'No WebSocket, trying again' : LINE.waiting;
  const again = state === 'connecting' && ['waiting', 'connecting'].includes(pill.dataset.state) && pill.textContent !== LINE.connecting;
  if (!again) pill.textContent = state === 'waiting' ? waiting : LINE[state];
  pill.dataset.state = state;
  pill.title = reason;
}

/** The maximum number of rows in a list; the filter finds the others by name. */
const ROWS = 100;

/**
 * Updates a list in place, so that it keeps the focus. `row(peer)` returns { what, here, title, disabled, run };
 * `none` is shown if the list is empty.
 */
export function list(element, peers, kind, none, row) {
  const items = new Map([...element.children].map((item) => [item.dataset.address, item]));
  const shown = peers.slice(0, ROWS);
  for (const peer of shown) {
    let item = items.get(peer.address);
    items.delete(peer.address);
    if (!item) {
      item = $('peer').content.firstElementChild.cloneNode(true);
      item.dataset.address = peer.address;
      item.querySelector('use').setAttribute('href', `#i-${kind}`);
      element.append(item);
    }
    const { what, here = false, title = '', disabled = false, run } = row(peer);
    const button = item.firstElementChild;
    button.onclick = run;
    button.disabled = disabled;
    button.title = title || peer.name || peer.user;
    button.setAttribute('aria-current', String(here));
    put(button.querySelector('.who'), peer.name ?? peer.user);
    put(button.querySelector('.what'), what);
  }
  for (const item of items.values()) item.remove();
  const words = $(`no-${kind === 'camera' ? 'cameras' : 'people'}`);
  const more = peers.length - shown.length;
  words.hidden = peers.length > 0 && more === 0;
  words.textContent = more ? `${more} more are online. Find them by name.` : none;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Formats of what is measured; null stays null.
export const ms = (value) => (value == null ? null : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
export const frames = (fps) => (fps == null ? null : `${Math.round(fps)} fps`);
export const bits = (bps) => (bps == null ? null : bps >= 995000 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`);
export const percent = (share) => (share == null ? null : `${share < 0.0995 && share > 0 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`);

export function measure({ width, height, fps, bitrate, loss, rtt, delay, delays, viewers, codec } = {}) {
  const put = (id, value) => { $(id).textContent = value ?? '–'; };
  put('stat-size', width ? `${width}×${height}` : null);
  put('stat-fps', frames(fps));
  put('stat-bitrate', bits(bitrate));
  put('stat-loss', percent(loss));
  put('stat-rtt', ms(rtt));
  put('stat-total', ms(delays?.total));
  $('stat-whole').title = delays
    ? `From a frame's capture to this screen: camera ${ms(delays.camera)}, network ${ms(delays.network)}, `
      + `jitter buffer ${ms(delays.buffer)}, decoding ${ms(delays.decoding)}, screen ${ms(delays.screen)}`
    : "From a frame's capture to this screen";
  put('stat-delay', ms(delay));
  put('stat-viewers', viewers);
  put('stat-codec', codec);
}

const SHARES = { small: 'Smaller picture', 'key-frames': 'Single frames', nothing: 'No video' };

/** Shows what a camera sends instead of its full video, and why, unless the reason is that the picture is `little`. */
export function sayShare(share, little) {
  const name = little && share?.code === 'wish' ? '' : SHARES[share?.share];
  $('share').hidden = !name;
  put($('share'), name ? `${name}: ${share.message || share.code}` : '');
}

/** Updates the buttons for what we send in a call with a person; `own` is null without one. */
export function sayOwn(own) {
  for (const id of ['microphone', 'film', 'share-screen', 'devices']) $(id).hidden = !own;
  if (!own) return;
  const button = (id, words, icon) => {
    put($(id).querySelector('span'), words);
    if (icon) $(id).querySelector('use').setAttribute('href', icon);
  };
  $('microphone').disabled = !own.microphone;
  button('microphone', own.muted ? 'Unmute mic' : 'Mute mic', own.muted ? '#i-mic-off' : '#i-mic');
  $('film').disabled = own.sharing;
  button('film', own.picture && !own.sharing ? 'Stop camera' : 'Start camera', own.picture && !own.sharing ? '#i-camera' : '#i-camera-off');
  $('share-screen').hidden = !own.canShare; // phones cannot share a screen
  button('share-screen', own.sharing ? 'Stop sharing' : 'Share screen');
}

const HELD = { quiet: 'Hold to talk', opening: 'Connecting', talking: 'Talking' };
const SWITCHED = { quiet: 'Talk', opening: 'Connecting', talking: 'Stop talking' };

/** Updates the button to talk to a camera, and next to it who is talking or why nothing is heard. `other` is a name. */
export function sayTalk({ mode, state, problem, refused }, other) {
  $('talk').hidden = !mode;
  put($('talk').querySelector('span'), (mode === 'full' ? SWITCHED : HELD)[state]);
  $('talk').setAttribute('aria-pressed', String(state !== 'quiet'));
  $('talk').disabled = Boolean(other);
  $('talk').title = refused;
  const said = other ? `${other} is talking` : problem;
  $('talking').hidden = !(mode && said);
  put($('talking'), mode ? said : '');
}

/** Updates the lists of microphones and cameras; false hides them. */
export function sayDevices(devices) {
  $('own').hidden = !devices;
  for (const [kind, all] of Object.entries(devices || {})) {
    const select = $(`device-${kind}`);
    const options = all.map(({ id, name, used }) => Object.assign(document.createElement('option'), { value: id, textContent: name, selected: used }));
    const text = (list) => list.map(({ value, textContent, selected }) => `${value} ${textContent} ${selected}`).join();
    if (text(options) !== text([...select.options])) select.replaceChildren(...options);
    select.disabled = !all.length;
  }
}

let toasting;
export function toast(words) {
  const toast = $('toast');
  toast.hidden = false;
  // In the top layer, so that it is visible over a full-screen picture, too.
  if (toast.showPopover && !toast.matches(':popover-open')) toast.showPopover();
  toast.textContent = words;
  clearTimeout(toasting);
  toasting = setTimeout(() => {
    if (toast.hidePopover && toast.matches(':popover-open')) toast.hidePopover();
    toast.hidden = true;
  }, 7000);
}

// ── Storage; a private window may refuse it ──

export function remember(storage, key, otherwise) {
  try {
    const value = storage.getItem(key) ?? otherwise();
    storage.setItem(key, value);
    return value;
  } catch { return otherwise(); }
}

export function keep(storage, key, value) {
  try { storage.setItem(key, value); } catch { /* only this page remembers it */ }
}
