//! Programs that call each other for data, over real sockets: channels of their own, and messages that no server sees.
#![cfg(all(feature = "calls", feature = "server"))]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::call::body::EndReason;
use symple::calling::{Call, Calling, Conversation, IncomingCall};
use symple::client::{self, RequestError};
use symple::media::Codec;
use symple::media::Kind::Audio;
use symple::media::source::{Feed, Source};
use symple::net::{ClientEvent, ServerConfig};
use symple::proto::{Draft, MessageKind, Status};
use symple::rtc::{ChannelError, ChannelMessage, ChannelOptions, Directions};
use symple::{Client, Server};

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(90);

struct Program {
    client: Client,
    calling: Calling,
    _feeds: Vec<Feed>,
}

impl Program {
    fn new(url: &str, user: &str) -> Program {
        let config = client::Config { rooms: vec!["public".into()], ..client::Config::new(user) };
        let client = Client::new(url, config).expect("a good address");
        let calling = Calling::new(&client).expect("a free port");
        // Where there is audio, nothing is said.
        let (source, feeds) = Source::push_streams([Codec::Opus]);
        calling.set_source(source);
        Program { client, calling, _feeds: feeds.into() }
    }

    fn address(&self) -> String {
        self.client.peer().expect("it is online").address().as_str().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.calling.shutdown();
        self.client.close();
    }
}

/// Two programs, of which the first has called the second: without audio and video, and with data channels if the second
/// one grants them.
fn with_call(grants: bool, act: impl AsyncFnOnce(&Server, [String; 2], Conversation, Conversation)) {
    let accept = |arrived: IncomingCall| {
        let arrived = if grants { arrived.with_channels() } else { arrived };
        arrived.accept(Directions::new([], [])).expect("it still rings")
    };
    with_such_a_call(Call::new([], []).with_channels(), accept, act);
}

