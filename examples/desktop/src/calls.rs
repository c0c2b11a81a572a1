//! What the window shows and does, on the side of the server: who is there, what they write, and the call that plays.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_lite::future::{or, zip};
use smol::Task;
use symple::Client;
use symple::calling::Calling;
use symple::client::{Config, Event};
use symple::media::Kind;
use symple::media::playback::{self, Picture, Playback, Settings, Video};
use symple::proto::{self, Address, Draft, Message, Peer, Token};

/// What the window shows.
#[derive(Default)]
pub struct View {
    pub status: String,
    pub cameras: Vec<Peer>,
    pub watched: Option<Address>,
    /// The newest picture, until the window takes it.
    pub picture: Option<Picture>,
    /// What is wrong with the call.
    pub note: String,
    pub lines: Vec<String>,
}

/// The view, and how to have it drawn again.
#[derive(Clone)]
struct Board {
    view: Arc<Mutex<View>>,
    redraw: Arc<dyn Fn() + Send + Sync>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.lock());
        (self.redraw)();
    }

    fn line(&self, line: String) {
        println!("{line}");
        self.change(|view| view.lines.push(line));
    }
}

pub struct Calls {
    client: Client,
    calling: Calling,
    board: Board,
    running: Option<Task<()>>,
    /// Dropping it hangs up.
    playing: Option<Task<()>>,
}

impl Calls {
    /// Connects; `redraw` is called after each change of the view.
    pub fn start(
        url: &str,
        user: String,
        token: Option<String>,
        redraw: impl Fn() + Send + Sync + 'static,
    ) -> Result<Calls, Box<dyn Error + Send + Sync>> {
        let rooms = vec!["public".into()];
        let client = Client::new(url, Config { token: token.map(Token::new), rooms, ..Config::new(user) })?;
        let calling = Calling::new(&client)?;
        let board = Board { view: Arc::default(), redraw: Arc::new(redraw) };
        client.on({
            let (client, board) = (client.clone(), board.clone());
            move |event| handle(&client, &board, &event)
        });
        let drivers = zip(client.run(), calling.run());
        let running = smol::spawn(async { _ = drivers.await });
        Ok(Calls { client, calling, board, running: Some(running), playing: None })
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.board.lock()
    }

    /// Plays a camera instead of the one before it.
    pub fn watch(&mut self, camera: Option<Address>) {
        self.playing = None;
        self.board.change(|view| {
            (view.watched, view.picture) = (camera.clone(), None);
            view.note.clear();
        });
        let (calling, board) = (self.calling.clone(), self.board.clone());
        self.playing = camera.map(|camera| {
            smol::spawn(async move {
                let note = match play(&calling, &board, &camera).await {
                    Ok(note) => note,
                    Err(error) => error.to_string(),
                };
                println!("{note}");
                board.change(|view| (view.note, view.watched) = (note, None));
            })
        });
    }

    /// Writes to a camera.
    pub fn write(&self, camera: &Address, text: String) {
        let (client, board) = (self.client.clone(), self.board.clone());
        let draft = Draft::new(proto::MessageKind::Message).to(camera.as_str()).data(&text);
        let delivering = async move {
            match client.deliver(draft).await {
                Ok(_) => board.line(format!("me: {text}")),
                Err(error) => board.line(format!("not delivered: {text} ({error})")),
            }
        };
        smol::spawn(delivering).detach();
    }

    /// Hangs up and says goodbye.
    pub fn close(&mut self) {
        self.playing = None;
        self.calling.shutdown();
        self.client.close();
        if let Some(running) = self.running.take() {
            let late = async { _ = smol::Timer::after(Duration::from_millis(500)).await };
            smol::block_on(or(running, late));
        }
    }
}

/// Plays until the call ends, and returns why it did.
async fn play(
    calling: &Calling,
    board: &Board,
    camera: &Address,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let playback = Playback::start(Settings { video: Video::Pictures, ..Settings::default() })?;
    playback.on_picture({
        let board = board.clone();
        move |picture| board.change(|view| view.picture = Some(picture))
    });
    let mut watch = calling.watch(camera.as_str(), [Kind::Video, Kind::Audio])?;
    let board = board.clone();
    let end = watch.play(&playback, move |event| match event {
        playback::Event::Playing { kind: Kind::Video } => println!("playing video"),
        playback::Event::Playing { kind: Kind::Audio } => println!("playing audio"),
        playback::Event::Failed { error, .. } => board.change(|view| view.note = error.to_string()),
        _ => {}
    });
    Ok(format!("The call has ended: {}", end.await))
}

fn handle(client: &Client, board: &Board, event: &Event) {
    match event {
        Event::Online { peer, .. } => {
            println!("online as {}", peer.user);
            board.change(|view| view.status = format!("online as {}", peer.user));
        }
        Event::Offline { reason, .. } => board.change(|view| view.status = format!("offline: {reason}")),
        Event::Ended { why } => board.change(|view| view.status = why.to_string()),
        Event::PeerAdded { .. } | Event::PeerUpdated { .. } | Event::PeerRemoved { .. } => {
            let mut cameras = client.roster();
            cameras.retain(|peer| peer.peer_type() == Some("camera"));
            cameras.sort_by_key(|camera| camera.address());
            board.change(|view| {
                let before = std::mem::replace(&mut view.cameras, cameras);
                print_missing(&view.cameras, &before, "is here");
                print_missing(&before, &view.cameras, "is gone");
            });
        }
        Event::Message { message } => {
            if let Some(line) = said(message) {
                board.line(line);
            }
        }
        _ => {}
    }
}

/// Names the cameras that the other list does not have.
fn print_missing(cameras: &[Peer], others: &[Peer], what: &str) {
    let has = |address| others.iter().any(|other| other.address() == address);
    cameras
        .iter()
        .filter(|camera| !has(camera.address()))
        .for_each(|camera| println!("{} {what}", camera.name));
}

/// A line of chat; other messages are none.
fn said(message: &Message) -> Option<String> {
    let text: String = message.get("data").ok().flatten().filter(|_| message.subtype().is_none())?;
    Some(format!("{}: {text}", message.from()?.user()))
}
