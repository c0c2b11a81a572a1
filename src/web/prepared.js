// A peer connection that receives, made and offered before anybody is called; preparing.js says when. It gathers
// candidates meanwhile, so the offer has them.

import { askCaptureTime } from './delays.js';

/** The video and the audio of a call that only receives. */
export class Prepared {
  /** @type {Promise<void>} when the offer is there */
  done;
  #made = false;

  /** @param {RTCIceServer[]} iceServers */
  constructor(iceServers) {
    const connection = this.connection = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    for (const kind of ['video', 'audio']) connection.addTransceiver(kind, { direction: 'recvonly' });
    askCaptureTime(connection.getTransceivers());
    this.done = connection.setLocalDescription().then(() => { this.#made = true; });
    this.done.catch(() => {}); // whoever waits for it hears of it
  }

  /** The offer with the candidates so far; null before it is made. */
  get offer() { return this.#made ? this.connection.localDescription : null; }

  close() { this.connection.close(); }
}
