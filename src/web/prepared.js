// A receive-only peer connection, created before a call together with its offer; preparing.js decides when. It gathers
// candidates in the meantime, so that the offer contains them.

import { open } from './channel.js';
import { askCaptureTime } from './delays.js';

/** Video and audio for a receive-only call, and a channel for commands. */
export class Prepared {
  /** @type {Promise<void>} resolves when the offer exists */
  done;
  #made = false;

  /** @param {RTCIceServer[]} iceServers */
  constructor(iceServers) {
    const connection = this.connection = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    for (const kind of ['video', 'audio']) connection.addTransceiver(kind, { direction: 'recvonly' });
    askCaptureTime(connection.getTransceivers());
    // In the first offer, where it costs no round trip; a camera that has none declines it.
    this.channel = open(connection);
    this.done = connection.setLocalDescription().then(() => { this.#made = true; });
    this.done.catch(() => {}); // reported to those who await it
  }

  /** The offer with the candidates so far; null until it exists. */
  get offer() { return this.#made ? this.connection.localDescription : null; }

  close() { this.connection.close(); }
}
