"""aiortc as a sender: a moving picture and a tone, each encoded frame of which is written down.

    aiortc_sender.py CODEC FILE    H264 or VP8; FILE gets a line a frame: its codec, its size and its SHA-1

"""

import array
import asyncio
import fractions
import hashlib
import math
import sys
import time

import av
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack, rtcrtpsender
from aiortc.codecs import h264, vpx
from aiortc.sdp import candidate_from_sdp
from symple import medium, run, say

CODEC, FILE = sys.argv[1:3]
WIDTH, HEIGHT = 320, 180
RATE, PACKET = 48000, 960
SIZES = (2, 1200, 16384, 65536)  # bytes of messages by a data channel
log = open(FILE, "w", buffering=1)


def unpacked(mime, payloads):
    """The frame that was cut into these payloads."""
    if mime == "video/H264":
        return b"".join(h264.H264PayloadDescriptor.parse(payload)[1] for payload in payloads)
    if mime == "video/VP8":
        return b"".join(vpx.VpxPayloadDescriptor.parse(payload)[1] for payload in payloads)
    return b"".join(payloads)


class Overheard:
    """An encoder whose work is written down."""

    def __init__(self, mime, encoder):
        self.mime, self.encoder = mime, encoder

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def __setattr__(self, name, value):
        if name in ("mime", "encoder"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.encoder, name, value)

    def encode(self, frame, force_keyframe=False):
        payloads, timestamp = self.encoder.encode(frame, force_keyframe)
        if payloads:
            data = unpacked(self.mime, payloads)
            log.write(f"{self.mime.split('/')[1].upper()} {len(data)} {hashlib.sha1(data).hexdigest()}\n")
        return payloads, timestamp


find = rtcrtpsender.get_encoder
rtcrtpsender.get_encoder = lambda codec: Overheard(codec.mimeType, find(codec))


class Picture(VideoStreamTrack):
    count = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for n, plane in enumerate(frame.planes):
            row = bytes((x * 3 + self.count * 5 + n * 60) & 0xFF for x in range(plane.line_size))
            plane.update(b"".join(row[y % 32 :] + row[: y % 32] for y in range(plane.height)))
        self.count += 1
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    start, count = None, 0

    async def recv(self):
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0, self.start + self.count * PACKET / RATE - time.monotonic()))
        begin = self.count * PACKET
        samples = (round(12000 * math.sin((begin + n) * 2 * math.pi * (440 + self.count % 50) / RATE)) for n in range(PACKET))
        frame = av.AudioFrame(format="s16", layout="mono", samples=PACKET)
        frame.planes[0].update(array.array("h", samples).tobytes())
        frame.pts, frame.sample_rate, frame.time_base = begin, RATE, fractions.Fraction(1, RATE)
        self.count += 1
        return frame


class Peer:
    def __init__(self, events, _wishes):
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.seen = {"video": medium(), "audio": medium(), "told": {}}
        self.pc.on("connectionstatechange", lambda: events.state(self.pc.connectionState))
        self.pc.on("datachannel", self.echo)

    def echo(self, channel):
        """What comes by a channel of the other side goes back."""
        channel.on("message", channel.send)
        say("echoes", label=channel.label, protocol=channel.protocol, ordered=channel.ordered, retransmits=channel.maxRetransmits)
        channel.on("close", lambda: say("echoed", label=channel.label))

    def talk(self, label):
        """A channel of ours, of which each message is to come back, in order."""
        channel = self.pc.createDataChannel(label, protocol="echo/1")
        sent = [part for size in SIZES for part in (bytes(i * 11 & 0xFF for i in range(size)), "\u00fc" * (size // 2))]
        sent += [n.to_bytes(2, "big") * 2048 for n in range(100)]
        waiting = list(sent)

        @channel.on("open")
        def opened():
            for message in sent:
                channel.send(message)

        @channel.on("message")
        def message(message):
            if message != waiting.pop(0):
                say("fault", what="channel", error=f"{len(waiting)} messages before the end, another came")
            elif not waiting:
                say("talked", label=label, came=len(sent))
                channel.close()

    async def counts(self):
        for one in (await self.pc.getStats()).values():
            if one.type == "remote-inbound-rtp":
                self.seen["told"][one.kind] = {"lost": one.packetsLost, "fraction": one.fractionLost, "rtt": one.roundTripTime, "jitter": one.jitter}
            elif one.type == "outbound-rtp":
                self.seen[one.kind]["packets"] = one.packetsSent
        return self.seen

    async def answer(self, sdp):
        if not self.pc.getSenders():
            self.pc.addTrack(Picture())
            self.pc.addTrack(Tone())
            codecs = RTCRtpSender.getCapabilities("video").codecs
            # Ahead of the offer, with which it chooses.
            wanted = [codec for codec in codecs if codec.name == CODEC] + [codec for codec in codecs if codec.name == "rtx"]
            for transceiver in self.pc.getTransceivers():
                if transceiver.kind == "video":
                    transceiver.setCodecPreferences(wanted)
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return self.pc.localDescription.sdp

    async def candidate(self, init):
        candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
        await self.pc.addIceCandidate(candidate)

    async def close(self):
        await self.pc.close()


run(Peer)
