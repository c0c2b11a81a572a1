// What the other modules share: an event emitter, ids and the clock.

export class Emitter {
  #handlers = new Map();

  /** Calls `handler` for every `name` event; returns a function that ends it. */
  on(name, handler) {
    if (!this.#handlers.has(name)) this.#handlers.set(name, new Set());
    this.#handlers.get(name).add(handler);
    return () => this.#handlers.get(name).delete(handler);
  }

  emit(name, ...args) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(...args);
      } catch (error) {
        // One listener's mistake is reported, and does not stop the others.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/** The real clock; tests bring their own. */
export const clock = {
  now: () => performance.now(),
  after: (ms, run) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/** 128 random bits. Not `crypto.randomUUID`, which pages over plain http do not have. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The user's part of an address: what stands before the first `|`. */
export const userOf = (address) => address.split('|', 1)[0];

/** An object, and neither an array nor null. */
export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
