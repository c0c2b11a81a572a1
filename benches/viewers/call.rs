//! How viewers call: a camera over Symple, each with a client of this crate; the bound by lines on its standard input.

use std::io::Write;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use serde_json::json;
use smol::Executor;
use symple::Client;
use symple::call::body::{Candidate, Description};
use symple::client::{Config, Event};
use symple::proto::{Draft, Message, MessageKind};

use crate::clock::{self, Nanos};
use crate::wake::Wake;

/// The defaults of a camera.
const CAMERA: &str = "camera";
const ROOM: &str = "public";

/// What a viewer learns.
pub(crate) enum News {
    /// The call begins.
    Calling(Nanos),
    Answer(String),
    Candidate(String),
}

/// Where news of all viewers arrive, with the number of each.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) news: Sender<(usize, News)>,
    pub(crate) wake: Wake,
}

impl Desk {
    pub(crate) fn put(&self, viewer: usize, news: News) {
        // Nobody reads any more when a case is over.
        _ = self.news.send((viewer, news));
        self.wake.wake();
    }
}

/// One line of signalling on a pipe.
pub(crate) fn line(what: &str, viewer: usize, sdp: &str) -> String {
    format!("{what} {viewer} {}", json!(sdp))
}

pub(crate) fn parse(what: &str, line: &str) -> Option<(usize, String)> {
    let (viewer, sdp) = line.strip_prefix(what)?.trim_start().split_once(' ')?;
    Some((viewer.parse().ok()?, serde_json::from_str(sdp).ok()?))
}

pub(crate) enum Calls {
    Symple {
        url: String,
        clients: Vec<Client>,
        executor: Arc<Executor<'static>>,
        _end: smol::channel::Sender<()>,
    },
    Pipe(ChildStdin),
}

impl Calls {
    /// A thread runs the clients.
    pub(crate) fn symple(url: String) -> Calls {
        let executor = Arc::new(Executor::new());
        let (end, ended) = smol::channel::bounded::<()>(1);
        let running = executor.clone();
        thread::spawn(move || smol::block_on(running.run(ended.recv())));
        Calls::Symple { url, clients: Vec::new(), executor, _end: end }
    }

    pub(crate) fn call(&mut self, viewer: usize, offer: String, desk: &Desk) {
        let desk = desk.clone();
        match self {
            Calls::Pipe(pipe) => {
                desk.put(viewer, News::Calling(clock::now()));
                writeln!(pipe, "{}", line("offer", viewer, &offer)).expect("the subject reads");
            }
            Calls::Symple { url, clients, executor, .. } => {
                let config = Config { rooms: vec![ROOM.into()], ..Config::new(format!("viewer-{viewer}")) };
                let client = Client::new(url, config).expect("a URL of the subject");
                let mut caller = Caller { viewer, offer: Some(offer), client: client.clone(), desk };
                client.on(move |event| caller.handle(event));
                executor.spawn(client.run()).detach();
                clients.push(client);
            }
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Calls::Symple { clients, .. } = self {
            clients.iter().for_each(Client::close);
        }
    }
}

/// One call to the camera over Symple.
struct Caller {
    viewer: usize,
    /// Taken when the call begins.
    offer: Option<String>,
    client: Client,
    desk: Desk,
}

impl Caller {
    fn handle(&mut self, event: Event) {
        match event {
            Event::PeerAdded { peer } if peer.user == CAMERA => {
                self.desk.put(self.viewer, News::Calling(clock::now()));
                self.send("call:init", &json!({}));
            }
            Event::Message { message } if *message.kind() == MessageKind::Message => {
                self.handle_message(&message)
            }
            Event::Ended { .. } => {}
            Event::Offline { reason, .. } => eprintln!("viewer {} is offline: {reason}", self.viewer),
            _ => {}
        }
    }

    fn handle_message(&mut self, message: &Message) {
        match message.subtype() {
            Some("call:accept") => {
                if let Some(sdp) = self.offer.take() {
                    self.send("call:offer", &json!({ "type": "offer", "sdp": sdp }));
                }
            }
            Some("call:answer") => {
                let answer: Description = message.data().expect("a description");
                self.desk.put(self.viewer, News::Answer(answer.sdp));
            }
            Some("call:candidate") => {
                let candidate: Candidate = message.data().expect("a candidate");
                self.desk.put(self.viewer, News::Candidate(candidate.candidate));
            }
            Some("call:reject" | "call:hangup") => {
                eprintln!("the call of viewer {} ended: {}", self.viewer, message.as_str());
            }
            _ => {}
        }
    }

    fn send(&self, subtype: &str, data: &serde_json::Value) {
        let draft = Draft::new(MessageKind::Message).to(CAMERA).subtype(subtype).data(data);
        if let Err(e) = self.client.send(draft) {
            eprintln!("viewer {} cannot send {subtype}: {e}", self.viewer);
        }
    }
}
