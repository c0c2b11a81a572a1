// The network path of media: the candidate pair that ICE selected.

/**
 * @typedef {object} Route
 * @property {string} protocol udp or tcp; for a relay, the transport to it
 * @property {boolean} relayed through a TURN server, ours or theirs
 * @property {boolean} mapped through network address translation (NAT)
 * @property {string | null} remote their address and port, if the browser reveals it
 */

/**
 * @param {{ get(id: string): any }} report from getStats()
 * @param {any} pair the selected one
 * @returns {Route | null} null if no pair is selected
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

/** Describes a route as text. @param {Route | null | undefined} route */
export function words(route) {
  if (!route) return null;
  const { protocol, relayed, mapped } = route;
  return `${protocol.toUpperCase()}, ${relayed ? 'relayed' : mapped ? 'direct, through NAT' : 'direct'}`;
}
