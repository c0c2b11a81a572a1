// Finds tracks that stay muted although media arrives. Chromium sometimes leaves a track in this state after a rollback
// of an offer (w3c/webrtc-pc#3081), and shows none of the frames that it decodes.

/**
 * Whether a transceiver of this direction receives.
 * @type {(direction: string | null) => boolean}
 */
export const receives = (direction) => direction === 'sendrecv' || direction === 'recvonly';

export class StuckTracks {
  /** @type {Map<string, { media: number, times: number }>} by track id */
  #tracks = new Map();

  /**
   * A track is stuck if it is muted while media arrives, in two consecutive measurements. A single one may only show
   * packets from before the track was unmuted.
   * @param {any[]} report the values of getStats(), once a second
   * @param {RTCRtpTransceiver[]} transceivers
   * @returns {RTCRtpTransceiver | undefined} one whose track is stuck
   */
  find(report, transceivers) {
    return transceivers.find(({ receiver: { track }, currentDirection }) => {
      const inbound = report.find(({ type, trackIdentifier }) => type === 'inbound-rtp' && trackIdentifier === track.id);
      const media = (track.kind === 'video' ? inbound?.framesDecoded : inbound?.packetsReceived) ?? 0;
      const last = this.#tracks.get(track.id) ?? { media, times: 0 };
      const times = track.muted && receives(currentDirection) && media > last.media ? last.times + 1 : 0;
      this.#tracks.set(track.id, { media, times });
      return times >= 2;
    });
  }
}