fn with_such_a_call(
    call: Call,
    accept: impl Fn(IncomingCall) -> Conversation,
    act: impl AsyncFnOnce(&Server, [String; 2], Conversation, Conversation),
) {
    let address = "127.0.0.1:0".parse().expect("literal");
    let server = Server::bind(ServerConfig::listen([address])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let [alice, bob] = ["alice", "bob"].map(|user| Program::new(&url, user));
    let mut events = [alice.client.events(64), bob.client.events(64)];
    let running = server.run();
    thread::spawn(move || block_on(running));
    for program in [&alice, &bob] {
        let (client, calls) = (program.client.run(), program.calling.run());
        thread::spawn(move || block_on(zip(client, calls)));
    }
    let acts = async {
        for events in &mut events {
            let added =
                |event| matches!(event, ClientEvent::Event { event: client::Event::PeerAdded { .. } });
            assert!(events.any(added).await, "they see each other");
        }
        let mut incoming = bob.calling.incoming();
        let made = alice.calling.call(&bob.address(), call).expect("it is there");
        let arrived = incoming.next().await.expect("it rings");
        let taken = accept(arrived);
        act(&server, [alice.address(), bob.address()], made, taken).await;
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done within {PATIENCE:?}");
    };
    block_on(or(acts, late));
    drop((alice, bob));
    server.shutdown();
}

fn binary(len: usize, byte: u8) -> ChannelMessage {
    ChannelMessage::Binary(vec![byte; len])
}

#[test]
fn channels_of_both_sides_carry_what_was_sent() {
    with_call(true, async |_, _, alice, bob| {
        let mut arrived = [alice.channels(), bob.channels()];
        zip(alice.connected(), bob.connected()).await.0.expect("connected");
        for (n, from) in [&alice, &bob].into_iter().enumerate() {
            let options = ChannelOptions { protocol: "echo/1".into(), ..ChannelOptions::new("echo") };
            let ours = from.open_channel(options).expect("agreed");
            assert_eq!(ours.send(&"too early".into()), Err(ChannelError::NotOpen));
            ours.opened().await.expect("it is taken");
            let mut theirs = arrived[1 - n].next().await.expect("it arrives");
            assert_eq!((theirs.label(), theirs.protocol(), theirs.is_open()), ("echo", "echo/1", true));
            ours.send(&"hello".into()).expect("open");
            ours.send(&binary(64 * 1024, 7)).expect("open");
            assert_eq!(
                ours.send(&binary(64 * 1024 + 1, 7)),
                Err(ChannelError::TooLarge { limit: 64 * 1024 })
            );
            for expected in ["hello".into(), binary(64 * 1024, 7)] {
                let message = theirs.next().await.expect("it was sent");
                assert_eq!(message, expected);
                theirs.send(&message).expect("open");
                assert_eq!(ours.recv().await, Some(expected));
            }
            theirs.send(&"bye".into()).expect("open");
            drop(theirs);
            assert_eq!(ours.recv().await, Some("bye".into()), "it is closed after what was sent");
            assert_eq!(ours.recv().await, None);
            assert_eq!(ours.send(&"more".into()), Err(ChannelError::Closed));
        }
        let stats = alice.stats().expect("it goes on").channels;
        assert_eq!((stats.refused, stats.dropped), (0, 0));
        alice.hang_up(EndReason::Ended);
        assert!(arrived[1].next().await.is_none(), "the call has ended");
    });
}

#[test]
fn a_call_that_began_without_channels_gets_them_when_somebody_wants_them() {
    let talk = || Directions::new([Audio], [Audio]);
    let accept = |arrived: IncomingCall| arrived.accept(talk()).expect("it still rings");
    let call = || Call::new([Audio], [Audio]);
    for n in [0, 1] {
        with_such_a_call(call(), accept, async |_, _, alice, bob| {
            assert_eq!(alice.open_channel("early").expect_err("not yet"), ChannelError::NotAgreed);
            zip(alice.connected(), bob.connected()).await.0.expect("connected");
            let sides = if n == 0 { [&alice, &bob] } else { [&bob, &alice] };
            let nobody = sides[0].open_channel("nobody").expect("the other side is asked");
            assert_eq!(nobody.send(&"x".into()), Err(ChannelError::NotOpen));
            assert_eq!(nobody.opened().await, Err(ChannelError::NotAgreed), "and takes none");
            assert_eq!(nobody.send(&"x".into()), Err(ChannelError::NotAgreed));
            assert_eq!(nobody.recv().await, None);
            let mut arrived = sides[1].channels();
            let ours = sides[0].open_channel("echo").expect("the other side is asked");
            ours.opened().await.expect("and takes it now");
            let theirs = arrived.next().await.expect("it arrives");
            ours.send(&"hello".into()).expect("open");
            assert_eq!(theirs.recv().await, Some("hello".into()));
        });
        with_such_a_call(call(), accept, async |_, _, alice, bob| {
            zip(alice.connected(), bob.connected()).await.0.expect("connected");
            let sides = if n == 0 { [&alice, &bob] } else { [&bob, &alice] };
            let first = sides[0].messages();
            assert_eq!(first.opened().await, Err(ChannelError::NotAgreed), "the other side takes none");
            // Now both want them.
            let mut second = sides[1].messages();
            second.opened().await.expect("agreed");
            first.opened().await.expect("agreed");
            first.deliver(Draft::new(MessageKind::Event).data(&1)).await.expect("it is read");
            assert!(second.next().await.is_some());
        });
    }
}

#[test]
fn a_sender_waits_for_a_reader_who_is_slow() {
    with_call(true, async |_, _, alice, bob| {
        let mut arrived = bob.channels();
        alice.connected().await.expect("connected");
        let ours = alice.open_channel("file").expect("agreed");
        ours.opened().await.expect("it is taken");
        let theirs = arrived.next().await.expect("it arrives");
        let count = 300_u32;
        let send = async {
            let mut full = 0;
            for n in 0..count {
                let message = ChannelMessage::Binary(n.to_be_bytes().repeat(4096));
                while ours.send(&message) == Err(ChannelError::Full) {
                    full += 1;
                    ours.room().await.expect("it stays open");
                }
            }
            full
        };
        let read = async {
            // 5 MB have no room anywhere: not in the queue of the sender, the network and the queue of the reader.
            smol::Timer::after(Duration::from_secs(2)).await;
            let waiting = bob.stats().expect("it goes on").channels.bytes_received;
            for n in 0..count {
                let message = theirs.recv().await.expect("it was sent");
                assert_eq!(message.as_bytes(), n.to_be_bytes().repeat(4096));
            }
            waiting
        };
        let (full, waiting) = zip(send, read).await;
        assert!(full > 0 && waiting < 2_000_000, "{full} {waiting}");
    });
}

#[test]
fn channels_that_nobody_takes_or_grants_are_closed() {
    with_call(true, async |_, _, alice, _bob| {
        alice.connected().await.expect("connected");
        let ours = alice.open_channel("nobody").expect("agreed");
        _ = ours.opened().await;
        assert_eq!(ours.recv().await, None, "it is closed");
    });
    with_call(false, async |_, _, alice, bob| {
        // There is nothing else that the call would be for.
        let end = alice.connected().await.expect_err("for nothing");
        assert_eq!(end.reason, EndReason::NotAllowed);
        assert!(bob.connected().await.is_err());
    });
}

#[test]
fn messages_go_without_the_server_from_whom_the_call_is_with() {
    with_call(true, async |server, [alices, bobs], alice, bob| {
        let (mut ours, mut theirs) = (alice.messages(), bob.messages());
        zip(ours.opened(), theirs.opened()).await.0.expect("agreed");
        // Nothing goes by it any more.
        server.shutdown();
        let draft = Draft::new(MessageKind::Message).subtype("chat").with("from", "mallory|1").data("hello");
        let id = ours.send(draft).expect("open");
        let message = theirs.next().await.expect("it was sent");
        assert_eq!((message.id(), message.subtype()), (Some(&*id), Some("chat")));
        assert_eq!(message.from().map(|from| from.as_str()), Some(&*alices), "not who it claims to be from");
        assert_eq!(message.data::<String>().expect("text"), "hello");

        let reply = ours.request("pan", "left", &7);
        let command = theirs.next().await.expect("it was sent");
        assert_eq!((command.raw("node"), command.raw("action")), (Some(r#""pan""#), Some(r#""left""#)));
        theirs.reply(&command, Status(202), &"soon").expect("open");
        theirs.reply(&command, Status::OK, &"done").expect("open");
        let reply = reply.await.expect("it was answered");
        assert_eq!(reply.data::<String>().expect("text"), "done");

        let refused = theirs.request("pan", "right", &7);
        let command = ours.next().await.expect("it was sent");
        assert_eq!(command.from().map(|from| from.as_str()), Some(&*bobs));
        ours.reply(&command, Status::FORBIDDEN, &()).expect("open");
        assert!(matches!(refused.await, Err(RequestError::Refused { status: Status::FORBIDDEN, .. })));

        ours.deliver(Draft::new(MessageKind::Event).data(&1)).await.expect("it is read");
        assert!(theirs.next().await.is_some());
        drop(theirs);
        let lost = ours.deliver(Draft::new(MessageKind::Event).data(&2)).await;
        assert_eq!(lost, Err(RequestError::NobodyThere));
        assert_eq!(ours.request("pan", "left", &7).await, Err(RequestError::NobodyThere));
        let late = ours.request("pan", "left", &7);
        bob.hang_up(EndReason::Ended);
        let late = late.await;
        assert!(matches!(late, Err(RequestError::NobodyThere | RequestError::Lost)), "{late:?}");
        assert!(ours.next().await.is_none());
    });
}

#[test]
fn the_example_writes_past_the_server() {
    let built = std::env::current_exe().expect("it runs");
    let built =
        built.ancestors().nth(2).expect("deps, in the profile's folder").join("examples").join("direct");
    let address = "127.0.0.1:0".parse().expect("literal");
    let server = Server::bind(ServerConfig::listen([address])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let running = server.run();
    thread::spawn(move || block_on(running));
    let start = |who: &str, whom: &[&str]| {
        let mut command = Command::new(&built);
        command.args([&url, who]).args(whom).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().expect("the example was built")
    };
    let mut examples = [start("bob", &[]), start("alice", &["bob"])];
    let outputs = examples.each_mut().map(|example| example.stdout.take().expect("piped"));
    let (said, heard) = std::sync::mpsc::channel();
    for (n, output) in outputs.into_iter().enumerate() {
        let said = said.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                _ = said.send((n, line));
            }
        });
    }
    let expect = |n: usize, line: &str| loop {
        let (who, next) = heard.recv_timeout(PATIENCE).expect("it says something");
        if (who, &*next) == (n, line) {
            return;
        }
    };
    expect(1, "connected");
    server.shutdown();
    for (n, words, sees) in [(1, "hello", "alice: hello"), (0, "hello yourself", "bob: hello yourself")] {
        let input = examples[n].stdin.as_mut().expect("piped");
        writeln!(input, "{words}").expect("it reads");
        expect(1 - n, sees);
    }
    for example in &mut examples {
        // Without its server it would try again for good.
        example.kill().expect("it runs");
        example.wait().expect("it ends");
    }
}
