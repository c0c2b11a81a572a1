/** Video and audio for a receive-only call. */
export class Prepared {
    /** @param {RTCIceServer[]} iceServers */
    constructor(iceServers: RTCIceServer[]);
    /** @type {Promise<void>} resolves when the offer exists */
    done: Promise<void>;
    connection: RTCPeerConnection;
    /** The offer with the candidates so far; null until it exists. */
    get offer(): RTCSessionDescription | null;
    close(): void;
    #private;
}
