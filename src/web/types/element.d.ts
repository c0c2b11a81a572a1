export class SympleCamera extends HTMLElement {
    static observedAttributes: string[];
    set muted(muted: boolean);
    get muted(): boolean;
    set src(src: string);
    get src(): string;
    set token(token: string);
    get token(): string;
    set camera(user: string);
    get camera(): string;
    set controls(controls: boolean);
    get controls(): boolean;
    /**
     * @param {string} name
     * @param {string | null} before
     * @param {string | null} after
     */
    attributeChangedCallback(name: string, before: string | null, after: string | null): void;
    connectedCallback(): void;
    disconnectedCallback(): void;
    /** Moved within its page, by moveBefore(): nothing ends. */
    connectedMoveCallback(): void;
    /** What it does: none, calling, playing or stalled. */
    get state(): "playing" | "stalled" | "none" | "calling";
    /**
     * The `<video>` that shows it.
     * @returns {HTMLVideoElement}
     */
    get video(): HTMLVideoElement;
    /** Plays again: after stop(), or at once what would be tried again later or not at all. */
    play(): void;
    /** Ends the call and the connection; play() begins anew. */
    stop(): void;
    /** The picture as a PNG, in the size it came; rejected while there is none. */
    snapshot(): Promise<Blob>;
    #private;
}
/**
 * What stands over the picture, and the event that it is.
 */
export type Life = {
    site: Site;
    client: Client;
    watcher: Watcher;
    end: () => void;
};
export type Now = {
    title: string;
    more?: string;
    kind: string;
    retry?: string;
    name?: string;
    code?: string | null;
};
import { Site } from './site.js';
import { Client } from './client.js';
import { Watcher } from './watcher.js';
