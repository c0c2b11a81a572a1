// The test's side of a viewer: sends commands, and receives what it saw.

import { Program, ROOT, until } from '../browser/harness.mjs';

// Viewers are reused for the next case: browsers take seconds to start.
const running = new Map();

export class Viewer {
  constructor(program) { this.program = program; }

  /** The viewer of a stack, at the server of this scenario; it is replaced after a failure. */
  static async start(s, { name, command: [path, ...args] }, url) {
    if (!running.has(name)) running.set(name, new Program(path, args, { cwd: ROOT }));
    const program = running.get(name);
    program.lines.length = 0;
    const viewer = new Viewer(program);
    s.tells(name, () => program.lines);
    s.after(async () => {
      if (s.failed || program.end) return Viewer.end(name);
      viewer.tell('close');
      return program.says(/"saw":"closed"/, { within: 5000 }).catch(() => Viewer.end(name));
    });
    viewer.tell(`open ${url} visitor`);
    s.tells('counters', () => [JSON.stringify(viewer.counts)]);
    await viewer.sees('online');
    return viewer;
  }

  /** The latest counters. */
  #counts = { video: { frames: 0 }, audio: { frames: 0 } };

  /** What it saw, without the counters. */
  get #lines() {
    // Removed as they are read, so that a failure shows the rest.
    const { lines } = this.program;
    const rest = lines.filter((line) => {
      if (!line.startsWith('{"saw":"counts"')) return true;
      this.#counts = JSON.parse(line);
      return false;
    });
    lines.splice(0, lines.length, ...rest);
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  /** Ends the viewer of a stack. */
  static async end(name) {
    const program = running.get(name);
    running.delete(name);
    await program?.stop();
  }

  tell(command) { this.program.tell(command); }

  get counts() { return this.#lines && this.#counts; }

  /** Its errors. */
  get faults() { return this.#lines.filter(({ saw }) => saw === 'fault').map(({ what, error }) => `${what}: ${error}`); }

  /** Whether it ever saw this. */
  saw(what, match = {}) {
    return this.#lines.find((line) => line.saw === what && Object.entries(match).every(([member, value]) => line[member] === value));
  }

  /** How often it saw this. */
  count(what) { return this.#lines.filter(({ saw }) => saw === what).length; }

  /** Waits until it has seen this. */
  async sees(what, match, options) { return this.wait(`${what} ${match ? JSON.stringify(match) : ''}`, () => this.saw(what, match), options); }

  /** Waits for something it sees; fails at once if the viewer has ended, or reported an error. */
  async wait(what, probe, options) {
    return until(`the viewer: ${what}`, () => {
      if (this.faults.length) throw Object.assign(new Error(this.faults.join('\n')), { fatal: true });
      if (this.program.end) throw Object.assign(new Error(`it ended (${this.program.end})`), { fatal: true });
      return probe();
    }, options);
  }

  /** Waits for this many more frames, or another counter `what`; returns how many ms that took. */
  async frames(more, { within = 10_000, medium = 'video', what = 'frames' } = {}) {
    const [from, start] = [this.counts[medium][what], performance.now()];
    await this.wait(`${more} ${what} of ${medium}`, () => this.counts[medium][what] >= from + more || Promise.reject(new Error(JSON.stringify(this.counts))), { within });
    return Math.round(performance.now() - start);
  }

  /** Waits until no frame has arrived for `ms`. */
  async still(ms, options) {
    let [last, since] = [this.counts.video.frames, performance.now()];
    return this.wait(`no frame of video for ${ms} ms`, () => {
      const { frames } = this.counts.video;
      if (frames !== last) [last, since] = [frames, performance.now()];
      return performance.now() - since > ms;
    }, options);
  }
}
