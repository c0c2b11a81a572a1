// Calls with people: starts, answers or declines them. A call takes the stage from the camera once both sides agreed.
// Publishing to a relay is such a call, in which we only send; our own picture has the stage.
//
// Events: changed(), stage() when a call takes the stage, stats(stats) of its player,
// over({ call, peer, player, staged }), said(words), a message for the person.

import { Emitter } from './events.js';
import { Own } from './own.js';
import { Player } from './player.js';
import { words } from './reasons.js';

export class Talk extends Emitter {
  #held = false; // our call gave way to theirs; our tracks wait for that call

  /** `calls` is a Calls, `ice()` returns the ICE servers, `own` is what we send. */
  constructor({ calls, roster, video, ice, own = new Own() }) {
    super(['changed', 'stage', 'stats', 'over', 'said']);
    Object.assign(this, { calls, roster, video, ice, own, call: null, peer: null, player: null, preparing: false, publishing: false, asking: null });
    calls.on('ended', (call) => this.#ended(call));
    own.on('changed', () => this.emit('changed'));
    own.on('said', (words) => this.emit('said', words));
    own.on('track', (kind, track) => this.player?.send(kind, track));
  }

  /** Whether a call has the stage. */
  get staged() { return Boolean(this.player); }
  get busy() { return this.preparing || Boolean(this.call) || Boolean(this.asking); }

  /** Calls a person, after the browser gave access to camera and microphone. */
  async start(peer) {
    if (this.busy) return;
    Object.assign(this, { preparing: true, peer });
    this.emit('changed');
    const taken = await this.own.take();
    this.preparing = false;
    if (!taken) this.emit('said', 'The call was not started: it needs at least your microphone.');
    else if (!this.roster.get(peer.address)) {
      this.own.release();
      this.emit('said', words('offline', { name: peer.name })[0]);
    } else {
      this.#take(this.calls.invite(peer.address, { video: true, audio: true, direction: 'sendrecv' }), peer);
    }
    if (!this.call) this.peer = null;
    this.emit('changed');
  }

  /** Sends our camera, screen or microphone to a relay, for others to watch. */
  async publish(peer, what) {
    if (this.busy) return;
    Object.assign(this, { preparing: true, publishing: true, peer });
    this.emit('changed');
    const taken = await this.own.take(what);
    this.preparing = false;
    if (taken && this.roster.get(peer.address)) {
      // The relay knows one call with us: that in which we watch it ends first.
      this.emit('stage');
      this.#take(this.calls.invite(peer.address, { video: true, audio: true, direction: 'sendonly' }), peer);
      this.#play();
    } else {
      Object.assign(this, { publishing: false, peer: null });
      this.own.release();
      if (taken) this.emit('said', words('offline', { name: peer.name })[0]);
    }
    this.emit('changed');
  }

  /** Takes a call from a person. Returns true if it is presented or accepted. */
  incoming(call, peer) {
    // Both called each other and our call gave way: accept without asking.
    if (call.mutual && this.#held) {
      this.#held = false;
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
    // Without microphone and camera we can still listen and watch.
    await this.own.take();
    this.asking = null;
    if (call.state !== 'incoming') this.own.release();
    else {
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
    // Subscribes before anybody else, so that the player gets the `accepted` that follows this state.
    call.on('state', (state) => {
      if (state === 'connecting' && !this.player) this.#stage();
      this.emit('changed');
    });
  }

  #stage() {
    // Whatever has the stage releases it now.
    this.emit('stage');
    this.#play();
  }

  #play() {
    const { call, video, publishing, own: { stream } } = this;
    try {
      this.player = new Player({ call, video, iceServers: this.ice(), stream, publishes: publishing });
    } catch (error) {
      this.emit('said', `The call failed in this browser: ${error.message}`);
      this.call.hangup('bad-description');
      return;
    }
    this.player.on('state', () => this.emit('changed'));
    this.player.on('stats', (stats) => this.emit('stats', stats));
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
    const { peer, player } = this;
    Object.assign(this, { call: null, peer: null, player: null, publishing: false });
    if (call.reason === 'glare') this.#held = true;
    else this.own.release();
    this.emit('over', { call, peer, player, staged: Boolean(player) });
    this.emit('changed');
  }
}

/** Returns why this page cannot call people; empty if it can. */
export const cannotTalk = () => (navigator.mediaDevices?.getUserMedia ? ''
  : 'Browsers only allow camera and microphone access on pages from https or localhost.');
