//! A network camera, simulated by GStreamer's own RTSP server in another process.
#![cfg(feature = "gst")]

mod media;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use media::{ALL, H264, open, settings};
use symple::media::Codec;
use symple::media::source::SourceEvent;
use symple::media::source::gst::CaptureSettings;

struct Camera {
    server: Child,
    port: u16,
}

impl Camera {
    /// `None`, with a line that gives the reason, if Debian's RTSP server is not installed.
    fn new() -> Option<Camera> {
        Camera::on(0)
    }

    /// On this port; 0 for a free one.
    fn on(port: u16) -> Option<Camera> {
        Camera::of("rtsp_server.py", port)
    }

    /// A server that does what GStreamer's never would.
    fn raw() -> Option<Camera> {
        Camera::of("rtsp_raw.py", 0)
    }

    fn of(script: &str, port: u16) -> Option<Camera> {
        // Debian's own Python: another one on the path has no GStreamer.
        let spawned = Command::new("/usr/bin/python3")
            .args([format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")), port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut server = match spawned {
            Ok(server) => server,
            Err(error) => {
                println!("SKIPPED: no RTSP server: /usr/bin/python3: {error}");
                return None;
            }
        };
        let mut line = String::new();
        let output = server.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("the server prints a line");
        match line.trim().strip_prefix("PORT ") {
            Some(port) => Some(Camera { port: port.parse().expect("a port"), server }),
            None => {
                _ = server.wait();
                println!(
                    "SKIPPED: no RTSP server (apt install python3-gi gir1.2-gst-rtsp-server-1.0): {line}"
                );
                None
            }
        }
    }

    fn address(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

#[test]
fn video_and_audio_arrive_over_udp_and_over_tcp() {
    let Some(camera) = Camera::new() else { return };
    for path in ["/av", "/tcp"] {
        let watched = open(settings(&camera.address(path))).expect("nothing is asked before the start");
        watched.start(ALL);
        let format = watched.until("the format", |event| match event {
            SourceEvent::Streams(_) => watched
                .announced(event, Codec::H264)
                .map(|format| (format.width, format.height, format.profile_level_id.map(|id| id[0]))),
            SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("{path}: {error}"),
            _ => None,
        });
        assert_eq!(format, (240, 180, Some(0x42)), "the camera's High profile becomes baseline");
        assert!(watched.key_frame(Codec::H264).key);
        watched.frame(Codec::Vp8);
        watched.frame(Codec::Opus);
        watched.frame_where(Codec::H264, "other pictures", |frame| !frame.key);
        watched.request_key_frame(Codec::H264);
        watched.key_frame(Codec::H264);
        watched.stop();
        watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
    }
}

#[test]
fn a_camera_without_audio_has_only_video() {
    let Some(camera) = Camera::new() else { return };
    let watched = open(settings(&camera.address("/video"))).expect("a pipeline");
    watched.start(ALL);
    let frames = watched.frames(Codec::H264, 20);
    assert!(frames[0].key);
    assert!(frames.windows(2).all(|pair| pair[0].pts < pair[1].pts));
}

#[test]
fn each_failure_has_a_message_without_the_password() {
    let Some(camera) = Camera::new() else { return };
    let closed =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let secret = |login: &str| format!("rtsp://{login}@127.0.0.1:{}/secret", camera.port);
    let table = [
        (camera.address("/nothing"), "not-found"),
        (camera.address("/secret"), "unauthorized"),
        (secret("me:wrong"), "unauthorized"),
        (camera.address("/sound"), "no-video"),
        (format!("rtsp://me:wrong@{closed}/av"), "unreachable"),
        ("rtsp://no-such-host.invalid/av".into(), "unreachable"),
    ];
    for (address, code) in table {
        let watched = open(settings(&address)).expect("nothing is asked before the start");
        watched.start(H264);
        let error = watched.failure();
        println!("{}: {error}", error.code());
        assert_eq!(error.code(), code, "{address}: {error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        if code == "unauthorized" {
            // Only tried once: cameras lock accounts.
            watched.event("the stop", |event| matches!(event, SourceEvent::GaveUp));
        } else {
            assert_eq!(watched.failure().code(), code, "it is retried automatically");
        }
    }
    let watched = open(settings(&secret("me:p%40ss"))).expect("a pipeline");
    watched.start(H264);
    assert!(watched.frame(Codec::H264).key);
}

#[test]
fn a_source_that_ends_or_stalls_is_reported_and_reopened() {
    let Some(camera) = Camera::new() else { return };
    let watched =
        open(CaptureSettings { audio: false, ..settings(&camera.address("/short")) }).expect("a pipeline");
    watched.start(H264);
    let first = watched.frame(Codec::H264);
    watched.event("the end", |event| matches!(event, SourceEvent::Ended));
    let again = watched.frame(Codec::H264);
    assert!(first.key && again.key && again.pts > first.pts);

    let watched = open(settings(&camera.address("/stall"))).expect("a pipeline");
    watched.start(H264);
    let first = watched.frame(Codec::H264);
    let error = watched.until("the stall", |event| match event {
        SourceEvent::Stalled(error) => Some(error.clone()),
        _ => None,
    });
    assert_eq!(error.code(), "stalled");
    println!("{error}");
    let again = watched.frame(Codec::H264);
    assert!(first.key && again.key && again.pts > first.pts);
}

#[test]
fn a_camera_that_returns_is_reopened() {
    let Some(camera) = Camera::new() else { return };
    let port = camera.port;
    let watched = open(settings(&camera.address("/video"))).expect("a pipeline");
    watched.start(H264);
    let before = watched.frame(Codec::H264);
    drop(camera);
    watched.event("the loss", |event| {
        matches!(event, SourceEvent::Failed(_) | SourceEvent::Stalled(_) | SourceEvent::Ended)
    });
    let error = watched.failure();
    assert_eq!(error.code(), "unreachable", "{error}");
    let _camera = Camera::on(port).expect("it was there before");
    let after = watched.frame(Codec::H264);
    assert!(after.key && after.pts > before.pts);
}

#[test]
fn streams_of_nonconforming_servers_play() {
    let Some(camera) = Camera::raw() else { return };
    for path in ["/plain", "/no-control", "/no-track", "/no-rate", "/interlaced"] {
        let watched = open(settings(&camera.address(path))).expect("a pipeline");
        watched.start(H264);
        let frames = watched.frames_in_a_row(path, 25);
        assert!(frames[0].key && frames.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{path}");
    }
}

#[test]
fn the_video_of_several_media_without_a_control_attribute_plays() {
    let Some(camera) = Camera::raw() else { return };
    for path in ["/both", "/audio-first", "/both-no-track", "/one-track", "/two-videos"] {
        let watched = open(settings(&camera.address(path))).expect("a pipeline");
        watched.start(ALL);
        let frames = watched.frames_in_a_row(path, 25);
        assert!(frames[0].key && frames.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{path}");
    }
}

#[test]
fn a_camera_whose_clock_is_impossible_loses_no_frame() {
    let Some(camera) = Camera::raw() else { return };
    for path in ["/fast", "/slow"] {
        let watched = open(settings(&camera.address(path))).expect("a pipeline");
        watched.start(H264);
        let first = watched.frame(Codec::H264);
        // Timestamps are judged twice, for three seconds each.
        let before = watched.frame_where(Codec::H264, "what comes after ten seconds", |frame| {
            frame.captured > first.captured + Duration::from_secs(10)
        });
        let settled = Instant::now();
        let frames = watched.frames(Codec::H264, 100);
        // When the frames arrived by our own clock, and their times.
        let (took, shown) = (settled.elapsed(), frames[99].pts - before.pts);
        println!("{path}: 100 frames in {took:?}, shown for {shown:?}");
        for time in [took, shown] {
            assert!((3.4..4.6).contains(&time.as_secs_f64()), "{path}: 25 fps, in {took:?} for {shown:?}");
        }
    }
}
