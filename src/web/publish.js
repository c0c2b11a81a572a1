// What we send to a relay: video in several encodings, of which each viewer gets what its network carries.

/** The parts of the full size, and the most bits a second, of each encoding; the smallest comes first (RFC 8853). */
const ENCODINGS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 2_500_000 },
];

/**
 * Sends a track, and receives nothing in its section.
 * @param {RTCPeerConnection} connection
 * @param {MediaStreamTrack} track
 * @param {MediaStream} stream
 */
export function publish(connection, track, stream) {
  const sendEncodings = track.kind === 'video' ? ENCODINGS.map((encoding) => ({ ...encoding })) : [];
  connection.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
}

/**
 * What has left so far, of the largest encoding that leaves, and of all in bytes.
 * @param {any[]} report the statistics of the connection
 */
export function sentOf(report) {
  const sent = report.filter(({ type }) => type === 'outbound-rtp');
  const [largest] = sent.filter(({ kind, framesSent }) => kind === 'video' && framesSent > 0)
    .sort((a, b) => (b.frameWidth ?? 0) - (a.frameWidth ?? 0));
  return {
    bytes: sent.reduce((sum, { bytesSent = 0 }) => sum + bytesSent, 0),
    frames: largest?.framesSent ?? 0,
    width: largest?.frameWidth ?? 0,
    height: largest?.frameHeight ?? 0,
    codecId: largest?.codecId,
  };
}
