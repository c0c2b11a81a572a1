/** The video and the audio of a call that only receives. */
export class Prepared {
    /** @param {RTCIceServer[]} iceServers */
    constructor(iceServers: RTCIceServer[]);
    /** @type {Promise<void>} when the offer is there */
    done: Promise<void>;
    connection: RTCPeerConnection;
    /** The offer with the candidates so far; null before it is made. */
    get offer(): RTCSessionDescription | null;
    close(): void;
    #private;
}
