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
/// Until microphone and speaker are open, and the canceller knows the way from one to the other.
const LEARNS: Duration = Duration::from_secs(5);
const MEASURES: Duration = Duration::from_secs(3);
/// What somebody beside the camera whistles, in Hz; the viewer's noise has little there.
const TONE: f64 = 1_000.0;

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

/// Talks to a camera at this sound server, and listens to it.
fn talk(sound: &SoundServer, speaker: &str, microphone: &str) -> Heard {
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
        let mut packets = [vec![], vec![]];
        let mut began = None;
        loop {
            let Some(event) = call.next().await else { panic!("the call ended: {:?}", call.end()) };
            let FrameEvent::Frame { frame } = event else { continue };
            let since = began.get_or_insert_with(Instant::now).elapsed();
            let part = match since {
                since if since < LEARNS => continue,
                since if since < LEARNS + MEASURES => 0,
                // Somebody whistles, and the first half is left out.
                since if since < LEARNS + MEASURES * 2 => {
                    if packets[1].is_empty() {
                        beside.set_state(gst::State::Playing).expect("it plays");
                    }
                    1
                }
                _ => break,
            };
            packets[part].push(frame.data);
        }
        packets
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("nothing came in time")
    };
    let drivers = async {
        zip(client.run(), calling.run()).await;
        unreachable!("the client goes on")
    };
    let packets = block_on(or(or(act, drivers), late));
    over.store(true, Ordering::Relaxed);
    says.join().expect("no panic");
    beside.set_state(gst::State::Null).expect("it stops");
    // For whoever reads why it failed.
    camera.signal(Signal::INT);
    println!("{}", camera.rest());
    let [echo, both] = packets.map(decoded);
    let expected = MEASURES.as_secs_f64() * 48_000.0;
    assert!(echo.len() as f64 > 0.8 * expected, "{} of {expected} samples", echo.len());
    Heard { echo: level(&echo), tone: tone(&both[both.len() / 2..]) }
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
    let heard = talk(&sound, "pulse:loop", "pulse:loop.monitor");
    // The loop neither amplifies nor attenuates.
    let said = level(&decoded(speech()));
    println!("{heard:.1?}, and {said:.1} was said (dB of full scale)");
    assert!(heard.echo < said - 20.0, "the viewer's own noise");
    // Its amplitude is 0.2.
    assert!((heard.tone + 14.0).abs() < 3.0, "somebody beside the camera");
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
