// A viewer with the browsers' own API, which pages and @roamhq/wrtc share.

/** A peer for `run` of symple.mjs. It is self-contained, since pages get its source text. */
export function standard(RTCPeerConnection, events, wishes) {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const STALL = 5; // polls, every 200 ms
  const medium = () => ({ codec: null, frames: 0, errors: 0, packets: 0, lost: 0 });
  const counts = { video: medium(), audio: medium(), reports: {}, cnames: [], byes: null };
  const streams = { video: new Map(), audio: new Map() }; // by SSRC: video that is added again has another
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
        streams[one.kind].set(one.ssrc, one);
        const total = (member) => [...streams[one.kind].values()].reduce((sum, stream) => sum + (stream[member] ?? 0), 0);
        const packets = total('packetsReceived');
        const more = packets > seen.packets;
        Object.assign(seen, { packets, lost: total('packetsLost'), codec: codecs.get(one.codecId) ?? seen.codec });
        // Missing audio is concealed, so received packets are counted.
        seen.frames = one.kind === 'audio' ? packets : total('framesDecoded');
        if (one.kind === 'audio') continue;
        // It requests a key frame at the start, after a change, after a stall, and whenever it cannot decode.
        still = more ? 0 : still + 1;
        if (still === STALL) settling = seen.frames;
        if (settling !== undefined) {
          first = total('pliCount') - seen.errors;
          if (seen.frames > settling) settling = undefined;
        } else seen.errors = total('pliCount') - first;
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
    async accept(sdp) {
      await pc.setRemoteDescription({ type: 'answer', sdp });
      settling = counts.video.frames;
    },
    candidate: (init) => pc.addIceCandidate(init),
    change(command) {
      settling = Infinity; // until the answer
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
