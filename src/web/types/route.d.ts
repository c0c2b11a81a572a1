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
export function routeOf(report: {
    get(id: string): any;
}, pair: any): Route | null;
/** Describes a route as text. @param {Route | null | undefined} route */
export function words(route: Route | null | undefined): string | null;
export type Route = {
    /**
     * udp or tcp; for a relay, the transport to it
     */
    protocol: string;
    /**
     * through a TURN server, ours or theirs
     */
    relayed: boolean;
    /**
     * through network address translation (NAT)
     */
    mapped: boolean;
    /**
     * their address and port, if the browser reveals it
     */
    remote: string | null;
};
