//! `symple watch`: what a peer sees, one line per event; or what another peer sends, by a call.

#[cfg(all(feature = "calls", feature = "gst"))]
mod play;
#[cfg(feature = "calls")]
mod receive;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use symple::Client;
use symple::client::{Config, End, Event};
#[cfg(all(feature = "calls", feature = "gst"))]
use symple::media::playback;
use symple::net::Roots;
use symple::proto::{Address, DEFAULT_PORT, Object, Peer, Token, valid_user};

use crate::args::Takes;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::Setting;
use crate::signals::{self, SignalRequest};
use crate::value::{count, list, object, parsed, secret, set, switch, text};
use crate::{files, help, logger};

struct Settings {
    user: String,
    name: Option<String>,
    token: Option<Token>,
    rooms: Vec<String>,
    data: Object,
    roots: Option<PathBuf>,
    attempts: Option<u32>,
    count: Option<u64>,
    json: bool,
    #[cfg(feature = "calls")]
    receive: Option<String>,
    #[cfg(feature = "calls")]
    file: Option<PathBuf>,
    #[cfg(all(feature = "calls", feature = "gst"))]
    play: Option<String>,
    #[cfg(all(feature = "calls", feature = "gst"))]
    outputs: playback::Settings,
    log: log::LevelFilter,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            user: "watch".into(),
            name: None,
            token: None,
            rooms: Vec::new(),
            data: Object::new(),
            roots: None,
            attempts: None,
            count: None,
            json: false,
            #[cfg(feature = "calls")]
            receive: None,
            #[cfg(feature = "calls")]
            file: None,
            #[cfg(all(feature = "calls", feature = "gst"))]
            play: None,
            #[cfg(all(feature = "calls", feature = "gst"))]
            outputs: playback::Settings::default(),
            log: log::LevelFilter::Error,
        }
    }
}

type S = Settings;

const TABLE: &[Setting<Settings>] = &[
    Setting::new("user", "NAME", "The user to connect as. Default: watch", |s: &mut S, v| {
        set(&mut s.user, text(v))?;
        if valid_user(&s.user) {
            Ok(())
        } else {
            Err("must be 1 to 128 bytes without | or control characters".into())
        }
    }),
    Setting::new("name", "TEXT", "The display name. Default: the user", |s: &mut S, v| {
        set(&mut s.name, text(v).map(Some))
    }),
    Setting::new(
        "token",
        "SECRET",
        "The token, if the server requires one; safer as an environment variable",
        |s: &mut S, v| set(&mut s.token, secret(v).map(Some)),
    )
    .secret(),
    Setting::new(
        "rooms",
        "NAME",
        "Rooms to join; repeat the flag or separate names with commas. Default: public",
        |s: &mut S, v| set(&mut s.rooms, list(v)),
    )
    .list(),
    Setting::new("data", "JSON", "Data about this peer for others, an object", |s: &mut S, v| {
        set(&mut s.data, object(v))
    }),
    Setting::new(
        "roots",
        "FILE",
        "CA certificates to trust for wss, in PEM, instead of the system's",
        |s: &mut S, v| set(&mut s.roots, text(v).map(|file| Some(file.into()))),
    ),
    Setting::new("json", "", "Print JSON, one object per line, with messages as received", |s: &mut S, v| {
        set(&mut s.json, switch(v))
    }),
    Setting::new("count", "N", "Exit after this many lines", |s: &mut S, v| {
        set(&mut s.count, count(v, 1).map(Some))
    }),
    Setting::new(
        "attempts",
        "N",
        "Give up after this many failed attempts in a row. Default: never",
        |s: &mut S, v| set(&mut s.attempts, count(v, 1).map(|n| u32::try_from(n).ok())),
    ),
    #[cfg(all(feature = "calls", feature = "gst"))]
    Setting::new("play", "NAME", "Call this peer, and play its video and audio", |s: &mut S, v| {
        set(&mut s.play, text(v).map(Some))
    }),
    #[cfg(all(feature = "calls", feature = "gst"))]
    Setting::new(
        "video_output",
        "OUTPUT",
        "Where to show video: window (the default), none, a device such as /dev/video10, or elements of GStreamer",
        |s: &mut S, v| set(&mut s.outputs.video, parsed(v)),
    ),
    #[cfg(all(feature = "calls", feature = "gst"))]
    Setting::new(
        "audio_output",
        "OUTPUT",
        "Where to play audio: default, none, a name that `symple devices` lists, or elements of GStreamer",
        |s: &mut S, v| set(&mut s.outputs.audio, parsed(v)),
    ),
    #[cfg(feature = "calls")]
    Setting::new(
        "receive",
        "NAME",
        "Call this peer, and print once a second what arrived of its video and audio",
        |s: &mut S, v| set(&mut s.receive, text(v).map(Some)),
    ),
    #[cfg(feature = "calls")]
    Setting::new("file", "FILE", "With --receive: write the H.264 to this file", |s: &mut S, v| {
        set(&mut s.file, text(v).map(|file| Some(file.into())))
    }),
    Setting::new("log", "LEVEL", "off, error (the default), warn, info, debug or trace", |s: &mut S, v| {
        set(&mut s.log, parsed(v).map_err(|_| "must be off, error, warn, info, debug or trace".into()))
    }),
];

