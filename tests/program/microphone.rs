//! A viewer talks to a camera whose microphone hears its speaker: the loop that makes an echo, closed by a sound server.
//! How much of it comes back is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use rustix::process::Signal;
use symple::Client;
use symple::calling::{Call, Calling, FrameEvent};
use symple::client::Config;
use symple::media::source::{Feed, Source};
use symple::media::{Codec, Kind};

use crate::sound_server::SoundServer;
use crate::world::{Folder, PATIENCE, Program, run};

/// How loud the viewer talks.
const LOUD: f64 = 0.4;
const PACKET: Duration = Duration::from_millis(20);
/// Packets of three seconds, whose level is measured.
const MEASURED: usize = 150;
/// Delays of a sound server leap while others need the CPU, and the canceller learns anew.
const DEADLINE: Duration = Duration::from_secs(90);
/// By how much the canceller lowers the viewer's own noise at least, in dB.
const LOWER: f64 = 20.0;
/// What somebody beside the camera whistles, in Hz; the viewer's noise has little there.
const TONE: f64 = 1_000.0;

/// How loud that is, in dB of full scale: its amplitude is 0.2. And how near to it what is heard must be.
const WHISTLED: f64 = -14.0;
const NEAR: f64 = 3.0;

/// Encodes ten seconds of what a viewer says: noise in syllables, as no word repeats itself.
fn speech() -> Vec<Arc<[u8]>> {
    let line = "appsrc name=in format=time caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1 ! \
                opusenc bitrate=64000 frame-size=20 ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("named above");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let (mut random, mut low) = (1u64, 0.0);
    let bytes = (0..480_000u32).flat_map(|index| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        low = 0.9 * low + 0.1 * ((random >> 40) as f64 / f64::from(1 << 23) - 1.0);
        // Two and a half syllables per second.
        let loud = (std::f64::consts::TAU * f64::from(index) / 19_200.0).sin().max(0.0);
        ((low * loud * LOUD * 32_767.0) as i16).to_le_bytes()
    });
    let mut buffer = gst::Buffer::from_slice(bytes.collect::<Vec<u8>>());
    buffer.get_mut().expect("made in the line above").set_pts(gst::ClockTime::ZERO);
    source.push_buffer(buffer).expect("it takes samples");
    source.end_of_stream().expect("it ends");
    let next = || {
        let sample = sink.pull_sample().ok()?;
        Some(sample.buffer()?.map_readable().ok()?.as_slice().into())
    };
    let all = std::iter::from_fn(next).collect();
    pipeline.set_state(gst::State::Null).expect("it stops");
    all
}

/// Decodes packets to samples.
fn decoded(packets: Vec<Arc<[u8]>>) -> Vec<f64> {
    let line = "appsrc name=in format=time caps=audio/x-opus,rate=48000,channels=1,channel-mapping-family=0 ! \
                opusdec ! audioconvert ! audio/x-raw,format=S16LE,channels=1,rate=48000 ! \
                appsink name=out sync=false";
    let pipeline = gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("named above");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    for (number, packet) in (0..).zip(packets) {
        let mut buffer = gst::Buffer::from_slice(packet);
        let fields = buffer.get_mut().expect("made in the line above");
        fields.set_pts(gst::ClockTime::try_from(PACKET * number).ok());
        source.push_buffer(buffer).expect("it takes packets");
    }
    source.end_of_stream().expect("it ends");
    let mut samples = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().expect("a sample has one").map_readable().expect("readable");
        let pairs = map.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        samples.extend(pairs.map(|sample| f64::from(sample) / 32_768.0));
    }
    pipeline.set_state(gst::State::Null).expect("it stops");
    samples
}

fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-6).log10()
}

/// The level in dB of full scale.
fn level(samples: &[f64]) -> f64 {
    decibels((samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64).sqrt())
}

