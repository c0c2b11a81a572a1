//! Sockets and timers at a reactor, and after its end.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(feature = "udp")]
use std::os::unix::net::UnixDatagram;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{or, poll_once, yield_now, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

#[cfg(feature = "udp")]
use super::source::Source;
use super::{Socket, block_on, current, outside};
use crate::net::time::Timer;
use crate::net::wake::Signal;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let there = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    (listener.accept().expect("one is coming").0, there)
}

/// Fails if the future does not end.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    or(future, async {
        Timer::after(PATIENCE).await;
        panic!("{what} within {PATIENCE:?}")
    })
    .await
}

#[test]
fn data_and_its_end_in_one_edge_are_both_read() {
    block_on(async {
        let (here, mut there) = pair();
        let mut here = Socket::new(here).expect("a fresh socket");
        let mut bytes = [0; 64];
        assert!(poll_once(here.read(&mut bytes)).await.is_none(), "nothing was written");
        there.write_all(b"last words").expect("open");
        drop(there);
        // Both have come before the reactor looks.
        thread::sleep(SHORT);
        let first = in_time("data", here.read(&mut bytes)).await;
        assert_eq!(first.expect("open"), 10);
        assert_eq!(in_time("the end", here.read(&mut bytes)).await.expect("closed well"), 0);
        assert_eq!(in_time("the end again", here.read(&mut bytes)).await.expect("closed well"), 0);
    });
}

#[test]
fn an_end_that_comes_after_the_data_is_read() {
    block_on(async {
        let (here, mut there) = pair();
        let mut here = Socket::new(here).expect("a fresh socket");
        let mut bytes = [0; 64];
        there.write_all(b"words").expect("open");
        assert_eq!(in_time("data", here.read(&mut bytes)).await.expect("open"), 5);
        assert!(poll_once(here.read(&mut bytes)).await.is_none());
        drop(there);
        assert_eq!(in_time("the end", here.read(&mut bytes)).await.expect("closed well"), 0);
    });
}

#[test]
fn a_reset_ends_reading_and_writing() {
    block_on(async {
        let (here, mut there) = pair();
        let mut here = Socket::new(here).expect("a fresh socket");
        here.write_all(b"unread").await.expect("open");
        there.write_all(b"x").expect("open");
        // Closed with unread bytes, it is reset.
        drop(there);
        let mut bytes = [0; 64];
        let mut ended = false;
        for _ in 0..3 {
            ended |= !in_time("an end", here.read(&mut bytes)).await.is_ok_and(|n| n > 0);
        }
        assert!(ended);
        let written = async { while here.write(b"more").await.is_ok() {} };
        in_time("an error", written).await;
    });
}

#[test]
fn both_directions_of_many_sockets_carry_all_bytes() {
    const BYTES: usize = 3 << 20;
    // Two threads, with a reactor each or one.
    for reactors in [2, 1] {
        let (here, there) = pair();
        let run = |socket: TcpStream, seed: u8| {
            move || {
                let both = async move {
                    let reader = Socket::new(socket.try_clone().expect("a descriptor")).expect("a socket");
                    let writer = Socket::new(socket).expect("a socket");
                    let ((), got) = zip(send(writer, seed, BYTES), receive(reader, 1 - seed)).await;
                    assert_eq!(got, BYTES);
                };
                let all = in_time("all bytes", both);
                if seed == 0 || reactors == 2 { block_on(all) } else { smol::block_on(all) }
            }
        };
        let other = thread::spawn(run(there, 1));
        run(here, 0)();
        other.join().expect("it gets all");
    }
}

fn pattern(seed: u8, at: usize) -> u8 {
    (at % 251) as u8 ^ (seed << 7)
}

async fn send(mut to: Socket, seed: u8, bytes: usize) {
    let all: Vec<u8> = (0..bytes).map(|at| pattern(seed, at)).collect();
    for (n, part) in all.chunks(70_001).enumerate() {
        to.write_all(part).await.expect("somebody reads");
        if n % 7 == 0 {
            yield_now().await;
        }
    }
    to.get_ref().shutdown(std::net::Shutdown::Write).expect("open");
}

