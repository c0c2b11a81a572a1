//! Two servers on one Redis: the effect of a slow reader, or of a failing Redis, on those who send from one to the
//! other. Prints SKIPPED if there is no redis-server.

use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::redis::Redis;
use crate::slow::{CASES, Case, LONG, Peer, await_text, closed_slow, enter, memory, metric, read, send};
use crate::slow_rooms::{LARGE, stopping_readers};
use crate::world::Server;

/// What may pass beyond the ten seconds that one server allows.
const MORE: Duration = Duration::from_secs(1);

struct Pair {
    one: Server,
    two: Server,
    redis: Redis,
}

impl Pair {
    fn start() -> Option<Pair> {
        let redis = Redis::start()?;
        let server = || {
            let server = Server::start(&["--rate", "0"], &[("SYMPLE_REDIS_URL", &*redis.url)]);
            server.program.logs("connected to the bus");
            server
        };
        Some(Pair { one: server(), two: server(), redis })
    }

    /// alice at the first and bob at the second, who know each other.
    fn peers(&self) -> (Peer, Peer) {
        let mut alice = enter(&self.one, "alice");
        let mut bob = enter(&self.two, "bob");
        await_text(&mut alice, r#""user":"bob""#);
        await_text(&mut bob, r#""user":"alice""#);
        (alice, bob)
    }

    fn dropped(&self) -> [String; 2] {
        [&self.one, &self.two].map(|server| metric(server, "symple_dropped_bus_total"))
    }
}

/// Sends a thousand small numbered messages per second for this time, and disturbs Redis after one second; returns how
/// many.
fn steadily(
    alice: &mut Peer,
    time: Duration,
    redis: &mut Redis,
    happen: impl FnOnce(&mut Redis) + Send,
) -> usize {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_secs(1));
            happen(redis);
        });
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            while (count as u128) < began.elapsed().as_millis() {
                let text = format!(r#"{{"type":"message","data":{count},"x":""}}"#);
                alice.send(Message::text(text)).expect("it reads");
                count += 1;
            }
            sleep(Duration::from_millis(5));
        }
        count
    })
}

