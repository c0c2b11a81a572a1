#!/usr/bin/python3
"""Decodes what `recorder` has recorded, by GStreamer.

    played.py DIR

Output: a JSON object with an entry for each codec: frames that were recorded, decoded and damaged; the sizes of pictures in
their order; the times of white flashes and of tones, in milliseconds.
"""

import json
import struct
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

CHAINS = {
    "H264": ("video/x-h264,stream-format=byte-stream,alignment=au", "h264parse ! avdec_h264 max-threads=1"),
    "VP8": ("video/x-vp8", "vp8dec"),
    "OPUS": ("audio/x-opus,channel-mapping-family=0,channels=2,rate=48000", "opusdec plc=false ! audio/x-raw,format=S16LE"),
}
WHITE = 200  # of 255, the mean of a picture
TONE = 2000  # of 32767, the mean of what a packet has
MILLISECOND = 1_000_000  # ns


def recorded(path):
    """The frames, by codec: data, and time in ns."""
    out = {}
    with (path / "frames").open("rb") as frames:
        for line in (path / "index").read_text().splitlines():
            codec, _key, _gap, micros, *_rest = line.split()
            (size,) = struct.unpack(">I", frames.read(4))
            out.setdefault(codec, []).append((frames.read(size), int(micros) * 1000))
    return out


def decode(codec, frames):
    caps, chain = CHAINS[codec]
    pipeline = Gst.parse_launch(
        f"appsrc name=source caps={caps} format=time max-bytes=0 ! {chain} ! fakesink name=sink sync=false signal-handoffs=true"
    )
    out = {"frames": len(frames), "decoded": 0, "damaged": 0, "sizes": [], "flashes": [], "tones": [], "words": []}
    was = [False]

    def marks(on, list_, time):
        if on and not was[0]:
            list_.append(time // MILLISECOND)
        was[0] = on

    def decoded(_sink, buffer, pad):
        out["decoded"] += 1
        out["damaged"] += bool(buffer.has_flags(Gst.BufferFlags.CORRUPTED))
        data = buffer.extract_dup(0, buffer.get_size())
        if codec == "OPUS":
            samples = memoryview(data).cast("h")[::16]
            marks(sum(map(abs, samples)) > TONE * max(1, len(samples)), out["tones"], buffer.pts)
            return
        shape = pad.get_current_caps().get_structure(0)
        size = [shape.get_value("width"), shape.get_value("height")]
        if not out["sizes"] or out["sizes"][-1] != size:
            out["sizes"].append(size)
        luma = data[: size[0] * size[1] : 97]
        marks(sum(luma) > WHITE * len(luma), out["flashes"], buffer.pts)

    pipeline.get_by_name("sink").connect("handoff", decoded)
    source = pipeline.get_by_name("source")
    pipeline.set_state(Gst.State.PLAYING)
    for data, time in frames:
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = time
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    bus = pipeline.get_bus()
    while True:
        message = bus.timed_pop_filtered(60 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR | Gst.MessageType.WARNING)
        if message is None or message.type == Gst.MessageType.EOS:
            break
        error, more = message.parse_warning() if message.type == Gst.MessageType.WARNING else message.parse_error()
        out["damaged"] += 1
        out["words"].append(f"{message.src.get_name()}: {error.message} {more}")
        if message.type == Gst.MessageType.ERROR:
            break
    pipeline.set_state(Gst.State.NULL)
    return out


def main():
    Gst.init(None)
    print(json.dumps({codec: decode(codec, frames) for codec, frames in recorded(Path(sys.argv[1])).items()}))


main()
