//! `symple camera`: it starts, is found, and ends on request. Its video is tested in the browser tests.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use rustix::process::Signal;

use crate::world::{Folder, Program, Server, run};

/// Small frames, any port.
const SMALL: [&str; 8] = ["camera", "--port", "0", "--size", "320x240", "--fps", "10", "--no-audio"];

#[test]
fn it_serves_its_page_and_ends_on_request() {
    let camera = Program::start(&[&SMALL[..], &["--token", "s3cret", "--board", "generic"]].concat(), &[]);
    camera.says("board: any machine (generic: as configured)");
    camera.says("encoder: ");
    let line = camera.says("open http://127.0.0.1:");
    let address = line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
    camera.says("online");
    let server = Server { program: camera, address };
    for path in ["/api/health", "/api/ready"] {
        assert_eq!(server.get(path, None).0, 200, "{path}");
    }
    assert_eq!(server.get("/api/status", None).0, 401);
    let (code, _, status) = server.get("/api/status", Some("s3cret"));
    assert_eq!(code, 200);
    for part in [r#""board":"generic""#, r#""percent":100"#, r#""fps":10"#] {
        assert!(status.contains(part), "{part} {status}");
    }
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.end().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_has_its_share_by_default_and_open_files_are_raised() {
    let args = [&SMALL[..], &["--board", "generic", "--exempt", "none"]].concat();
    let camera = Program::start_limited(64, &args);
    let line = camera.says("open http://127.0.0.1:");
    let address = line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
    let limits = std::fs::read_to_string(camera.proc().join("limits")).expect("it runs");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("Linux tells it");
    let soft: u64 = files.split_whitespace().nth(3).expect("a column").parse().expect("a number");
    assert!(soft > 64, "{files}");
    let server = Server { program: camera, address };
    let auth = r#"{"type":"auth","user":"alice"}"#;
    let peers: Vec<_> = (0..20).map(|_| server.peer(auth)).collect();
    let strangers: Vec<_> = (0..12).map(|_| server.socket()).collect();
    let closed = || server.tcp().read(&mut [0]).expect("a clean end") == 0;
    assert!(closed(), "32 sockets are open");
    server.program.logs("max_per_address reached");
    drop((strangers, peers));
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_cable_without_a_router_it_prints_its_link_local_address() {
    let args = [&SMALL[..], &["--listen", "all", "--token", "s3cret"]].concat();
    let Some(camera) = Program::start_on_cable("169.254.7.8/16", "169.254.9.9/16", &args) else {
        return eprintln!("SKIPPED: no network namespace can be made here");
    };
    camera.says("open http://127.0.0.1:");
    camera.says("open http://169.254.7.8:");
}

#[test]
fn it_connects_to_another_server_or_is_refused() {
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    let url = format!("ws://{}", server.address);
    let args = [&SMALL[..], &["--connect", &url, "--user", "door", "--room", "public"]].concat();
    let camera = Program::start(&args, &[("SYMPLE_TOKEN", "s3cret")]);
    let watch = Program::start(&["watch", &url], &[("SYMPLE_TOKEN", "s3cret")]);
    let line = watch.says("door|");
    assert!(line.contains(r#""peerType":"camera""#), "{line}");
    drop(camera);
    watch.says("- door|");
    let (code, _, err) = run(&args, &[]);
    assert!(code == 77 && err.contains("a token is needed"), "{code} {err}");
}

#[test]
fn an_asterisk_allows_pages_of_any_site_with_a_warning() {
    let upgrade = |origins: &str| {
        let camera = Program::start(&[&SMALL[..], &["--origins", origins]].concat(), &[]);
        let line = camera.says("open http://127.0.0.1:");
        let address =
            line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
        let server = Server { program: camera, address };
        let mut tcp = server.tcp();
        let request = "GET / HTTP/1.1\r\nHost: camera.local\r\nOrigin: https://any.example\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        tcp.write_all(request.as_bytes()).expect("open");
        let mut status = [0; 12];
        tcp.read_exact(&mut status).expect("an answer");
        (String::from_utf8_lossy(&status).into_owned(), server)
    };
    let (status, server) = upgrade("*");
    assert_eq!(status, "HTTP/1.1 101");
    server.program.logs("origins contains *");
    assert_eq!(upgrade("https://viewer.example").0, "HTTP/1.1 403");
}

#[test]
fn wrong_settings_are_reported_before_it_starts() {
    let folder = Folder::new();
    let file = folder.write("camera.toml", "sise = '1x1'\n");
    let board = folder.write("board.toml", "nmae = 'mine'\n");
    for (args, code, part) in [
        (&["--board", "rasberry-pi-4"][..], 64, "did you mean \"raspberry-pi-4\"?"),
        (&["--board", &board][..], 78, "did you mean \"name\"?"),
        (&["--board", "/nowhere.toml"][..], 66, "/nowhere.toml"),
        (&["--source", "/dev/video99"][..], 69, "/dev/video99"),
        (&["--source", "/nowhere.mp4"][..], 66, "/nowhere.mp4"),
        (&["--source", "http://camera"][..], 64, "--source: "),
        (&["--source", "csi:"][..], 64, "csi:NAME"),
        (&["--source", "csi", "--board", "imx8mp"][..], 78, "v4l2src (csi), v4l2src (usb)"),
        (&["--size", "big"][..], 64, "must look like 1280x720"),
        (&["--origins", "viewer.example"][..], 64, "is not an origin, such as https://chat.example"),
        (&["--size", "63x63"][..], 78, "64x64 and 7680x4320, not 63x63"),
        (&["--config", &file][..], 78, "did you mean \"size\"?"),
        (&["--talk", "--check"][..], 64, "--talk: missing value"),
        (&["--listen", "--port", "4725"][..], 64, "--listen: missing value"),
        (&["--listen", "xyz"][..], 64, "xyz is not an IP address; use one of this machine, or `all`"),
        (
            &["--min-bitrate", "9000"][..],
            78,
            "minimum bitrate (9000 kbit/s) must not exceed the maximum (4000 kbit/s)",
        ),
        (
            &["--min-bitrate", "3000", "--max-bitrate", "1000"][..],
            78,
            "minimum bitrate (3000 kbit/s) must not exceed the maximum (1000 kbit/s)",
        ),
        (
            &["--bitrate", "99999"][..],
            78,
            "initial bitrate (99999 kbit/s) must be between the minimum (150 kbit/s) and the maximum (4000 kbit/s)",
        ),
        (&["--source", "nonsense"][..], 66, "file nonsense not found; a source may also be `test`"),
        (&["--microphone", "nosuch"][..], 78, "(`symple devices` lists the microphones)"),
    ] {
        let (found, out, err) = run(&[&["camera", "--check"], args].concat(), &[]);
        assert!(found == code && err.contains(part), "{args:?}: {found} {out}{err}");
    }
    let (code, out, err) = run(&[&SMALL[..], &["--check"]].concat(), &[]);
    assert!(code == 0 && out.contains("encoder: "), "{out}{err}");
    // The default start follows the limits that were set.
    for (args, bitrate) in [
        (["--min-bitrate", "2000"], "2000 kbit/s, from 2000 to 4000"),
        (["--max-bitrate", "500"], "500 kbit/s, from 150 to 500"),
    ] {
        let (code, out, err) = run(&[&SMALL[..], &args, &["--check"]].concat(), &[]);
        assert!(code == 0 && out.contains(bitrate), "{out}{err}");
    }
    let board = ["--board", "raspberry-pi-5", "--encoders", "mpph264enc,x264enc"];
    let (code, out, err) = run(&[&SMALL[..], &board, &["--check"]].concat(), &[]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "board: Raspberry Pi 5 (raspberry-pi-5: as configured)",
        "  captures with: libcamerasrc (csi), v4l2src (usb)",
        "  known: This board has no hardware encoder",
        "encoder: x264enc (software, H.264 42c0",
        "  not mpph264enc: not installed (package gstreamer1.0-rockchip1)",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[test]
fn a_check_prints_what_would_run_and_opens_nothing() {
    // The port is in use by the running camera, which a check of its settings does not report.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let args = [
        "camera",
        "--check",
        "--size",
        "320x240",
        "--fps",
        "10",
        "--port",
        &port,
        "--max-viewers",
        "7",
        "--threads",
        "2",
    ];
    let (code, out, err) = run(&args, &[("SYMPLE_TOKEN", "s3cret")]);
    assert_eq!(code, 0, "{err}");
    for part in [
        &*format!("http, port {port} of 127.0.0.1\n"),
        &format!("open http://127.0.0.1:{port}/\n"),
        "admission       with the token",
        "  per address     32 sockets, 16 unauthenticated, 4 calls without media",
        "at most 320x240, 10 fps",
        "viewers         at most 7",
        "threads         2\n",
        "  source          test\n",
        "encoder: x264enc (software",
        "set by:\n",
        "  token               …  (SYMPLE_TOKEN)",
        "  max_viewers         7  (--max-viewers)",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("s3cret") && !out.contains("tried:"), "{out}");

    let (_, out, _) = run(&["camera", "--check", "--port", "0", "--listen", "all"], &[]);
    assert!(out.contains("http, any free port of all addresses\n") && !out.contains("open http"), "{out}");
    let rtsp = ["camera", "--check", "--source", "rtsp://me:hunter2@127.0.0.1:1/none"];
    let (code, out, err) = run(&rtsp, &[]);
    assert!(
        code == 0 && out.contains("rtsp://127.0.0.1:1/… (not contacted; --check=deep does)"),
        "{out}{err}"
    );
    assert!(!out.contains("hunter2"), "{out}");
    let folder = Folder::new();
    let state = folder.path("state");
    let (code, out, err) =
        run(&["camera", "--check", "--ssl-enabled", "--state-dir", &state, "--port", "4567"], &[]);
    assert!(code == 0 && out.contains("would be created and kept in"), "{out}{err}");
    assert!(out.contains("open https://127.0.0.1:4567/"), "{out}");
    assert!(!std::fs::exists(&state).expect("its folder is there"), "a check creates nothing");
    let connect = ["camera", "--check", "--connect", "wss://me:hunter2@chat.example"];
    let (code, out, err) = run(&connect, &[]);
    assert!(code == 0 && out.contains("wss://…@chat.example, without a token"), "{out}{err}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn a_deep_check_tries_everything_and_reports_failures() {
    let deep = [&SMALL[..], &["--check=deep"]].concat();
    let (code, out, err) = run(&deep, &[]);
    assert_eq!(code, 0, "{out}{err}");
    for part in
        ["  ok      port", "  ok      UDP port", "  ok      source      test delivered a frame", "encoded it"]
    {
        assert!(out.contains(part), "{part}\n{out}");
    }

    // Both fail, and both are reported.
    let (tcp, udp) =
        (TcpListener::bind("127.0.0.1:0").expect("a port"), UdpSocket::bind("0.0.0.0:0").expect("a port"));
    let tcp = tcp.local_addr().map(|a| (a.port().to_string(), tcp)).expect("bound");
    let udp = udp.local_addr().map(|a| (a.port().to_string(), udp)).expect("bound");
    let gone = "rtsp://me:hunter2@127.0.0.1:1/none";
    let args = ["camera", "--check=deep", "--port", &tcp.0, "--udp-port", &udp.0, "--source", gone];
    let (code, out, err) = run(&args, &[]);
    assert_eq!(code, 69, "{out}{err}");
    for part in [
        format!("  FAILED  port        Port {} of 127.0.0.1 is in use", tcp.0),
        format!("  FAILED  UDP port    UDP port {}", udp.0),
        "  FAILED  source      rtsp://127.0.0.1:1/… cannot be reached".into(),
        "  ok      encoder".into(),
    ] {
        assert!(out.contains(&part), "{part}\n{out}");
    }
    assert!(err.contains("these checks failed: port, UDP port, source"), "{err}");
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");

    for (microphone, code, verdict) in
        [("audiotestsrc", 0, "ok    "), ("audiotestsrc num-buffers=0", 69, "FAILED")]
    {
        let args = ["camera", "--check=deep", "--port", "0", "--size", "320x240", "--microphone", microphone];
        let (ended, out, err) = run(&args, &[]);
        assert!(ended == code && out.contains(&format!("  {verdict}  microphone")), "{out}{err}");
    }

    let (code, out, err) = run(&[&deep[..], &["--source", "/nowhere.mp4"]].concat(), &[]);
    assert!(code == 66 && out.contains("  FAILED  source      file /nowhere.mp4 not found"), "{out}{err}");
    assert!(out.contains("  ok      port"), "the rest is tried nevertheless: {out}");
}

#[test]
fn a_deep_check_connects_to_the_other_server() {
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    let url = format!("ws://{}", server.address);
    let deep = [&SMALL[..], &["--check=deep", "--connect", &url]].concat();
    let (code, out, err) = run(&deep, &[("SYMPLE_TOKEN", "s3cret")]);
    assert!(
        code == 0 && out.contains(&format!("  ok      server      {url} admits the camera")),
        "{out}{err}"
    );
    let (code, out, err) = run(&deep, &[("SYMPLE_TOKEN", "wrong")]);
    assert!(code == 77 && out.contains("  FAILED  server") && out.contains("wrong token"), "{out}{err}");
    drop(server);
    let (code, out, err) = run(&deep, &[]);
    assert!(code == 69 && out.contains("  FAILED  server"), "{out}{err}");
}

const OFFER: &str = include_str!("../../src/rtc/tests/chromium_offer.sdp");

#[test]
fn a_dead_source_is_reported_without_its_credentials() {
    let spellings = [
        "rtsp://u5er:s3cret@127.0.0.1:1/none",
        "rtsp://u5er:s3/cret@127.0.0.1:1/none",
        "rtsp://u5er:s3?cr#et@127.0.0.1:1/none",
        "rtsp://u5er:s3@cret@127.0.0.1:1/none",
        "rtsp://127.0.0.1:1/user=u5er&password=s3cret",
        "rtsp://127.0.0.1:1/none?token=s3cret&key=u5er",
    ];
    for source in spellings {
        let args = [&SMALL[..], &["--source", source, "--log", "debug"]].concat();
        let camera = Program::start(&args, &[]);
        let line = camera.says("open http://127.0.0.1:");
        let address = line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("one");
        let server = Server { program: camera, address };
        let mut viewer = server.peer(r#"{"type":"auth","user":"bob"}"#);
        let presence = viewer.text(r#""peerType":"camera""#);
        let presence: serde_json::Value = serde_json::from_str(&presence).expect("JSON");
        let to = presence["from"].as_str().expect("an address").to_owned();
        let mut say = |subtype: &str, data: serde_json::Value| {
            let message =
                serde_json::json!({"type":"message","to":to,"subtype":subtype,"call":"1","data":data});
            viewer.send(&message.to_string());
        };
        say("call:init", serde_json::json!({}));
        say("call:offer", serde_json::json!({"type":"offer","sdp":OFFER}));
        // As an event for present peers, and in the presence for later ones.
        let told = viewer.text(r#""state":"lost""#);
        assert!(told.contains(r#""code":"unreachable""#) && told.contains(r#""name":"source""#), "{told}");
        let told = viewer.text(r#""state":"lost""#);
        assert!(told.contains(r#""type":"presence""#), "{told}");
        let (_, _, status) = server.get("/api/status", None);
        assert!(status.contains(r#""state":"lost""#) && status.contains("unreachable"), "{status}");
        // It is tried again, and the program reports each attempt.
        let said =
            [server.program.says("cannot be reached"), server.program.says("cannot be reached")].concat();
        server.program.signal(Signal::TERM);
        let all = [said, told, status, server.program.rest()].concat().replace("user", "");
        // Not only two characters, which a random id may contain.
        for secret in ["u5er", "s3c", "s3/", "s3?", "s3@", "s3%", "cret", "/none"] {
            assert!(!all.contains(secret), "{source}: {secret} is revealed: {all}");
        }
    }
}

#[test]
fn a_hangup_signal_applies_settings_that_can_change() {
    let folder = Folder::new();
    let settings = |max: u32, port: u16| format!("max_bitrate = {max}\nport = {port}\nlog = \"info\"\n");
    let file = folder.write("camera.toml", &settings(2000, 0));
    let args = ["camera", "--config", &file, "--size", "320x240", "--fps", "10", "--board", "generic"];
    let camera = Program::start(&args, &[]);
    let line = camera.says("open http://127.0.0.1:");
    let address = line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
    let server = Server { program: camera, address };
    let bitrate = |bps: u32| format!(r#""bitrate":{bps}"#);
    assert!(server.get("/api/status", None).2.contains(&bitrate(1_000_000)));
    folder.write("camera.toml", &settings(500, 0));
    server.program.signal(Signal::HUP);
    server.program.logs("the settings were reloaded");
    assert!(server.get("/api/status", None).2.contains(&bitrate(500_000)));
    folder.write("camera.toml", &settings(300, 1));
    server.program.signal(Signal::HUP);
    server.program.logs("the settings were reloaded; these need a restart: listen or port");
    assert!(server.get("/api/status", None).2.contains(&bitrate(300_000)), "the others are taken");
    folder.write("camera.toml", "max_bitrate = [");
    server.program.signal(Signal::HUP);
    server.program.logs("the settings stay as they are");
    assert!(server.get("/api/status", None).2.contains(&bitrate(300_000)));
}
