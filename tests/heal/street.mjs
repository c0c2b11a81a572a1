// Network namespaces for a camera, a server and a viewer, connected by a router: addresses change, cables are
// unplugged, and packets get lost, as in real networks.
//
//   camera (eth0) 10.84.1.2 ──┐                ┌── 10.84.2.2 viewer (eth0)
//   camera (eth1) 10.84.5.2 ──┼──── router ────┴── 10.84.3.2 viewer (eth1, down until `switches`)
//   server        10.84.4.2 ──┘
//
// The camera's second link is down until `joins`.

import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { found } from '../browser/harness.mjs';

export const CAMERA = '10.84.1.2';
export const SERVER = '10.84.4.2';
const VIEWER = '10.84.2.2';
const SECOND = '10.84.5.2';
/** Their new addresses, in the same networks. */
const ELSEWHERE = { camera: '10.84.1.77', viewer: '10.84.2.77' };
const CABLES = [['camera', 'eth0', CAMERA], ['camera', 'eth1', SECOND], ['server', 'eth0', SERVER], ['viewer', 'eth0', VIEWER], ['viewer', 'eth1', '10.84.3.2']];

/** Why such networks cannot be created here; empty if they can. */
export function lacking() {
  if (!found('nft')) return 'no nft here (Debian: nftables)';
  const name = `symple-try-${process.pid}`;
  const made = attempt('ip', 'netns', 'add', name) === undefined && attempt('ip', 'netns', 'exec', name, 'nft', 'add', 'table', 'inet', 'try') === undefined;
  attempt('ip', 'netns', 'del', name);
  return made ? '' : 'cannot create network namespaces with packet filters here (root and iproute2 are needed)';
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
      // Or each link gets another address two seconds later: Chromium ends what it loads at every change of network.
      this.#in(part, 'sysctl', '-q', '-w', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0');
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

  /** The command and arguments that run a program in one of the namespaces. */
  at(part, command, ...args) { return ['ip', ['netns', 'exec', this.#name(part), command, ...args]]; }

  /** The path of a script that starts Chromium in a namespace. */
  browser(part = 'viewer') {
    const path = join(this.s.dir, `browser-${part}-${this.id}`);
    const [command, args] = this.at(part, found('chromium'));
    writeFileSync(path, `#!/bin/sh\nexec ${command} ${args.join(' ')} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Changes the address within the same network, as another DHCP lease does. */
  readdresses(part) {
    const address = part === 'camera' ? CAMERA : VIEWER;
    this.#ip(part, 'address', 'del', `${address}/24`, 'dev', 'eth0');
    this.#plug(part, 'eth0', ELSEWHERE[part]);
  }

  /** Moves the viewer to its second network, as from Wi-Fi to a mobile network. */
  switches() {
    this.unplugs();
    this.#plug('viewer', 'eth1', '10.84.3.2');
  }

  /** The camera gets a second link, over which it sends only once the first is gone. */
  joins() {
    this.#ip('camera', 'address', 'add', `${SECOND}/24`, 'dev', 'eth1');
    this.#ip('camera', 'link', 'set', 'eth1', 'up');
    this.#ip('camera', 'route', 'add', 'default', 'via', gateway(SECOND), 'metric', '600');
  }

  /** The camera's first link goes down. */
  parts() { this.#ip('camera', 'link', 'set', 'eth0', 'down'); }

  /** Unplugs the viewer's cable, which its system notices. */
  unplugs() { this.#ip('viewer', 'link', 'set', 'eth0', 'down'); }

  /** Plugs it in again, and restores the route as DHCP does. */
  plugs() {
    this.#ip('viewer', 'link', 'set', 'eth0', 'up');
    this.#ip('viewer', 'route', 'replace', 'default', 'via', gateway(VIEWER));
  }

  /** Silently drops all packets between the viewer and the others. */
  cuts() { this.#rules('drop'); }

  /** Drops a share of the UDP packets between the viewer and the others, in both directions. */
  loses(share) { this.#rules(`meta l4proto udp numgen random mod 1000 < ${Math.round(share * 1000)} drop`); }

  /**
   * A place's link carries so many kbit/s from the others, and queues for up to 300 ms before it drops; null: all. What
   * passes at once is what a link of that rate carries in 1 ms, and at least some packets.
   */
  narrows(kbit, part = 'viewer') {
    this.#in('router', 'tc', 'qdisc', kbit ? 'replace' : 'del', 'dev', `${part}-eth0`, 'root',
      ...(kbit ? ['tbf', 'rate', `${kbit}kbit`, 'burst', `${Math.max(4000, Math.round(kbit / 8))}b`, 'latency', '300ms'] : []));
  }

  /** Stops dropping packets. */
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

/** Runs a command. Returns undefined, or why it failed. */
function attempt(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? undefined : String(error?.message ?? stderr).trim();
}
