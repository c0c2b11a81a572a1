//! A virtual camera of the kernel, `vivid`: listed, captured in its best format, controlled, busy, slow, unplugged.
//!
//! It needs a kernel with that module and permission to use /dev/video…, as an emulated machine has after `insmod
//! vivid.ko n_devs=1 node_types=0x1`; unplugging needs root. Elsewhere each test prints SKIPPED.
#![cfg(all(feature = "gst", feature = "v4l2", target_os = "linux"))]

mod media;

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gstreamer::prelude::*;
use media::{H264, Watched, open, settings};
use symple::media::Codec;
use symple::media::frame::sps::Sps;
use symple::media::source::controls::{Control, Value};
use symple::media::source::gst::{CaptureInfo, CaptureSettings};
use symple::media::source::v4l2::choose::Way;
use symple::media::source::v4l2::device::{Device, Role};
use symple::media::source::v4l2::{self, Camera};
use symple::media::source::{Command, Produce, RequestId, SourceEvent};

/// There is one camera: only one test at a time.
static ONE: Mutex<()> = Mutex::new(());

struct Vivid {
    device: Device,
    _alone: MutexGuard<'static, ()>,
}

/// The virtual camera, for this test alone; prints SKIPPED if `None`.
fn vivid(test: &str) -> Option<Vivid> {
    let alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let found = v4l2::devices().into_iter().filter_map(|(_, device)| device.ok());
    match found.into_iter().find(|device| device.driver == "vivid" && device.role == Role::Camera) {
        Some(device) => Some(Vivid { device, _alone: alone }),
        None => {
            println!("SKIPPED {test}: no camera of the driver vivid here");
            None
        }
    }
}

impl Vivid {
    fn path(&self) -> &str {
        self.device.path.to_str().expect("ASCII")
    }

    fn settings(&self, width: u32, height: u32, fps: u32) -> CaptureSettings {
        CaptureSettings { width, height, fps, ..settings(self.path()) }
    }

    fn set(&self, name: &str, value: impl Into<Value>) -> Control {
        let camera = Camera::open(&self.device.path).expect("it opens");
        camera.set(name, &value.into()).expect("it is set")
    }
}

fn capture(watched: &Watched) -> CaptureInfo {
    watched.until("the capture format", |event| match event {
        SourceEvent::Capture(info) => Some(info.clone()),
        _ => None,
    })
}

fn set_control(watched: &Watched, request: u64, name: &str, value: i64) {
    let value = Value::Number(value);
    watched.command(Command::SetControl { request: RequestId(request), name: name.into(), value });
}

fn trouble(watched: &Watched, code: &str) -> String {
    watched.until(code, |event| match event {
        SourceEvent::Trouble(error) if error.code() == code => Some(error.to_string()),
        _ => None,
    })
}

#[test]
fn it_is_listed_with_all_formats_and_controls() {
    let Some(vivid) = vivid("it_is_listed_with_all_formats_and_controls") else { return };
    let device = &vivid.device;
    assert_eq!((device.card.as_str(), device.bus.as_str()), ("vivid", "platform:vivid-000"));
    for fourcc in ["YUYV", "NV12", "RGB3"] {
        let format = device.formats.iter().find(|format| format.fourcc.to_string() == fourcc);
        assert!(format.is_some_and(|format| format.sizes.len() > 3 && !format.compressed), "{fourcc}");
    }
    for (name, takes) in [
        ("brightness", "0 to 255"),
        ("gain_auto", "on or off"),
        ("menu", "one of 1 (Menu Item 1), 3 (Menu Item 3), 4 (Menu Item 4)"),
        ("button", "no value"),
        ("bitmask", "bits of 0x80402010"),
    ] {
        assert_eq!(device.control(name).map(|c| c.kind.to_string()).as_deref(), Some(takes), "{name}");
    }
    let gain = device.control("gain").expect("it has one");
    assert!(gain.inactive, "its automatic mode is on");
    assert!(device.control("read_only_integer_32_bits").is_some_and(|control| control.read_only));
    assert!(device.controls.iter().all(|control| !control.label.contains("Matrix")), "no single values");
}

