// Charts of the last minute of a call, measured each second by the browser and by the camera. Next to them, as texts:
// network path, encoder and delays.

import { words as wayOf } from './route.js';
import { $, bits, frames, ms, percent, put } from './view.js';

/** Seconds per chart. */
export const SPAN = 60;
/** The height of a chart in path units; its width is SPAN. */
export const HEIGHT = 20;

/**
 * The statistics of one second; `camera` has the camera's own figures, if it was queried.
 * @typedef {import('./player.js').Stats & { camera?: import('./figures.js').Known | null }} Second
 */

/** @type {Record<string, (now: Second, before: Second | undefined) => number | null | undefined>} by the id of the chart */
const SERIES = {
  'minute-bitrate': ({ bitrate }) => bitrate,
  'minute-fps': ({ fps }) => fps,
  'minute-delay': ({ delays }) => delays?.total,
  'minute-loss': ({ loss }) => loss,
  'minute-dropped': (now, before) => dropped(now.camera, before?.camera),
};

/** As in the statistics above the charts. @type {Record<string, (value: number) => string>} */
export const UNITS = {
  'minute-bitrate': bits,
  'minute-fps': frames,
  'minute-delay': ms,
  'minute-loss': percent,
  'minute-dropped': frames,
};

/**
 * Returns the frames that a camera dropped between two of its figures. Waiting for the first key frame does not count.
 * @param {import('./figures.js').Known | null | undefined} now
 * @param {import('./figures.js').Known | null | undefined} before
 */
export function dropped(now, before) {
  if (!now?.skipped || !before?.skipped) return null;
  const all = (/** @type {{ network: number, socket: number }} */ { network, socket }) => network + socket;
  return Math.max(0, all(now.skipped) - all(before.skipped));
}

/**
 * Returns the texts beside the charts by the id of their elements; null if unknown.
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
 * Returns an SVG path for values, the newest at the right edge. A missing value leaves a gap in the line.
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

/** Describes a chart as text. @param {readonly (number | null | undefined)[]} values @param {(value: number) => string} unit */
export function words(values, unit) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return 'nothing measured';
  const [least, most] = [Math.min(...known), Math.max(...known)].map(unit);
  return least === most ? least : `${least} to ${most}`;
}

export class Minute {
  /** @type {Second[]} */
  #all = [];

  /** @param {Second} stats */
  push(stats) {
    this.#all.push(stats);
    if (this.#all.length > SPAN) this.#all.shift();
  }

  /** Starts over for another call. */
  clear() { this.#all = []; }

  /** Whether the charts are open. */
  get open() { return $('minute').open; }

  /** Draws the charts, if they are open. */
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
