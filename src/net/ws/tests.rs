//! The memory of large messages is freed, and no byte is lost by that.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::FutureExt;
use futures_lite::future::{block_on, poll_fn};

use super::io::Io;
use super::served::LARGE;
use super::{Got, Put, WebSocket};
use crate::net::reactor::Socket;

const MAX: usize = 1 << 20;

/// A masked frame, as a client sends it; the mask is zero.
fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

const TEXT: u8 = 1;
const CONTINUATION: u8 = 0;
const PING: u8 = 9;

fn pair() -> (WebSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (server, _) = listener.accept().expect("one is coming");
    let io = Io::plain(Socket::new(server).expect("a fresh socket"));
    (block_on(WebSocket::new(io, Vec::new(), Role::Server, MAX)), client)
}

/// Small texts are copied and large ones are not, also where the socket accepts only a part.
#[test]
fn texts_of_all_sizes_leave_in_order_and_whole() {
    let (mut link, mut client) = pair();
    let texts: Vec<Arc<str>> = (0..400usize)
        .map(|n| {
            let letter = char::from(b'a' + (n % 26) as u8).to_string();
            letter.repeat([0, 1, 125, 126, 1024, 1025, 40_000, 65_535, 65_536][n % 9]).into()
        })
        .collect();
    let mut expected = Vec::new();
    for text in &texts {
        let length = text.len();
        expected.push(0x80 | TEXT);
        match length {
            0..=125 => expected.push(length as u8),
            126..=65_535 => {
                expected.push(126);
                expected.extend((length as u16).to_be_bytes());
            }
            _ => {
                expected.push(127);
                expected.extend((length as u64).to_be_bytes());
            }
        }
        expected.extend(text.as_bytes());
    }
    let read = move || {
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut client, &mut got).expect("open");
        got
    };
    let mut read = Some(read);
    let mut reading = None;
    for some in texts.chunks(80) {
        // More than one write has parts for.
        block_on(poll_fn(|cx| {
            link.put_all(cx, some.iter().cloned().map(Put::Text)).expect("open");
            Poll::Ready(())
        }));
        // Nobody reads before the socket is full.
        if link.unsent() > 0
            && let Some(read) = read.take()
        {
            reading = Some(std::thread::spawn(read));
        }
        block_on(poll_fn(|cx| link.poll_flush(cx))).expect("open");
    }
    drop(link);
    let got = reading.expect("the socket was full once").join().expect("reads");
    assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
}

/// Reads `count` texts, and then until nothing more is available.
fn read(link: &mut WebSocket, count: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let late = async {
        smol::Timer::after(Duration::from_secs(20)).await;
        panic!("fewer than {count} texts arrived");
    };
    let reading = poll_fn(|cx| {
        loop {
            match link.poll_read(cx) {
                Poll::Ready(Got::Text(text)) => {
                    assert!(text.bytes().all(|b| b == b'x'));
                    sizes.push(text.len());
                }
                Poll::Ready(Got::Alive) => {}
                Poll::Ready(_) => panic!("neither text nor ping"),
                Poll::Pending if sizes.len() == count => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    block_on(reading.or(late));
    sizes
}

#[test]
fn the_memory_of_a_large_message_is_freed_and_nothing_is_lost() {
    let (mut link, mut client) = pair();
    let sizes = [10, LARGE + 1, 3, 70_000, 400_000, 126, LARGE, 65_536];
    // One by one, so that the buffer contains no part of another; and together, split anywhere.
    for pause in [true, false] {
        let mut all = Vec::new();
        for size in sizes {
            all.extend(frame(TEXT, true, &vec![b'x'; size]));
            all.extend(frame(PING, true, b"alive?"));
            if pause {
                client.write_all(&all).expect("somebody reads");
                all.clear();
                assert_eq!(read(&mut link, 1), [size]);
                assert!(link.served.largest <= LARGE, "the memory of {size} bytes is kept");
            }
        }
        if !pause {
            let writer = std::thread::spawn(move || {
                all.chunks(7_919).for_each(|part| client.write_all(part).expect("somebody reads"));
                client
            });
            assert_eq!(read(&mut link, sizes.len()), sizes);
            client = writer.join().expect("it only writes");
        }
    }
}

#[test]
fn buffered_bytes_are_never_discarded() {
    let (mut link, mut client) = pair();
    let large = vec![b'x'; 100_000];
    // The beginning of the next frame, even of its header alone, and a message with one fragment received.
    for rest in [frame(TEXT, true, b"xyz"[..1].into()), frame(TEXT, false, &large[..50])] {
        let end = if rest[0] & 0x80 == 0 { frame(CONTINUATION, true, b"x") } else { Vec::new() };
        let whole = [&frame(TEXT, true, &large)[..], &rest, &end].concat();
        for cut in 1..rest.len() + end.len() {
            let (first, second) = whole.split_at(whole.len() - cut);
            client.write_all(first).expect("somebody reads");
            assert_eq!(read(&mut link, 1), [large.len()]);
            client.write_all(second).expect("somebody reads");
            assert_eq!(read(&mut link, 1).len(), 1);
        }
    }
}

#[test]
fn an_idle_connection_frees_the_memory_of_small_messages() {
    let (mut link, mut client) = pair();
    client.write_all(&frame(TEXT, true, &[b'x'; 4096])).expect("somebody reads");
    assert_eq!(read(&mut link, 1), [4096]);
    assert_eq!(link.served.largest, 4096, "more messages may follow");
    block_on(poll_fn(|cx| {
        link.idle(cx);
        Poll::Ready(())
    }));
    assert_eq!(link.served.largest, 0);
    client.write_all(&frame(TEXT, true, b"x")).expect("somebody reads");
    assert_eq!(read(&mut link, 1), [1]);
}
