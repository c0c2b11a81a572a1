//! `symple watch --play` with outputs as people have them: a window on an X server, and a device of a sound server.
//!
//! The pattern of the camera has a clock in each frame, and its tone marks full seconds of the same clock. Screen and
//! device are recorded here, so all that is between the source and the eyes and ears of a person is in the figures,
//! except for what a display and a loudspeaker add.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use rustix::process::Signal;
use symple::media::source::gst::pattern;

use crate::sound_server::SoundServer;
use crate::world::Program;

const SIZE: (usize, usize) = (320, 180);
/// Five marks take six seconds; what records the device, and the sound server of a busy machine, first catch up.
const DEADLINE: Duration = Duration::from_secs(60);
/// So many marks in a row.
const SETTLED: usize = 5;
/// In microseconds, between a mark and the frames it is compared with.
const NEAR: i64 = 300_000;

/// An X server without a screen of glass.
struct Screen {
    child: Child,
    display: String,
}

impl Screen {
    fn start() -> Option<Screen> {
        for element in ["ximagesink", "ximagesrc"] {
            if gst::ElementFactory::find(element).is_none() {
                println!("SKIPPED: the GStreamer element {element} is not installed");
                return None;
            }
        }
        let size = format!("{}x{}x24", SIZE.0, SIZE.1);
        let args = ["-screen", "0", &size, "-displayfd", "1", "-nolisten", "tcp"];
        let Ok(mut child) =
            Command::new("Xvfb").args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
        else {
            println!("SKIPPED: Xvfb is not installed");
            return None;
        };
        let output = child.stdout.take().expect("it is piped");
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number).expect("it says its number");
        Some(Screen { child, display: format!(":{}", number.trim()) })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A pipeline that records, and what it recorded: when it was captured, in microseconds since 1970, and the bytes.
struct Recorder {
    pipeline: gst::Pipeline,
    records: Receiver<(i64, Vec<u8>)>,
}

impl Recorder {
    fn start(line: &str) -> Recorder {
        let pipeline =
            gst::parse::launch(&format!("{line} ! appsink name=out sync=false")).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("one");
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
        let (tell, records) = channel();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer().expect("a sample has one");
            let now = sink.current_running_time().zip(buffer.pts());
            if let (Some((now, pts)), Ok(map)) = (now, buffer.map_readable()) {
                let age = now.useconds() as i64 - pts.useconds() as i64;
                _ = tell.send((micros(SystemTime::now()) - age, map.to_vec()));
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        pipeline.set_state(gst::State::Playing).expect("it records");
        Recorder { pipeline, records }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 290000")
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// When each frame was first on the screen, with its latency; and when each mark was heard. In microseconds.
#[derive(Default)]
struct Observed {
    shown: Vec<(i64, i64)>,
    last: Option<u16>,
    heard: Vec<i64>,
}

impl Observed {
    fn see(&mut self, at: i64, luma: &[u8]) {
        let Some(burned) = pattern::read(luma, SIZE.0, SIZE.0, SIZE.1) else { return };
        if self.last.replace(burned.frame) != Some(burned.frame) {
            self.shown.push((at, (at - i64::from(burned.millis) * 1000).rem_euclid(65_536_000)));
        }
    }

    fn hear(&mut self, at: i64, bytes: &[u8]) {
        let mut samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        // The tone has an amplitude of 6553, and twice that in its marks.
        let Some(index) = samples.position(|sample| sample.unsigned_abs() > 9_000) else { return };
        let heard = at + index as i64 * 1_000_000 / 48_000;
        if self.heard.last().is_none_or(|last| heard >= last + 500_000) {
            self.heard.push(heard);
        }
    }

    /// For each mark, how much later its frame is seen; not yet for a mark whose frames are still recorded.
    fn skews(&self) -> Vec<i64> {
        let until = self.shown.last().map_or(i64::MIN, |(at, _)| at - NEAR);
        let complete = self.heard.iter().filter(|heard| **heard < until);
        let skew = |heard: &i64| {
            let near = self.shown.iter().filter(|(at, _)| (at - heard).abs() < NEAR);
            let latencies: Vec<i64> = near.map(|(_, latency)| *latency).collect();
            (!latencies.is_empty()).then(|| median(latencies) - heard.rem_euclid(1_000_000))
        };
        complete.filter_map(skew).collect()
    }
}

#[test]
fn a_call_is_seen_in_a_window_and_heard_at_a_device_in_sync() {
    gst::init().expect("GStreamer");
    let Some(screen) = Screen::start() else { return };
    let Some(sound) = SoundServer::start(&["module-null-sink sink_name=loop rate=48000"]) else { return };
    let (width, height) = SIZE;
    let camera = Program::start(&["camera", "--port", "0", "--size", &format!("{width}x{height}")], &[]);
    let line = camera.says("open http://127.0.0.1:");
    let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
    camera.says("online");
    let sound_variables = sound.variables();
    let mut variables: Vec<_> =
        sound_variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.push(("DISPLAY", &screen.display));
    let outputs = ["--video-output", "window", "--audio-output", "pulse:loop"];
    let watch = Program::start(&[&["watch", &url, "--play", "camera"][..], &outputs].concat(), &variables);
    watch.says(" plays");
    watch.says(" plays");

    let window = format!(
        "ximagesrc display-name={} use-damage=false show-pointer=false ! video/x-raw,framerate=60/1 ! \
         videoconvert ! video/x-raw,format=GRAY8",
        screen.display
    );
    let ears = format!(
        "pulsesrc server={} device=loop.monitor provide-clock=false ! audioconvert ! \
         audio/x-raw,format=S16LE,channels=1,rate=48000",
        sound.address()
    );
    let (window, ears) = (Recorder::start(&window), Recorder::start(&ears));
    let (began, mut observed) = (Instant::now(), Observed::default());
    let skews = loop {
        let (at, bytes) = ears.records.recv_timeout(DEADLINE).expect("the device is silent at worst");
        observed.hear(at, &bytes);
        for (at, luma) in window.records.try_iter() {
            observed.see(at, &luma);
        }
        let skews = observed.skews();
        // The median, as a busy machine can delay one frame on its way.
        if skews.len() >= SETTLED && median(skews[skews.len() - SETTLED..].to_vec()).abs() <= 40_000 {
            break skews;
        }
        assert!(began.elapsed() < DEADLINE, "not in sync: seen {skews:?} µs after it was heard");
    };
    println!(
        "{} frames in {:?}, seen {skews:?} µs after they were heard",
        observed.shown.len(),
        began.elapsed()
    );
    assert!(observed.shown.len() > 20 * skews.len(), "the picture moves");
    watch.signal(Signal::INT);
    assert_eq!(watch.end().code(), Some(0));
}
