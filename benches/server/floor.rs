//! The floor: a bare relay on the server's own WebSocket library, and on smol. It only has rooms and forwarding: no
//! JSON, no rules, no limits. Its cost is that of the sockets, at a reactor that arms them anew for each wait.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Message, Utf8Bytes};
use atomic_waker::AtomicWaker;
use futures_lite::Stream;
use futures_sink::Sink;
use smol::{Async, LocalExecutor};

/// The argument that makes this program the floor.
pub(crate) const NAME: &str = "floor";

/// How many frames are read from one socket, and how many bytes are written, before others have their turn: the
/// server's own numbers.
const TURN: usize = 32;
const BATCH: usize = 16 << 10;

/// How much of a message is searched for its recipient, which the load writes first.
const HEAD: usize = 200;

type Shared = Rc<RefCell<Relay>>;
type Socket = WebSocketStream<Async<TcpStream>>;

#[derive(Default)]
struct Relay {
    next: usize,
    peers: HashMap<usize, Peer>,
    rooms: HashMap<String, Vec<usize>>,
}

#[derive(Default)]
struct Peer {
    welcomed: bool,
    rooms: Vec<String>,
    queue: VecDeque<Utf8Bytes>,
    waker: Option<Waker>,
}

/// Distinguishes wake-ups for reading from those for writing, so that a task that only writes does not read in vain.
struct Readable {
    came: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Readable {
    fn wake(self: Arc<Self>) {
        self.came.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// Relays on a port that the system chooses, until the process is killed.
pub(crate) fn run() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    println!("listening on ws://{}", listener.local_addr().expect("it is bound"));
    let listener = Async::new(listener).expect("a listener can be polled");
    let (relay, executor) = (Shared::default(), Rc::new(LocalExecutor::new()));
    let tasks = Rc::downgrade(&executor);
    // A task, since the future that `run` itself polls would be polled at each wake-up.
    let accept = async move {
        while let Some(executor) = tasks.upgrade() {
            let Ok((tcp, _)) = listener.accept().await else { continue };
            executor.spawn(serve(relay.clone(), tcp)).detach();
        }
    };
    executor.spawn(accept).detach();
    smol::block_on(executor.run(std::future::pending()))
}

async fn serve(relay: Shared, tcp: Async<TcpStream>) {
    _ = tcp.get_ref().set_nodelay(true);
    let config = WebSocketConfig::default().read_buffer_size(1 << 10).write_buffer_size(BATCH);
    let Ok(mut socket) = async_tungstenite::accept_async_with_config(tcp, Some(config)).await else { return };
    let id = {
        let mut relay = relay.borrow_mut();
        relay.next += 1;
        let id = relay.next;
        relay.peers.insert(id, Peer::default());
        id
    };
    let readable = Arc::new(Readable { came: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(readable.clone());
    std::future::poll_fn(|cx| {
        readable.task.register(cx.waker());
        let reads = readable.came.swap(false, Ordering::AcqRel);
        if reads && read(&relay, id, &mut socket, &mut Context::from_waker(&waker)).is_ready() {
            return Poll::Ready(());
        }
        write(&relay, id, &mut socket, cx)
    })
    .await;
    relay.borrow_mut().forget(id);
}

/// Ready when the socket ended.
fn read(relay: &Shared, id: usize, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..TURN {
        match Pin::new(&mut *socket).poll_next(cx) {
            Poll::Ready(Some(Ok(Message::Text(text)))) => relay.borrow_mut().take(id, text),
            Poll::Ready(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Poll::Ready(()),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Ready when the socket cannot be written any more.
fn write(relay: &Shared, id: usize, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match Pin::new(&mut *socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        let mut relay = relay.borrow_mut();
        let peer = relay.peers.get_mut(&id).expect("removed only when this ends");
        if peer.queue.is_empty() {
            // A queue that has drained frees its memory, as the server's does.
            if peer.queue.capacity() > TURN {
                peer.queue = VecDeque::new();
            }
            if peer.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                peer.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let mut bytes = 0;
        while bytes < BATCH {
            let Some(text) = peer.queue.pop_front() else { break };
            bytes += text.len();
            if Pin::new(&mut *socket).start_send(Message::Text(text)).is_err() {
                return Poll::Ready(());
            }
        }
    }
}

impl Relay {
    fn take(&mut self, id: usize, text: Utf8Bytes) {
        let head = text.get(..HEAD).unwrap_or(&text);
        let peer = self.peers.get_mut(&id).expect("removed only when its task ends");
        if !std::mem::replace(&mut peer.welcomed, true) {
            if let Some(room) = after(head, r#""rooms":[""#) {
                let room = room.to_owned();
                self.join(id, room);
            }
            self.push(id, format!(r#"{{"type":"welcome","peer":{{"id":"{id}"}}}}"#).into());
        } else if head.starts_with(r#"{"type":"join""#) {
            let room = after(head, r#""room":""#).unwrap_or_default().to_owned();
            self.push(id, format!(r#"{{"type":"join:ok","room":"{room}"}}"#).into());
            self.join(id, room);
        } else if let Some(to) = after(head, r#""to":""#) {
            if let Some(Ok(to)) = to.split_once('|').map(|(_, to)| to.parse()) {
                self.push(to, text);
            }
        } else {
            let rooms = std::mem::take(&mut peer.rooms);
            for room in &rooms {
                let members = self.rooms.remove(room).unwrap_or_default();
                members.iter().filter(|to| **to != id).for_each(|to| self.push(*to, text.clone()));
                self.rooms.insert(room.clone(), members);
            }
            self.peers.entry(id).or_default().rooms = rooms;
        }
    }

    fn push(&mut self, to: usize, text: Utf8Bytes) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.queue.push_back(text);
        if let Some(waker) = peer.waker.take() {
            waker.wake();
        }
    }

    fn join(&mut self, id: usize, room: String) {
        self.rooms.entry(room.clone()).or_default().push(id);
        self.peers.entry(id).or_default().rooms.push(room);
    }

    fn forget(&mut self, id: usize) {
        let rooms = self.peers.remove(&id).map(|peer| peer.rooms).unwrap_or_default();
        for room in rooms {
            if let Some(members) = self.rooms.get_mut(&room) {
                members.retain(|member| *member != id);
            }
        }
    }
}

/// The string after `key`.
fn after<'a>(head: &'a str, key: &str) -> Option<&'a str> {
    head.split_once(key)?.1.split('"').next()
}
