// libdatachannel, through node-datachannel. It has no decoder, and requests no retransmissions.

import library from 'node-datachannel';
import { control, counters, Receiver } from './rtp.mjs';
import { run } from './symple.mjs';

const { PeerConnection, Video, Audio } = library;
// Our payload types; any numbers would do.
const [H264, OPUS] = [102, 111];

const MAIN = 'profile-level-id=4d001f;packetization-mode=1;level-asymmetry-allowed=1';

run((events, wishes) => {
  const pc = new PeerConnection('viewer', { iceServers: [], disableAutoNegotiation: true });
  const [video, audio] = [new Receiver('H264'), new Receiver('OPUS')];
  const counts = counters(video.counts, audio.counts);
  const tracks = [];
  let looks;

  const take = (track) => {
    tracks.push(track); // otherwise it is garbage-collected
    const receiver = track.type() === 'video' ? video : audio;
    track.onMessage((packet) => {
      // RTCP has types 192 to 223 where RTP has its marker and payload type (RFC 5761, 4).
      if (packet[1] >= 192 && packet[1] <= 223) control(counts, packet);
      else receiver.packet(packet);
    });
    if (track.type() === 'video') track.onOpen(() => (looks = setInterval(() => !video.counts.frames && track.requestKeyframe(), 500)));
  };
  pc.onTrack(take);
  pc.onStateChange(events.state);
  pc.onLocalCandidate((candidate, sdpMid) => events.candidate({ candidate: candidate.replace(/^a=/, ''), sdpMid, sdpMLineIndex: 0 }));
  pc.onGatheringStateChange((state) => state === 'complete' && events.candidate({ candidate: '', sdpMid: '0', sdpMLineIndex: 0 }));

  const described = (type) => {
    pc.setLocalDescription(type);
    return audio.describe(video.describe(pc.localDescription().sdp));
  };

  return {
    counts: () => counts,
    offer() {
      if (!tracks.length) {
        const sound = new Audio('0', 'RecvOnly');
        sound.addOpusCodec(OPUS);
        const frames = new Video('1', 'RecvOnly');
        frames.addH264Codec(H264, ...(wishes.has('main') ? [MAIN] : []));
        (wishes.has('video') ? [frames] : [sound, frames]).forEach((media) => take(pc.addTrack(media)));
        if (wishes.has('data')) pc.createDataChannel('beside');
      }
      return described('offer');
    },
    answer(sdp) {
      pc.setRemoteDescription(sdp, 'offer');
      return described('answer');
    },
    accept: (sdp) => pc.setRemoteDescription(sdp, 'answer'),
    candidate: ({ candidate, sdpMid }) => pc.addRemoteCandidate(candidate, sdpMid ?? '0'),
    change: (command) => { throw new Error(`${command} is not in its API`); },
    close() {
      clearInterval(looks);
      video.close();
      audio.close();
      pc.close();
    },
  };
});
