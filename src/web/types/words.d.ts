/**
 * Why there are no frames during a call.
 * @param {Why & { name: string }} why
 * @returns {Words | [title: string]}
 */
export function standing({ name, source, online, server, path, bitrate, video }: Why & {
    name: string;
}): Words | [title: string];
/**
 * The notice over the picture, outside calls with people. `ringing`: the camera has not accepted yet.
 * @param {State} state
 * @param {{ ringing?: boolean, why?: Why, server?: Server }} [more]
 * @returns {Notice}
 */
export function notice(state: State, { ringing, why, server }?: {
    ringing?: boolean;
    why?: Why;
    server?: Server;
}): Notice;
/** The code of a source whose video is off. */
export const SOUND_ALONE: "video-off";
/** Problems that a person must solve before anything can play. */
export const PAGE: Readonly<{
    /** @type {(detail: string) => Words} */
    token: (detail: string) => Words;
    unplayable: Words;
    /** @type {(detail: string) => Words} */
    media: (detail: string) => Words;
}>;
export type Words = import("./reasons.js").Words;
/**
 * What is known about a server that does not admit us: it only answers HTTP; it refuses pages of this origin; its
 * message after too many attempts.
 */
export type State = import("./watching.js").State;
/**
 * Why there may be no frames: `source` is the state reported by the camera, `path` the state of the network path,
 * `bitrate` the received bitrate in bit/s, `video` the part of it that is video.
 */
export type Server = {
    answers?: boolean;
    refuses?: string;
    limited?: string;
};
/**
 * A notice over the picture; `retry` is the label of a button.
 */
export type Why = {
    source?: import("./watching.js").Source;
    online?: boolean;
    server?: Server;
    path?: string;
    bitrate?: number;
    video?: number;
};
export type Notice = {
    title: string;
    more?: string;
    kind: "playing" | "voice" | "stalled" | "busy" | "waiting" | "idle";
    retry?: string;
};
