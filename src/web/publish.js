// What we send to a relay: video in several encodings, of which each viewer gets what its network carries.

/**
 * The parts of the full size, and the most bits a second, of each encoding; the smallest comes first (RFC 8853).
 * @typedef {{ rid: string, scaleResolutionDownBy: number, maxBitrate: number }} Encoding
 */
const ENCODINGS = [
  { rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'h', scaleResolutionDownBy: 1, maxBitrate: 2_500_000 },
];
/**
 * The pixels from which on Chromium sends two encodings, and three. Of more it leaves out the largest, so that nobody
 * would see the full size (libwebrtc, simulcast.cc).
 */
const PIXELS = [480 * 270, 960 * 540];

/**
 * The encodings of a video of this size. An unknown size is that of most cameras.
 * @param {{ width?: number, height?: number }} size
 * @returns {Encoding[]}
 */
export function encodings({ width = 640, height = 480 }) {
  const count = 1 + PIXELS.filter((least) => width * height >= least).length;
  return ENCODINGS.slice(-count).map((encoding) => ({ ...encoding }));
}

/**
 * Sends a track, and receives nothing in its section.
 * @param {RTCPeerConnection} connection
 * @param {MediaStreamTrack} track
 * @param {MediaStream} stream
 */
export function publish(connection, track, stream) {
  const sendEncodings = track.kind === 'video' ? encodings(track.getSettings()) : [];
  connection.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
}

/**
 * Adapts the encodings that were agreed to another size of the video: the smallest ones go on as if they were all, or
 * Chromium would leave out the largest. An unknown size changes nothing.
 * @param {RTCRtpSender} sender
 * @param {{ width?: number, height?: number }} size
 */
export async function fit(sender, size) {
  const parameters = sender.getParameters();
  const all = parameters.encodings ?? [];
  if (!all.length || !size.width || !size.height) return;
  const wanted = encodings(size).slice(-all.length);
  let changed = false;
  all.forEach((encoding, i) => {
    const { scaleResolutionDownBy, maxBitrate } = wanted[i] ?? encoding;
    const next = { active: i < wanted.length, scaleResolutionDownBy, maxBitrate };
    changed ||= Object.entries(next).some(([name, value]) => /** @type {any} */ (encoding)[name] !== value);
    Object.assign(encoding, next);
  });
  if (changed) await sender.setParameters(parameters);
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
