/**
 * Whether a transceiver of this direction receives.
 * @type {(direction: string | null) => boolean}
 */
export const receives: (direction: string | null) => boolean;
export class StuckTracks {
    /**
     * A track is stuck if it is muted while media arrives, in two consecutive measurements. A single one may only show
     * packets from before the track was unmuted.
     * @param {any[]} report the values of getStats(), once a second
     * @param {RTCRtpTransceiver[]} transceivers
     * @returns {RTCRtpTransceiver | undefined} one whose track is stuck
     */
    find(report: any[], transceivers: RTCRtpTransceiver[]): RTCRtpTransceiver | undefined;
    #private;
}
