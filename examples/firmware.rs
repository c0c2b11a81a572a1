//! A firmware: two cameras on one server and one port, with its own admission rule, buttons, LED and events.
//!
//! Run `cargo run --example firmware --features camera-gst,web`, then open the printed address, which includes the
//! token. Lines on standard input are its buttons: `hangup`, `motion`, `night`, `day`, `end`.

use std::error::Error;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use futures_lite::future::{or, pending, zip};
use serde_json::json;
use symple::Server;
use symple::call::body::EndReason;
use symple::camera::{AnswerPolicy, Camera, CameraSource, Config, Event, Signalling};
use symple::media::source::gst::CaptureSettings;
use symple::net::http::{BodyError, Method, Request, Response};
use symple::net::site::{Guard, Site};
use symple::net::{ServerConfig, ServerEvent, block_on};
use symple::proto::{Status, Token};
use symple::server::Admission;

const TOKEN: &str = "wonderland";
const ROOM: &str = "public";
const CAMERAS: [&str; 2] = ["door", "yard"];

/// Two cameras and their server.
#[derive(Clone)]
pub(crate) struct Firmware {
    /// The server of both, with the firmware's own rules and routes.
    pub server: Server,
    /// The camera at the door.
    pub door: Camera,
    /// The camera in the yard.
    pub yard: Camera,
}

impl Firmware {
    /// Opens the server's port and both sources.
    pub(crate) fn new(listen: SocketAddr) -> Result<Firmware, Box<dyn Error>> {
        let mut config = ServerConfig::listen([listen]);
        config.hub.authenticate = true;
        config.hub.rooms = vec![ROOM.into()];
        config.hub.reserved = CAMERAS.map(String::from).to_vec();
        let site = Site::new(&[], Some(ROOM), true).watchers(Guard::Token { token: Token::new(TOKEN) });
        // Its own routes, next to the page and the API.
        let doors: Arc<OnceLock<Camera>> = Arc::default();
        let door_at_route = doors.clone();
        let config = config
            .http(move |request| site.answer(request))
            .route(Method::Put, "/api/led", |mut request: Request| async move {
                let agent = request.header("user-agent").unwrap_or("somebody").to_owned();
                let on: bool = request.json().await?;
                Ok::<_, BodyError>(Response::json(json!({ "led": on, "by": agent }).to_string()))
            })
            .route(Method::Get, "/api/log", |_: Request| async {
                Response::stream("text/plain", |mut body| async move {
                    for number in 0..3 {
                        body.send(format!("line {number}\n")).await?;
                    }
                    Ok(())
                })
            })
            .route(Method::Get, "/door.jpg", move |request: Request| {
                let door = door_at_route.get().filter(|_| request.bears(&Token::new(TOKEN))).cloned();
                async move {
                    match door {
                        Some(door) => door.snapshot_response().await,
                        None => Response::unauthorized(&request, "This needs the token.\n"),
                    }
                }
            });
        let server = Server::bind(config)?;
        server.on(|event| {
            if let ServerEvent::Authenticate { request } = event {
                admit(&request);
            }
        });
        let [door, yard] = CAMERAS.map(|user| {
            // Each has its own source, such as `source: "/dev/video0".parse()?` for a V4L2 camera.
            let capture = CaptureSettings { width: 320, height: 180, ..CaptureSettings::default() };
            let signalling = Signalling::Within(server.clone());
            let config =
                Config { user: user.into(), signalling, answer: AnswerPolicy::Ask, ..Config::new(capture) };
            Camera::new(config).map(watched)
        });
        let (door, yard) = (door?, yard?);
        _ = doors.set(door.clone());
        Ok(Firmware { server, door, yard })
    }

    /// Runs until [`Firmware::end`].
    pub(crate) async fn run(&self) {
        let cameras = async {
            zip(self.door.run(), self.yard.run()).await;
            self.server.shutdown();
        };
        zip(cameras, self.server.run()).await;
    }

    /// Handles a button.
    pub(crate) fn press(&self, button: &str) {
        for camera in [&self.door, &self.yard] {
            match button {
                "hangup" => println!("{} calls ended", camera.hang_up_all(EndReason::Ended)),
                "motion" => _ = camera.notify_viewers("motion", &json!({ "where": "left" })),
                "night" => limit(camera, 150_000, 15),
                "day" => limit(camera, 4_000_000, 30),
                "end" => camera.shutdown(),
                other => println!("no such button: {other:?}"),
            }
        }
    }
}

/// The admission rule: whoever knows the token, under any valid name.
fn admit(request: &symple::net::AuthRequest) {
    let knows = request.auth.token.as_ref().is_some_and(|token| token.is(TOKEN));
    match knows && request.auth.user != "mallory" {
        true => request.admit(Admission::default()),
        false => request.refuse(Status::UNAUTHORIZED, "Authentication failed: this is not for you"),
    }
}

/// Handles viewers, commands and the LED.
fn watched(camera: Camera) -> Camera {
    let mut degrees = 0;
    camera.on_command("pan", move |command| {
        degrees += if command.action() == "left" { -5 } else { 5 };
        if let Err(e) = command.reply(Status::OK, &json!({ "degrees": degrees })) {
            println!("cannot reply to the page: {e}");
        }
    });
    let handle = camera.clone();
    camera.on(move |event| match event {
        // Accept or reject each: a visitor's page asks for less than a guard's may.
        Event::Incoming { id, peer, .. } if peer.user() == "guest" => {
            _ = handle.reject(id, EndReason::Declined)
        }
        Event::Incoming { id, .. } => _ = handle.accept(id),
        Event::Viewers { count } => println!("LED {}", if count > 0 { "on" } else { "off" }),
        Event::Media { error } => println!("source: {error}"),
        _ => {}
    });
    camera
}

/// Lowers or raises bitrate and frame rate while the camera runs; size, token and viewers change likewise.
fn limit(camera: &Camera, bps: u32, fps: u32) {
    let change = |config: &mut Config| {
        config.bitrate.max = bps;
        if let CameraSource::Capture(capture) = &mut config.source {
            capture.fps = fps;
        }
    };
    if let Err(e) = camera.reconfigure(change) {
        println!("nothing changed: {e}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4500".into());
    // SIGTERM, as systemd sends it, and Ctrl+C are the same as the button `end`.
    let mut signals = Signals::new([Signal::Term, Signal::Int])?;
    let firmware = Firmware::new(listen.parse()?)?;
    println!("open http://{}/#token={TOKEN}", firmware.server.addresses()[0]);
    let buttons = firmware.clone();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| buttons.press(&line));
    });
    let ended = firmware.clone();
    let asked = async {
        while signals.next().await.is_some() {
            ended.press("end");
        }
        pending().await
    };
    block_on(or(firmware.run(), asked));
    Ok(())
}
