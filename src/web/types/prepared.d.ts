/** Video and audio for a receive-only call, and a channel for commands. */
export class Prepared {
    /** @param {RTCIceServer[]} iceServers */
    constructor(iceServers: RTCIceServer[]);
    /** @type {Promise<void>} resolves when the offer exists */
    done: Promise<void>;
    connection: RTCPeerConnection;
    channel: RTCDataChannel;
    /** The offer with the candidates so far; null until it exists. */
    get offer(): RTCSessionDescription | null;
    close(): void;
    #private;
}
