// A call with a person: started, answered or declined. It takes the stage from the camera once both have agreed.
//
// Events: changed(), stage(player) when it takes the stage, over({ call, peer, player, staged }), said(words).

import { Emitter } from './events.js';
import { Player } from './player.js';
import { words } from './reasons.js';

export class Talk extends Emitter {
  #held = null; // our stream of a call that gave way to the other's

  /** `calls` of call.js, `video`, `ice()` the ICE servers. */
  constructor({ calls, roster, video, ice }) {
    super(['changed', 'stage', 'over', 'said']);
    Object.assign(this, { calls, roster, video, ice, call: null, peer: null, player: null, stream: null, preparing: false, asking: null });
    calls.on('ended', (call) => this.#ended(call));
  }

  /** Whether it has the stage. */
  get staged() { return Boolean(this.player); }
  get busy() { return this.preparing || Boolean(this.call) || Boolean(this.asking); }

  /** Calls a person; the browser asks for camera and microphone first. */
  async start(peer) {
    if (this.busy) return;
    Object.assign(this, { preparing: true, peer });
    this.emit('changed');
    const stream = await this.#media();
    this.preparing = false;
    if (!stream) this.emit('said', 'Not called: a call needs at least your microphone.');
    else if (!this.roster.get(peer.address)) {
      release(stream);
      this.emit('said', words('offline', { name: peer.name })[0]);
    } else {
      this.stream = stream;
      this.#take(this.calls.invite(peer.address, { video: true, audio: true, direction: 'sendrecv' }), peer);
    }
    if (!this.call) this.peer = null;
    this.emit('changed');
  }

  /** A person is calling us; true if the call is presented or accepted. */
  incoming(call, peer) {
    // Both called each other, and ours gave way: there is nothing to ask.
    if (call.mutual && this.#held) {
      this.stream = this.#held;
      this.#held = null;
      this.#take(call, peer);
      call.accept();
      return true;
    }
    if (this.busy) {
      call.reject('busy');
      return false;
    }
    Object.assign(this, { asking: call, peer });
    this.emit('changed');
    return true;
  }

  async accept() {
    const call = this.asking;
    if (!call) return;
    const stream = await this.#media();
    this.asking = null;
    if (call.state !== 'incoming') release(stream);
    else {
      this.stream = stream;
      this.#take(call, this.peer);
      call.accept();
    }
    this.emit('changed');
  }

  decline() {
    const call = this.asking;
    this.asking = null;
    call?.reject('declined');
    this.emit('changed');
  }

  stop(reason = 'ended') { this.call?.hangup(reason); }

  #take(call, peer) {
    Object.assign(this, { call, peer });
    // Before the state is told to anybody else: the player hears the accept that follows it.
    call.on('state', (state) => {
      if (state === 'connecting') this.#stage();
      this.emit('changed');
    });
  }

  #stage() {
    // Whoever has the stage lets go of it now.
    this.emit('stage');
    try {
      this.player = new Player({ call: this.call, video: this.video, iceServers: this.ice(), stream: this.stream });
    } catch (error) {
      this.emit('said', `The call failed in this browser: ${error.message}`);
      this.call.hangup('bad-description');
      return;
    }
    this.player.on('state', () => this.emit('changed'));
    this.player.on('sound', () => this.emit('changed'));
  }

  #ended(call) {
    if (call === this.asking) {
      this.asking = null;
      this.emit('said', 'The caller hung up.');
      this.emit('changed');
      return;
    }
    if (call !== this.call) return;
    const { peer, player, stream } = this;
    Object.assign(this, { call: null, peer: null, player: null, stream: null });
    if (call.reason === 'glare') this.#held = stream;
    else release(stream);
    this.emit('over', { call, peer, player, staged: Boolean(player) });
    this.emit('changed');
  }

  /** Our camera and microphone; null, with a message, if there are none. */
  async #media() {
    for (const wish of [{ video: true, audio: true }, { audio: true }]) {
      try {
        return await navigator.mediaDevices.getUserMedia(wish);
      } catch ({ name }) {
        if (name === 'NotAllowedError') {
          this.emit('said', 'The browser has blocked camera and microphone. Allow them next to the address bar.');
          return null;
        }
        if (wish.video) this.emit('said', name === 'NotReadableError' ? 'Your camera is in use by another program.' : 'No camera found: sound only.');
      }
    }
    return null;
  }
}

/** Why this page cannot call people; empty when it can. */
export const cannotTalk = () => (navigator.mediaDevices?.getUserMedia ? ''
  : 'Browsers only allow camera and microphone on pages from https or localhost.');

const release = (stream) => stream?.getTracks().forEach((track) => track.stop());
