/**
 * Sends a track, and receives nothing in its section.
 * @param {RTCPeerConnection} connection
 * @param {MediaStreamTrack} track
 * @param {MediaStream} stream
 */
export function publish(connection: RTCPeerConnection, track: MediaStreamTrack, stream: MediaStream): void;
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
