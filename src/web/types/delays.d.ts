/**
 * Averages in ms; `camera` is not below 0.
 * @typedef {{ total: number, camera: number, network: number, buffer: number, decoding: number, screen: number }} Parts
 *
 * What the browser measured, in ms; null if unknown.
 * @typedef {{ rtt: number | null, buffer: number | null, decoding: number | null }} Measured
 */
/**
 * Requests the capture time of frames, if the browser supports that.
 * @param {Iterable<RTCRtpTransceiver>} transceivers before the description is created
 */
export function askCaptureTime(transceivers: Iterable<RTCRtpTransceiver>): void;
/**
 * Returns when the shown frame was captured, by the camera's clock: ms since 1970, or null.
 * @param {Iterable<RTCRtpReceiver>} receivers
 * @param {number | undefined} rtpTimestamp of the frame
 */
export function capturedAt(receivers: Iterable<RTCRtpReceiver>, rtpTimestamp: number | undefined): number | null;
export class Delays {
    /**
     * Takes a sender report: when it was sent by the camera's clock and received by ours, in ms since 1970, and the round
     * trip.
     * @param {{ sent: number, came: number, rtt: number | null }} report
     */
    report({ sent, came, rtt }: {
        sent: number;
        came: number;
        rtt: number | null;
    }): void;
    /** How far our clock is ahead of the camera's, in ms; null before the first report. */
    get ahead(): number | null;
    /**
     * Takes a shown frame: its capture time by the camera's clock, its decode and display times by ours.
     * @param {{ captured: number | null, decoded: number, shown: number }} frame
     */
    frame({ captured, decoded, shown }: {
        captured: number | null;
        decoded: number;
        shown: number;
    }): void;
    /**
     * @param {Measured} measured
     * @returns {Parts | null} null while a part is unknown
     */
    parts({ rtt, buffer, decoding }: Measured): Parts | null;
    #private;
}
/**
 * What the browser measured, in ms; null if unknown.
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