const INTRODUCTION: &str = "
symple watch: print what a peer sees

Usage: symple watch [URL] [FLAGS]

It connects as a peer and prints who is online, who joins and leaves, and every message it gets:
  symple watch                                  a server on this machine, in the room public
  symple watch wss://chat.example --rooms team  another server and room
  symple watch --json | jq .                    for scripts
  symple watch --attempts 1 --count 1           exit code 0 if the server is up

Every flag is also an environment variable: --token is SYMPLE_TOKEN.
";

#[cfg(all(feature = "calls", feature = "gst"))]
const CALLS: &str = "
With --play or --receive it calls a peer instead, by its user or its address user|id:
  symple watch --play camera                    in a window and by the speaker
  symple watch --receive camera --file a.h264   counts, and a file that players understand
Ctrl-C hangs up.
";
#[cfg(all(feature = "calls", not(feature = "gst")))]
const CALLS: &str = "
With --receive it calls a peer instead, by its user or its address user|id:
  symple watch --receive camera --file a.h264   counts, and a file that players understand
Ctrl-C hangs up.
";
#[cfg(not(feature = "calls"))]
const CALLS: &str = "";

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let takes = Takes { config: false, check: false, words: 1 };
    let Some(loaded) = files::load("watch", TABLE, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, &[("Flags", TABLE)], CALLS));
    };
    logger::start(loaded.settings.log);
    loaded.warn_of_open_secrets(TABLE);
    let settings = loaded.settings;
    #[cfg(feature = "calls")]
    let wanted = wanted(&settings)?;
    let local = format!("ws://127.0.0.1:{DEFAULT_PORT}");
    let url = loaded.line.words.first().unwrap_or(&local);
    let rooms = if settings.rooms.is_empty() { vec!["public".into()] } else { settings.rooms };
    let config = Config {
        name: settings.name,
        token: settings.token,
        rooms,
        data: settings.data,
        max_attempts: settings.attempts,
        ..Config::new(settings.user)
    };
    let client = Client::new(url, config).map_err(Failure::of(FailureKind::Usage, url))?;
    if let Some(file) = settings.roots {
        let pem = std::fs::read(&file).map_err(Failure::of(FailureKind::NoInput, file.display()))?;
        client.trust(Roots::Pem(pem));
    }
    #[cfg(feature = "calls")]
    if let Some(wanted) = wanted {
        return receive::run(&client, wanted);
    }
    watch(&client, settings.json, settings.count)
}

/// Whom to call, if that is wanted.
#[cfg(feature = "calls")]
fn wanted(settings: &Settings) -> Result<Option<receive::Wanted>, Failure> {
    let usage = |words: &str| Err(Failure::new(FailureKind::Usage, words));
    if settings.file.is_some() && settings.receive.is_none() {
        return usage("--file needs --receive");
    }
    #[cfg(feature = "gst")]
    if let Some(peer) = settings.play.clone() {
        let outputs = settings.outputs.clone();
        if settings.receive.is_some() {
            return usage("use either --play or --receive");
        }
        if outputs.video == playback::Video::None && outputs.audio == playback::Audio::None {
            return usage("nothing would be played: both outputs are none");
        }
        return Ok(Some(receive::Wanted { peer, then: receive::Then::Play(outputs) }));
    }
    let then = receive::Then::Count { file: settings.file.clone(), json: settings.json };
    Ok(settings.receive.clone().map(|peer| receive::Wanted { peer, then }))
}