#[test]
fn controls_are_set_and_read_back() {
    let Some(vivid) = vivid("controls_are_set_and_read_back") else { return };
    let camera = Camera::open(&vivid.device.path).expect("it opens");
    for (name, value, number) in [
        ("brightness", Value::Number(77), 77),
        ("gain_auto", Value::Switch(false), 0),
        ("menu", Value::from("Menu Item 4"), 4),
        ("bitmask", Value::Number(0x8000_0000), 0x8000_0000),
        ("integer_64_bits", Value::Number(-(1 << 40)), -(1 << 40)),
        ("flip_horizontal", Value::from("on"), 1),
    ] {
        let control = camera.set(name, &value).expect(name);
        assert_eq!(control.value, Some(number), "{name}");
        let read = camera.controls().expect("it is there");
        assert_eq!(Control::find(&read, name).and_then(|control| control.value), Some(number), "{name}");
    }
    let read = camera.controls().expect("it is there");
    assert!(!Control::find(&read, "gain").expect("it has one").inactive, "its automatic mode is off");
    camera.set("button", &Value::Press).expect("it is pressed");
    for (name, value, code, words) in [
        ("brightness", Value::Number(256), "bad-value", "brightness takes 0 to 255, not 256"),
        ("zoom", Value::Number(1), "no-control", "the camera has no control zoom: it has brightness,"),
    ] {
        let error = camera.set(name, &value).expect_err(name);
        assert!(error.code() == code && error.to_string().starts_with(words), "{error}");
    }
    for control in read.iter().filter(|c| ["brightness", "gain_auto", "flip_horizontal"].contains(&&*c.name))
    {
        camera.set(&control.name, &Value::Default).expect("as it was");
    }
}

#[test]
fn the_best_format_is_requested_and_delivered() {
    let Some(vivid) = vivid("the_best_format_is_requested_and_delivered") else { return };
    // It has 1280x720 at 12.5 fps and less, and 640x360 at up to 40 fps.
    for ((width, height), fps, expected) in [
        ((640, 360), 15, "640x360 at 15 fps, encoded"),
        ((1280, 720), 30, "640x360 at 30 fps, encoded"),
        ((1280, 720), 10, "1280x720 at 10 fps, encoded"),
    ] {
        let watched = open(vivid.settings(width, height, fps)).expect("a pipeline");
        watched.start(H264);
        let info = capture(&watched);
        assert_eq!((info.card.as_str(), info.choice.way), ("vivid", Way::Encode));
        assert!(info.choice.to_string().ends_with(expected), "{info}");
        assert!(info.steers_bitrate && info.gives_key_frames);
        let sps = Sps::find(&watched.key_frame(Codec::H264).data).expect("parameter sets");
        assert_eq!((sps.width, sps.height), info.choice.size);
        watched.stop();
        watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
    }
}

/// How many handles of the video device this process has.
fn handles() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs").flatten();
    let open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    open.filter(|path| path.to_string_lossy().starts_with("/dev/video")).count()
}

/// GStreamer 1.22 itself leaks the handle of a buffer pool each time that v4l2src has played, even alone in a pipeline.
/// The device is free nevertheless, and none of the handles is ours.
#[test]
fn a_stopped_camera_is_free_except_for_gstreamers_handles() {
    let Some(vivid) = vivid("a_stopped_camera_is_free_except_for_gstreamers_handles") else { return };
    let before = handles();
    let watched = open(vivid.settings(320, 180, 10)).expect("a pipeline");
    let mut plays = 1; // the check at the start
    for _ in 0..2 {
        watched.start(H264);
        watched.key_frame(Codec::H264);
        watched.stop();
        watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
        plays += 1;
        assert!(handles() <= before + plays, "{} handles after {plays} plays", handles() - before);
        drop(Other::take(&vivid));
        plays += 1;
    }
}

#[test]
fn every_frame_arrives_once_and_in_time() {
    let Some(vivid) = vivid("every_frame_arrives_once_and_in_time") else { return };
    let watched = open(vivid.settings(320, 180, 10)).expect("a pipeline");
    watched.start(H264);
    let frames = watched.frames(Codec::H264, 31);
    let steps: Vec<Duration> = frames.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
    let late = steps.iter().filter(|step| step.abs_diff(Duration::from_millis(100)).as_millis() > 50).count();
    let whole = frames[30].pts - frames[0].pts;
    assert!(whole.abs_diff(Duration::from_secs(3)).as_millis() < 100, "30 frames took {whole:?}: {steps:?}");
    assert!(late <= 2, "{steps:?}");
}

