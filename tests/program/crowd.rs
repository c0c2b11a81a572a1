//! Many peers with profiles join one room at once; some drop and come back. All rosters are complete and right, nobody is
//! told twice, and nobody is closed.

use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures_lite::StreamExt;
use smol::{Async, Executor, Task, Timer};

use crate::slow::metric;
use crate::world::{HERE, Program, Server};

/// Connections that are opened at a time.
const AT_ONCE: usize = 64;

/// What a peer knows: of each other, by its number, the hash of its id; 0 if it is offline.
type Roster = Arc<Mutex<Vec<u64>>>;

type Ws = WebSocketStream<Async<TcpStream>>;

struct Guest {
    id: u64,
    roster: Roster,
    task: Task<()>,
}

struct Crowd {
    address: SocketAddr,
    /// Members of each `auth`.
    profile: String,
    hasher: RandomState,
    count: usize,
}

impl Crowd {
    /// A peer that is admitted and in no room, and its id.
    async fn dial(&self, n: usize) -> (Ws, u64) {
        let tcp = Async::<TcpStream>::connect(self.address).await.expect("it listens");
        // A large buffer for each of thousands would take gigabytes.
        let config = WebSocketConfig::default().read_buffer_size(8 << 10);
        let url = format!("ws://{}/", self.address);
        let dialled = async_tungstenite::client_async_with_config(url, tcp, Some(config)).await;
        let (mut ws, _) = dialled.expect("it speaks WebSocket");
        ws.send(Message::text(format!(r#"{{"type":"auth","user":"p{n}",{}}}"#, self.profile)))
            .await
            .expect("open");
        loop {
            let message = ws.next().await.expect("it is admitted").expect("open");
            if let Message::Text(text) = message
                && text.contains(r#""welcome""#)
            {
                let id = text.split_once(r#""id":""#).expect("a welcome has it").1;
                return (ws, self.hash(id.split('"').next().expect("a split has a first part")));
            }
        }
    }

    fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id).max(1)
    }

    /// Enters the room and reads until it is dropped.
    async fn stay(&self, mut ws: Ws, roster: Roster) {
        ws.send(Message::text(r#"{"type":"join","room":"all"}"#)).await.expect("open");
        while let Some(message) = ws.next().await {
            let Message::Text(text) = message.expect("nobody is closed") else { continue };
            let mut roster = roster.lock().expect("no panic under this lock");
            for presence in text.split(r#""from":"p"#).skip(1) {
                let (number, rest) = presence.split_once('|').expect("an address");
                let (id, rest) = rest.split_once('"').expect("its end");
                let (known, id) = (&mut roster[number.parse::<usize>().expect("a number")], self.hash(id));
                match rest.contains(r#""online":false"#) {
                    // It is back already, under another id.
                    true if *known != id => {}
                    true => *known = 0,
                    false => {
                        assert_ne!(*known, id, "told twice");
                        *known = id;
                    }
                }
            }
        }
        panic!("it was closed");
    }

    /// These peers connect, and then all join at once.
    async fn enter<'a>(&'a self, numbers: Vec<usize>, executor: &Executor<'a>) -> Vec<Guest> {
        let mut lobby = Vec::new();
        for some in numbers.chunks(AT_ONCE) {
            let dials: Vec<_> = some.iter().map(|n| executor.spawn(self.dial(*n))).collect();
            for dial in dials {
                lobby.push(dial.await);
            }
        }
        let guest = |(ws, id)| {
            let roster = Roster::new(Mutex::new(vec![0; self.count]));
            Guest { id, task: executor.spawn(self.stay(ws, roster.clone())), roster }
        };
        lobby.into_iter().map(guest).collect()
    }

    /// Waits until everybody knows exactly all others.
    async fn complete(&self, guests: &[Guest], patience: Duration) {
        let ids: Vec<u64> = guests.iter().map(|guest| guest.id).collect();
        let end = Instant::now() + patience;
        let is_right = |(n, guest): (usize, &Guest)| {
            assert!(!guest.task.is_finished(), "{n} is still there");
            let roster = guest.roster.lock().expect("no panic under this lock");
            roster[..n] == ids[..n] && roster[n] == 0 && roster[n + 1..] == ids[n + 1..]
        };
        while !guests.iter().enumerate().all(is_right) {
            assert!(Instant::now() < end, "not all rosters are complete within {patience:?}");
            Timer::after(Duration::from_millis(200)).await;
        }
    }
}

/// `count` peers with this many bytes of data, of which every tenth drops and comes back.
fn come_and_return(count: usize, bytes: usize, patience: Duration) {
    let more = ["--rate", "0", "--max-unauthenticated", "0", "--log", "warn"];
    let server = Server::of(Program::start(&[&HERE[..], &more].concat(), &[]));
    let crowd = Crowd {
        address: server.address,
        profile: format!(r#""accept":["presence:batch"],"data":{{"x":"{}"}}"#, "x".repeat(bytes)),
        hasher: RandomState::new(),
        count,
    };
    let executor = Executor::new();
    let began = Instant::now();
    smol::block_on(executor.run(async {
        let mut guests = crowd.enter((0..count).collect(), &executor).await;
        let connected = began.elapsed();
        crowd.complete(&guests, patience).await;
        let joined = began.elapsed() - connected;
        let gone: Vec<usize> = (0..count).step_by(10).collect();
        // Dropping its task drops its socket.
        gone.iter().for_each(|n| guests[*n].task = executor.spawn(std::future::pending()));
        for (n, guest) in gone.iter().zip(crowd.enter(gone.clone(), &executor).await) {
            guests[*n] = guest;
        }
        crowd.complete(&guests, patience).await;
        let all = began.elapsed();
        println!("{count} with {bytes} bytes: connected in {connected:.1?}, complete {joined:.1?} later, over in {all:.1?}");
    }));
    assert_eq!(metric(&server, "symple_closed_slow_total"), "0");
    assert_eq!(metric(&server, "symple_peers"), count.to_string());
}

#[test]
fn hundreds_with_profiles_join_at_once_and_some_return() {
    come_and_return(300, 4000, Duration::from_secs(60));
}

#[test]
#[ignore = "takes minutes, needs 5,000 open files and two idle cores: in `make test-all`"]
fn thousands_with_profiles_join_at_once_and_some_return() {
    come_and_return(5000, 4000, Duration::from_secs(900));
}
