/**
 * The encodings of a video of this size. An unknown size is that of most cameras.
 * @param {{ width?: number, height?: number }} size
 * @returns {Encoding[]}
 */
export function encodings({ width, height }: {
    width?: number;
    height?: number;
}): Encoding[];
/**
 * Sends a track, and receives nothing in its section.
 * @param {RTCPeerConnection} connection
 * @param {MediaStreamTrack} track
 * @param {MediaStream} stream
 */
export function publish(connection: RTCPeerConnection, track: MediaStreamTrack, stream: MediaStream): void;
/**
 * Adapts the encodings that were agreed to another size of the video: the smallest ones go on as if they were all, or
 * Chromium would leave out the largest. An unknown size changes nothing.
 * @param {RTCRtpSender} sender
 * @param {{ width?: number, height?: number }} size
 */
export function fit(sender: RTCRtpSender, size: {
    width?: number;
    height?: number;
}): Promise<void>;
/**
 * What has left so far, of the largest encoding that leaves, and of all in bytes.
 * @param {any[]} report the statistics of the connection
 */
export function sentOf(report: any[]): {
    bytes: any;
    frames: any;
    width: any;
    height: any;
    codecId: any;
};
/**
 * The parts of the full size, and the most bits a second, of each encoding; the smallest comes first (RFC 8853).
 */
export type Encoding = {
    rid: string;
    scaleResolutionDownBy: number;
    maxBitrate: number;
};