/// The level of one frequency, of which each tenth of a second may have another phase.
fn tone(samples: &[f64]) -> f64 {
    let step = TONE * std::f64::consts::TAU / 48_000.0;
    let amplitude = |samples: &[f64]| {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (number, sample) in samples.iter().enumerate() {
            let (sin, cos) = (step * number as f64).sin_cos();
            (real, imaginary) = (real + sample * cos, imaginary + sample * sin);
        }
        real.hypot(imaginary) * 2.0 / samples.len() as f64
    };
    let all: Vec<f64> = samples.chunks_exact(4_800).map(amplitude).collect();
    decibels(all.iter().sum::<f64>() / all.len() as f64)
}

/// Says it again and again.
fn say(feed: &Feed, speech: &[Arc<[u8]>], over: &AtomicBool) {
    let began = Instant::now();
    for number in 0.. {
        thread::sleep((PACKET * number).saturating_sub(began.elapsed()));
        if over.load(Ordering::Relaxed) {
            return;
        }
        feed.push(speech[number as usize % speech.len()].clone(), true, PACKET * number)
            .expect("a valid packet");
    }
}

/// Levels of what the viewer hears of itself, and of somebody beside the camera.
#[derive(Debug)]
struct Heard {
    echo: f64,
    tone: f64,
}

/// What is played at the camera at the moment.
enum Part {
    /// What the viewer says, which nothing cancels yet.
    Opens,
    /// The same, which the canceller is to remove.
    Alone,
    /// The whistle begins.
    Begins,
    Both,
}

/// Talks to a camera at this sound server, and listens to it.
fn talk(sound: &SoundServer, speaker: &str, microphone: &str, said: f64) -> Heard {
    let args =
        ["camera", "--port", "0", "--size", "64x64", "--fps", "5", "--talk", "everybody", "--log", "debug"];
    let devices = ["--talk-duplex", "full", "--talk-output", speaker, "--microphone", microphone];
    let variables = sound.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let camera = Program::start(&[&args[..], &devices].concat(), &variables);
    let line = camera.says("open http://127.0.0.1:");
    let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
    let client = Client::new(&url, Config { rooms: vec!["public".into()], ..Config::new("viewer") });
    let client = client.expect("a good address");
    let calling = Calling::new(&client).expect("a free port");
    let (source, feed) = Source::push(Codec::Opus);
    calling.set_source(source);
    let over = Arc::new(AtomicBool::new(false));
    let says = thread::spawn({
        let (over, speech) = (over.clone(), speech());
        move || say(&feed, &speech, &over)
    });
    let beside = format!(
        "audiotestsrc is-live=true freq={TONE} volume=0.2 ! pulsesink server={} device=loop",
        sound.address()
    );
    let beside = gst::parse::launch(&beside).expect("a pipeline");
    let act = async {
        let camera = loop {
            let all = client.roster();
            if let Some(peer) = all.iter().find(|peer| peer.user == "camera") {
                break peer.address();
            }
            smol::Timer::after(Duration::from_millis(20)).await;
        };
        let call = Call::new([Kind::Audio], [Kind::Audio]);
        let mut call = calling.call(camera.as_str(), call).expect("a call");
        let (began, mut packets) = (Instant::now(), vec![]);
        let mut heard = Heard { echo: f64::INFINITY, tone: f64::NEG_INFINITY };
        let mut part = Part::Opens;
        while began.elapsed() < DEADLINE {
            let Some(event) = call.next().await else { panic!("the call ended: {:?}", call.end()) };
            let FrameEvent::Frame { frame } = event else { continue };
            packets.push(frame.data);
            if packets.len() < MEASURED {
                continue;
            }
            let samples = decoded(std::mem::take(&mut packets));
            match part {
                // At first it does not know the way from speaker to microphone.
                Part::Opens => {
                    let loudest = samples.chunks_exact(4_800).map(level).fold(f64::NEG_INFINITY, f64::max);
                    if loudest > said - LOWER / 4.0 {
                        part = Part::Alone;
                    }
                }
                Part::Alone => {
                    heard.echo = level(&samples);
                    if heard.echo < said - LOWER {
                        beside.set_state(gst::State::Playing).expect("it plays");
                        part = Part::Begins;
                    }
                }
                Part::Begins => part = Part::Both,
                Part::Both => {
                    heard.tone = tone(&samples);
                    if (heard.tone - WHISTLED).abs() < NEAR {
                        break;
                    }
                }
            }
        }
        heard
    };
    let late = async {
        smol::Timer::after(DEADLINE + PATIENCE).await;
        panic!("nothing came in time")
    };
    let drivers = async {
        zip(client.run(), calling.run()).await;
        unreachable!("the client goes on")
    };
    let heard = block_on(or(or(act, drivers), late));
    over.store(true, Ordering::Relaxed);
    says.join().expect("no panic");
    beside.set_state(gst::State::Null).expect("it stops");
    // For whoever reads why it failed.
    camera.signal(Signal::INT);
    println!("{}", camera.rest());
    heard
}