/// Sends the last message.
fn end(alice: &mut Peer, count: usize) {
    alice.send(Message::text(format!(r#"{{"type":"message","data":{count},"end":""}}"#))).expect("it reads");
}

/// Reads until the last message; returns the numbers before it.
fn read_to_end(mut bob: Peer) -> JoinHandle<Vec<usize>> {
    spawn(move || {
        let mut numbers = Vec::new();
        loop {
            let text = await_text(&mut bob, r#""message""#);
            if text.contains(r#""end""#) {
                return numbers;
            }
            let data = text.split_once(r#""data":"#).expect("each has a number").1;
            numbers.push(data.split(',').next().and_then(|n| n.parse().ok()).expect("a number"));
        }
    })
}

#[test]
fn a_reader_at_the_other_server_gets_everything_in_order() {
    in_order(&CASES);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn a_reader_at_the_other_server_gets_everything_in_order_for_long() {
    in_order(&LONG);
}

fn in_order(cases: &[Case]) {
    for &(count, bytes, rate) in cases {
        let Some(pair) = Pair::start() else { return };
        let (mut alice, bob) = pair.peers();
        let reader = read(bob, count, rate);
        send(&mut alice, count, bytes);
        let got = reader.join().expect("it reads");
        assert!(got.iter().copied().eq(0..count), "{} of {count} of {bytes} bytes", got.len());
        assert_eq!((closed_slow(&pair.two), pair.dropped()), ("0".into(), ["0".into(), "0".into()]));
    }
}

#[test]
fn next_to_a_stopped_reader_there_others_get_everything_in_order() {
    in_order_next_to_one_that_stops(&CASES);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn next_to_a_stopped_reader_there_others_get_everything_in_order_for_long() {
    in_order_next_to_one_that_stops(&LONG);
}

fn in_order_next_to_one_that_stops(cases: &[Case]) {
    for &(count, bytes, rate) in cases {
        let Some(pair) = Pair::start() else { return };
        let eve = enter(&pair.two, "eve");
        let (mut alice, bob) = pair.peers();
        let reader = read(bob, count, rate);
        let waited = send(&mut alice, count, bytes);
        let got = reader.join().expect("it reads");
        assert!(got.iter().copied().eq(0..count), "{} of {count} of {bytes} bytes", got.len());
        println!("{count} of {bytes} bytes beside one that has stopped: the sender waited {waited:.1?}");
        assert!(waited < Duration::from_secs(10) + MORE, "{waited:?}");
        let is_too_much = count * bytes > 20 << 20;
        assert_eq!(closed_slow(&pair.two), if is_too_much { "1" } else { "0" });
        if is_too_much {
            assert!(await_text(&mut alice, r#""online":false"#).contains("eve"), "its senders learn of it");
        }
        assert_eq!(pair.dropped(), ["0", "0"]);
        drop(eve);
    }
}

/// A quarter of the peers, with four times the bytes each: the rates are the same.
#[test]
fn many_senders_wait_at_most_ten_seconds_for_one_slow_reader_there() {
    const SENDERS: usize = 25;
    const EACH: usize = 60;
    let Some(pair) = Pair::start() else { return };
    let rest = "x".repeat(16 << 10);
    let slow = read(enter(&pair.two, "slow"), SENDERS * EACH, Some(200_000));
    let readers: Vec<_> = (0..10).map(|n| enter(&pair.two, &format!("r{n}"))).collect();
    let senders: Vec<_> = (0..SENDERS).map(|n| enter(&pair.one, &format!("s{n}"))).collect();
    let mut last = enter(&pair.one, "last");
    await_text(&mut last, r#""user":"r9""#);
    drop(last);
    let readers: Vec<_> = readers.into_iter().map(|reader| read(reader, SENDERS * EACH, None)).collect();
    let senders: Vec<_> = senders
        .into_iter()
        .map(|sender| {
            let tcp = sender.get_ref().try_clone().expect("a socket");
            let heard = read(sender, (SENDERS - 1) * EACH, None);
            let rest = rest.clone();
            let said = spawn(move || {
                let mut ws = WebSocket::from_raw_socket(tcp, Role::Client, None);
                let mut waited = Duration::ZERO;
                for n in 0..EACH {
                    let began = Instant::now();
                    let text = format!(r#"{{"type":"message","data":{n},"rest":"{rest}"}}"#);
                    ws.send(Message::text(text)).expect("the reader catches up");
                    waited += began.elapsed();
                    sleep(Duration::from_millis(250).saturating_sub(began.elapsed()));
                }
                waited
            });
            (heard, said)
        })
        .collect();
    for (heard, said) in senders {
        let waited = said.join().expect("it sends");
        assert!(waited < Duration::from_secs(10) + MORE, "{waited:?}");
        assert_eq!(heard.join().expect("it reads").len(), (SENDERS - 1) * EACH);
    }
    for reader in readers {
        assert_eq!(reader.join().expect("it reads").len(), SENDERS * EACH);
    }
    let slow = slow.join().expect("it reads").len();
    println!("the slow one got {slow} of {}, closed: {}", SENDERS * EACH, closed_slow(&pair.two));
    assert!(slow == SENDERS * EACH || closed_slow(&pair.two) == "1");
    assert_eq!(pair.dropped(), ["0", "0"]);
}

#[test]
#[ignore = "takes a minute, and two idle cores: in `make test-all`"]
fn one_slow_reader_in_a_large_room_there_costs_nobody_a_message() {
    let Some(pair) = Pair::start() else { return };
    LARGE.run((&pair.one, &pair.two), None, Duration::from_secs(10) + MORE);
    assert_eq!(pair.dropped(), ["0", "0"]);
}

#[test]
#[ignore = "takes a minute: in `make test-all`"]
fn repeatedly_stopping_readers_there_hold_a_sender_for_ten_seconds_a_minute() {
    let Some(pair) = Pair::start() else { return };
    stopping_readers(&pair.one, &pair.two);
    assert_eq!(pair.dropped(), ["0", "0"]);
}

#[test]
fn a_stopped_reader_there_costs_at_most_the_queue_limits() {
    one_that_stops_costs_the_queue_limits(150);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn a_stopped_reader_there_costs_at_most_the_queue_limits_for_long() {
    one_that_stops_costs_the_queue_limits(1500);
}

/// Sends this many messages of 400 KB.
fn one_that_stops_costs_the_queue_limits(count: usize) {
    let Some(pair) = Pair::start() else { return };
    let _eve = enter(&pair.two, "eve");
    let (mut alice, bob) = pair.peers();
    let before = [&pair.one, &pair.two].map(|server| memory(server, "VmRSS:"));
    let reader = read(bob, count, None);
    send(&mut alice, count, 400_000);
    assert_eq!(reader.join().expect("it reads").len(), count);
    let grown = [&pair.one, &pair.two].map(|server| memory(server, "VmHWM:"));
    let grown = [grown[0] - before[0], grown[1] - before[1]];
    println!("{count} of 400 KB for one that stops: {grown:?} KiB more at most");
    // A queue has at most 8 MiB, and so have unconfirmed messages.
    assert!(grown.iter().all(|grown| *grown < 28 << 10), "{grown:?} KiB");
}

#[test]
fn a_redis_that_stops_for_five_seconds_loses_nothing() {
    let Some(mut pair) = Pair::start() else { return };
    let (mut alice, bob) = pair.peers();
    let reader = read_to_end(bob);
    let count = steadily(&mut alice, Duration::from_secs(8), &mut pair.redis, |redis| {
        redis.program.signal(Signal::STOP);
        sleep(Duration::from_secs(5));
        redis.program.signal(Signal::CONT);
    });
    end(&mut alice, count);
    all(&pair, reader, count);
}

#[test]
fn killed_subscriptions_lose_nothing() {
    let Some(mut pair) = Pair::start() else { return };
    let (mut alice, bob) = pair.peers();
    let reader = read_to_end(bob);
    let mut killed = 0;
    let count = steadily(&mut alice, Duration::from_secs(5), &mut pair.redis, |redis| {
        for _ in 0..3 {
            let list = redis.ask("CLIENT LIST TYPE pubsub");
            let ids = list.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
            for id in ids {
                redis.ask(&format!("CLIENT KILL ID {id}"));
                killed += 1;
                sleep(Duration::from_millis(300));
            }
        }
    });
    end(&mut alice, count);
    println!("{killed} were killed");
    assert!(killed > 3, "{killed} subscribers were there");
    all(&pair, reader, count);
}

#[test]
fn a_redis_that_restarts_empty_loses_nothing() {
    let Some(mut pair) = Pair::start() else { return };
    let (mut alice, bob) = pair.peers();
    let reader = read_to_end(bob);
    let count = steadily(&mut alice, Duration::from_secs(5), &mut pair.redis, Redis::restart);
    end(&mut alice, count);
    all(&pair, reader, count);
}

#[test]
fn losses_of_a_long_outage_are_counted_and_reported_at_both_ends() {
    const COUNT: usize = 60;
    let Some(mut pair) = Pair::start() else { return };
    let (mut alice, mut bob) = pair.peers();
    pair.redis.program.signal(Signal::KILL);
    pair.one.program.logs("lost the connection to Redis");
    // 30 MB, of which 16 MiB are kept.
    send(&mut alice, COUNT, 500_000);
    let error = await_text(&mut alice, r#""error""#);
    assert!(error.contains(r#""status":503,"#), "{error}");
    // When this is answered, everything before it has been read.
    alice.send(Message::text(r#"{"type":"join","room":"s"}"#)).expect("it reads");
    await_text(&mut alice, "join:ok");
    let dropped: usize = metric(&pair.one, "symple_dropped_bus_total").parse().expect("a number");
    assert!((20..40).contains(&dropped), "{dropped}");
    pair.redis.restart();
    for n in 0..COUNT - dropped {
        let text = await_text(&mut bob, r#""message""#);
        assert!(text.contains(&format!(r#""data":{n},"#)), "not {n}: {}", &text[..text.len().min(200)]);
    }
    let missed = await_text(&mut bob, r#""missed""#);
    assert!(missed.contains(&format!(r#""missed":{dropped},"#)), "{missed}");
    end(&mut alice, 0);
    await_text(&mut bob, r#""end""#);
}

#[test]
fn senders_are_held_at_the_pace_of_the_bus_and_nothing_is_lost() {
    const COUNT: usize = 40_000;
    let Some(pair) = Pair::start() else { return };
    let (mut alice, bob) = pair.peers();
    let reader = read_to_end(bob);
    let began = Instant::now();
    send(&mut alice, COUNT, 2000);
    end(&mut alice, COUNT);
    all(&pair, reader, COUNT);
    println!("{COUNT} of 2 KB took {:.1?}", began.elapsed());
}

#[test]
fn a_server_that_stops_for_five_seconds_is_waited_for() {
    const COUNT: usize = 30_000;
    let Some(pair) = Pair::start() else { return };
    let (mut alice, bob) = pair.peers();
    let reader = read_to_end(bob);
    // Redis would disconnect it for 32 MiB that it does not read.
    pair.two.program.signal(Signal::STOP);
    let began = Instant::now();
    let sender = spawn(move || {
        send(&mut alice, COUNT, 2000);
        end(&mut alice, COUNT);
        alice
    });
    sleep(Duration::from_secs(5));
    pair.two.program.signal(Signal::CONT);
    let alice = sender.join().expect("it sends");
    assert!(began.elapsed() > Duration::from_secs(5), "60 MB exceed all buffers");
    all(&pair, reader, COUNT);
    drop(alice);
}

/// Everything arrived, and nothing was reported as lost.
fn all(pair: &Pair, reader: JoinHandle<Vec<usize>>, count: usize) {
    let got = reader.join().expect("it reads");
    let first = got.iter().copied().zip(0..).find(|(n, want)| n != want);
    assert!(
        got.len() == count && first.is_none(),
        "{} of {count}, not in order from {first:?} on",
        got.len()
    );
    assert_eq!(pair.dropped(), ["0", "0"]);
}
