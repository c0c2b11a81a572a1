// What we send in a call with a person: microphone, camera, screen. Opens, mutes, replaces and releases them.
//
// Events: changed(); track(kind, track) when a track is replaced, null for none; said(words), a message for the person.

import { Emitter } from './events.js';

/** What to request from the browser, from the best to the minimum that a call needs. */
const WISHES = { camera: [{ video: true, audio: true }, { audio: true }], microphone: [{ audio: true }] };

export class Own extends Emitter {
  #devices;
  #chosen = { audio: '', video: '' }; // ids of devices; empty for the browser's choice
  /** @type {MediaStreamTrack | null} the camera while the screen is shared */
  #camera = null;

  constructor({ devices = navigator.mediaDevices } = {}) {
    super(['changed', 'track', 'said']);
    this.#devices = devices;
    /** @type {MediaStream | null} what we send; null without a call */
    this.stream = null;
    this.sharing = false; // the screen replaces the camera
  }

  get microphone() { return this.#of('audio'); }
  /** Our video track: the camera, or the screen. */
  get picture() { return this.#of('video'); }
  get muted() { return !this.microphone?.enabled; }
  get canShare() { return Boolean(this.#devices.getDisplayMedia); }

  /**
   * Opens camera and microphone, or the microphone alone; or the screen, and the microphone if it may be used. Resolves
   * to whether there is anything to send.
   * @param {'camera' | 'microphone' | 'screen'} [what]
   */
  async take(what = 'camera') {
    if (what === 'screen') return this.#takeScreen();
    await this.#forget();
    for (const wish of WISHES[what]) {
      try {
        this.stream = await this.#devices.getUserMedia(this.#wish(wish));
        this.stream.getTracks().forEach((track) => this.#follow(track));
        this.emit('changed');
        return true;
      } catch ({ name }) {
        if (name === 'NotAllowedError') {
          this.emit('said', 'The browser has blocked camera and microphone. Allow them next to the address bar.');
          return false;
        }
        if (wish.video) this.emit('said', name === 'NotReadableError' ? 'Your camera is in use by another program.' : 'No camera found: sound only.');
      }
    }
    return false;
  }

  /** The screen comes first: browsers give it only right after a click. */
  async #takeScreen() {
    const track = await this.#screen();
    if (!track) return false;
    const stream = await this.#devices.getUserMedia(this.#wish({ audio: true })).catch(() => null);
    this.stream = stream ?? new MediaStream();
    if (stream) stream.getTracks().forEach((of) => this.#follow(of));
    else this.emit('said', 'The screen is sent without sound: there is no microphone that may be used.');
    this.sharing = true;
    this.stream.addTrack(track);
    this.#unshareAfter(track);
    this.emit('changed');
    return true;
  }

  /** Turns everything off. */
  release() {
    for (const track of [...(this.stream?.getTracks() ?? []), this.#camera]) track?.stop();
    Object.assign(this, { stream: null, sharing: false });
    this.#camera = null;
    this.emit('changed');
  }

  /** Mutes or unmutes the microphone. The device stays open, so that unmuting takes no time. */
  mute(muted) {
    if (this.microphone) this.microphone.enabled = !muted;
    this.emit('changed');
  }

  /** Turns the camera on, or off together with its light. */
  async film(on) {
    if (!this.stream || this.sharing) return;
    if (on) await this.#open('video');
    else this.#put('video', null);
  }

  /** Starts or stops sharing the screen, or a window, instead of the camera. */
  async share(on) {
    if (!this.stream || on === this.sharing) return;
    if (!on) return this.#unshare();
    const track = await this.#screen();
    if (!track) return;
    if (!this.stream) return track.stop(); // the call is over
    this.#camera = this.picture;
    this.sharing = true;
    this.#put('video', track, { keep: true });
    this.#unshareAfter(track);
  }

  /** Resolves to a track of the screen, or null. */
  async #screen() {
    try {
      const screen = await this.#devices.getDisplayMedia({ video: true });
      return screen.getVideoTracks()[0];
    } catch ({ name, message }) {
      // The person cancelled, which needs no message.
      if (name !== 'NotAllowedError') this.emit('said', `The screen cannot be shared: ${message}`);
      return null;
    }
  }

  /** The browser has its own button to stop sharing. */
  #unshareAfter(track) {
    track.addEventListener('ended', () => { if (this.picture === track) this.#unshare(); });
  }

  #unshare() {
    const camera = this.#camera;
    this.#camera = null;
    this.sharing = false;
    this.#put('video', camera);
  }

  /** Lists the available devices and which are in use: { audio, video } of [{ id, name, used }]. */
  async list() {
    const all = await this.#devices.enumerateDevices();
    const of = (kind, track) => all.filter((it) => it.kind === `${kind}input` && it.deviceId).map(({ deviceId, label }, i) => (
      { id: deviceId, name: label || `${kind === 'audio' ? 'Microphone' : 'Camera'} ${i + 1}`, used: track?.getSettings().deviceId === deviceId }));
    return { audio: of('audio', this.microphone), video: of('video', this.sharing ? this.#camera : this.picture) };
  }

  /** Selects another microphone or camera, for this call and the next ones. */
  async use(kind, id) {
    this.#chosen[kind] = id;
    if (!this.stream) return;
    if (kind === 'video' && this.sharing) {
      this.#camera?.stop();
      this.#camera = await this.#get('video');
      this.emit('changed');
    } else await this.#open(kind);
  }

  /** Resets the choice of devices that no longer exist. */
  async #forget() {
    const ids = (await this.#devices.enumerateDevices()).map(({ deviceId }) => deviceId);
    for (const [kind, id] of Object.entries(this.#chosen)) if (!ids.includes(id)) this.#chosen[kind] = '';
  }

  #of(kind) { return this.stream?.getTracks().find((track) => track.kind === kind) ?? null; }

  #wish(kinds) {
    return Object.fromEntries(Object.keys(kinds).map((kind) => [kind, this.#chosen[kind] ? { deviceId: { exact: this.#chosen[kind] } } : true]));
  }

  async #open(kind) {
    const { muted } = this;
    const track = await this.#get(kind);
    if (!track) return;
    if (!this.stream) return track.stop(); // the call is over
    if (kind === 'audio') track.enabled = !muted || !this.microphone;
    this.#put(kind, track);
  }

  async #get(kind) {
    try {
      const stream = await this.#devices.getUserMedia(this.#wish({ [kind]: true }));
      const [track] = stream.getTracks();
      this.#follow(track);
      return track;
    } catch ({ name, message }) {
      const device = kind === 'audio' ? 'microphone' : 'camera';
      this.emit('said', name === 'NotAllowedError' ? `The browser has blocked the ${device}. Allow it next to the address bar.`
        : name === 'NotReadableError' ? `This ${device} is in use by another program.` : `There is no such ${device}: ${message}`);
      return null;
    }
  }

  #put(kind, track, { keep = false } = {}) {
    const before = this.#of(kind);
    if (before) this.stream.removeTrack(before);
    if (!keep) before?.stop();
    if (track) this.stream.addTrack(track);
    this.emit('track', kind, track);
    this.emit('changed');
  }

  /** Stops sending a track that ended because its device was unplugged. */
  #follow(track) {
    track.addEventListener('ended', () => {
      if (this.#camera === track) this.#camera = null;
      if (this.#of(track.kind) !== track) return;
      this.emit('said', track.kind === 'audio' ? 'Your microphone was disconnected. Choose another under Devices.' : 'Your camera was disconnected.');
      this.#put(track.kind, null);
    });
  }
}
