// The test's end of a viewer: commands go in, what it saw comes out.

import { Program, ROOT, until } from '../browser/harness.mjs';

// A viewer goes on to the next case: browsers take seconds to start.
const running = new Map();

export class Viewer {
  constructor(program) { this.program = program; }

  /** The viewer of a stack, at the server of this scenario; one that took part in a failure is replaced. */
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

  /** The counters as they were last. */
  #counts = { video: { frames: 0 }, audio: { frames: 0 } };

  /** What it saw, but for the counters. */
  get #lines() {
    // Taken out as they come, so that a failure shows the rest.
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

  /** What went wrong in it. */
  get faults() { return this.#lines.filter(({ saw }) => saw === 'fault').map(({ what, error }) => `${what}: ${error}`); }

  /** Whether it ever saw such a thing. */
  saw(what, match = {}) {
    return this.#lines.find((line) => line.saw === what && Object.entries(match).every(([member, value]) => line[member] === value));
  }

  /** Waits until it did. */
  async sees(what, match, options) { return this.wait(`${what} ${match ? JSON.stringify(match) : ''}`, () => this.saw(what, match), options); }

  /** Waits for something of it; a viewer that ended, or saw a fault, will not get there. */
  async wait(what, probe, options) {
    return until(`the viewer: ${what}`, () => {
      if (this.faults.length) throw Object.assign(new Error(this.faults.join('\n')), { fatal: true });
      if (this.program.end) throw Object.assign(new Error(`it ended (${this.program.end})`), { fatal: true });
      return probe();
    }, options);
  }

  /** Waits for so many more frames, or `what` else is counted, and tells in how many ms they came. */
  async frames(more, { within = 10_000, medium = 'video', what = 'frames' } = {}) {
    const [from, start] = [this.counts[medium][what], performance.now()];
    await this.wait(`${more} ${what} of ${medium}`, () => this.counts[medium][what] >= from + more || Promise.reject(new Error(JSON.stringify(this.counts))), { within });
    return Math.round(performance.now() - start);
  }

  /** Waits until no frame has come for `ms`. */
  async still(ms, options) {
    let [last, since] = [this.counts.video.frames, performance.now()];
    return this.wait(`no frame of video for ${ms} ms`, () => {
      const { frames } = this.counts.video;
      if (frames !== last) [last, since] = [frames, performance.now()];
      return performance.now() - since > ms;
    }, options);
  }
}
