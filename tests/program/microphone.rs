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
use symple::Client;
use symple::calling::{Call, Calling, FrameEvent};
use symple::client::Config;
use symple::media::source::{Feed, Source};
use symple::media::{Codec, Kind};

use crate::sound_server::SoundServer;
use crate::world::{PATIENCE, Program};

const PACKET: Duration = Duration::from_millis(20);
/// Until microphone and speaker are open.
const OPENS: Duration = Duration::from_secs(2);
const MEASURES: Duration = Duration::from_secs(2);
/// What somebody beside the camera whistles, in Hz; the viewer's noise has little there.
const TONE: f64 = 1_000.0;

/// Encodes ten seconds of what a viewer says: noise, as no word repeats itself.
fn speech() -> Vec<Arc<[u8]>> {
    let line = "audiotestsrc wave=pink-noise volume=0.6 samplesperbuffer=960 num-buffers=500 ! \
                audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=20 ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    pipeline.set_state(gst::State::Playing).expect("it plays");
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

/// The level of one frequency.
fn tone(samples: &[f64]) -> f64 {
    let step = TONE * std::f64::consts::TAU / 48_000.0;
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (number, sample) in samples.iter().enumerate() {
        let (sin, cos) = (step * number as f64).sin_cos();
        (real, imaginary) = (real + sample * cos, imaginary + sample * sin);
    }
    decibels(real.hypot(imaginary) * 2.0 / samples.len() as f64)
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
    let args = ["camera", "--port", "0", "--size", "64x64", "--fps", "5", "--talk", "everybody"];
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
        "audiotestsrc is-live=true freq={TONE} volume=0.1 ! pulsesink server={} device=loop",
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
                since if since < OPENS => continue,
                since if since < OPENS + MEASURES => 0,
                // Somebody whistles, and the first second is left out.
                since if since < OPENS + MEASURES * 2 => {
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
    let [echo, both] = packets.map(decoded);
    let expected = MEASURES.as_secs_f64() * 48_000.0;
    assert!(echo.len() as f64 > 0.8 * expected, "{} of {expected} samples", echo.len());
    Heard { echo: level(&echo), tone: tone(&both[both.len() / 2..]) }
}

#[test]
fn a_microphone_is_heard_and_with_full_duplex_also_what_the_speaker_plays() {
    let Some(sound) = SoundServer::start(&["module-null-sink sink_name=loop rate=48000"]) else { return };
    let heard = talk(&sound, "pulse:loop", "pulse:loop.monitor");
    println!("{heard:.1?} (dB of full scale)");
    assert!(heard.echo > -40.0, "the viewer's own noise");
    // Its amplitude is 0.1.
    assert!((heard.tone + 20.0).abs() < 6.0, "somebody beside the camera");
}
