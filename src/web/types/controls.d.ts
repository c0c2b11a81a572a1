/**
 * A control as reported by the camera.
 * @typedef {object} Control
 * @property {string} name
 * @property {string} [label]
 * @property {'integer' | 'switch' | 'menu' | 'button'} kind
 * @property {number} [value]
 * @property {number} [default]
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 * @property {[number, string][]} [items] of a menu
 * @property {boolean} [inactive] another control overrides it
 * @property {boolean} [read_only]
 *
 * @typedef {object} ControlsOptions
 * @property {import('./client.js').Client} client
 * @property {HTMLFormElement} form is filled
 * @property {(words: string) => void} [said] reports errors
 * @property {() => void} [changed] there is something to show, or not
 */
export class Controls {
    /** @param {ControlsOptions} options */
    constructor(options: ControlsOptions);
    client: import("./client.js").Client;
    form: HTMLFormElement;
    said: (words: string) => void;
    changed: () => void;
    /** @type {Control[]} */
    list: Control[];
    get any(): boolean;
    /**
     * Another camera is on screen, or none.
     * @param {Record<string, any> | null} peer
     */
    of(peer: Record<string, any> | null): Promise<void>;
    /** Reads all anew: one that changes may free or bind others. */
    read(): Promise<void>;
    reset(): Promise<void>;
    #private;
}
/**
 * A control as reported by the camera.
 */
export type Control = {
    name: string;
    label?: string | undefined;
    kind: "integer" | "switch" | "menu" | "button";
    value?: number | undefined;
    default?: number | undefined;
    min?: number | undefined;
    max?: number | undefined;
    step?: number | undefined;
    /**
     * of a menu
     */
    items?: [number, string][] | undefined;
    /**
     * another control overrides it
     */
    inactive?: boolean | undefined;
    read_only?: boolean | undefined;
};
/**
 * A control as reported by the camera.
 */
export type ControlsOptions = {
    client: import("./client.js").Client;
    /**
     * is filled
     */
    form: HTMLFormElement;
    /**
     * reports errors
     */
    said?: ((words: string) => void) | undefined;
    /**
     * there is something to show, or not
     */
    changed?: (() => void) | undefined;
};
