// Measures the delays of a frame between its capture and the screen.
//
//   capture ── camera ──▶ sent ── network ──▶ received ── jitter buffer ──▶ ── decoding ──▶ ── screen ──▶ shown
//
// On request, a camera sends the capture time of its frames, by its own clock. The offset between that clock and ours
// follows from its sender reports: send time, arrival time, and half the round trip. Network, jitter buffer, decoding
// and screen are measured here; the rest of the total is spent in the camera: capture, encoding, queue.

/** The end of the URI of the header extension for the capture time; browsers do not offer it by default. */
const CAPTURE_TIME = '/rtp-hdrext/abs-capture-time';
/** From 1900, the NTP epoch, to 1970, in ms. */
const NTP_TO_UNIX = 2_208_988_800_000;
/** Sender reports to choose the least delayed one from. They arrive once a second; clocks drift little in 20 s. */
const REPORTS = 20;
/** The weight of one frame in the averages, which follow within a second or two. */
const WEIGHT = 1 / 16;

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
export function askCaptureTime(transceivers) {
  for (const each of transceivers) {
    const transceiver = /** @type {any} */ (each);
    try {
      const all = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
      for (const extension of all) if (extension.uri.endsWith(CAPTURE_TIME)) extension.direction = 'sendrecv';
      transceiver.setHeaderExtensionsToNegotiate?.(all);
    } catch { /* without it the total stays unknown */ }
  }
}

/**
 * Returns when the shown frame was captured, by the camera's clock: ms since 1970, or null.
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
   * Takes a sender report: when it was sent by the camera's clock and received by ours, in ms since 1970, and the round
   * trip.
   * @param {{ sent: number, came: number, rtt: number | null }} report
   */
  report({ sent, came, rtt }) {
    if (this.#reports.at(-1)?.sent === sent) return;
    this.#reports.push({ sent, ahead: came - sent - (rtt ?? 0) / 2 });
    if (this.#reports.length > REPORTS) this.#reports.shift();
  }

  /** How far our clock is ahead of the camera's, in ms; null before the first report. */
  get ahead() { return this.#reports.length ? Math.min(...this.#reports.map(({ ahead }) => ahead)) : null; }

  /**
   * Takes a shown frame: its capture time by the camera's clock, its decode and display times by ours.
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
   * @returns {Parts | null} null while a part is unknown
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
