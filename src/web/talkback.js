// Talks to the camera on screen: push-to-talk with a half-duplex camera, a switch with a full-duplex one.
//
//            start             the microphone is open and the camera accepted
//   quiet ────────────▶ opening ───────────────────────────────────────────────────▶ talking
//     ▲                    │                                                            │
//     └──── stop, rejected, or the call ended ◀─────────────────────────────────────────┘
//
// Sends `command` messages to the node `camera:talk`: `read` (are we allowed to talk?), `start` and `stop`. A camera
// with talk-back has `talk: { mode }` in its presence, with `by`, the address that talks, and `problem`, why nothing is
// heard.
//
// Events: changed(); said(words), a message for the person.

import { Emitter, clock as realClock } from './events.js';

const NODE = 'camera:talk';
/** How long the microphone stays open after talking, in ms, so that the next press takes effect at once. */
const KEEP = 30000;

/** Why this page has no microphone, and what the camera's owner can do about it. */
export const INSECURE = 'Browsers only allow microphone access on pages from https or localhost. The owner of the camera can start it with --ssl-enabled.';

/** @type {Record<string, string>} the errors of getUserMedia, for people */
const BLOCKED = {
  NotAllowedError: 'The browser has blocked the microphone. Allow it next to the address bar.',
  NotReadableError: 'Your microphone is in use by another program.',
  NotFoundError: 'No microphone found.',
};

/**
 * @typedef {import('./player.js').Player} Player
 * @typedef {{ call: import('./call.js').Call, player: Player }} Current a camera's call
 */

export class TalkBack extends Emitter {
  #client;
  #devices;
  #clock;
  /** @type {Current | null} */
  #current = null;
  /** @type {Record<string, any>} `talk` of the camera's presence */
  #camera = {};
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {any} */
  #timer = null;
  #asked = false; // `read` was sent
  #may = false;
  #press = 0; // counts presses, to detect late results

  constructor({ client, devices = navigator.mediaDevices, clock = realClock }) {
    super(['changed', 'said']);
    this.#client = client;
    this.#devices = devices;
    this.#clock = clock;
    /** @type {'quiet' | 'opening' | 'talking'} */
    this.state = 'quiet';
  }