async fn receive(mut from: Socket, seed: u8) -> usize {
    let (mut bytes, mut got) = (vec![0; 50_000], 0);
    for size in (1..).map(|n| 1 + n * 7919 % 50_000) {
        let n = from.read(&mut bytes[..size]).await.expect("open");
        assert!((0..n).all(|i| bytes[i] == pattern(seed, got + i)));
        got += n;
        if n == 0 {
            break;
        }
    }
    got
}

#[test]
fn a_sleeping_thread_is_woken_by_another_and_by_timers() {
    let (signal, (tell, told)) = (std::sync::Arc::new(Signal::default()), mpsc::channel());
    let other = thread::spawn({
        let signal = signal.clone();
        move || {
            for () in told {
                thread::sleep(Duration::from_millis(1));
                signal.notify();
            }
        }
    });
    block_on(async {
        for _ in 0..50 {
            tell.send(()).expect("it listens");
            in_time("a wake-up", poll_fn(|cx| signal.poll(cx))).await;
        }
        let began = Instant::now();
        zip(Timer::after(2 * SHORT), Timer::after(SHORT)).await;
        assert!(began.elapsed() >= 2 * SHORT);
        // Set again before it fires, the first time counts no more.
        let mut timer = Timer::after(PATIENCE);
        assert!(poll_once(&mut timer).await.is_none());
        timer.set(Some(Instant::now() + SHORT));
        in_time("the timer", &mut timer).await;
    });
    drop(tell);
    other.join().expect("it ends");
}

#[test]
fn sockets_and_timers_outlive_their_reactor() {
    for on_smol in [false, true] {
        let (here, mut there) = pair();
        let mut bytes = [0; 64];
        let (mut timer, mut here) = block_on(async {
            let mut timer = Timer::after(10 * SHORT);
            let mut here = Socket::new(here).expect("a fresh socket");
            assert!(poll_once(&mut timer).await.is_none());
            assert!(poll_once(here.read(&mut bytes)).await.is_none());
            (timer, here)
        });
        assert!(current().is_none());
        let rest = async {
            assert!(poll_once(here.read(&mut bytes)).await.is_none());
            there.write_all(b"hello").expect("open");
            assert_eq!(in_time("data", here.read(&mut bytes)).await.expect("open"), 5);
            in_time("the timer", &mut timer).await;
            here.write_all(b"world").await.expect("open");
        };
        if on_smol {
            smol::block_on(rest)
        } else {
            block_on(rest)
        }
        let mut answer = [0; 5];
        there.read_exact(&mut answer).expect("open");
        assert_eq!(&answer, b"world");
    }
}

/// Each datagram that a peer has taken is room in the buffer, of which nobody wants to hear.
#[cfg(feature = "udp")]
#[test]
fn what_is_only_written_to_is_reported_only_while_it_blocks() {
    let send = |source: &mut Source<UnixDatagram>, cx: &mut std::task::Context<'_>| {
        source.poll_write_with(cx, |socket| socket.send(b"datagram")).map(|sent| sent.expect("open"))
    };
    for on_smol in [false, true] {
        let (here, there) = UnixDatagram::pair().expect("a descriptor");
        here.set_nonblocking(true).expect("it can");
        let mut here = Source::waiting(here);
        let blocked = thread::scope(|scope| {
            let (mut sent, mut reader) = (0, None);
            let there = &there;
            let full = poll_fn(|cx| {
                while reader.is_none() {
                    if send(&mut here, cx).is_pending() {
                        // Now that it waits, somebody reads.
                        reader = Some(scope.spawn(move || {
                            (0..sent).for_each(|_| _ = there.recv(&mut [0; 16]).expect("they are there"));
                        }));
                        return Poll::Pending;
                    }
                    sent += 1;
                }
                send(&mut here, cx).map(|_| ())
            });
            let full = in_time("room", full);
            if on_smol {
                smol::block_on(full)
            } else {
                block_on(full)
            }
            reader.is_some()
        });
        assert!(blocked);
    }
    let (here, there) = UnixDatagram::pair().expect("a descriptor");
    let mut here = Source::waiting(here);
    block_on(async {
        assert!(poll_fn(|cx| Poll::Ready(send(&mut here, cx))).await.is_ready(), "nothing blocks");
        let takes = thread::spawn(move || {
            thread::sleep(SHORT);
            there.recv(&mut [0; 16]).expect("it was sent")
        });
        assert_eq!(turns_of(Timer::after(3 * SHORT)).await, 1);
        takes.join().expect("it takes it");
    });
}

