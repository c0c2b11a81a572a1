// The last minute of a call, as lines: what was measured each second, by the browser and by the camera; and beside them
// what is no line: the path, the encoder, where the time goes.

import { words as wayOf } from './route.js';
import { $, ms, put } from './view.js';

/** Seconds that are shown. */
export const SPAN = 60;
/** The height of a chart in the units of its path; its width is SPAN. */
export const HEIGHT = 20;

/**
 * Of one second; `camera` is what the camera knows of it, if it was asked.
 * @typedef {import('./player.js').Stats & { camera?: import('./figures.js').Known | null }} Second
 */

/** @type {Record<string, (now: Second, before: Second | undefined) => number | null | undefined>} by the id of their charts */
const SERIES = {
  'minute-bitrate': ({ bitrate }) => bitrate,
  'minute-fps': ({ fps }) => fps,
  'minute-delay': ({ delays }) => delays?.total,
  'minute-loss': ({ loss }) => loss,
  'minute-dropped': (now, before) => dropped(now.camera, before?.camera),
};

/** @type {Record<string, (value: number) => string>} */
const UNITS = {
  'minute-bitrate': (bps) => `${Math.round(bps / 1000)} kbit/s`,
  'minute-fps': (fps) => `${Math.round(fps)} fps`,
  'minute-delay': (ms) => `${Math.round(ms)} ms`,
  'minute-loss': (loss) => `${(loss * 100).toFixed(1)} %`,
  'minute-dropped': (frames) => `${frames} fps`,
};

/**
 * Frames that a camera did not send between two of its figures; the wait for a first key frame is no drop.
 * @param {import('./figures.js').Known | null | undefined} now
 * @param {import('./figures.js').Known | null | undefined} before
 */
export function dropped(now, before) {
  if (!now?.skipped || !before?.skipped) return null;
  const all = (/** @type {{ network: number, socket: number }} */ { network, socket }) => network + socket;
  return Math.max(0, all(now.skipped) - all(before.skipped));
}

/**
 * What is no line, as texts by the id of their places; null where nothing is known.
 * @param {Second | undefined} second
 * @returns {Record<string, string | null>}
 */
export function facts({ route, delays, camera } = /** @type {Second} */ ({})) {
  const { skipped, delaysMs, encoder, rendition } = camera ?? {};
  const inCamera = delaysMs
    ? [`capture ${ms(delaysMs.capture)}`, delaysMs.encoding === null ? '' : `encoding ${ms(delaysMs.encoding)}`, `queue ${ms(delaysMs.queue)}`]
    : [delays ? `camera ${ms(delays.camera)}` : ''];
  const here = delays
    ? [`network ${ms(delays.network)}`, `jitter buffer ${ms(delays.buffer)}`, `decoding ${ms(delays.decoding)}`, `screen ${ms(delays.screen)}`]
    : [];
  return {
    'now-path': wayOf(route),
    'now-encoder': encoder ? `${encoder}${rendition ? ', smaller picture' : ''}` : null,
    'now-dropped': skipped ? `network ${skipped.network}, socket ${skipped.socket}, before the first frame ${skipped.joining}` : null,
    'now-delay': [...inCamera, ...here].filter(Boolean).join(', ') || null,
  };
}

/**
 * The path of an SVG for values of which the newest is at the right edge; where one is missing the line has a gap.
 * @param {readonly (number | null | undefined)[]} values
 * @returns {string}
 */
export function path(values) {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  let pen = 'M';
  return values.map((value, at) => {
    if (value === null || value === undefined) {
      pen = 'M';
      return '';
    }
    const y = most > 0 ? HEIGHT * (1 - value / most) : HEIGHT;
    const point = `${pen}${SPAN - values.length + at + 1},${Math.round(y * 10) / 10}`;
    pen = 'L';
    return point;
  }).join('');
}

/** What a chart shows, in words. @param {readonly (number | null | undefined)[]} values @param {(value: number) => string} unit */
export function words(values, unit) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? `${unit(Math.min(...known))} to ${unit(Math.max(...known))}` : 'nothing measured';
}

export class Minute {
  /** @type {Second[]} */
  #all = [];

  /** @param {Second} stats */
  push(stats) {
    this.#all.push(stats);
    if (this.#all.length > SPAN) this.#all.shift();
  }

  /** Another call. */
  clear() { this.#all = []; }

  /** Whether somebody looks. */
  get open() { return $('minute').open; }

  /** Draws what there is, where somebody looks. */
  draw() {
    if (!this.open) return;
    for (const [id, text] of Object.entries(facts(this.#all.at(-1)))) put($(id), text ?? '–');
    for (const [id, of] of Object.entries(SERIES)) {
      const values = this.#all.map((second, at) => of(second, this.#all[at - 1]));
      const chart = $(id);
      chart.querySelector('path').setAttribute('d', path(values));
      const said = words(values, UNITS[id]);
      chart.setAttribute('aria-label', said);
      chart.nextElementSibling.textContent = said;
    }
  }
}