/// The failure for a connection that has ended for good.
fn failure(why: &End) -> Failure {
    match why {
        End::Refused { message } => {
            Failure::new(FailureKind::NoPermission, format!("refused by the server: {message}"))
        }
        why => Failure::new(FailureKind::Unavailable, why.to_string()),
    }
}

fn watch(client: &Client, as_json: bool, count: Option<u64>) -> Result<(), Failure> {
    let end: Arc<Mutex<Result<(), Failure>>> = Arc::new(Mutex::new(Ok(())));
    let (handle, result, mut left) = (client.clone(), end.clone(), count);
    client.on(move |event| {
        let outcome = match &event {
            // Intended: a signal, --count, or stdout was closed.
            Event::Ended { why: End::Closed } => return,
            Event::Ended { why } => Err(failure(why)),
            _ if left == Some(0) => return,
            event => {
                let line = if as_json { json_of(event) } else { words_of(event) };
                let Some(line) = line else { return };
                // Connection errors do not count.
                if !matches!(event, Event::Offline { .. } | Event::Error { .. }) {
                    left = left.map(|n| n - 1);
                }
                let printed = exit::line(&line);
                if left == Some(0) || !matches!(printed, Ok(true)) {
                    handle.close();
                }
                printed.map(drop)
            }
        };
        if outcome.is_err() {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        }
    });
    let closing = client.clone();
    let tell = move |wish| {
        if wish == SignalRequest::End {
            closing.close();
        }
    };
    signals::run(client.run(), signals::listen()?, tell, async {});
    std::mem::replace(&mut *end.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))
}

/// The line for a person; `None` for what the program does by itself. Control characters from others never reach the terminal.
fn words_of(event: &Event) -> Option<String> {
    let words = match event {
        Event::Online { peer, rooms } => format!("online as {}, in {}", who(peer), rooms.join(", ")),
        Event::Offline { reason, retry_in, .. } => {
            format!("offline: {reason}; next attempt in {:.1} s", retry_in.as_secs_f32())
        }
        Event::PeerAdded { peer } => format!("+ {}{}", who(peer), extras(peer)),
        Event::PeerUpdated { peer } => format!("= {}{}", who(peer), extras(peer)),
        Event::PeerRemoved { peer } => format!("- {}", who(peer)),
        Event::Joined { room } => format!("joined {room}"),
        Event::Left { room } => format!("left {room}"),
        Event::RoomRefused { room, status, message } => format!("room {room} refused: {status} {message}"),
        Event::Message { message } | Event::Command { command: message } => {
            format!("{} {}", message.from().map_or("server", Address::as_str), message.as_str())
        }
        Event::Error { status, message } => format!("error {status}: {message}"),
        _ => return None,
    };
    Some(words.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

fn who(peer: &Peer) -> String {
    if peer.name.is_empty() || peer.name == peer.user {
        peer.address().as_str().to_owned()
    } else {
        format!("{} ({})", peer.address().as_str(), peer.name)
    }
}

fn extras(peer: &Peer) -> String {
    if peer.extra.is_empty() { String::new() } else { format!(" {}", Value::from(peer.extra.clone())) }
}

/// The line for a script: messages byte for byte.
fn json_of(event: &Event) -> Option<String> {
    let peer = |what: &str, peer: &Peer| json!({ "event": what, "peer": peer });
    let line = match event {
        Event::Online { peer, rooms } => json!({ "event": "online", "peer": peer, "rooms": rooms }),
        Event::Offline { reason, retry_in, .. } => {
            json!({ "event": "offline", "reason": reason, "retryInMs": retry_in.as_millis() as u64 })
        }
        Event::PeerAdded { peer: known } => peer("added", known),
        Event::PeerUpdated { peer: known } => peer("updated", known),
        Event::PeerRemoved { peer: known } => peer("removed", known),
        Event::Joined { room } => json!({ "event": "joined", "room": room }),
        Event::Left { room } => json!({ "event": "left", "room": room }),
        Event::RoomRefused { room, status, message } => {
            json!({ "event": "refused", "room": room, "status": status.0, "message": message })
        }
        Event::Message { message } | Event::Command { command: message } => {
            return Some(format!(r#"{{"event":"message","message":{}}}"#, message.as_str()));
        }
        Event::Error { status, message } => {
            json!({ "event": "error", "status": status.0, "message": message })
        }
        _ => return None,
    };
    Some(line.to_string())
}
