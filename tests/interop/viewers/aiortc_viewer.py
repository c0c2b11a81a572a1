"""aiortc, a stack in Python that decodes by FFmpeg."""

import asyncio
import logging

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, rtp
from aiortc.codecs import h264, opus, vpx  # noqa: F401 for their loggers
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from symple import medium, run

# aiortc's API does not expose RTCP: it is read here as it is parsed.
control = []
parse = rtp.RtcpPacket.parse


def overhear(data):
    packets = parse(data)
    for listener in control:
        listener(packets)
    return packets


rtp.RtcpPacket.parse = overhear


class Peer(logging.Handler):
    def __init__(self, events, wishes):
        super().__init__(logging.WARNING)
        self.events, self.wishes = events, wishes
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.seen = {"video": medium(), "audio": medium(), "reports": {}, "cnames": {}, "byes": 0}
        self.video, self.tasks = None, []
        self.pc.on("track", self.track)
        self.pc.on("connectionstatechange", lambda: events.state(self.pc.connectionState))
        control.append(self.control)
        # A frame that cannot be decoded only causes a line in its log.
        logging.getLogger("aiortc.codecs").addHandler(self)

    def emit(self, record):
        self.seen["audio" if "opus" in record.name else "video"]["errors"] += 1

    def control(self, packets):
        for packet in packets:
            if isinstance(packet, rtp.RtcpSrPacket):
                self.seen["reports"][packet.ssrc] = self.seen["reports"].get(packet.ssrc, 0) + 1
            elif isinstance(packet, rtp.RtcpByePacket):
                self.seen["byes"] += 1
            elif isinstance(packet, rtp.RtcpSdesPacket):
                for chunk in packet.chunks:
                    self.seen["cnames"].update({chunk.ssrc: value.decode() for kind, value in chunk.items if kind == 1})

    def track(self, track):
        async def take():
            try:
                while True:
                    await track.recv()
                    self.seen[track.kind]["frames"] += 1
            except MediaStreamError:
                pass  # its end

        self.tasks.append(asyncio.create_task(take()))

    async def counts(self):
        for transceiver in self.pc.getTransceivers():
            # Its statistics only show one stream per receiver, and retransmissions are a stream of their own.
            streams = transceiver.receiver._RTCRtpReceiver__remote_streams.values()  # noqa: SLF001
            packets, lost = sum(each.packets_received for each in streams), sum(each.packets_lost for each in streams)
            rollovers = sum(each.cycles >> 16 for each in streams)
            self.seen[transceiver.kind].update(packets=packets, lost=lost, rollovers=rollovers)
        return self.seen

    def codecs(self):
        for transceiver in self.pc.getTransceivers():
            codecs = [codec.mimeType for codec in transceiver._codecs]  # noqa: SLF001 nothing else tells
            self.seen[transceiver.kind]["codec"] = codecs[0] if codecs else None

    async def described(self, description):
        # It gathers before this returns, and does not trickle.
        await self.pc.setLocalDescription(description)
        return self.pc.localDescription.sdp

    async def offer(self):
        if not self.pc.getTransceivers():
            if "video" not in self.wishes:
                self.pc.addTransceiver("audio", direction="recvonly")
            self.transceive()
            if "data" in self.wishes:
                self.pc.createDataChannel("beside")
        return await self.described(await self.pc.createOffer())

    def transceive(self):
        self.video = self.pc.addTransceiver("video", direction="recvonly")

    async def answer(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        sdp = await self.described(await self.pc.createAnswer())
        self.codecs()
        return sdp

    async def accept(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self.codecs()

    async def candidate(self, init):
        candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
        await self.pc.addIceCandidate(candidate)

    async def change(self, command):
        if command == "pause":
            self.video.direction = "inactive"
        elif command == "resume":
            self.video.direction = "recvonly"
        else:
            raise NotImplementedError(command)

    async def close(self):
        control.remove(self.control)
        logging.getLogger("aiortc.codecs").removeHandler(self)
        await self.pc.close()
        for task in self.tasks:
            task.cancel()


run(Peer)
