// Whether a picture is shown so small that the small rendition of it does: a pure function of sizes and time.
//
// The small rendition has half the width and height, and at most half the frame rate; so a picture has to be shown well
// below its size before fewer pixels, and fewer frames, are hardly missed.

/** Shown at up to this part of its width, a picture is little: two thirds of what the small rendition has. */
const LITTLE = 1 / 3;
/** Shown at this part and above, it is not: the small rendition would be stretched. */
const LARGE = 1 / 2;
/** It has to be little for so many ms: who drags the edge of a window, or looks elsewhere for a moment, is not served anew. */
const LASTS = 3000;

/**
 * `full` is the widest that the call's picture came, `since` when it was first seen to be little.
 * @typedef {Readonly<{ little: boolean, full: number, since: number | null }>} State
 *
 * What is seen: the picture's width as it came, and as it is shown, in pixels of the screen.
 * @typedef {{ came: number, shown: number, now: number }} Seen
 */

/** A call begins. @type {State} */
export const WHOLE = Object.freeze({ little: false, full: 0, since: null });

/**
 * @param {State} state
 * @param {Seen} seen
 * @returns {State}
 */
export function look({ little, full: before, since }, { came, shown, now }) {
  const full = Math.max(before, came);
  if (!full || !shown) return { little, full, since: null }; // nothing is shown, which says nothing
  if (little) return { little: shown < full * LARGE, full, since: null };
  if (shown > full * LITTLE) return { little, full, since: null };
  const from = since ?? now;
  return now - from >= LASTS ? { little: true, full, since: null } : { little, full, since: from };
}

/**
 * How wide a picture is in its element, in pixels of the screen: it keeps its proportions.
 * @param {{ clientWidth: number, clientHeight: number, videoWidth: number, videoHeight: number }} video
 * @param {number} ratio pixels of the screen in one of the page
 */
export function width({ clientWidth, clientHeight, videoWidth, videoHeight }, ratio) {
  return videoHeight ? Math.min(clientWidth, (clientHeight * videoWidth) / videoHeight) * ratio : 0;
}
