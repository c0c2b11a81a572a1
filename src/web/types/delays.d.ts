/**
 * Averages in ms; `camera` is not below 0.
 * @typedef {{ total: number, camera: number, network: number, buffer: number, decoding: number, screen: number }} Parts
 *
 * What the browser measured, in ms; null where it does not tell.
 * @typedef {{ rtt: number | null, buffer: number | null, decoding: number | null }} Measured
 */
/**
 * Asks for the time of capture with frames, where the browser can.
 * @param {Iterable<RTCRtpTransceiver>} transceivers before the description is made
 */
export function askCaptureTime(transceivers: Iterable<RTCRtpTransceiver>): void;
/**
 * When the frame that is shown was captured, by the camera's clock: ms since 1970, or null.
 * @param {Iterable<RTCRtpReceiver>} receivers
 * @param {number | undefined} rtpTimestamp of the frame
 */
export function capturedAt(receivers: Iterable<RTCRtpReceiver>, rtpTimestamp: number | undefined): number | null;
export class Delays {
    /**
     * A sender report: when it left by the camera's clock and came by ours, in ms since 1970, and the round trip.
     * @param {{ sent: number, came: number, rtt: number | null }} report
     */
    report({ sent, came, rtt }: {
        sent: number;
        came: number;
        rtt: number | null;
    }): void;
    /** What our clock shows more than the camera's, in ms; null before a report. */
    get ahead(): number | null;
    /**
     * A frame that is shown: when it was captured by the camera's clock, was decoded and is on the screen by ours.
     * @param {{ captured: number | null, decoded: number, shown: number }} frame
     */
    frame({ captured, decoded, shown }: {
        captured: number | null;
        decoded: number;
        shown: number;
    }): void;
    /**
     * @param {Measured} measured
     * @returns {Parts | null} null as long as something is unknown
     */
    parts({ rtt, buffer, decoding }: Measured): Parts | null;
    #private;
}
/**
 * What the browser measured, in ms; null where it does not tell.
 */
export type Parts = {
    total: number;
    camera: number;
    network: number;
    buffer: number;
    decoding: number;
    screen: number;
};
/**
 * Averages in ms; `camera` is not below 0.
 */
export type Measured = {
    rtt: number | null;
    buffer: number | null;
    decoding: number | null;
};
