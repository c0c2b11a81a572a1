// A camera's own controls (exposure, focus, brightness …) as a small form, for who may set them.
//
// Asks by `command` at the node `camera:control`: `list`, `set` and `reset`. A camera that has any for us says
// `controls: true` of itself; one that refuses shows nothing.

const NODE = 'camera:control';

export class Controls {
  #peer = null;
  #waiting = new Map(); // name → the newest value that is not sent yet, while one is under way
  #busy = new Set();

  /** `form` is filled; `said(words)` tells what went wrong, `changed()` that there is something to show or not. */
  constructor({ client, form, said, changed }) {
    Object.assign(this, { client, form, said, changed, list: [] });
    form.addEventListener('submit', (event) => event.preventDefault());
  }

  get any() { return this.list.length > 0; }

  /** Another camera is on screen, or none. */
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

  async #ask(action, data) {
    const to = this.#peer;
    let reply;
    try {
      reply = await this.client.command(to, { node: NODE, action, data });
    } catch (error) {
      reply = { status: 0, data: { message: error.message } };
    }
    if (to !== this.#peer) return null; // another one is on screen by now
    if (reply.status === 200) return reply.data ?? {};
    // Nobody asked for a list to be shown, so its refusal is no news.
    if (action !== 'list') this.said(`${reply.data?.message ?? 'The camera did not answer'}`);
    return null;
  }

  /** The newest value wins; a slider that is dragged does not queue up all that it passed. */
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

  /** A driver may round: what is shown is what is set. */
  #settle(control) {
    const input = [...this.form.elements].find((element) => element.name === control.name);
    if (!input || input.matches(':active')) return;
    input.value = control.value;
    input.nextElementSibling.value = control.value;
  }

  #show(list) {
    const names = list.map(({ name }) => name).join();
    const focused = this.form.contains(document.activeElement) ? document.activeElement.name : null;
    const before = this.list.map(({ name }) => name).join();
    this.list = list;
    this.form.replaceChildren(...list.map((control) => this.#row(control)));
    if (focused && names === before) this.form.elements[focused]?.focus();
    this.changed();
  }

  #row(control) {
    const row = document.createElement('label');
    const label = document.createElement('span');
    label.textContent = control.label || control.name;
    const input = this.#input(control);
    input.name = control.name;
    input.disabled = control.inactive === true;
    if (input.disabled) row.title = 'Another control governs it: switch its automatic off first.';
    row.append(label, input);
    if (control.kind === 'integer') {
      const output = document.createElement('output');
      output.value = control.value ?? '';
      input.addEventListener('input', () => { output.value = input.value; });
      row.append(output);
    }
    return row;
  }

  #input(control) {
    const { kind, min, max, step, items, value } = control;
    const input = document.createElement(kind === 'menu' ? 'select' : kind === 'button' ? 'button' : 'input');
    switch (kind) {
      case 'integer':
        Object.assign(input, { type: 'range', min, max, step, value: value ?? control.default });
        input.addEventListener('input', () => this.#set(control, Number(input.value)));
        break;
      case 'switch':
        Object.assign(input, { type: 'checkbox', checked: value === 1 });
        input.addEventListener('change', () => this.#set(control, input.checked));
        break;
      case 'menu':
        for (const [number, name] of items) input.append(new Option(name, number, false, number === value));
        input.addEventListener('change', () => this.#set(control, Number(input.value)));
        break;
      default:
        Object.assign(input, { type: 'button', textContent: 'Do it' });
        input.addEventListener('click', () => this.#set(control, null));
    }
    return input;
  }
}

/** What a form can show; a range too wide for a slider is for programs. */
function usable({ name, kind, read_only: readOnly, min, max, items }) {
  if (typeof name !== 'string' || readOnly) return false;
  if (kind === 'integer') return Number.isSafeInteger(min) && Number.isSafeInteger(max) && max > min && max - min <= 1e6;
  if (kind === 'menu') return Array.isArray(items) && items.length > 1;
  return kind === 'switch' || kind === 'button';
}
