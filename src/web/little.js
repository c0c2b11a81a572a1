// Decides whether a picture is shown so small that the small rendition is enough: a pure function of sizes and time.
//
// The small rendition has half the width and height, and at most half the frame rate. A picture must be well below its own
// size before that is hardly noticed.

/** A picture shown at up to this fraction of its width is little: two thirds of the small rendition's width. */
const LITTLE = 1 / 3;
/** From this fraction on it is not: the small rendition would be stretched. */
const LARGE = 1 / 2;
/** How long a picture must be little, in ms, so that resizing a window or a short glance elsewhere changes nothing. */
const LASTS = 3000;

/**
 * `full` is the greatest width received in this call, `since` the time at which the picture became little.
 * @typedef {Readonly<{ little: boolean, full: number, since: number | null }>} State
 *
 * The picture's width as received and as shown, in screen pixels.
 * @typedef {{ came: number, shown: number, now: number }} Seen
 */

/** The state at the start of a call. @type {State} */
export const WHOLE = Object.freeze({ little: false, full: 0, since: null });

/**
 * @param {State} state
 * @param {Seen} seen
 * @returns {State}
 */
export function look({ little, full: before, since }, { came, shown, now }) {
  const full = Math.max(before, came);
  if (!full || !shown) return { little, full, since: null }; // without a picture there is nothing to decide
  if (little) return { little: shown < full * LARGE, full, since: null };
  if (shown > full * LITTLE) return { little, full, since: null };
  const from = since ?? now;
  return now - from >= LASTS ? { little: true, full, since: null } : { little, full, since: from };
}

/**
 * The width of a picture in its element, in screen pixels; the picture keeps its proportions.
 * @param {{ clientWidth: number, clientHeight: number, videoWidth: number, videoHeight: number }} video
 * @param {number} ratio screen pixels per CSS pixel
 */
export function width({ clientWidth, clientHeight, videoWidth, videoHeight }, ratio) {
  return videoHeight ? Math.min(clientWidth, (clientHeight * videoWidth) / videoHeight) * ratio : 0;
}