#[test]
fn controls_are_set_while_it_streams_and_reported_as_events() {
    let Some(vivid) = vivid("controls_are_set_while_it_streams_and_reported_as_events") else { return };
    let watched = open(vivid.settings(320, 180, 10)).expect("a pipeline");
    assert!(Control::find(&Produce::controls(&watched.pipeline), "brightness").is_some());
    watched.start(H264);
    watched.key_frame(Codec::H264);
    let answer = |wanted: RequestId| {
        watched.until("the answer", |event| match event {
            SourceEvent::ControlSet { request, result, .. } if *request == wanted => Some(result.clone()),
            _ => None,
        })
    };
    set_control(&watched, 1, "brightness", 200);
    let set = answer(RequestId(1));
    assert_eq!(set.map(|control| control.value), Ok(Some(200)));
    set_control(&watched, 2, "brightness", 999);
    let refused = answer(RequestId(2));
    assert_eq!(
        refused.map_err(|error| error.to_string()).err().as_deref(),
        Some("brightness takes 0 to 255, not 999")
    );
    let request = RequestId(3);
    watched.command(Command::ReadControls { request });
    let read = watched.until("the controls", |event| match event {
        SourceEvent::ControlsRead { request: of, result } if *of == request => Some(result.clone()),
        _ => None,
    });
    let read = read.expect("they are read");
    assert_eq!(Control::find(&read, "brightness").and_then(|control| control.value), Some(200));
    watched.frame(Codec::H264);
    vivid.set("brightness", Value::Default);
}

/// Another program that uses the camera.
struct Other(gstreamer::Pipeline);

impl Other {
    fn take(vivid: &Vivid) -> Other {
        gstreamer::init().expect("GStreamer");
        let launch = format!("v4l2src device={} ! fakesink", vivid.path());
        let pipeline = gstreamer::parse::launch(&launch).expect("elements").downcast::<gstreamer::Pipeline>();
        let pipeline = pipeline.expect("a pipeline");
        pipeline.set_state(gstreamer::State::Playing).expect("it plays");
        let (state, ..) = pipeline.state(gstreamer::ClockTime::from_seconds(30));
        state.expect("it has the camera");
        Other(pipeline)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        _ = self.0.set_state(gstreamer::State::Null);
    }
}

#[test]
fn a_busy_camera_is_reported_and_opened_once_it_is_free() {
    let Some(vivid) = vivid("a_busy_camera_is_reported_and_opened_once_it_is_free") else { return };
    let settings = vivid.settings(320, 180, 10);
    let watched = open(settings.clone()).expect("a pipeline");
    let other = Other::take(&vivid);
    let error = open(settings).err().expect("it is busy");
    assert_eq!(error.code(), "camera-busy", "{error}");
    watched.start(H264);
    let error = watched.failure();
    assert!(error.code() == "camera-busy" && error.to_string().contains("fuser"), "{error}");
    drop(other);
    assert_eq!(capture(&watched).choice.size, (320, 180), "being busy says nothing about its formats");
    watched.key_frame(Codec::H264);
}

#[test]
fn a_frame_rate_below_the_negotiated_one_is_reported() {
    let Some(vivid) = vivid("a_frame_rate_below_the_negotiated_one_is_reported") else { return };
    let watched = open(vivid.settings(320, 180, 10)).expect("a pipeline");
    watched.start(H264);
    watched.key_frame(Codec::H264);
    vivid.set("percentage_of_dropped_buffers", 60);
    let words = trouble(&watched, "too-slow");
    vivid.set("percentage_of_dropped_buffers", 0);
    assert!(words.contains("negotiated 10 fps"), "{words}");
    watched.frame(Codec::H264);
}

#[test]
fn a_replugged_camera_returns_under_another_number_with_its_controls() {
    let name = "a_replugged_camera_returns_under_another_number_with_its_controls";
    let Some(vivid) = vivid(name) else { return };
    let driver = Path::new("/sys/bus/platform/drivers/vivid");
    let plug = |file: &str| std::fs::write(driver.join(file), "vivid.0");
    if let Err(error) = std::fs::OpenOptions::new().write(true).open(driver.join("unbind")) {
        println!("SKIPPED {name}: {} cannot be written: {error}", driver.display());
        return;
    }
    let watched = open(vivid.settings(320, 180, 10)).expect("a pipeline");
    set_control(&watched, 4, "brightness", 99);
    watched.start(H264);
    let before = watched.key_frame(Codec::H264);
    plug("unbind").expect("it is unplugged");
    let error = watched.failure();
    assert_eq!(error.code(), "no-camera", "{error}");
    assert!(!vivid.device.path.exists());
    // GStreamer 1.22 keeps a handle of the unplugged device, so the old number is not free.
    plug("bind").expect("it is plugged in again");
    let again = capture(&watched).path;
    assert_ne!(again, vivid.device.path);
    let after = watched.key_frame(Codec::H264);
    assert!(after.pts > before.pts, "timestamps continue");
    let camera = Camera::open(&again).expect("its new number");
    let read = camera.controls().expect("it is there");
    assert_eq!(Control::find(&read, "brightness").and_then(|control| control.value), Some(99));
    watched.stop();
    watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
}

