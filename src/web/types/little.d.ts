/**
 * @param {State} state
 * @param {Seen} seen
 * @returns {State}
 */
export function look({ little, full: before, since }: State, { came, shown, now }: Seen): State;
/**
 * The width of a picture in its element, in screen pixels; the picture keeps its proportions.
 * @param {{ clientWidth: number, clientHeight: number, videoWidth: number, videoHeight: number }} video
 * @param {number} ratio screen pixels per CSS pixel
 */
export function width({ clientWidth, clientHeight, videoWidth, videoHeight }: {
    clientWidth: number;
    clientHeight: number;
    videoWidth: number;
    videoHeight: number;
}, ratio: number): number;
/**
 * `full` is the greatest width received in this call, `since` the time at which the picture became little.
 * @typedef {Readonly<{ little: boolean, full: number, since: number | null }>} State
 *
 * The picture's width as received and as shown, in screen pixels.
 * @typedef {{ came: number, shown: number, now: number }} Seen
 */
/** The state at the start of a call. @type {State} */
export const WHOLE: State;
/**
 * The picture's width as received and as shown, in screen pixels.
 */
export type State = Readonly<{
    little: boolean;
    full: number;
    since: number | null;
}>;
/**
 * `full` is the greatest width received in this call, `since` the time at which the picture became little.
 */
export type Seen = {
    came: number;
    shown: number;
    now: number;
};
