// The last minute of a call, as lines: what was measured each second.

import { $ } from './view.js';

/** Seconds that are shown. */
export const SPAN = 60;
/** The height of a chart in the units of its path; its width is SPAN. */
export const HEIGHT = 20;

/** @type {Record<string, (stats: import('./player.js').Stats) => number | null | undefined>} by the id of their charts */
const SERIES = {
  'minute-bitrate': ({ bitrate }) => bitrate,
  'minute-fps': ({ fps }) => fps,
  'minute-delay': ({ delays }) => delays?.total,
  'minute-loss': ({ loss }) => loss,
};

/** @type {Record<string, (value: number) => string>} */
const UNITS = {
  'minute-bitrate': (bps) => `${Math.round(bps / 1000)} kbit/s`,
  'minute-fps': (fps) => `${Math.round(fps)} fps`,
  'minute-delay': (ms) => `${Math.round(ms)} ms`,
  'minute-loss': (loss) => `${(loss * 100).toFixed(1)} %`,
};

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
  /** @type {import('./player.js').Stats[]} */
  #all = [];

  /** @param {import('./player.js').Stats} stats */
  push(stats) {
    this.#all.push(stats);
    if (this.#all.length > SPAN) this.#all.shift();
  }

  /** Another call. */
  clear() { this.#all = []; }

  /** Draws what there is, where somebody looks. */
  draw() {
    if (!$('minute').open) return;
    for (const [id, of] of Object.entries(SERIES)) {
      const values = this.#all.map(of);
      const chart = $(id);
      chart.querySelector('path').setAttribute('d', path(values));
      const said = words(values, UNITS[id]);
      chart.setAttribute('aria-label', said);
      chart.nextElementSibling.textContent = said;
    }
  }
}
