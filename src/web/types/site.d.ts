/**
 * What a server tells its pages.
 * @typedef {{ iceServers?: RTCIceServer[], room?: string | null, auth?: boolean }} Config
 */
/** A server, by the address of its page. */
export class Site {
    /**
     * @param {string | URL} url of the page; a relative one is resolved as the page's links are
     * @param {{ fetch?: typeof globalThis.fetch, page?: { href: string, origin: string } }} [page] where we are
     */
    constructor(url: string | URL, { fetch, page }?: {
        fetch?: typeof globalThis.fetch;
        page?: {
            href: string;
            origin: string;
        };
    });
    base: URL;
    fetch: typeof fetch;
    page: {
        href: string;
        origin: string;
    };
    /** Where its WebSocket is. */
    get socket(): string;
    /**
     * What it tells its pages; null when it does not answer.
     * @param {string} [token]
     * @returns {Promise<Config | null>}
     */
    config(token?: string): Promise<Config | null>;
    /**
     * The newest JPEG of the camera whose own server this is, at most `age` seconds old; null when there is none for us.
     * @param {string} [token]
     * @param {number} [age]
     * @returns {Promise<Blob | null>}
     */
    still(token?: string, age?: number): Promise<Blob | null>;
    /**
     * Why a socket does not open: 'answers' when the server does by HTTP, so that something in between passes no
     * WebSockets; 'refuses' when an answer comes that pages of this origin may not read, which a proxy's own may be, too;
     * 'gone'.
     * @returns {Promise<'answers' | 'refuses' | 'gone'>}
     */
    reach(): Promise<"answers" | "refuses" | "gone">;
    /**
     * Whether anybody answers, whatever.
     * @param {AbortSignal} [signal]
     */
    answers(signal?: AbortSignal): Promise<boolean>;
    #private;
}
/**
 * What a server tells its pages.
 */
export type Config = {
    iceServers?: RTCIceServer[];
    room?: string | null;
    auth?: boolean;
};