  /** 'half': the camera is silent while somebody talks; 'full': it is not; null: we can't talk to it. */
  get mode() { return this.#may ? modeOf(this.#camera) : null; }
  /** The address of another viewer who is talking. */
  get other() { return this.mode && this.#camera.by && this.#camera.by !== this.#client.address ? this.#camera.by : null; }
  /** Why nobody would hear us; empty if they would. */
  get problem() { return this.mode ? this.#camera.problem?.message ?? '' : ''; }
  /** Why this page can't use the microphone; empty if it can. */
  get refused() { return this.#devices?.getUserMedia ? '' : INSECURE; }

  /**
   * Takes the call on screen and `talk` from its camera's presence.
   * @param {Current | null} current
   * @param {unknown} talk
   */
  of(current, talk) {
    this.#camera = talk && typeof talk === 'object' ? talk : {};
    if (current?.player === this.#current?.player) {
      this.#ask();
      if (!this.mode) this.stop();
      if (this.other && this.state === 'talking') {
        // The camera received nothing from us for a while, and somebody else asked to talk.
        current?.player.pause('audio');
        this.#quiet();
      }
      return;
    }
    this.#press += 1;
    this.state = 'quiet';
    this.#current = current;
    this.#asked = this.#may = false;
    if (!modeOf(this.#camera)) this.#release();
    this.#ask();
  }

  /** Asks the camera once per call whether we are allowed; without an answer, the first press finds out. */
  async #ask() {
    const current = this.#current;
    if (!current || this.#asked || !modeOf(this.#camera)) return;
    this.#asked = true;
    const reply = await this.#client.command(current.call.remote, { node: NODE, action: 'read' }).catch(() => null);
    if (current !== this.#current) return;
    this.#may = reply?.status !== 403;
    this.emit('changed');
  }

  async start() {
    const current = this.#current;
    if (!current || !this.mode || this.state !== 'quiet') return;
    if (this.refused) return this.emit('said', this.refused);
    const press = this.#press += 1;
    this.#enter('opening');
    this.#clock.cancel(this.#timer);
    const asked = this.#microphone?.readyState !== 'live';
    if (asked && !await this.#open()) {
      if (press === this.#press) this.#enter('quiet');
      return;
    }
    if (press !== this.#press) {
      // The button was released while the browser asked for permission.
      this.#keep();
      if (this.state === 'quiet' && current === this.#current) this.emit('said', 'The microphone is ready. Hold the button to talk.');
      return;
    }
    current.player.send('audio', this.#microphone);
    const reply = await this.#client.command(current.call.remote, { node: NODE, action: 'start' })
      .catch((error) => ({ status: 0, data: { message: error.message } }));
    if (press !== this.#press) return;
    if (reply.status === 200) return this.#enter('talking');
    current.player.pause('audio');
    this.#quiet();
    this.emit('said', sentence(reply.data?.message ?? 'The camera did not respond'));
  }

  stop() {
    if (this.state === 'quiet') return;
    this.#current?.player.pause('audio');
    const to = this.#current?.call.remote;
    if (to) this.#client.command(to, { node: NODE, action: 'stop' }).catch(() => {}); // without audio the camera stops, too
    this.#quiet();
  }

  /** Starts or stops talking. */
  toggle() { return this.state === 'quiet' ? this.start() : this.stop(); }

  /** @param {'quiet' | 'opening' | 'talking'} state */
  #enter(state) {
    this.state = state;
    this.emit('changed');
  }

  #quiet() {
    this.#press += 1;
    this.#keep();
    this.#enter('quiet');
  }

  async #open() {
    try {
      const stream = await this.#devices.getUserMedia({ audio: true });
      [this.#microphone] = stream.getAudioTracks();
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      this.emit('said', BLOCKED[name] ?? `The microphone cannot be used: ${message}`);
      return false;
    }
    this.#microphone.addEventListener('ended', () => {
      if (this.state === 'quiet') return;
      this.emit('said', 'Your microphone was disconnected.');
      this.stop();
    });
    return true;
  }

  #keep() {
    this.#clock.cancel(this.#timer);
    this.#timer = this.#clock.after(KEEP, () => this.#release());
  }

  #release() {
    this.#clock.cancel(this.#timer);
    this.#microphone?.stop();
    this.#microphone = null;
  }
}

/** @type {(camera: Record<string, any>) => 'half' | 'full' | null} */
const modeOf = ({ mode }) => (mode === 'half' || mode === 'full' ? mode : null);

/** @param {string} text */
const sentence = (text) => {
  const line = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(line) ? line : `${line}.`;
};

/**
 * Wires a button: with a half-duplex camera it talks while held by pointer, touch or key, with a full-duplex one each
 * press toggles. Leaving or covering the page counts as a release.
 * @param {HTMLElement} button
 * @param {TalkBack} talkback
 */
export function hold(button, talkback) {
  const keys = [' ', 'Enter'];
  const held = () => talkback.mode === 'half';
  let down = false; // by pointer or key
  const press = (/** @type {Event} */ event) => {
    if (!held()) return;
    event.preventDefault();
    if (down) return;
    down = true;
    talkback.start();
  };
  const letGo = () => {
    if (!down) return;
    down = false;
    talkback.stop();
  };
  button.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    if (held()) button.setPointerCapture?.(event.pointerId);
    press(event);
    button.focus();
  });
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture', 'blur']) button.addEventListener(name, letGo);
  button.addEventListener('keydown', (event) => {
    if (!keys.includes(event.key) || !held()) return;
    event.preventDefault();
    if (!event.repeat) press(event);
  });
  button.addEventListener('keyup', (event) => {
    if (!keys.includes(event.key) || !held()) return;
    event.preventDefault();
    letGo();
  });
  // A long touch must not open a menu.
  button.addEventListener('contextmenu', (event) => event.preventDefault());
  // A click without pointer or key comes from a screen reader, which can't hold a button.
  button.addEventListener('click', ({ detail }) => {
    if (!held() || detail === 0) talkback.toggle();
  });
  addEventListener('blur', letGo);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) return;
    down = false;
    if (held()) talkback.stop();
  });
}
