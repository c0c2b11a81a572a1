//! `symple watch --receive` and `--play`: a camera in one process, the program that watches it in another.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;
use symple::media::source::gst::pattern;

use crate::world::{Folder, PATIENCE, Program, Server, run};

const SIZE: (usize, usize) = (320, 180);

/// A camera with the test pattern, and where it is.
fn camera(args: &[&str]) -> (Program, String) {
    let size = format!("{}x{}", SIZE.0, SIZE.1);
    let camera = Program::start(&[&["camera", "--port", "0", "--size", &size], args].concat(), &[]);
    let line = camera.says("open http://127.0.0.1:");
    let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
    camera.says("online");
    (camera, url)
}

/// Ends it as Ctrl-C does.
fn interrupt(program: Program) -> i32 {
    let began = Instant::now();
    program.signal(Signal::INT);
    let code = program.end().code().expect("no signal ended it");
    // 0.03 s alone; a busy machine took 6.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    code
}

#[test]
fn it_counts_what_it_receives_and_writes_a_file() {
    let (camera, url) = camera(&[]);
    let folder = Folder::new();
    let file = folder.path("a.h264");
    let watch = Program::start(&["watch", &url, "--receive", "camera", "--file", &file], &[]);
    loop {
        let line = watch.says("frames of video");
        let number =
            |at| line.split(' ').nth(at).and_then(|word| word.parse::<u64>().ok()).expect("a number");
        if number(0) >= 30 && number(4) >= 20 {
            break;
        }
    }
    assert_eq!(interrupt(watch), 0);
    let written = std::fs::read(&file).expect("it was written");
    assert!(written.starts_with(&[0, 0, 0, 1, 0x67]) && written.len() > 1000, "{} bytes", written.len());

    let watch = Program::start(&["watch", &url, "--receive", "camera", "--json"], &[]);
    let line: Value = serde_json::from_str(&watch.says(r#""event":"received""#)).expect("JSON");
    assert!(line["video"].is_u64() && line["bytes"].is_u64(), "{line}");
    watch.says(r#""video":"#);
    assert_eq!(interrupt(camera), 0);
    assert_eq!(watch.end().code(), Some(0), "the camera has ended the call");
}

#[test]
fn what_is_wrong_has_words_and_an_exit_code() {
    let (_camera, url) = camera(&[]);
    for (args, code, part) in [
        (&["--receive", "nobody"][..], 1, "no peer nobody is online"),
        (&["--play", "camera"], 69, "no window can be opened: there is no display"),
        (&["--play", "camera", "--video-output", "/dev/symple-none"], 69, "/dev/symple-none not found"),
        (&["--play", "camera", "--video-output", "none", "--audio-output", "alsa:hw:9,9"], 69, "alsa"),
        (
            &["--play", "camera", "--video-output", "none", "--audio-output", "none"],
            64,
            "both outputs are none",
        ),
        (&["--play", "camera", "--video-output", "nosuchsink"], 64, "nosuchsink"),
        (&["--play", "camera", "--receive", "camera"], 64, "use either --play or --receive"),
        (&["--file", "a.h264"], 64, "--file needs --receive"),
        (&["--receive", "camera", "--file", "/nowhere/a.h264"], 73, "/nowhere/a.h264"),
    ] {
        let (found, out, err) = run(&[&["watch", &url], args].concat(), &[]);
        assert!(found == code && err.contains(part), "{args:?}: {found} {out}{err}");
    }
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    let (code, _, err) = run(&["watch", &format!("ws://{}", server.address), "--receive", "camera"], &[]);
    assert!(code == 77 && err.contains("refused by the server"), "{code} {err}");
}

#[test]
fn a_call_that_is_declined_tells_so() {
    let server = Server::start(&[], &[]);
    let url = format!("ws://{}", server.address);
    let mut alice = server.peer(r#"{"type":"auth","user":"alice","rooms":["public"]}"#);
    let watch = Program::start(&["watch", &url, "--receive", "alice"], &[]);
    let call: Value = serde_json::from_str(&alice.text("call:init")).expect("JSON");
    let reject = serde_json::json!({
        "type": "message", "subtype": "call:reject", "to": call["from"], "call": call["call"],
        "data": { "reason": "declined", "message": "not now" },
    });
    alice.send(&reject.to_string());
    watch.logs("alice|");
    assert_eq!(watch.end().code(), Some(77));
}

/// What arrives behind a sink, and when.
fn behind(socket: &UdpSocket, until: Instant) -> Vec<(SystemTime, Vec<u8>)> {
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 65_536]);
    while Instant::now() < until {
        if let Ok(count) = socket.recv(&mut buffer) {
            seen.push((SystemTime::now(), buffer[..count].to_vec()));
        }
    }
    seen
}

fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 290000")
}

fn median(values: &[i64]) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// The pattern has a clock in each frame, and its tone marks full seconds of the same clock: all that is between the
/// source and the sinks of another process is in this.
#[test]
fn the_test_pattern_plays_in_sync_in_another_process() {
    let (camera, url) = camera(&[]);
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (screen, speaker) = (socket(), socket());
    let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
    let (width, height) = SIZE;
    let video = format!(
        "videoconvert ! videoscale ! video/x-raw,format=GRAY8,width={width},height={height} ! \
         udpsink host=127.0.0.1 port={}",
        port(&screen)
    );
    let audio = format!(
        "audioconvert ! audio/x-raw,format=S16LE,channels=1,rate=48000 ! udpsink host=127.0.0.1 port={}",
        port(&speaker)
    );
    let outputs = ["--video-output", &video, "--audio-output", &audio];
    let watch = Program::start(&[&["watch", &url, "--play", "camera"][..], &outputs].concat(), &[]);
    let (mut playing, end) = (2, Instant::now() + PATIENCE);
    while playing > 0 {
        watch.says(" plays");
        playing -= 1;
        assert!(Instant::now() < end);
    }
    for socket in [&screen, &speaker] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
    }
    let until = Instant::now() + Duration::from_secs(9);
    let (frames, packets) = thread::scope(|scope| {
        let frames = scope.spawn(|| behind(&screen, until));
        let packets = behind(&speaker, until);
        (frames.join().expect("it reads"), packets)
    });
    assert_eq!(interrupt(watch), 0);
    drop(camera);
    let video: Vec<(i64, i64)> = frames
        .iter()
        .filter_map(|(at, luma)| {
            let at = micros(*at);
            let burned = i64::from(pattern::read(luma, width, width, height)?.millis);
            Some((at, (at - burned * 1000).rem_euclid(65_536_000)))
        })
        .collect();
    let mut marked_until = 0;
    let mut skews = Vec::new();
    for (at, bytes) in &packets {
        let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        // The tone has an amplitude of 6553, and twice that in its marks.
        let Some(index) = samples.into_iter().position(|sample| sample.unsigned_abs() > 9_000) else {
            continue;
        };
        let heard = micros(*at) + index as i64 * 1_000_000 / 48_000;
        if heard < marked_until {
            continue;
        }
        marked_until = heard + 500_000;
        let latency = heard.rem_euclid(1_000_000);
        let around: Vec<i64> = video
            .iter()
            .filter(|(at, _)| (at - heard).abs() < 200_000)
            .map(|(_, latency)| *latency)
            .collect();
        if !around.is_empty() {
            let skew = median(&around) - latency;
            println!("at {heard}: audio after {latency} µs, video {skew} µs later");
            skews.push(skew);
        }
    }
    println!("{} frames, {} of them read, {} packets", frames.len(), video.len(), packets.len());
    assert!(skews.len() >= 5, "seconds were seen and heard: {skews:?}");
    // Not all, as a busy machine can delay a frame on its way.
    assert!(median(&skews).abs() <= 40_000, "{skews:?}");
}