/// For how long something has waited for a CPU so far, if the system counts that.
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = text.lines().next().and_then(|line| line.rsplit_once("total=")?.1.parse().ok());
    Duration::from_micros(total.unwrap_or(0))
}

/// Whether the canceller is installed; prints SKIPPED if not.
fn cancels() -> bool {
    gst::init().expect("GStreamer");
    let installed = gst::ElementFactory::find("webrtcdsp").is_some();
    if !installed {
        println!("SKIPPED: the GStreamer element webrtcdsp is not installed");
    }
    installed
}

#[test]
fn who_talks_hears_somebody_beside_the_camera_and_not_themselves() {
    if !cancels() {
        return;
    }
    let Some(sound) = SoundServer::start(&["module-null-sink sink_name=loop rate=48000"]) else { return };
    // The loop neither amplifies nor attenuates.
    let said = level(&decoded(speech()));
    let (began, before) = (Instant::now(), waited());
    let heard = talk(&sound, "pulse:loop", "pulse:loop.monitor", said);
    println!("{heard:.1?}, and {said:.1} was said (dB of full scale)");
    let succeeded = heard.echo < said - LOWER && (heard.tone - WHISTLED).abs() < NEAR;
    if !succeeded && waited() - before > began.elapsed() / 2 {
        println!("SKIPPED: this machine is too busy for a sound server, whose delays it makes leap");
        return;
    }
    assert!(
        succeeded,
        "the viewer's own noise is to be {LOWER} dB lower, and what is beside the camera as loud"
    );
}

#[test]
fn without_a_canceller_the_check_says_so() {
    if !cancels() {
        return;
    }
    let registry = gst::Registry::get();
    let plugin = registry.find_plugin("webrtcdsp").expect("its element is installed");
    let file = plugin.filename().expect("it has a file");
    let (all, folder) = (file.parent().expect("in a folder"), Folder::new());
    let plugins = folder.path("plugins");
    std::fs::create_dir(&plugins).expect("the folder is ours");
    for entry in std::fs::read_dir(all).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path != file {
            let name = path.file_name().expect("it has one");
            std::os::unix::fs::symlink(&path, std::path::Path::new(&plugins).join(name))
                .expect("the folder is ours");
        }
    }
    let args = ["camera", "--check", "--port", "0", "--talk", "everybody", "--talk-duplex", "full"];
    let args = [&args[..], &["--microphone", "default"]].concat();
    let registry = folder.path("registry");
    let missing = [("GST_PLUGIN_SYSTEM_PATH_1_0", plugins.as_str()), ("GST_REGISTRY_1_0", registry.as_str())];
    for (variables, words) in [
        (&[][..], "full duplex with echo cancellation"),
        (&missing[..], "full duplex without echo cancellation: the GStreamer element webrtcdsp"),
    ] {
        let (code, out, log) = run(&args, variables);
        assert!(code == 0 && out.contains(words), "{code}: {out}{log}");
    }
}
