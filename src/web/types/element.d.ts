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
    /** Moved within its page by moveBefore(): the call goes on. */
    connectedMoveCallback(): void;
    /** The state of the call: none, calling, playing or stalled. */
    get state(): "playing" | "stalled" | "none" | "calling";
    /**
     * The `<video>` that shows the camera.
     * @returns {HTMLVideoElement}
     */
    get video(): HTMLVideoElement;
    /** Plays again after stop(), or retries at once instead of later or never. */
    play(): void;
    /** Ends the call and the connection; play() starts them again. */
    stop(): void;
    /** Resolves to the picture as a PNG, in the size it was received; rejects while there is none. */
    snapshot(): Promise<Blob>;
    #private;
}
/**
 * The notice over the picture, and its event.
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
