#!/usr/bin/python3
"""Decodes RTP for the stacks that have no decoder of their own.

    decode.py CODEC PAYLOAD_TYPE    H264, VP8 or OPUS

Input: RTP packets, each behind its length in two bytes (RFC 4571). Output: a JSON object a change.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

CHAINS = {
    "H264": ("video", 90000, "rtph264depay ! h264parse ! avdec_h264 max-threads=1"),
    "VP8": ("video", 90000, "rtpvp8depay ! vp8dec"),
    "OPUS": ("audio", 48000, "rtpopusdepay ! opusdec"),
}
# The time for retransmissions after a loss.
LATENCY = 300  # ms
EVERY = 100  # ms


def main():
    codec, payload = sys.argv[1:3]
    media, rate, chain = CHAINS[codec]
    Gst.init(None)
    pipeline = Gst.parse_launch(
        f"fdsrc fd=0 ! application/x-rtp-stream,media={media},clock-rate={rate},encoding-name={codec},payload={payload}"
        f" ! rtpstreamdepay ! rtpjitterbuffer latency={LATENCY} ! {chain} ! fakesink name=sink sync=false signal-handoffs=true"
    )
    counts = {"frames": 0, "errors": 0}
    words = []
    said = None

    def frame(_sink, buffer, _pad):
        counts["frames"] += 1
        # A decoder that conceals missing data marks the frame.
        if buffer.has_flags(Gst.BufferFlags.CORRUPTED):
            counts["errors"] += 1

    def message(_bus, message):
        if message.type in (Gst.MessageType.WARNING, Gst.MessageType.ERROR):
            error, more = message.parse_warning() if message.type == Gst.MessageType.WARNING else message.parse_error()
            counts["errors"] += 1
            words.append(f"{message.src.get_name()}: {error.message} {more}")
        if message.type in (Gst.MessageType.EOS, Gst.MessageType.ERROR):
            tell()
            loop.quit()

    def tell():
        nonlocal said
        line = json.dumps({**counts, "words": words[-3:]})
        if line != said:
            print(line, flush=True)
            said = line
        return True

    pipeline.get_by_name("sink").connect("handoff", frame)
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", message)
    GLib.timeout_add(EVERY, tell)
    loop = GLib.MainLoop()
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)


main()
