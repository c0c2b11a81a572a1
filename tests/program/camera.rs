//! `symple camera`: that it starts, is found, and ends as told. What it shows is for the browsers' tests.

use rustix::process::Signal;

use crate::world::{Folder, Program, Server, run};

/// Small pictures, any port.
const SMALL: [&str; 8] = ["camera", "--port", "0", "--size", "320x240", "--fps", "10", "--no-audio"];

#[test]
fn it_serves_itself_and_ends_as_told() {
    let camera = Program::start(&[&SMALL[..], &["--token", "s3cret", "--board", "generic"]].concat(), &[]);
    camera.says("board: any machine (generic: as asked for)");
    camera.says("encoder: ");
    let line = camera.says("open http://127.0.0.1:");
    let address = line.trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
    camera.says("online");
    let server = Server { program: camera, address };
    assert_eq!(server.get("/api/health", None).0, 200);
    assert_eq!(server.get("/api/status", None).0, 401);
    let (code, _, status) = server.get("/api/status", Some("s3cret"));
    assert_eq!(code, 200);
    for part in [r#""board":"generic""#, r#""percent":100"#, r#""fps":10"#] {
        assert!(status.contains(part), "{part} {status}");
    }
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.end().code(), Some(0));
}

#[test]
fn it_is_a_peer_of_a_server_elsewhere_or_refused() {
#[test]
#[cfg(target_os = "linux")]
fn on_a_cable_without_a_router_it_tells_the_address_that_it_has_there() {
    let args = [&SMALL[..], &["--listen", "all", "--token", "s3cret"]].concat();
    let Some(camera) = Program::start_on_cable("169.254.7.8/16", "169.254.9.9/16", &args) else {
        return eprintln!("SKIPPED: no network namespace can be made here");
    };
    camera.says("open http://127.0.0.1:");
    camera.says("open http://169.254.7.8:");
}

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
fn what_is_wrong_is_said_before_it_starts() {
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
        (&["--size", "63x63"][..], 78, "63 x 63 is not possible"),
        (&["--config", &file][..], 78, "did you mean \"size\"?"),
    ] {
        let (found, out, err) = run(&[&["camera", "--check"], args].concat(), &[]);
        assert!(found == code && err.contains(part), "{args:?}: {found} {out}{err}");
    }
    let (code, out, err) = run(&[&SMALL[..], &["--check"]].concat(), &[]);
    assert!(code == 0 && out.contains("encoder: "), "{out}{err}");
    let board = ["--board", "raspberry-pi-5", "--encoders", "mpph264enc,x264enc"];
    let (code, out, err) = run(&[&SMALL[..], &board, &["--check"]].concat(), &[]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "board: Raspberry Pi 5 (raspberry-pi-5: as asked for)",
        "  captures with: libcamerasrc (csi), v4l2src (usb)",
        "  known: There is no hardware encoder at all",
        "encoder: x264enc (software, H.264 42c0",
        "  not mpph264enc: not installed (package gstreamer1.0-rockchip1)",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}
