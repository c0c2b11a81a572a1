/**
 * @param {State} state
 * @param {Seen} seen
 * @returns {State}
 */
export function look({ little, full: before, since }: State, { came, shown, now }: Seen): State;
/**
 * How wide a picture is in its element, in pixels of the screen: it keeps its proportions.
 * @param {{ clientWidth: number, clientHeight: number, videoWidth: number, videoHeight: number }} video
 * @param {number} ratio pixels of the screen in one of the page
 */
export function width({ clientWidth, clientHeight, videoWidth, videoHeight }: {
    clientWidth: number;
    clientHeight: number;
    videoWidth: number;
    videoHeight: number;
}, ratio: number): number;
/**
 * `full` is the widest that the call's picture came, `since` when it was first seen to be little.
 * @typedef {Readonly<{ little: boolean, full: number, since: number | null }>} State
 *
 * What is seen: the picture's width as it came, and as it is shown, in pixels of the screen.
 * @typedef {{ came: number, shown: number, now: number }} Seen
 */
/** A call begins. @type {State} */
export const WHOLE: State;
/**
 * What is seen: the picture's width as it came, and as it is shown, in pixels of the screen.
 */
export type State = Readonly<{
    little: boolean;
    full: number;
    since: number | null;
}>;
/**
 * `full` is the widest that the call's picture came, `since` when it was first seen to be little.
 */
export type Seen = {
    came: number;
    shown: number;
    now: number;
};
