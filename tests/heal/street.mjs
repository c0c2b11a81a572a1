// Networks of their own for a camera, a server and a viewer, with a router between them: addresses change, cables are
// pulled, and packets get lost, as they do outside.
//
//   camera 10.84.1.2 ──┐                ┌── 10.84.2.2 viewer (eth0)
//   server 10.84.4.2 ──┴──── router ────┴── 10.84.3.2 viewer (eth1, down until `switches`)

import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { found } from '../browser/harness.mjs';

export const CAMERA = '10.84.1.2';
export const SERVER = '10.84.4.2';
const VIEWER = '10.84.2.2';
/** Where each goes when it changes its address without changing its network. */
const ELSEWHERE = { camera: '10.84.1.77', viewer: '10.84.2.77' };
const CABLES = [['camera', 'eth0', CAMERA], ['server', 'eth0', SERVER], ['viewer', 'eth0', VIEWER], ['viewer', 'eth1', '10.84.3.2']];

/** The reason why there can be no such networks here. */
export function lacking() {
  if (!found('nft')) return 'no nft here (Debian: nftables)';
  const name = `symple-try-${process.pid}`;
  const made = attempt('ip', 'netns', 'add', name) === undefined && attempt('ip', 'netns', 'exec', name, 'nft', 'add', 'table', 'inet', 'try') === undefined;
  attempt('ip', 'netns', 'del', name);
  return made ? '' : 'no network namespaces with packet filters can be made here (root and iproute2 are needed)';
}

export class Street {
  #name = (part) => `symple-${part}-${process.pid}-${this.id}`;
  static #count = 0;

  constructor(s) {
    this.id = Street.#count++;
    this.s = s;
    for (const part of ['router', 'camera', 'server', 'viewer']) {
      run('ip', 'netns', 'add', this.#name(part));
      s.after(() => run('ip', 'netns', 'del', this.#name(part)));
      this.#ip(part, 'link', 'set', 'lo', 'up');
    }
    this.#in('router', 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
    for (const [part, cable, address] of CABLES) {
      this.#ip('router', 'link', 'add', `${part}-${cable}`, 'type', 'veth', 'peer', 'name', cable, 'netns', this.#name(part));
      this.#ip('router', 'address', 'add', `${gateway(address)}/24`, 'dev', `${part}-${cable}`);
      this.#ip('router', 'link', 'set', `${part}-${cable}`, 'up');
      if (cable === 'eth0') this.#plug(part, cable, address);
    }
    this.#in('router', 'nft', 'add table inet heal; add chain inet heal forward { type filter hook forward priority 0; }');
  }

  /** A program's command and arguments, to be run at one of the places. */
  at(part, command, ...args) { return ['ip', ['netns', 'exec', this.#name(part), command, ...args]]; }

  /** A file that starts Chromium at a place. */
  browser(part = 'viewer') {
    const path = join(this.s.dir, `browser-${part}-${this.id}`);
    const [command, args] = this.at(part, found('chromium'));
    writeFileSync(path, `#!/bin/sh\nexec ${command} ${args.join(' ')} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Another address in the same network, as from another DHCP lease. */
  readdresses(part) {
    const address = part === 'camera' ? CAMERA : VIEWER;
    this.#ip(part, 'address', 'del', `${address}/24`, 'dev', 'eth0');
    this.#plug(part, 'eth0', ELSEWHERE[part]);
  }

  /** The viewer's first network ends, and another begins: from Wi-Fi to a mobile network. */
  switches() {
    this.unplugs();
    this.#plug('viewer', 'eth1', '10.84.3.2');
  }

  /** The viewer's cable is pulled, which its system notices. */
  unplugs() { this.#ip('viewer', 'link', 'set', 'eth0', 'down'); }

  /** It is back; the route is from DHCP. */
  plugs() {
    this.#ip('viewer', 'link', 'set', 'eth0', 'up');
    this.#ip('viewer', 'route', 'replace', 'default', 'via', gateway(VIEWER));
  }

  /** Nothing passes between the viewer and the others any more, and nobody is told. */
  cuts() { this.#rules('drop'); }

  /** A share of all packets between the viewer and the others is lost, both ways. */
  loses(share) { this.#rules(`meta l4proto udp numgen random mod 1000 < ${Math.round(share * 1000)} drop`); }

  /** The viewer's link carries so many kbit/s from the camera, and queues for up to 300 ms before it drops; null: all. */
  narrows(kbit) {
    this.#in('router', 'tc', 'qdisc', kbit ? 'replace' : 'del', 'dev', 'viewer-eth0', 'root',
      ...(kbit ? ['tbf', 'rate', `${kbit}kbit`, 'burst', '4kb', 'latency', '300ms'] : []));
  }

  /** Everything passes again. */
  mends() { this.#rules(); }

  #rules(...rules) {
    this.#in('router', 'nft', ['flush chain inet heal forward', ...rules.map((rule) => `add rule inet heal forward ${rule}`)].join('; '));
  }

  #plug(part, cable, address) {
    this.#ip(part, 'address', 'add', `${address}/24`, 'dev', cable);
    this.#ip(part, 'link', 'set', cable, 'up');
    this.#ip(part, 'route', 'replace', 'default', 'via', gateway(address));
  }

  #ip(part, ...args) { run('ip', '-n', this.#name(part), ...args); }
  #in(part, command, ...args) { run('ip', 'netns', 'exec', this.#name(part), command, ...args); }
}

const gateway = (address) => address.replace(/\d+$/, '1');

function run(...words) {
  const failed = attempt(...words);
  if (failed !== undefined) throw new Error(`${words.join(' ')}: ${failed}`);
}

/** Undefined, or why it failed. */
function attempt(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? undefined : String(error?.message ?? stderr).trim();
}
