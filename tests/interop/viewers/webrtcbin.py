"""GStreamer's webrtcbin, which decodes by FFmpeg."""

import asyncio
import os
import struct
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from symple import medium, run  # noqa: E402

Gst.init(None)
main = GLib.MainLoop()
threading.Thread(target=main.run, daemon=True).start()

RECEIVE = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
INACTIVE = GstWebRTC.WebRTCRTPTransceiverDirection.INACTIVE
# Our payload types; any numbers would do.
H264 = "application/x-rtp,media=video,encoding-name=H264,payload=102,clock-rate=90000,packetization-mode=(string)1,profile-level-id=(string)42e01f,rtcp-fb-nack-pli=true,rtcp-fb-nack=true"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
DECODE = {"H264": "rtph264depay ! h264parse ! avdec_h264 max-threads=1", "VP8": "rtpvp8depay ! vp8dec", "OPUS": "rtpopusdepay ! opusdec"}


def control(seen, compound):
    """Reads sender reports, names and goodbyes off a compound packet (RFC 3550, 6)."""
    at = 0
    while at + 8 <= len(compound):
        head, kind, words, ssrc = struct.unpack_from("!BBHI", compound, at)
        if kind == 200:
            seen["reports"][ssrc] = seen["reports"].get(ssrc, 0) + 1
        # The first item of the first chunk is the CNAME, of type 1.
        if kind == 202 and head & 31 and compound[at + 8] == 1:
            seen["cnames"][ssrc] = compound[at + 10 : at + 10 + compound[at + 9]].decode()
        if kind == 203:
            seen["byes"] += 1
        at += 4 * (words + 1)


class Peer:
    def __init__(self, events, wishes):
        self.events, self.wishes, self.loop = events, wishes, asyncio.get_running_loop()
        self.seen = {"video": medium(), "audio": medium(), "reports": {}, "cnames": {}, "byes": 0}
        self.video, self.mids, self.media = None, [], {}
        self.pipeline = Gst.Pipeline()
        self.bin = Gst.ElementFactory.make("webrtcbin")
        # By default it does not bundle a single section.
        if "video" not in wishes:
            self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.bin.set_property("latency", 200)
        self.pipeline.add(self.bin)
        self.bin.connect("on-ice-candidate", self.found)
        self.bin.connect("notify::connection-state", lambda bin, _: self.soon(events.state, bin.get_property("connection-state").value_nick))
        self.bin.connect("notify::ice-gathering-state", self.gathered)
        self.bin.connect("pad-added", self.pad)
        # Its RTP bin passes on RTCP as received.
        self.heard = set()
        self.bin.get_by_name("rtpbin").connect("on-new-ssrc", self.source)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::warning", self.message)
        bus.connect("message::error", self.message)
        self.pipeline.set_state(Gst.State.PLAYING)

    def soon(self, job, *arguments):
        self.loop.call_soon_threadsafe(job, *arguments)

    def source(self, rtpbin, number, _ssrc):
        if number not in self.heard:
            self.heard.add(number)
            rtpbin.emit("get-internal-session", number).connect("on-receiving-rtcp", self.control)

    def control(self, _session, buffer):
        control(self.seen, buffer.extract_dup(0, buffer.get_size()))

    def found(self, _bin, index, candidate):
        self.soon(self.events.candidate, {"candidate": candidate, "sdpMid": self.mid(index), "sdpMLineIndex": index})

    def gathered(self, _bin, _property):
        if self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.soon(self.events.candidate, {"candidate": "", "sdpMid": self.mid(0), "sdpMLineIndex": 0})

    def mid(self, index):
        return self.mids[index] if index < len(self.mids) else None

    def message(self, _bus, message):
        warning = message.type == Gst.MessageType.WARNING
        error, more = message.parse_warning() if warning else message.parse_error()
        print(f"{message.src.get_path_string()}: {error.message} {more}", file=sys.stderr, flush=True)
        audio = "audio" in (message.src.get_name() or "")
        self.seen["audio" if audio else "video"]["errors"] += 1

    def pad(self, _bin, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        codec = caps.get_string("encoding-name")
        media = "audio" if codec == "OPUS" else "video"
        seen = self.seen[media]
        seen["codec"] = codec
        self.media[caps.get_value("ssrc")] = media
        chain = Gst.parse_bin_from_description(f"{DECODE[codec]} ! fakesink name=sink sync=false async=false signal-handoffs=true", True)

        def frame(_sink, buffer, _pad):
            seen["frames"] += 1
            # A decoder that conceals what is missing marks the frame.
            if buffer.has_flags(Gst.BufferFlags.CORRUPTED):
                seen["errors"] += 1

        chain.get_by_name("sink").connect("handoff", frame)
        self.pipeline.add(chain)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    async def counts(self):
        reply = await self.ask("get-stats", None)
        for name in map(reply.nth_field_name, range(reply.n_fields())):
            # It labels everything in a bundle as video, but the pad's SSRC is right.
            stats = reply.get_value(name) if name.startswith("rtp-inbound") else None
            media = stats and self.media.get(stats.get_value("ssrc"))
            if media:
                self.seen[media].update(packets=stats.get_value("packets-received"), lost=stats.get_value("packets-lost"))
        return self.seen

    async def ask(self, signal, *arguments):
        """Emits a signal that a promise answers."""
        future = self.loop.create_future()

        def done(promise):
            reply = promise.get_reply()
            self.soon(future.set_result, reply.copy() if reply else None)

        self.bin.emit(signal, *arguments, Gst.Promise.new_with_change_func(done))
        reply = await asyncio.wait_for(future, 10)
        if reply and reply.has_field("error"):
            raise RuntimeError(f"{signal}: {reply.get_value('error')}")
        return reply

    async def described(self, kind):
        reply = await self.ask(f"create-{kind}", None)
        description = reply.get_value(kind)
        text = description.sdp.as_text()
        self.mids = [line[6:].strip() for line in text.splitlines() if line.startswith("a=mid:")]
        await self.ask("set-local-description", description)
        return text

    async def remote(self, kind, sdp):
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
        await self.ask("set-remote-description", description)

    async def offer(self):
        if not self.video:
            if "video" not in self.wishes:
                self.bin.emit("add-transceiver", RECEIVE, Gst.Caps.from_string(OPUS))
            self.transceive()
            if "data" in self.wishes:
                self.channel = self.bin.emit("create-data-channel", "beside", None)
        return await self.described("offer")

    def transceive(self):
        self.video = self.bin.emit("add-transceiver", RECEIVE, Gst.Caps.from_string(H264.replace("42e01f", "4d001f") if "main" in self.wishes else H264))
        self.video.set_property("do-nack", True)

    async def answer(self, sdp):
        await self.remote(GstWebRTC.WebRTCSDPType.OFFER, sdp)
        return await self.described("answer")

    async def accept(self, sdp):
        await self.remote(GstWebRTC.WebRTCSDPType.ANSWER, sdp)

    async def candidate(self, init):
        self.bin.emit("add-ice-candidate", init.get("sdpMLineIndex") or 0, init["candidate"])

    async def change(self, command):
        if command == "pause":
            self.video.set_property("direction", INACTIVE)
        elif command == "resume":
            self.video.set_property("direction", RECEIVE)
        else:
            raise NotImplementedError(command)

    async def close(self):
        self.pipeline.get_bus().remove_signal_watch()
        # It ends its sockets and threads with it.
        await asyncio.get_running_loop().run_in_executor(None, self.pipeline.set_state, Gst.State.NULL)


run(Peer)
# Its own threads would keep the interpreter alive.
os._exit(0)
