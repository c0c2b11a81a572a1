//! `symple watch --receive` and `--play`: calls a peer for its video and audio.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{or, pending, zip};
use serde_json::json;
use smol::Timer;
use smol::channel::{Receiver, bounded};
use symple::Client;
use symple::call::body::{End, EndReason};
use symple::calling::{Calling, Conversation, FrameEvent};
use symple::client::Event;
#[cfg(feature = "gst")]
use symple::media::playback;
use symple::media::{Codec, Kind};
use symple::net::{ClientEvent, Events};
use symple::proto::Peer;

use crate::exit::{self, Failure, FailureKind};
use crate::signals::{self, SignalRequest};

/// How long after our arrival a peer may take to be seen: longer than any server takes to list the others.
const APPEARS: Duration = Duration::from_secs(5);
/// How long the goodbyes may take. Closing the outputs takes up to 0.9 s more if a device hangs.
const GOODBYE: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_secs(1);

/// Which peer to call, and what becomes of its frames.
pub(super) struct Wanted {
    /// `user` or `user|id`.
    pub peer: String,
    pub then: Then,
}

pub(super) enum Then {
    /// Count them, and write its H.264 to a file.
    Count { file: Option<PathBuf>, json: bool },
    #[cfg(feature = "gst")]
    Play(playback::Settings),
}

/// Runs until the call ends, or until a signal.
pub(super) fn run(client: &Client, wanted: Wanted) -> Result<(), Failure> {
    let calling =
        Calling::new(client).map_err(Failure::of(FailureKind::Unavailable, "UDP port for media"))?;
    let mut events = client.events(256);
    let (stop, stopped) = bounded(1);
    let mut result = Ok(());
    let work = async {
        let acting = async {
            let found = find(client, &mut events, &wanted.peer);
            let Some(address) = or(found, stop_of(&stopped)).await? else { return Ok(()) };
            let kinds = [Kind::Video, Kind::Audio];
            let mut watch =
                calling.watch(&address, kinds).map_err(Failure::of(FailureKind::Unavailable, &address))?;
            match wanted.then {
                Then::Count { file, json } => count(&mut watch, &address, file, json, &stopped).await,
                #[cfg(feature = "gst")]
                Then::Play(settings) => super::play::play(&mut watch, &address, settings, &stopped).await,
            }
        };
        let mut over = false;
        let mut drivers = Box::pin(zip(client.run(), calling.run()));
        let driving = async {
            drivers.as_mut().await;
            over = true;
            pending().await
        };
        result = or(acting, driving).await;
        calling.shutdown();
        client.close();
        if !over {
            let late = async { _ = Timer::after(GOODBYE).await };
            or(async { _ = drivers.await }, late).await;
        }
    };
    let tell = |request| {
        if request == SignalRequest::End {
            _ = stop.try_send(());
        }
    };
    signals::run(work, signals::listen()?, tell, async {});
    result
}

/// Nothing, once a signal came.
async fn stop_of<T>(stopped: &Receiver<()>) -> Result<Option<T>, Failure> {
    _ = stopped.recv().await;
    Ok(None)
}

/// The address of the peer, once it is online.
async fn find(
    client: &Client,
    events: &mut Events<ClientEvent>,
    name: &str,
) -> Result<Option<String>, Failure> {
    let mut late = Timer::never();
    loop {
        let next = async { Some(events.next().await) };
        let next = or(next, async {
            (&mut late).await;
            None
        });
        match next.await {
            None => {
                let words = format!("no peer {name} is online (`symple watch` lists those that are)");
                return Err(Failure::new(FailureKind::No, words));
            }
            Some(None) => return Err(Failure::new(FailureKind::Unavailable, "the client has ended")),
            Some(Some(ClientEvent::Event { event })) => match event {
                Event::Ended { why } => return Err(super::failure(&why)),
                Event::Offline { .. } => super::words_of(&event).iter().for_each(|words| note(words)),
                Event::Online { .. } => late = Timer::after(APPEARS),
                _ => {}
            },
            Some(Some(_)) => {}
        }
        let is_it = |peer: &Peer| peer.user == name || peer.address().as_str() == name;
        if let Some(peer) = client.roster().into_iter().find(is_it) {
            return Ok(Some(peer.address().as_str().to_owned()));
        }
    }
}

/// Tells something beside the output.
pub(super) fn note(words: &str) {
    // If stderr is closed, nobody would read it.
    _ = writeln!(io::stderr(), "symple: {words}");
}

/// How the program exits after a call.
pub(super) fn ended(peer: &str, end: &End, received: bool) -> Result<(), Failure> {
    let words = format!("the call with {peer} has ended: {end}");
    let kind = match end.reason {
        EndReason::Ended | EndReason::Shutdown | EndReason::SourceEnded if received => {
            note(&words);
            return Ok(());
        }
        EndReason::Declined | EndReason::NotAllowed => FailureKind::NoPermission,
        _ => FailureKind::Unavailable,
    };
    Err(Failure::new(kind, words))
}

#[derive(Default)]
struct Counts {
    video: u64,
    audio: u64,
    bytes: u64,
    lost: u64,
}

impl Counts {
    fn line(&self, json: bool) -> String {
        let Counts { video, audio, bytes, lost } = self;
        match json {
            true => {
                json!({ "event": "received", "video": video, "audio": audio, "bytes": bytes, "lost": lost })
                    .to_string()
            }
            false => format!("{video} frames of video, {audio} packets of audio, {bytes} bytes, {lost} lost"),
        }
    }
}

enum Next {
    Frame(Option<FrameEvent>),
    Line,
    Stop,
}

async fn count(
    watch: &mut Conversation,
    peer: &str,
    file: Option<PathBuf>,
    json: bool,
    stopped: &Receiver<()>,
) -> Result<(), Failure> {
    let cannot = |path: &PathBuf| Failure::of(FailureKind::CantCreate, path.display().to_string());
    let mut file = match file {
        Some(path) => Some((File::create(&path).map_err(cannot(&path))?, path)),
        None => None,
    };
    let mut counts = Counts::default();
    let mut lines = Timer::interval(EVERY);
    loop {
        let frame = async { Next::Frame(watch.next().await) };
        let line = async {
            lines.next().await;
            Next::Line
        };
        let stop = async {
            _ = stopped.recv().await;
            Next::Stop
        };
        match or(stop, or(line, frame)).await {
            Next::Stop => break,
            Next::Line => {
                if !exit::line(&counts.line(json))? {
                    return Ok(());
                }
            }
            Next::Frame(None) => break,
            Next::Frame(Some(FrameEvent::Frame { frame })) => {
                *(if frame.codec.is_video() { &mut counts.video } else { &mut counts.audio }) += 1;
                counts.bytes += frame.data.len() as u64;
                if let Some((file, path)) = file.as_mut().filter(|_| frame.codec == Codec::H264) {
                    file.write_all(&frame.data).map_err(cannot(path))?;
                }
            }
            Next::Frame(Some(FrameEvent::Lost { count, .. })) => counts.lost += count,
            Next::Frame(Some(_)) => {}
        }
    }
    exit::line(&counts.line(json))?;
    let received = counts.video + counts.audio > 0;
    watch.end().map_or(Ok(()), |end| ended(peer, &end, received))
}
