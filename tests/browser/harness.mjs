// The base of every browser test: starting and stopping programs, waiting for conditions, pages in a browser.
//
// Nothing sleeps: `until` polls a condition and fails with a message. A scenario always cleans up, and a failing one
// leaves a screenshot of each page under target/browser/.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');
const SHOTS = join(TARGET, 'browser');
const PATIENCE = 30_000; // ms, the default timeout of a condition: a debug build on two busy cores

/** A library that changes the time of a program that loads it; its path contains Debian's name of this architecture. */
export const FAKETIME = `/usr/lib/${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch]}-linux-gnu/faketime/libfaketime.so.1`;

const children = new Set();
process.on('exit', () => children.forEach((child) => kill(child, 'SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

// ── Conditions ──

/** Resolves with the first truthy value of `probe`; the error contains what it threw last. */
export async function until(what, probe, { within = PATIENCE, every = 50 } = {}) {
  const end = performance.now() + within;
  for (let last; ;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      if (error.fatal) throw error;
      last = error.message;
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${within / 1000} s; last seen: ${show(last)}`);
    await new Promise((next) => setTimeout(next, every));
  }
}

/** Settles as `promise` does, or fails after `within` ms. */
export function deadline(promise, within, what) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`${what}: no end within ${within / 1000} s`)), within);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

// ── Scenarios ──

/**
 * A test whose `s` owns what it started: `s.camera()`, `s.chromium()`, `s.note()` …; `needs` lists
 * what the machine must have; otherwise the test is skipped with the reason.
 */
export function scenario(name, { needs = [], timeout = 180_000 } = {}, run) {
  const lacking = needs.map((need) => (typeof need === 'function' ? need : NEEDS[need])()).find(Boolean);
  if (lacking) console.log(`SKIPPED ${name}: ${lacking}`);
  return test(name, { skip: lacking || false }, async (t) => {
    const s = new Scenario(name, t);
    try {
      // The runner's own time limit would leave programs running.
      await deadline(run(s), timeout, 'the whole scenario');
    } catch (error) {
      s.failed = true;
      error.message += await s.evidence();
      throw error;
    } finally {
      await s.end();
    }
  });
}

const NEEDS = {
  chromium: () => found('chromium') ? '' : 'no Chromium here (Debian: chromium)',
  firefox: () => found('firefox-esr') || found('firefox') ? '' : 'no Firefox here (Debian: firefox-esr)',
  qemu: () => found('qemu-system-aarch64') ? '' : 'no qemu-system-aarch64 here (Debian: qemu-system-arm)',
  gstreamer: () => found('gst-launch-1.0') ? '' : 'no gst-launch-1.0 here (Debian: gstreamer1.0-tools)',
  faketime: () => existsSync(FAKETIME) ? '' : 'no libfaketime here (Debian: faketime)',
  openssl: () => found('openssl') ? '' : 'no openssl here (Debian: openssl)',
  rtsp: () => {
    const asked = spawnSync('/usr/bin/python3', ['-c',
      'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer']);
    return asked.status === 0 ? '' : 'no RTSP server here (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi)';
  },
};

/** The path of a program, or undefined. */
export function found(program) {
  return (process.env.PATH ?? '').split(':').concat('/usr/bin').map((dir) => join(dir, program)).find((path) => existsSync(path));
}

class Scenario {
  #ends = [];
  #pages = [];
  #programs = [];

  constructor(name, t) {
    Object.assign(this, { name, t, slug: name.toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 60) });
    this.dir = mkdtempSync(join(tmpdir(), 'symple-'));
    this.after(() => rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 }));
  }

  /** Adds a step for the end; the last one runs first. */
  after(job) { this.#ends.push(job); }

  /** Adds lines; a failure prints the last ones, as for each program. */
  tells(name, lines) { this.#programs.push({ name, get lines() { return lines(); } }); }

  /** Adds a line to the report. */
  note(words) { console.log(`    ${this.name}: ${words}`); }

  /** Starts a program whose output shows when it is `ready`. */
  async program(command, args, { env = {}, ready, within, cwd = ROOT } = {}) {
    const program = new Program(command, args, { env, cwd });
    this.#programs.push(program);
    this.after(() => program.stop());
    if (ready) await program.says(ready, { within });
    return program;
  }

  /** Starts the program, as built by `cargo build --bins`. */
  async symple(args, options) {
    const path = join(TARGET, 'debug/symple');
    if (!existsSync(path)) throw new Error(`No ${path}: run 'cargo build --all-features --bins' first`);
    return this.program(path, args, options);
  }

  /** Starts one of our examples, as built by `cargo build --examples`. */
  async example(name, { env = {}, ready = /\bhttps?:\/\/\S+/ } = {}) {
    const path = process.env[name.toUpperCase()] ?? join(TARGET, 'debug/examples', name);
    if (!existsSync(path)) throw new Error(`No ${path}: run 'cargo build --all-features --examples' first`);
    return this.program(path, [], { env: { RUST_LOG: 'info', ...env }, ready });
  }

  /** A camera with a server of its own; environment as for `make run`. */
  async camera({ program = 'camera', port, ...env } = {}) {
    port ??= await freePort();
    const start = () => this.example(program, { env: { SOURCE: 'test', PORT: String(port), ...env } });
    const camera = { port, url: `http://127.0.0.1:${port}/`, process: await start() };
    camera.status = async () => (await fetch(`${camera.url}api/status`)).json();
    camera.stop = () => camera.process.stop();
    camera.start = async () => (camera.process = await start());
    return camera;
  }

  /** A certificate for localhost, and the authority that signed it: { ca, cert, key }, paths of PEM files. */
  certificate() {
    const path = (name) => join(this.dir, name);
    const request = (...args) => {
      const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', ...args]);
      if (made.status !== 0) throw new Error(`openssl: ${made.error ?? made.stderr}`);
    };
    request('-subj', '/CN=Test authority', '-keyout', path('ca.key'), '-out', path('ca.pem'));
    // Not an authority itself: verifiers refuse one as a server's certificate.
    request('-subj', '/CN=localhost', '-keyout', path('key.pem'), '-out', path('cert.pem'), '-CA', path('ca.pem'), '-CAkey', path('ca.key'),
      '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE');
    return { ca: path('ca.pem'), cert: path('cert.pem'), key: path('key.pem') };
  }

  /** The page at an address of its own, its sockets passed on to a server of ours behind TLS. */
  async front({ port, ca }, config = { iceServers: [], room: 'public', auth: true }) {
    const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    const server = createHttpServer(({ url }, response) => {
      const path = new URL(url, 'http://localhost').pathname;
      const name = path === '/' ? 'index.html' : path.slice(1);
      const file = join(ROOT, 'src/web', name);
      const asset = /^[\w-]+\.\w+$/.test(name) && existsSync(file) && readFileSync(file);
      const body = path === '/api/config' ? JSON.stringify(config) : asset;
      response.writeHead(body ? 200 : 404, { 'content-type': types[name.split('.').pop()] ?? 'application/json' }).end(body || '');
    });
    const open = new Set();
    server.on('upgrade', ({ url, rawHeaders: raw }, socket, head) => {
      const onward = connect({ port, host: '127.0.0.1', servername: 'localhost', ca }, () => {
        const headers = raw.flatMap((name, i) => (i % 2 ? [] : [`${name}: ${raw[i + 1]}\r\n`])).join('');
        onward.write(`GET ${url} HTTP/1.1\r\n${headers}\r\n`);
        onward.write(head);
        socket.pipe(onward).pipe(socket);
      });
      for (const [one, other] of [[socket, onward], [onward, socket]]) {
        open.add(one);
        one.on('error', () => other.destroy()).on('close', () => open.delete(one) && other.destroy());
      }
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    this.after(() => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
      open.forEach((socket) => socket.destroy());
    }));
    return `http://127.0.0.1:${server.address().port}/`;
  }

  /** A Chromium with a fresh profile. */
  async chromium(options) {
    const { Chromium } = await import('./chromium.mjs');
    return this.#browser(await Chromium.start(this, options));
  }

  /** A Firefox with a fresh profile. */
  async firefox(options) {
    const { Firefox } = await import('./firefox.mjs');
    return this.#browser(await Firefox.start(this, options));
  }

  #browser(browser) {
    this.after(() => browser.close());
    browser.opened = (page) => this.#pages.push(page);
    return browser;
  }

  async shot(page, what = '') {
    mkdirSync(SHOTS, { recursive: true });
    const path = join(SHOTS, `${this.slug}${what && `-${what}`}.png`);
    await page.screenshot(path);
    return path;
  }

  /** Prints the context of a failure. */
  async evidence() {
    let words = '';
    for (const [i, page] of this.#pages.entries()) {
      const path = await deadline(this.shot(page, `failed-${i}`), 10_000, 'a screenshot').catch((error) => `none: ${error.message}`);
      words += `\n  page ${i}: screenshot ${path}\n${indent(page.console.slice(-20))}`;
    }
    for (const program of this.#programs) words += `\n  ${program.name} said last:\n${indent(program.lines.slice(-30))}`;
    return words;
  }

  async end() {
    for (const job of this.#ends.reverse()) {
      try {
        await deadline(Promise.resolve(job()), 20_000, 'an end');
      } catch (error) {
        console.log(`    ${this.name}: cleaning up: ${error.message}`);
      }
    }
  }
}

const indent = (lines) => lines.map((line) => `    | ${line}`).join('\n');

// ── Programs ──

/** A running program and its output. */
export class Program {
  lines = [];

  constructor(command, args, { env, cwd }) {
    this.name = command.split('/').pop();
    // A group of its own, so that what it starts ends with it.
    this.child = spawn(command, args, { env: { ...process.env, ...env }, cwd, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(this.child);
    this.ended = new Promise((done) => {
      this.child.on('error', (error) => done(this.end = error.message));
      this.child.on('close', (code, signal) => {
        children.delete(this.child);
        done(this.end = signal ?? `exit ${code}`);
      });
    });
    this.child.stdin.on('error', () => {}); // it ended first
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        this.lines.push(...lines);
      });
    }
  }

  /** The first line, from the `from`th on, that `pattern` matches. */
  async says(pattern, { within, from = 0 } = {}) {
    return until(`${this.name} says ${pattern}`, () => {
      const line = this.lines.slice(from).map((line) => line.match(pattern)).find(Boolean);
      if (!line && this.end) {
        throw Object.assign(new Error(`${this.name} ended (${this.end}) and said:\n${indent(this.lines.slice(-30))}`), { fatal: true });
      }
      return line;
    }, { within });
  }

  /** Writes a line to its input. */
  tell(line) { this.child.stdin.write(`${line}\n`); }

  signal(signal) { kill(this.child, signal); }

  /** Stops it, by SIGKILL after 5 s. */
  async stop(signal = 'SIGTERM') {
    kill(this.child, signal);
    const late = setTimeout(() => kill(this.child, 'SIGKILL'), 5000);
    await this.ended;
    clearTimeout(late);
    kill(this.child, 'SIGKILL'); // its remaining children
    return this.end;
  }
}

function kill(child, signal) {
  try {
    if (child.pid) process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended.
  }
}

/** A port that was just free: known before the start, and the same after a restart. */
export function freePort() {
  return new Promise((done, failed) => {
    const server = createServer().on('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

// ── What a page shows ──

/** Runs in the page before its own scripts: the functions of probe.js as `probe`. */
export const PROBE = readFileSync(new URL('probe.js', import.meta.url), 'utf8');

/** The common part of both browsers' pages, which provide evaluate, press, goto, screenshot and console. */
export class PageUnderTest {
  console = [];

  /** Calls a function of probe.js. */
  probe(name, ...args) {
    const answer = this.evaluate(`probe.${name}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
    return deadline(answer, PATIENCE + 5000, `probe.${name}`);
  }

  visible(selector) { return this.probe('visible', selector); }
  text(selector) { return this.probe('text', selector); }

  /** Waits for an element to become visible, and presses it. */
  async click(selector) {
    await until(`${selector} can be pressed`, () => this.probe('pressable', selector));
    await this.press(selector);
  }

  /** Waits for a first picture in `video`: its time in ms after the last press, or after the page's start. */
  async firstPicture(video = '#video', { within } = {}) {
    await until(`a picture in ${video}`, () => this.probe('firstPicture', video), { within });
    return this.probe('firstPicture', video);
  }

  /** Takes `count` pictures as they are shown: [{ counter, clock, delay, width, height }]. */
  async pictures(count = 30, video = '#video') {
    const shown = await this.probe('pictures', video, count, PATIENCE);
    if (shown.error) throw new Error(`pictures of ${video}: ${shown.error}`);
    return shown;
  }

  /** Waits until the burned-in counter has advanced by `by` frames. */
  async moves(video = '#video', by = 30) {
    let first;
    return until(`the counter burned into ${video} goes forward by ${by}`, async () => {
      const [picture] = await this.pictures(1, video);
      first ??= picture.counter;
      const steps = forward(first, picture.counter);
      return steps >= by && steps < 0x8000 && { from: first, to: picture.counter };
    });
  }

  /** Waits for sound other than silence: { level, hertz } of the strongest tone. */
  async sound(video = '#video', { within } = {}) {
    return until(`sound in ${video}`, async () => {
      const heard = await this.probe('sound', video);
      return heard.level > 0.001 ? heard : Promise.reject(new Error(show(heard)));
    }, { within, every: 100 });
  }
}

/** The distance of the burned-in counter, which wraps, from `a` to `b`. */
export const forward = (a, b) => (b - a) & 0xffff;

/** The median and the 95th percentile, as text. */
export function spread(values, unit = 'ms') {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return `median ${at(0.5)} ${unit}, p95 ${at(0.95)} ${unit} of ${sorted.length}`;
}
