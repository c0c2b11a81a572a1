// werift, a stack in TypeScript. It has no decoder.

import { RTCPeerConnection, RTCRtpCodecParameters, useH264, useOPUS } from 'werift';
import { control, counters, Receiver } from './rtp.mjs';
import { run } from './symple.mjs';

const MAIN = 'profile-level-id=4d001f;packetization-mode=1;level-asymmetry-allowed=1';

/** Of the codec before it. */
const retransmissions = () => new RTCRtpCodecParameters({ mimeType: 'video/rtx', clockRate: 90_000 });

run((events, wishes) => {
  const pc = new RTCPeerConnection({
    bundlePolicy: 'max-bundle',
    iceServers: [],
    codecs: { video: [useH264(wishes.has('main') ? { parameters: MAIN } : {}), retransmissions()], audio: [useOPUS()] },
  });
  const [video, audio] = [new Receiver('H264'), new Receiver('OPUS')];
  const counts = counters(video.counts, audio.counts);
  const listened = new Set();
  let looks;
  let transceiver;
  let options = {};

  // It requests no key frame by itself.
  pc.onTrack.subscribe((track) => {
    clearInterval(looks);
    if (track.kind !== 'video') return;
    const before = video.counts.frames;
    looks = setInterval(() => video.counts.frames === before && transceiver?.receiver.sendRtcpPLI(video.ssrc).catch(() => {}), 500);
  });
  pc.onIceCandidate.subscribe((candidate) => {
    const { candidate: text = '', sdpMid = '0', sdpMLineIndex = 0 } = candidate?.toJSON?.() ?? candidate ?? {};
    events.candidate({ candidate: text, sdpMid, sdpMLineIndex });
  });
  pc.connectionStateChange.subscribe((state) => {
    events.state(state);
    for (const transport of pc.dtlsTransports) {
      if (listened.has(transport)) continue;
      listened.add(transport);
      // Its tracks keep their first SSRC.
      transport.onRtp.subscribe((packet) => [video, audio].forEach((receiver) => receiver.packet(packet.serialize())));
      transport.onRtcp.subscribe((packet) => control(counts, packet.serialize()));
    }
  });

  const described = async (description) => {
    await pc.setLocalDescription(description);
    return audio.describe(video.describe(pc.localDescription.sdp));
  };
  const transceive = () => (transceiver = pc.addTransceiver('video', { direction: 'recvonly' }));

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
      if (command === 'pause') transceiver.setDirection('inactive');
      if (command === 'resume') transceiver.setDirection('recvonly');
      if (command === 'stop') transceiver.stop();
      if (command === 'add') transceive();
      if (command === 'restart') options = { iceRestart: true };
    },
    close() {
      clearInterval(looks);
      video.close();
      audio.close();
      pc.close();
    },
  };
});
