/** 128 random bits. Not `crypto.randomUUID`, which pages over plain http do not have. */
export function randomId(): string;
/**
 * Refuses a wrong use, with a sentence that says what is right.
 * @param {unknown} right
 * @param {() => string} words
 * @returns {asserts right}
 */
export function need(right: unknown, words: () => string): asserts right;
/**
 * What a value is, in a sentence.
 * @param {unknown} value
 */
export function kind(value: unknown): string;
/**
 * Calls those who asked for an event.
 * @template {Record<keyof Events, unknown[]>} Events what each event's handlers are given
 */
export class Emitter<Events extends Record<keyof Events, unknown[]>> {
    /** @param {readonly (keyof Events)[]} events the names there are; any other is a mistake */
    constructor(events: readonly (keyof Events)[]);
    /**
     * Calls `handler` for every `name` event; returns a function that ends it.
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {(...args: Events[Name]) => void} handler
     * @returns {() => void}
     */
    on<Name extends keyof Events>(name: Name, handler: (...args: Events[Name]) => void): () => void;
    /**
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {Events[Name]} args
     */
    emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void;
    #private;
}
/**
 * Time and chance, in milliseconds and from 0 to 1.
 * @typedef {object} Clock
 * @property {() => number} now
 * @property {(ms: number, run: () => void) => unknown} after
 * @property {(timer: any) => void} cancel
 * @property {() => number} random
 */
/**
 * The real clock; tests bring their own.
 * @type {Clock}
 */
export const clock: Clock;
export function userOf(address: string): string;
export function isObject(value: unknown): value is Record<string, any>;
export function isText(value: unknown): value is string;
export function has(value: unknown, ...names: string[]): boolean;
/**
 * Time and chance, in milliseconds and from 0 to 1.
 */
export type Clock = {
    now: () => number;
    after: (ms: number, run: () => void) => unknown;
    cancel: (timer: any) => void;
    random: () => number;
};
