// RTP and RTCP for the stacks that pass them on unprocessed: counts losses, reports and names here, and decodes with
// decode.py.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { medium } from './symple.mjs';

const DECODE = fileURLToPath(new URL('decode.py', import.meta.url));

/** Receives the packets of one medium. */
export class Receiver {
  counts = medium();
  #decoder;
  #ssrc;
  #highest;
  /** Of earlier streams. */
  #lost = 0;

  /** The numbers that were skipped, and have not come yet. */
  #missing = new Set();
  #payloads = new Set();
  /** The payload type of what each of retransmissions repeats. */
  #repeats = new Map();

  constructor(codec) { Object.assign(this, { codec }); }

  /** The latest stream. */
  get ssrc() { return this.#ssrc; }

  /** Reads the payload types from a description: others are not for the decoder. */
  describe(sdp) {
    for (const [, payload, codec] of sdp.matchAll(/^a=rtpmap:(\d+) (\w+)/gm)) {
      if (codec.toUpperCase() === this.codec) this.#payloads.add(Number(payload));
    }
    for (const [, repeat, payload] of sdp.matchAll(/^a=fmtp:(\d+) apt=(\d+)/gm)) this.#repeats.set(Number(repeat), Number(payload));
    return sdp;
  }

  packet(packet) {
    const of = this.#repeats.get(packet[1] & 0x7f);
    if (of !== undefined) return this.#payloads.has(of) && this.#ssrc !== undefined && this.#repeated(packet, of);
    return this.#original(packet);
  }

  /** A packet again (RFC 4588, 4); padding alone repeats nothing. */
  #repeated(packet, payload) {
    let head = 12 + 4 * (packet[0] & 0x0f);
    if (packet[0] & 0x10) head += 4 + 4 * packet.readUInt16BE(head + 2);
    if (packet.length < head + 2 || packet[0] & 0x20) return;
    const again = Buffer.concat([packet.subarray(0, head), packet.subarray(head + 2)]);
    again[1] = (packet[1] & 0x80) | payload;
    packet.copy(again, 2, head, head + 2);
    again.writeUInt32BE(this.#ssrc, 8);
    this.#original(again);
  }

  #original(packet) {
    const [payload, sequence] = [packet[1] & 0x7f, packet.readUInt16BE(2)];
    if (!this.#payloads.has(payload)) return;
    const { counts } = this;
    const ssrc = packet.readUInt32BE(8);
    if (ssrc !== this.#ssrc) {
      this.close();
      [this.#ssrc, this.#highest] = [ssrc, undefined];
      this.#lost += this.#missing.size;
      this.#missing.clear();
      this.#decoder = this.#start(payload);
    }
    // Skipped numbers count as lost, until they arrive late. What came before comes again in probes.
    const step = this.#highest === undefined ? 1 : (sequence - this.#highest) & 0xffff;
    if (step > 0 && step < 0x8000) {
      for (let n = 1; n < step; n++) this.#missing.add((this.#highest + n) & 0xffff);
      this.#highest = sequence;
    } else if (!this.#missing.delete(sequence)) return;
    counts.packets++;
    counts.lost = this.#lost + this.#missing.size;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(packet.length);
    this.#decoder.stdin.write(Buffer.concat([length, packet]));
  }

  #start(payload) {
    this.counts.codec = this.codec;
    const child = spawn('/usr/bin/python3', [DECODE, this.codec, String(payload)], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {}); // it was ended
    const { frames, errors } = this.counts; // of earlier streams
    createInterface({ input: child.stdout }).on('line', (line) => {
      const more = JSON.parse(line);
      if (child === this.#decoder) Object.assign(this.counts, { frames: frames + more.frames, errors: errors + more.errors, words: more.words });
    });
    return child;
  }

  close() { this.#decoder?.kill(); }
}

/** Reads sender reports, names and goodbyes from a compound packet (RFC 3550, 6). */
export function control(counts, compound) {
  for (let at = 0; at + 8 <= compound.length;) {
    const [count, type] = [compound[at] & 0x1f, compound[at + 1]];
    const end = at + 4 * (compound.readUInt16BE(at + 2) + 1);
    const ssrc = compound.readUInt32BE(at + 4);
    if (type === 200) counts.reports[ssrc] = (counts.reports[ssrc] ?? 0) + 1;
    // The first item of the first chunk is the CNAME, of type 1.
    if (type === 202 && count && compound[at + 8] === 1) {
      const name = compound.toString('utf8', at + 10, at + 10 + compound[at + 9]);
      counts.cnames[ssrc] = name;
    }
    if (type === 203) counts.byes++;
    at = end;
  }
}

/** Counters as `control` fills them: of sender reports and of names, by SSRC. */
export const counters = (video, audio) => ({ video, audio, reports: {}, cnames: {}, byes: 0 });
