//! A camera controlled by lines on its standard input: `call USER`, `hangup`. It has controls like those of a V4L2
//! camera, with made-up values. For the tests in browsers and with other WebRTC stacks.
//!
//! CONNECT is the URL of a server elsewhere. Without it, PORT is the port to listen on; LISTEN the address, loopback by default; SIZE such as 320x180.

use std::collections::HashSet;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::json;
use symple::call::body::EndReason;
use symple::camera::{Camera, Config, Connect, Event, Serve, Signalling};
use symple::client;
use symple::media::source::controls::{Control, ControlKind, Value};
use symple::media::source::gst::CaptureSettings;
use symple::proto::{Message, Status};

fn main() {
    // `make` exports its variables even if they are not set: an empty one counts as absent.
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let port = var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let ip = var("LISTEN").map_or(Ipv4Addr::LOCALHOST.into(), |ip| ip.parse().expect("LISTEN is an address"));
    let listen = vec![SocketAddr::new(ip, port)];
    let signalling = match var("CONNECT") {
        Some(url) => Signalling::Connect(Connect::new(url)),
        None => Signalling::Serve(Serve { listen, ..Serve::default() }),
    };
    let data = [("controls".to_owned(), true.into())].into_iter().collect();
    let mut capture = CaptureSettings::default();
    if let Some(size) = var("SIZE") {
        let (width, height) = size.split_once('x').expect("SIZE is like 320x180");
        capture.width = width.parse().expect("SIZE has a width");
        capture.height = height.parse().expect("SIZE has a height");
    }
    let config = Config { signalling, data, ..Config::new(capture) };
    let camera = Camera::new(config).expect("the test pattern starts");
    let mut tuning = Tuning::default();
    let handle = camera.clone();

    let viewers = Arc::new(Mutex::new(HashSet::new()));
    let watching = viewers.clone();
    camera.on(move |event| match event {
        Event::ViewerJoined { viewer } => drop(watching.lock().expect("nobody panics").insert(viewer.id)),
        Event::ViewerLeft { viewer, .. } => drop(watching.lock().expect("nobody panics").remove(&viewer.id)),
        Event::CallFailed { peer: to, end, .. } => println!("the call with {} failed: {end}", to.user()),
        // The pattern is not a V4L2 device, so the program gets these commands.
        Event::Client { event: client::Event::Command { command } } => {
            let (status, data) = tuning.answer(&command);
            _ = handle.client().reply(&command, status, &data);
        }
        _ => {}
    });
    println!("open {}", camera.urls().first().map_or("the page of its server", String::as_str));

    let steered = camera.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let done = match line.split_once(' ') {
                Some(("call", user)) => steered.call(user).map(drop),
                _ if line == "hangup" => {
                    let all: Vec<_> = viewers.lock().expect("nobody panics").iter().copied().collect();
                    all.into_iter().try_for_each(|viewer| steered.hang_up(viewer, EndReason::Ended))
                }
                _ => panic!("neither call nor hangup: {line}"),
            };
            println!("{line}: {done:?}");
        }
    });
    smol::block_on(camera.run());
}

struct Tuning {
    brightness: i64,
    automatic: bool,
    exposure: i64,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { brightness: 128, automatic: true, exposure: 156 }
    }
}

impl Tuning {
    fn controls(&self) -> Vec<Control> {
        let number = |id, label, min, max, value, default| {
            let kind = ControlKind::Integer { min, max, step: 1 };
            with(Control::new(id, label, kind), value, default)
        };
        let items = vec![(1, "Manual Mode".into()), (3, "Aperture Priority Mode".into())];
        let auto = Control::new(0x009a_0901, "Auto Exposure", ControlKind::Menu { items });
        let mut exposure = number(0x009a_0902, "Exposure Time, Absolute", 3, 2047, self.exposure, 250);
        exposure.inactive = self.automatic;
        vec![
            number(0x0098_0900, "Brightness", 0, 255, self.brightness, 128),
            with(auto, if self.automatic { 3 } else { 1 }, 3),
            exposure,
            with(Control::new(0x0098_0914, "Horizontal Flip", ControlKind::Switch), 0, 0),
        ]
    }

    fn answer(&mut self, command: &Message) -> (Status, serde_json::Value) {
        let text = |member| command.get::<String>(member).ok().flatten().unwrap_or_default();
        let data: serde_json::Value = command.data().unwrap_or_default();
        println!("{} {data}", text("action"));
        let name = data["name"].as_str().unwrap_or_default();
        if text("action") != "list" {
            let controls = self.controls();
            let value = match text("action").as_str() {
                "reset" => Ok(Value::Default),
                _ => Value::from_json(&data["value"]),
            };
            let control = Control::find(&controls, name).expect("the page knows what there is");
            match value.and_then(|value| control.number(&value)) {
                // Like a driver that does not accept the last value of its range.
                Ok(255) => {
                    return (
                        Status::BAD_REQUEST,
                        json!({ "code": "bad-value", "message": "not that bright" }),
                    );
                }
                Ok(number) => match name {
                    "brightness" => self.brightness = number,
                    "exposure_auto" => self.automatic = number == 3,
                    "exposure_time" => self.exposure = number,
                    _ => {}
                },
                Err(error) => {
                    return (
                        Status::BAD_REQUEST,
                        json!({ "code": error.code(), "message": error.to_string() }),
                    );
                }
            }
            let control = Control::find(&self.controls(), name).cloned();
            return (Status::OK, json!({ "control": control }));
        }
        (Status::OK, json!({ "controls": self.controls() }))
    }
}

fn with(mut control: Control, value: i64, default: i64) -> Control {
    (control.value, control.default) = (Some(value), default);
    control
}
