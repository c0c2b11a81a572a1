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
export function routeOf(report: {
    get(id: string): any;
}, pair: any): Route | null;
/** A route in words. @param {Route | null | undefined} route */
export function words(route: Route | null | undefined): string | null;
export type Route = {
    /**
     * udp or tcp; of a relay, how it is reached
     */
    protocol: string;
    /**
     * over a TURN server, ours or theirs
     */
    relayed: boolean;
    /**
     * through an address translation (NAT)
     */
    mapped: boolean;
    /**
     * their address and port, where the browser tells it
     */
    remote: string | null;
};
