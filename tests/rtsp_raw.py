#!/usr/bin/python3
"""A network camera that does what GStreamer's RTSP server never would: a tiny RTSP server over TCP.

Prints "PORT <n>" and serves until its standard input ends. All video is H.264 at 25 fps, sent
interleaved on the RTSP connection. A SETUP without a track selects the first video that has none.

    /plain         like any camera
    /no-control    one medium, without a=control anywhere
    /no-track      one medium without a=control in a session that has one
    /fast          RTP timestamps twice as fast as real time
    /slow          RTP timestamps a quarter as fast as real time
    /interlaced    576i, as analogue cameras behind an encoder send it
    /no-rate       no frame rate in SDP or SPS
    /both          video and audio, without a=control anywhere
    /audio-first   audio and video, without a=control anywhere
    /both-no-track video and audio without a=control in a session that has one
    /one-track     audio without a=control, and video with one
    /two-videos    metadata and two videos, without a=control anywhere
"""
import socket
import sys
import threading

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import Gst, GstApp  # noqa: F401 (GstApp gives appsink its methods)
except (ImportError, ValueError) as error:
    print("MISSING", error, flush=True)
    sys.exit(0)

Gst.init(None)

PAY = "rtph264pay config-interval=1 pt=96 mtu=1200 timestamp-offset=1000 ! appsink name=out sync=false"
X264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25"


def progressive(caps="width=320,height=240,framerate=25/1"):
    return f"videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,{caps}"


CHAINS = {
    "/no-rate": f"{progressive('width=320,height=240,framerate=25/1')} ! "
    f"openh264enc gop-size=25 bitrate=300000 ! {PAY}",
    "/interlaced": "videotestsrc is-live=true pattern=ball ! "
    "video/x-raw,format=I420,width=720,height=576,framerate=25/1,interlace-mode=interleaved,"
    f"field-order=top-field-first ! {X264} interlaced=true ! {PAY}",
}
DEFAULT = f"{progressive()} ! {X264} ! {PAY}"
SPEED = {"/fast": 2.0, "/slow": 0.25}
MEDIA = {
    "video": ["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1"],
    "audio": ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000"],
    "metadata": ["m=application 0 RTP/AVP 107", "a=rtpmap:107 vnd.onvif.metadata/90000"],
}
# Whether the session has an a=control, and each medium with its own.
SESSIONS = {
    "/no-control": (False, [("video", None)]),
    "/no-track": (True, [("video", None)]),
    "/both": (False, [("video", None), ("audio", None)]),
    "/audio-first": (False, [("audio", None), ("video", None)]),
    "/both-no-track": (True, [("video", None), ("audio", None)]),
    "/one-track": (True, [("audio", None), ("video", "track1")]),
    "/two-videos": (False, [("metadata", None), ("video", None), ("video", None)]),
}
USUAL = (True, [("video", "track1")])
PATHS = ["/plain", "/fast", "/slow", "/interlaced", "/no-rate", *SESSIONS]


def sdp(path):
    session, media = SESSIONS.get(path, USUAL)
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0"]
    if session:
        lines.append("a=control:*")
    for medium, track in media:
        lines += MEDIA[medium]
        if track:
            lines.append(f"a=control:{track}")
    return "\r\n".join(lines) + "\r\n"


def set_up(path, url, taken):
    """The medium of a SETUP: that of its track, otherwise the first video without one, once."""
    media = SESSIONS.get(path, USUAL)[1]
    tracks = (n for n, (_, track) in enumerate(media) if track and url.endswith(f"/{track}"))
    whole = (n for n, medium in enumerate(media) if medium == ("video", None) and not taken)
    return next(tracks, next(whole, None))


def play(connection, path, channel, lock):
    pipeline = Gst.parse_launch(CHAINS.get(path, DEFAULT))
    pipeline.set_state(Gst.State.PLAYING)
    sink = pipeline.get_by_name("out")
    speed, first = SPEED.get(path, 1.0), None
    try:
        while True:
            sample = sink.emit("pull-sample")
            if sample is None:
                return
            held = sample.get_buffer_list()
            buffers = [held.get(i) for i in range(held.length())] if held else [sample.get_buffer()]
            for buffer in buffers:
                packet = bytearray(buffer.extract_dup(0, buffer.get_size()))
                time = int.from_bytes(packet[4:8], "big")
                first = time if first is None else first
                time = first + int((time - first) * speed)
                packet[4:8] = (time & 0xFFFFFFFF).to_bytes(4, "big")
                with lock:
                    connection.sendall(bytes([0x24, channel]) + len(packet).to_bytes(2, "big") + packet)
    except OSError:
        pass
    finally:
        pipeline.set_state(Gst.State.NULL)


def serve(connection):
    reader, lock, taken = connection.makefile("rb"), threading.Lock(), {}
    while True:
        line = reader.readline()
        if not line:
            return
        if line[:1] == b"$":  # the client's RTCP
            length = int.from_bytes((line + reader.read(max(0, 4 - len(line))))[2:4], "big")
            reader.read(max(0, length - max(0, len(line) - 4)))
            continue
        if not line.strip():
            continue
        method, url = line.decode().split()[:2]
        headers = {}
        while (line := reader.readline().decode().strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        path = "/" + url.split("//", 1)[-1].partition("/")[2]
        path = next((known for known in sorted(PATHS, key=len, reverse=True) if path.startswith(known)), None)
        answer = ["RTSP/1.0 200 OK" if path else "RTSP/1.0 404 Not Found", f"CSeq: {headers.get('cseq', '0')}"]
        body = ""
        if method == "OPTIONS":
            answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE" and path:
            body = sdp(path)
            answer += [f"Content-Base: {url}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            if "TCP" not in headers.get("transport", ""):
                answer[0] = "RTSP/1.0 461 Unsupported Transport"
            elif (number := set_up(path, url, taken)) is None:
                answer[0] = "RTSP/1.0 455 Method Not Valid in This State"
            else:
                asked = headers["transport"].partition("interleaved=")[2]
                taken[number] = int(asked.partition("-")[0] or 0)
                channels = f"{taken[number]}-{taken[number] + 1}"
                answer += ["Session: 1", f"Transport: RTP/AVP/TCP;unicast;interleaved={channels}"]
        elif method in ("PLAY", "TEARDOWN"):
            answer.append("Session: 1")
        with lock:
            connection.sendall(("\r\n".join(answer) + "\r\n\r\n" + body).encode())
        if method == "PLAY" and path:
            for channel in taken.values():
                threading.Thread(target=play, args=(connection, path, channel, lock), daemon=True).start()
        if method == "TEARDOWN":
            return


def accept(listener):
    while True:
        connection, _ = listener.accept()

        def run(connection=connection):
            try:
                serve(connection)
            except OSError:
                pass
            finally:
                connection.close()

        threading.Thread(target=run, daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print("PORT", listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


main()
