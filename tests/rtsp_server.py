#!/usr/bin/python3
"""A network camera for tests: an RTSP server on a port of 127.0.0.1, by default a free one.

Prints "PORT <n>" and serves until its standard input ends.

    /av       H.264 (High, 320x240) and audio (PCMA), endless
    /video    only H.264
    /short    H.264 that ends after about a second
    /stall    H.264 that stalls after about a second, with the connection open
    /sound    only audio
    /tcp      like /av, over TCP only
    /secret   like /av, for the user "me" with the password "p@ss" only (basic)
"""
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    print("MISSING", error, flush=True)
    sys.exit(0)

Gst.init(None)

RAW = "video/x-raw,width=320,height=240,framerate=15/1"
ENCODE = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96"
VIDEO = f"videotestsrc is-live=true pattern=ball ! {RAW} ! {ENCODE}"
SHORT = f"videotestsrc is-live=true num-buffers=20 ! {RAW} ! {ENCODE}"
# The 21st frame waits here, and with it the stream, for longer than any test.
STALL = f"videotestsrc is-live=true ! {RAW} ! identity name=stall ! {ENCODE}"
AUDIO = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=%s pt=8"


def stall(_factory, media):
    identity = media.get_element().get_by_name("stall")
    count = [0]

    def drop(_pad, _info):
        count[0] += 1
        return Gst.PadProbeReturn.OK if count[0] <= 20 else Gst.PadProbeReturn.DROP

    identity.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, drop)


def main():
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1] if len(sys.argv) > 1 else "0")
    mounts = server.get_mount_points()

    def mount(path, launch, protocols=None, secret=False, configure=None):
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(False)
        if protocols is not None:
            factory.set_protocols(protocols)
        if configure is not None:
            factory.connect("media-configure", configure)
        # A client that may look but not play is asked for a password; one that may not even look gets a 404.
        for role, play in (("anonymous", not secret), ("user", True)):
            text = f"{role}, media.factory.access=(boolean)true, media.factory.construct=(boolean){play}"
            factory.add_role_from_structure(Gst.Structure.from_string(text)[0])
        mounts.add_factory(path, factory)

    both = f"{VIDEO} {AUDIO % 'pay1'}"
    mount("/av", both)
    mount("/video", VIDEO)
    mount("/short", SHORT)
    mount("/stall", STALL, configure=stall)
    mount("/sound", AUDIO % "pay0")
    mount("/tcp", both, protocols=GstRtsp.RTSPLowerTrans.TCP)
    mount("/secret", both, secret=True)

    auth = GstRtspServer.RTSPAuth.new()
    anonymous = GstRtspServer.RTSPToken.new()
    anonymous.set_string("media.factory.role", "anonymous")
    auth.set_default_token(anonymous)
    user = GstRtspServer.RTSPToken.new()
    user.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("me", "p@ss"), user)
    server.set_auth(auth)

    loop = GLib.MainLoop()
    if server.attach(None) == 0:
        print("MISSING a free port", flush=True)
        return
    print("PORT", server.get_bound_port(), flush=True)
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    loop.run()


main()
