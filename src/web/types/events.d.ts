/** 128 random bits. `crypto.randomUUID` does not exist on pages over plain http. */
export function randomId(): string;
/**
 * Throws a TypeError that describes correct use, unless `right`.
 * @param {unknown} right
 * @param {() => string} words
 * @returns {asserts right}
 */
export function need(right: unknown, words: () => string): asserts right;
/**
 * Describes a value for an error message.
 * @param {unknown} value
 */
export function kind(value: unknown): string;
/**
 * Calls the handlers of events.
 * @template {Record<keyof Events, unknown[]>} Events the arguments of each event's handlers
 */
export class Emitter<Events extends Record<keyof Events, unknown[]>> {
    /** @param {readonly (keyof Events)[]} events the names of all events; on() refuses any other */
    constructor(events: readonly (keyof Events)[]);
    /**
     * Calls `handler` for every `name` event. Returns a function that removes the handler.
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
 * Time in milliseconds, and random numbers from 0 to 1.
 * @typedef {object} Clock
 * @property {() => number} now
 * @property {(ms: number, run: () => void) => unknown} after
 * @property {(timer: any) => void} cancel
 * @property {() => number} random
 */
/**
 * The real clock; tests use their own.
 * @type {Clock}
 */
export const clock: Clock;
export function userOf(address: string): string;
export function isObject(value: unknown): value is Record<string, any>;
export function isText(value: unknown): value is string;
export function has(value: unknown, ...names: string[]): boolean;
/**
 * Time in milliseconds, and random numbers from 0 to 1.
 */
export type Clock = {
    now: () => number;
    after: (ms: number, run: () => void) => unknown;
    cancel: (timer: any) => void;
    random: () => number;
};
