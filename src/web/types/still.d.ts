/** Seconds that the image may be old. */
export const AGE: 60;
export class Still {
    /**
     * @param {HTMLCanvasElement} canvas hidden unless there is something to show; pages that allow no images allow it
     * @param {() => Promise<Blob | null>} load asks for the newest; null when there is none
     */
    constructor(canvas: HTMLCanvasElement, load: () => Promise<Blob | null>);
    /**
     * Asks for the newest image, unless the last one was asked for within `age` seconds; resolves when it can be shown.
     * @param {number} [age]
     */
    ask(age?: number): Promise<void>;
    /**
     * Shows it while there is no frame of the call.
     * @param {boolean} wanted
     */
    show(wanted: boolean): void;
    /** Forgets the image: another one may watch now, or another camera. */
    forget(): void;
    #private;
}
