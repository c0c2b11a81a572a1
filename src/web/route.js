// Which way media takes: the pair of candidates that ICE chose.

/**
 * @typedef {object} Route
 * @property {string} protocol udp or tcp; of a relay, how it is reached
 * @property {boolean} relayed over a TURN server, ours or theirs
 * @property {boolean} mapped through an address translation (NAT)
 * @property {string | null} remote their address and port, where the browser tells it
 */

/**
 * @param {{ get(id: string): any }} report of getStats()
 * @param {any} pair that is in use
 * @returns {Route | null} null before there is one
 */
export function routeOf(report, pair) {
  const [local, remote] = [report.get(pair?.localCandidateId), report.get(pair?.remoteCandidateId)];
  if (!local || !remote) return null;
  /** @param {...string} types */
  const either = (...types) => types.includes(local.candidateType) || types.includes(remote.candidateType);
  const relayed = either('relay');
  const host = remote.address ?? remote.ip;
  return {
    protocol: (local.relayProtocol ?? local.protocol ?? 'udp').toLowerCase(),
    relayed,
    mapped: !relayed && either('srflx', 'prflx'),
    remote: host ? `${host.includes(':') ? `[${host}]` : host}:${remote.port}` : null,
  };
}

/** A route in words. @param {Route | null | undefined} route */
export function words(route) {
  if (!route) return null;
  const { protocol, relayed, mapped } = route;
  return `${protocol.toUpperCase()}, ${relayed ? 'relayed' : mapped ? 'direct, through NAT' : 'direct'}`;
}
