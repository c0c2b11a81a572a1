/** The maximum age of the image, in seconds. */
export const AGE: 60;
export class Still {
    /**
     * @param {HTMLCanvasElement} canvas hidden without an image; works where a Content-Security-Policy blocks <img>
     * @param {() => Promise<Blob | null>} load fetches the newest image; null if there is none
     */
    constructor(canvas: HTMLCanvasElement, load: () => Promise<Blob | null>);
    /**
     * Fetches the newest image, unless one was requested within the last `age` seconds. Resolves when it can be shown.
     * @param {number} [age]
     */
    ask(age?: number): Promise<void>;
    /**
     * Shows or hides the image; it is wanted until the call's first frame.
     * @param {boolean} wanted
     */
    show(wanted: boolean): void;
    /** Forgets the image: the viewer or the camera may be another one now. */
    forget(): void;
    #private;
}
