export class StuckTracks {
    /**
     * A track is stuck if it is muted while media comes, at two measurements in a row: packets that came while it was
     * being unmuted are nothing.
     * @param {any[]} report the values of getStats(), once a second
     * @param {RTCRtpTransceiver[]} transceivers
     * @returns {RTCRtpTransceiver | undefined} one whose track is stuck
     */
    find(report: any[], transceivers: RTCRtpTransceiver[]): RTCRtpTransceiver | undefined;
    #private;
}
