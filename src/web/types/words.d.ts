/**
 * Why no frame comes although a call stands.
 * @param {Why & { name: string }} why
 * @returns {Words | [title: string]}
 */
export function standing({ name, source, online, server, path, bitrate }: Why & {
    name: string;
}): Words | [title: string];
/**
 * What is over the picture while no person is called. `ringing`: the camera has not accepted yet.
 * @param {State} state
 * @param {{ ringing?: boolean, why?: Why, server?: Server }} [more]
 * @returns {Notice}
 */
export function notice(state: State, { ringing, why, server }?: {
    ringing?: boolean;
    why?: Why;
    server?: Server;
}): Notice;
/** What needs a person before anything can play. */
export const PAGE: Readonly<{
    /** @type {(detail: string) => Words} */
    token: (detail: string) => Words;
    unplayable: Words;
    /** @type {(detail: string) => Words} */
    media: (detail: string) => Words;
}>;
export type Words = import("./reasons.js").Words;
/**
 * What is known of a server that does not let us in: it answers by HTTP alone; it refuses pages of this origin; its
 * words when there were too many tries.
 */
export type State = import("./watching.js").State;
/**
 * Why no frame may come: `source` is what the camera tells of its own, `path` the state of the network path, `bitrate`
 * what comes, in bit/s.
 */
export type Server = {
    answers?: boolean;
    refuses?: string;
    limited?: string;
};
/**
 * What stands over the picture; `retry` names a button.
 */
export type Why = {
    source?: {
        state?: string;
        message?: unknown;
    };
    online?: boolean;
    server?: Server;
    path?: string;
    bitrate?: number;
};
export type Notice = {
    title: string;
    more?: string;
    kind: "playing" | "stalled" | "busy" | "waiting" | "idle";
    retry?: string;
};
