/**
 * A server's configuration for pages.
 * @typedef {{ iceServers?: RTCIceServer[], room?: string | null, auth?: boolean }} Config
 */
/** A server, by the address of its page. */
export class Site {
    /**
     * @param {string | URL} url of the server's page; a relative one is resolved like a link
     * @param {{ fetch?: typeof globalThis.fetch, page?: { href: string, origin: string } }} [page] the current page
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
    /** The URL of its WebSocket. */
    get socket(): string;
    /**
     * Fetches its configuration for pages; null if it does not answer.
     * @param {string} [token]
     * @returns {Promise<Config | null>}
     */
    config(token?: string): Promise<Config | null>;
    /**
     * Fetches the newest JPEG if this is a camera's own server, at most `age` seconds old; null if there is none for us.
     * @param {string} [token]
     * @param {number} [age]
     * @returns {Promise<Blob | null>}
     */
    still(token?: string, age?: number): Promise<Blob | null>;
    /**
     * Finds out why a socket does not open. 'answers': the server answers HTTP, so something in between blocks
     * WebSockets. 'refuses': a response arrives that pages of this origin may not read; it may also be a proxy's own.
     * 'gone': neither.
     * @returns {Promise<'answers' | 'refuses' | 'gone'>}
     */
    reach(): Promise<"answers" | "refuses" | "gone">;
    /**
     * Whether there is any response at all.
     * @param {AbortSignal} [signal]
     */
    answers(signal?: AbortSignal): Promise<boolean>;
    #private;
}
/**
 * A server's configuration for pages.
 */
export type Config = {
    iceServers?: RTCIceServer[];
    room?: string | null;
    auth?: boolean;
};