/// How often the thread waits meanwhile.
#[cfg(feature = "udp")]
async fn turns_of(future: impl Future) -> usize {
    // The first turn of a new reactor tells what has happened before it.
    yield_now().await;
    let turns = || current().expect("it runs here").turns.load(std::sync::atomic::Ordering::Relaxed);
    let before = turns();
    future.await;
    turns() - before
}

#[cfg(feature = "udp")]
#[test]
fn a_forgotten_source_is_reported_no_more_though_its_socket_lives() {
    let (here, there) = UnixDatagram::pair().expect("a descriptor");
    let other = here.try_clone().expect("a descriptor");
    block_on(async {
        let mut here = Source::waiting(here);
        let read = |cx: &mut std::task::Context<'_>, source: &mut Source<UnixDatagram>| {
            source.poll_read_with(cx, |socket| socket.recv(&mut [0; 16]), |_| false).map(|n| n.expect("open"))
        };
        assert!(poll_once(poll_fn(|cx| read(cx, &mut here))).await.is_none(), "nothing was sent");
        there.send(b"datagram").expect("open");
        assert_eq!(in_time("a datagram", poll_fn(|cx| read(cx, &mut here))).await, 8);
        here.forget();
        drop(here);
        let sends = thread::spawn(move || {
            thread::sleep(SHORT);
            there.send(b"datagram").expect("open");
        });
        assert_eq!(turns_of(Timer::after(3 * SHORT)).await, 1);
        sends.join().expect("it sends");
    });
    assert_eq!(other.recv(&mut [0; 16]).expect("it lives"), 8);
}

#[test]
fn who_waits_when_a_reactor_ends_is_woken() {
    let (here, mut there) = pair();
    let signal = std::sync::Arc::new(Signal::default());
    let waker = std::task::Waker::from(signal.clone());
    let cx = &mut std::task::Context::from_waker(&waker);
    let mut here = block_on(async { Socket::new(here).expect("a fresh socket") });
    let mut bytes = [0; 8];
    let mut poll = |here: &mut Socket, cx: &mut std::task::Context<'_>| {
        futures_lite::AsyncRead::poll_read(Pin::new(here), cx, &mut bytes).map(|n| n.expect("open"))
    };
    block_on(async {
        assert!(poll(&mut here, cx).is_pending());
        assert!(signal.poll(cx).is_pending());
    });
    assert!(signal.poll(cx).is_ready(), "its reactor has ended");
    assert!(poll(&mut here, cx).is_pending(), "now async-io waits");
    there.write_all(b"x").expect("open");
    smol::block_on(in_time(
        "data",
        poll_fn(|own| {
            // It wakes the other task.
            let mut woken = pin!(poll_fn(|own| signal.poll(own)));
            woken.as_mut().poll(own)
        }),
    ));
    assert_eq!(poll(&mut here, cx), Poll::Ready(1));
}

#[test]
fn code_of_the_application_may_block_on_timers() {
    block_on(async {
        assert!(current().is_some());
        outside(|| {
            assert!(current().is_none());
            smol::block_on(in_time("the timer", Timer::after(SHORT)));
            block_on(in_time("the timer", Timer::after(SHORT)));
        });
        assert!(current().is_some());
        in_time("the timer", Timer::after(SHORT)).await;
    });
}
