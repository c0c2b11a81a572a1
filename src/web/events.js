// Shared by the other modules: an event emitter, ids, the clock, and checks of arguments.

/**
 * Calls the handlers of events.
 * @template {Record<keyof Events, unknown[]>} Events the arguments of each event's handlers
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(...args: any[]) => void>>} */
  #handlers;

  /** @param {readonly (keyof Events)[]} events the names of all events; on() refuses any other */
  constructor(events) {
    this.#handlers = new Map(events.map((name) => [name, new Set()]));
  }

  /**
   * Calls `handler` for every `name` event. Returns a function that removes the handler.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(...args: Events[Name]) => void} handler
   * @returns {() => void}
   */
  on(name, handler) {
    const handlers = this.#handlers.get(name);
    need(handlers, () => `${this.constructor.name} has no event "${String(name)}"; its events are ${[...this.#handlers.keys()].join(', ')}`);
    need(typeof handler === 'function', () => `The handler of "${String(name)}" must be a function, not ${kind(handler)}`);
    handlers.add(handler);
    return () => void handlers.delete(handler);
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} args
   */
  emit(name, ...args) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(...args);
      } catch (error) {
        // An error in one handler is reported and does not stop the others.
        queueMicrotask(() => { throw error; });
      }
    }
  }
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
export const clock = {
  now: () => performance.now(),
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/** 128 random bits. `crypto.randomUUID` does not exist on pages over plain http. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * The user part of an address: everything before the first `|`.
 * @param {string} address
 */
export const userOf = (address) => address.split('|', 1)[0];

/**
 * Whether a value is an object, but neither an array nor null.
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Whether a value is a non-empty string.
 * @param {unknown} value
 * @returns {value is string}
 */
export const isText = (value) => typeof value === 'string' && value !== '';

/**
 * Whether a value has these methods.
 * @param {unknown} value
 * @param {...string} names
 */
export const has = (value, ...names) => names.every((name) => typeof (/** @type {any} */ (value))?.[name] === 'function');

/**
 * Throws a TypeError that describes correct use, unless `right`.
 * @param {unknown} right
 * @param {() => string} words
 * @returns {asserts right}
 */
export function need(right, words) {
  if (!right) throw new TypeError(`${words()}.`);
}

/**
 * Describes a value for an error message.
 * @param {unknown} value
 */
export function kind(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return value === '' ? 'an empty string' : `"${value.slice(0, 40)}"`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return `an object (${value.constructor?.name ?? 'Object'})`;
  return typeof value === 'function' ? 'a function' : `${typeof value} ${String(value)}`;
}
