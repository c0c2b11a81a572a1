// Where the time of a frame goes, from its capture to the screen.
//
//   capture ── camera ──▶ sent ── network ──▶ received ── jitter buffer ──▶ ── decoding ──▶ ── screen ──▶ shown
//
// A camera that is asked to sends with its frames when they were captured, by its own clock. How far that clock is from
// ours follows from its sender reports: when each says that it left, when it came, and half the round trip. Network, jitter
// buffer, decoding and screen are measured here; what is missing to the whole is the camera's: capturing, encoding,
// waiting for its turn.

/** How the name of the RTP header extension with the time of capture ends, which browsers know and do not ask for by themselves. */
const CAPTURE_TIME = '/rtp-hdrext/abs-capture-time';
/** From 1900, where NTP's time starts, to 1970, in ms. */
const NTP_TO_UNIX = 2_208_988_800_000;
/** Sender reports of which the least delayed counts; they come once a second, and clocks drift little in so long. */
const REPORTS = 20;
/** Each frame counts so much in the averages: they follow within a second or two. */
const WEIGHT = 1 / 16;

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
export function askCaptureTime(transceivers) {
  for (const each of transceivers) {
    const transceiver = /** @type {any} */ (each);
    try {
      const all = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
      for (const extension of all) if (extension.uri.endsWith(CAPTURE_TIME)) extension.direction = 'sendrecv';
      transceiver.setHeaderExtensionsToNegotiate?.(all);
    } catch { /* without it the whole is not known */ }
  }
}

/**
 * When the frame that is shown was captured, by the camera's clock: ms since 1970, or null.
 * @param {Iterable<RTCRtpReceiver>} receivers
 * @param {number | undefined} rtpTimestamp of the frame
 */
export function capturedAt(receivers, rtpTimestamp) {
  for (const receiver of receivers) {
    for (const source of receiver.getSynchronizationSources?.() ?? []) {
      const { captureTimestamp } = /** @type {{ captureTimestamp?: number }} */ (source);
      if (source.rtpTimestamp === rtpTimestamp && captureTimestamp) return captureTimestamp - NTP_TO_UNIX;
    }
  }
  return null;
}

export class Delays {
  /** @type {{ sent: number, ahead: number }[]} */
  #reports = [];
  /** @type {number | null} */
  #total = null;
  /** @type {number | null} */
  #screen = null;

  /**
   * A sender report: when it left by the camera's clock and came by ours, in ms since 1970, and the round trip.
   * @param {{ sent: number, came: number, rtt: number | null }} report
   */
  report({ sent, came, rtt }) {
    if (this.#reports.at(-1)?.sent === sent) return;
    this.#reports.push({ sent, ahead: came - sent - (rtt ?? 0) / 2 });
    if (this.#reports.length > REPORTS) this.#reports.shift();
  }

  /** What our clock shows more than the camera's, in ms; null before a report. */
  get ahead() { return this.#reports.length ? Math.min(...this.#reports.map(({ ahead }) => ahead)) : null; }

  /**
   * A frame that is shown: when it was captured by the camera's clock, was decoded and is on the screen by ours.
   * @param {{ captured: number | null, decoded: number, shown: number }} frame
   */
  frame({ captured, decoded, shown }) {
    const { ahead } = this;
    if (captured === null || ahead === null) return;
    this.#total = average(this.#total, shown - captured - ahead);
    this.#screen = average(this.#screen, Math.max(0, shown - decoded));
  }

  /**
   * @param {Measured} measured
   * @returns {Parts | null} null as long as something is unknown
   */
  parts({ rtt, buffer, decoding }) {
    if (this.#total === null || this.#screen === null || rtt === null || buffer === null || decoding === null) return null;
    const network = rtt / 2;
    const total = Math.max(0, this.#total);
    const camera = Math.max(0, total - network - buffer - decoding - this.#screen);
    return { total, camera, network, buffer, decoding, screen: this.#screen };
  }
}

/** @type {(before: number | null, now: number) => number} */
const average = (before, now) => (before === null ? now : before + (now - before) * WEIGHT);
