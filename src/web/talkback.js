// Talks to the camera on screen: while a button is held, or, where the camera is heard meanwhile, by a switch.
//
//            start                the microphone is there, and the camera takes it
//   quiet ────────────▶ opening ───────────────────────────────────────────────────▶ talking
//     ▲                    │                                                            │
//     └──── stop, refused, or the call is over ◀────────────────────────────────────────┘
//
// Sends `command` messages to the node `camera:talk`: `read`, whether we may, `start` and `stop`. A camera that can be talked
// to has `talk: { mode }` in its presence, with who talks (`by`) and why nothing is heard (`problem`).
//
// Events: changed(); said(words).

import { Emitter, clock as realClock } from './events.js';

const NODE = 'camera:talk';
/** The microphone stays open for so many ms after the last word, so that the next press is heard at once. */
const KEEP = 30000;

/** Why this page has no microphone, and what its camera's owner can do about it. */
export const INSECURE = 'Browsers give the microphone to pages from https or localhost only. The owner of the camera can start it with --ssl-enabled.';

/** @type {Record<string, string>} what getUserMedia says, for people */
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
  /** @type {Record<string, any>} what the camera tells of talking */
  #camera = {};
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {any} */
  #timer = null;
  #asked = false; // whether we may
  #may = false;
  #press = 0; // counts presses, so that what comes late is known as such

  constructor({ client, devices = navigator.mediaDevices, clock = realClock }) {
    super(['changed', 'said']);
    this.#client = client;
    this.#devices = devices;
    this.#clock = clock;
    /** @type {'quiet' | 'opening' | 'talking'} */
    this.state = 'quiet';
  }

  /** 'half': the camera is not heard while one talks; 'full': it is; null where it can't be talked to. */
  get mode() { return this.#may ? modeOf(this.#camera) : null; }
  /** The address of somebody else who talks. */
  get other() { return this.mode && this.#camera.by && this.#camera.by !== this.#client.address ? this.#camera.by : null; }
  /** Why nobody would hear it. */
  get problem() { return this.mode ? this.#camera.problem?.message ?? '' : ''; }
  /** Why this page can't. */
  get refused() { return this.#devices?.getUserMedia ? '' : INSECURE; }

  /**
   * What is on screen, and what its camera tells of talking.
   * @param {Current | null} current
   * @param {unknown} talk
   */
  of(current, talk) {
    this.#camera = talk && typeof talk === 'object' ? talk : {};
    if (current?.player === this.#current?.player) {
      this.#ask();
      if (!this.mode) this.stop();
      if (this.other && this.state === 'talking') {
        // The camera heard nothing of us for a while, and somebody else asked.
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

  /** Asks the camera once in each call; where no answer comes, the first press gets one. */
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
      // Let go while the browser asked.
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
    if (to) this.#client.command(to, { node: NODE, action: 'stop' }).catch(() => {}); // frames that stop say the same
    this.#quiet();
  }

  /** A switch: on and off by turns. */
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
      this.emit('said', 'Your microphone is gone.');
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
 * Makes a button talk: by pointer, touch and keys while it is held; by each press where the camera is heard meanwhile.
 * What lets go, lets go: the page that is left or covered too.
 * @param {HTMLElement} button
 * @param {TalkBack} talkback
 */
export function hold(button, talkback) {
  const keys = [' ', 'Enter'];
  const held = () => talkback.mode === 'half';
  let down = false; // the press is this button's, by pointer or key
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
  // A long touch opens no menu.
  button.addEventListener('contextmenu', (event) => event.preventDefault());
  // What neither pointer nor key did is a screen reader's, which can't hold.
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
