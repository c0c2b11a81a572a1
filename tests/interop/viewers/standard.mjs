// A viewer with the browsers' own API, which pages and @roamhq/wrtc share.

/** A peer for `run` of symple.mjs. It is self-contained, since pages get its source text. */
export function standard(RTCPeerConnection, events, wishes) {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const STALL = 5; // polls, every 200 ms
  const medium = () => ({ codec: null, frames: 0, errors: 0, packets: 0, lost: 0 });
  const counts = { video: medium(), audio: medium(), reports: {}, cnames: [], byes: null };
  let video;
  let asked = false;
  let first = 0;
  let settling = 0; // until there are more frames than this
  let still = 0; // polls without a new video packet

  pc.onicecandidate = ({ candidate }) => {
    const { candidate: text = '', sdpMid = '0', sdpMLineIndex = 0 } = candidate ?? {};
    events.candidate({ candidate: text, sdpMid, sdpMLineIndex });
  };
  pc.onconnectionstatechange = () => events.state(pc.connectionState);

  const look = setInterval(async () => {
    if (asked) return;
    asked = true;
    const stats = [...(await pc.getStats().catch(() => new Map())).values()];
    asked = false;
    const codecs = new Map(stats.filter(({ type }) => type === 'codec').map((codec) => [codec.id, codec.mimeType]));
    for (const one of stats) {
      const seen = counts[one.kind];
      if (one.type === 'inbound-rtp') {
        const more = one.packetsReceived > seen.packets;
        Object.assign(seen, { packets: one.packetsReceived, lost: one.packetsLost, codec: codecs.get(one.codecId) ?? seen.codec });
        // Missing audio is concealed, so received packets are counted.
        seen.frames = one.kind === 'audio' ? one.packetsReceived : one.framesDecoded;
        if (one.kind === 'audio') continue;
        // It requests a key frame at the start, after a change, after a stall, and whenever it cannot decode.
        still = more ? 0 : still + 1;
        if (still === STALL) settling = seen.frames;
        if (settling !== undefined) {
          first = one.pliCount - seen.errors;
          if (seen.frames > settling) settling = undefined;
        } else seen.errors = one.pliCount - first;
      }
      if (one.type === 'remote-outbound-rtp') counts.reports[one.kind] = one.reportsSent ?? 1;
    }
  }, 200);

  const described = async (description) => {
    await pc.setLocalDescription(description);
    return pc.localDescription.sdp;
  };
  const transceive = () => (video = pc.addTransceiver('video', { direction: 'recvonly' }));
  let options = {};

  return {
    counts: () => counts,
    async offer() {
      if (!pc.getTransceivers().length) {
        if (!wishes.has('video')) pc.addTransceiver('audio', { direction: 'recvonly' });
        transceive();
        if (wishes.has('data')) pc.createDataChannel('beside');
      }
      const offer = await pc.createOffer(options);
      options = {};
      return described(offer);
    },
    async answer(sdp) {
      await pc.setRemoteDescription({ type: 'offer', sdp });
      return described(await pc.createAnswer());
    },
    accept: (sdp) => pc.setRemoteDescription({ type: 'answer', sdp }),
    candidate: (init) => pc.addIceCandidate(init),
    change(command) {
      settling = counts.video.frames;
      if (command === 'pause') video.direction = 'inactive';
      if (command === 'resume') video.direction = 'recvonly';
      if (command === 'stop') video.stop();
      if (command === 'add') transceive();
      if (command === 'restart') options = { iceRestart: true };
    },
    close() {
      clearInterval(look);
      pc.close();
    },
  };
}