#[cfg(feature = "camera-gst")]
mod facade {
    use std::sync::mpsc::channel;

    use futures_lite::StreamExt;
    use serde_json::{Value as Json, json};
    use symple::Client;
    use symple::camera::{self, Config, Event, Serve, Signalling};
    use symple::client;
    use symple::net::ClientEvent;
    use symple::proto::Status;

    use super::*;

    /// Sends a command to the camera; returns the status and data of its reply.
    async fn ask(peer: &Client, to: &str, action: &str, data: Json) -> (Status, Json) {
        let mut events = peer.events(64);
        let asked = peer.command(to, "camera:control", action, &data).expect("online");
        loop {
            match events.next().await {
                Some(ClientEvent::Event { event: client::Event::Reply { id, result } }) if id == asked => {
                    let reply = result.expect("a reply");
                    return (reply.status().expect("a status"), reply.data().expect("data"));
                }
                Some(_) => {}
                None => panic!("the peer ended"),
            }
        }
    }

    #[test]
    fn a_peer_sets_controls_by_command_and_the_program_is_told() {
        let name = "a_peer_sets_controls_by_command_and_the_program_is_told";
        let Some(vivid) = vivid(name) else { return };
        let serve = Serve { listen: vec!["127.0.0.1:0".parse().expect("literal")], ..Serve::default() };
        let config =
            Config { signalling: Signalling::Serve(serve), ..Config::new(vivid.settings(320, 180, 10)) };
        let camera = camera::Camera::new(config).expect("it starts");
        assert!(Control::find(&camera.controls(), "brightness").is_some());
        let (tell, told) = channel();
        camera.on(move |event| _ = tell.send(event));
        let peer = camera
            .server()
            .expect("its own")
            .peer(client::Config { rooms: vec!["public".into()], ..client::Config::new("bob") });
        let mut events = peer.events(64);
        let talk = async {
            let to = loop {
                if let Some(ClientEvent::Event { event: client::Event::PeerAdded { peer: found } }) =
                    events.next().await
                {
                    assert_eq!(found.extra.get("controls"), Some(&json!(true)));
                    break found.address();
                }
            };
            let to = to.as_str();
            let (status, data) = ask(&peer, to, "list", Json::Null).await;
            let names = data["controls"].as_array().expect("a list").iter().map(|c| &c["name"]);
            assert!(status == Status::OK && names.into_iter().any(|name| name == "brightness"), "{data}");
            let (status, data) = ask(&peer, to, "set", json!({ "name": "brightness", "value": 55 })).await;
            assert_eq!((status, &data["control"]["value"]), (Status::OK, &json!(55)));
            let (status, data) = ask(&peer, to, "set", json!({ "name": "brightness", "value": 300 })).await;
            assert_eq!(status, Status::BAD_REQUEST);
            assert_eq!(data, json!({ "code": "bad-value", "message": "brightness takes 0 to 255, not 300" }));
            let (status, data) = ask(&peer, to, "reset", json!({ "name": "brightness" })).await;
            assert_eq!((status, &data["control"]["value"]), (Status::OK, &json!(128)));
            camera.shutdown();
            peer.close();
        };
        let running = futures_lite::future::zip(futures_lite::future::zip(camera.run(), peer.run()), talk);
        smol::block_on(running);
        let set = told.try_iter().filter_map(|event| match event {
            Event::ControlSet { name, result, .. } => {
                Some((name, result.ok().and_then(|control| control.value)))
            }
            _ => None,
        });
        let set: Vec<_> = set.collect();
        let expected = [
            ("brightness".to_owned(), Some(55)),
            ("brightness".into(), None),
            ("brightness".into(), Some(128)),
        ];
        assert_eq!(set, expected);
    }
}
