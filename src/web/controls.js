// A camera's own controls (exposure, focus, brightness …) as a small form, for those who may set them.
//
// Sends `command` messages to the node `camera:control`: `list`, `set` and `reset`. A camera with controls has
// `controls: true` in its presence; if it refuses, nothing is shown.

import { has, isObject, kind, need } from './events.js';

const NODE = 'camera:control';

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
  /** @type {string | null} */
  #peer = null;
  /** @type {Map<string, number | boolean | null>} name → the newest value that is not sent yet, while one is under way */
  #waiting = new Map();
  /** @type {Set<string>} */
  #busy = new Set();

  /** @param {ControlsOptions} options */
  constructor(options) {
    need(isObject(options), () => `Controls takes { client, form }, not ${kind(options)}`);
    const { client, form, said = () => {}, changed = () => {} } = options;
    need(has(client, 'command'), () => `client must be a Client, not ${kind(client)}`);
    need(has(form, 'replaceChildren'), () => `form must be a form element, not ${kind(form)}`);
    for (const [name, given] of Object.entries({ said, changed })) {
      need(typeof given === 'function', () => `${name} must be a function, not ${kind(given)}`);
    }
    this.client = client;
    this.form = form;
    this.said = said;
    this.changed = changed;
    /** @type {Control[]} */
    this.list = [];
    form.addEventListener('submit', (event) => event.preventDefault());
  }

  get any() { return this.list.length > 0; }

  /**
   * Another camera is on screen, or none.
   * @param {Record<string, any> | null} peer
   */
  async of(peer) {
    const address = peer?.controls === true ? peer.address : null;
    if (address === this.#peer) return;
    this.#peer = address;
    this.#waiting.clear();
    this.#show([]);
    if (address) await this.read();
  }

  /** Reads all anew: one that changes may free or bind others. */
  async read() {
    const data = await this.#ask('list');
    if (data) this.#show(Array.isArray(data.controls) ? data.controls.filter(usable) : []);
  }

  async reset() {
    for (const { name, kind } of this.list) if (kind !== 'button') await this.#ask('reset', { name });
    await this.read();
  }

  /**
   * @param {'list' | 'set' | 'reset'} action
   * @param {Record<string, unknown>} [data]
   */
  async #ask(action, data) {
    const to = this.#peer;
    if (to === null) return null;
    /** @type {Record<string, any>} */
    let reply;
    try {
      reply = await this.client.command(to, { node: NODE, action, data });
    } catch (error) {
      reply = { status: 0, data: { message: /** @type {Error} */ (error).message } };
    }
    if (to !== this.#peer) return null; // another one is on screen by now
    if (reply.status === 200) return reply.data ?? {};
    // Nobody asked for a list to be shown, so its refusal is no news.
    if (action !== 'list') this.said(`${reply.data?.message ?? 'The camera did not respond'}`);
    return null;
  }

  /**
   * The newest value wins; a slider that is dragged does not queue up all that it passed.
   * @param {Control} control
   * @param {number | boolean | null} value
   */
  async #set(control, value) {
    const { name } = control;
    this.#waiting.set(name, value);
    if (this.#busy.has(name)) return;
    this.#busy.add(name);
    let data = null;
    while (this.#waiting.has(name)) {
      const next = this.#waiting.get(name);
      this.#waiting.delete(name);
      data = await this.#ask('set', { name, value: next });
    }
    this.#busy.delete(name);
    if (data?.control && control.kind === 'integer') this.#settle(data.control);
    else await this.read();
  }

  /**
   * A driver may round: what is shown is what is set.
   * @param {Control} control
   */
  #settle(control) {
    const input = this.#inputs().find(({ name }) => name === control.name);
    if (!input || input.matches(':active')) return;
    input.value = String(control.value);
    const output = input.nextElementSibling;
    if (output instanceof HTMLOutputElement) output.value = input.value;
  }

  #inputs() { return /** @type {(HTMLInputElement | HTMLSelectElement | HTMLButtonElement)[]} */ ([...this.form.elements]); }

  /** @param {Control[]} list */
  #show(list) {
    const names = list.map(({ name }) => name).join();
    const focused = this.#inputs().find((input) => input === document.activeElement)?.name;
    const before = this.list.map(({ name }) => name).join();
    this.list = list;
    this.form.replaceChildren(...list.map((control) => this.#row(control)));
    if (focused && names === before) this.#inputs().find(({ name }) => name === focused)?.focus();
    this.changed();
  }

  /** @param {Control} control */
  #row(control) {
    const row = document.createElement('label');
    const label = document.createElement('span');
    label.textContent = control.label || control.name;
    const input = this.#input(control);
    input.name = control.name;
    input.disabled = control.inactive === true;
    if (input.disabled) row.title = 'Another control overrides this one: turn off its automatic mode first.';
    row.append(label, input);
    if (control.kind === 'integer') {
      const output = document.createElement('output');
      output.value = String(control.value ?? '');
      input.addEventListener('input', () => { output.value = input.value; });
      row.append(output);
    }
    return row;
  }

  /** @param {Control} control */
  #input(control) {
    const { kind: of, min, max, step, items = [], value } = control;
    if (of === 'menu') {
      const select = document.createElement('select');
      for (const [number, name] of items) select.append(new Option(name, String(number), false, number === value));
      select.addEventListener('change', () => this.#set(control, Number(select.value)));
      return select;
    }
    const input = document.createElement(of === 'button' ? 'button' : 'input');
    if (of === 'integer') {
      Object.assign(input, { type: 'range', min, max, step, value: value ?? control.default });
      input.addEventListener('input', () => this.#set(control, Number(input.value)));
    } else if (of === 'switch') {
      const box = Object.assign(/** @type {HTMLInputElement} */ (input), { type: 'checkbox', checked: value === 1 });
      box.addEventListener('change', () => this.#set(control, box.checked));
    } else {
      Object.assign(input, { type: 'button', textContent: 'Run' });
      input.addEventListener('click', () => this.#set(control, null));
    }
    return input;
  }
}

/**
 * What a form can show; a range too wide for a slider is for programs.
 * @param {any} control as it came
 */
function usable({ name, kind, read_only: readOnly, min, max, items }) {
  if (typeof name !== 'string' || readOnly) return false;
  if (kind === 'integer') return Number.isSafeInteger(min) && Number.isSafeInteger(max) && max > min && max - min <= 1e6;
  if (kind === 'menu') return Array.isArray(items) && items.length > 1;
  return kind === 'switch' || kind === 'button';
}
