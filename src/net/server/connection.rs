//! One connection: its socket, read and written in one task, and its port at the hub.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::port::Port;
use crate::net::event_loop::{self, Turn};
use crate::net::time::Timer;
use crate::net::wake::Signal;
use crate::net::ws::{Got, Put, SENT, WebSocket};
use crate::server::{Input, Transmit};

/// The maximum number of frames, and of their bytes, that are read from one socket before others have their turn. All
/// of them are kept if the first one causes the hub to hold their sender.
const TURN: (usize, usize) = (32, 64 << 10);

/// The most bytes written to one socket before others have their turn. A room of 5,000 members with profiles of 4 KiB
/// has 20 MB for each of them: with 1 MiB per turn, a busy server did not read for more than a minute, and closed
/// peers as silent whose pongs were waiting.
const WRITTEN: usize = 64 << 10;

/// The minimum change of the buffered input that is reported to the hub.
const TOLD: usize = 4 << 10;

/// How often a socket that is not read is checked for a reset: nothing else reveals it then.
const RESET: Duration = Duration::from_millis(200);

/// The timeout for the closing handshake.
const LINGER: Duration = Duration::from_secs(2);

/// A socket with its port at the hub, and the state of both directions.
pub(super) struct Connection {
    socket: WebSocket,
    port: Port,
    /// Reading has a waker of its own, so that a turn that only writes, as in a fan-out, does not read the socket in
    /// vain.
    readable: Arc<Signal>,
    batch: Vec<Transmit>,
    /// Bytes written in this turn.
    written: usize,
    /// The hub has more for this connection, and will not notify again.
    more: bool,
    /// The socket accepts nothing at the moment.
    full: bool,
    /// The hub knows that.
    refused: bool,
    /// Frames that were read before the hub held their sender.
    kept: VecDeque<Got>,
    /// While the hub holds the connection, its socket is not read, only checked for a reset now and then.
    held: Option<Timer>,
    /// The size of the buffered input, as last reported to the hub.
    told: usize,
    /// A close was sent; further input is read and discarded.
    linger: Option<Timer>,
}

impl Future for Connection {
    type Output = ();

    /// Ready when the socket has ended.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.get_mut();
        let waker = Waker::from(line.readable.clone());
        let reads = &mut Context::from_waker(&waker);
        if line.hear(cx).is_none() {
            return Poll::Ready(());
        }
        if line.held.is_none()
            && line.readable.take(cx)
            && line.linger.is_none()
            && line.read(reads).is_ready()
        {
            return Poll::Ready(());
        }
        // The hub may have answered the frames, or holds the connection now.
        if line.hear(cx).is_none() {
            return Poll::Ready(());
        }
        line.written = 0;
        if (line.more || line.full) && event_loop::poll(cx, |cx| line.write(cx)).is_ready() {
            return Poll::Ready(());
        }
        let Some(timer) = &mut line.linger else { return Poll::Pending };
        // The closing handshake is complete when nothing more can be read.
        while let Poll::Ready(got) = line.socket.poll_rest(reads) {
            if got.is_none() {
                return Poll::Ready(());
            }
        }
        Pin::new(timer).poll(cx).map(drop)
    }
}

impl Connection {
    pub(super) fn new(socket: WebSocket, port: Port) -> Connection {
        let readable = Arc::new(Signal::default());
        readable.notify();
        Connection {
            socket,
            port,
            readable,
            batch: Vec::new(),
            written: 0,
            more: false,
            full: false,
            refused: false,
            kept: VecDeque::new(),
            held: None,
            told: 0,
            linger: None,
        }
    }

    /// Handles notifications of the hub, including the end of a hold. `None` if the socket was reset meanwhile.
    fn hear(&mut self, cx: &mut Context<'_>) -> Option<()> {
        let told = self.port.signal.take(cx);
        self.more |= told;
        let Some(timer) = &mut self.held else { return Some(()) };
        // A closing connection is not held.
        if self.linger.is_some() || told && !self.port.is_held() {
            self.held = None;
            self.readable.notify();
            return Some(());
        }
        while Pin::new(&mut *timer).poll(cx).is_ready() {
            if self.socket.is_reset() {
                return None;
            }
            *timer = Timer::after(RESET);
        }
        Some(())
    }

    /// Ready when the socket ended.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let conn = self.port.conn;
        let (mut ended, mut bytes) = (false, 0);
        // Frames that were read before come first.
        if !self.kept.is_empty() {
            cx.waker().wake_by_ref();
        } else {
            while let Poll::Ready(frame) = self.socket.poll_read(cx) {
                bytes += frame.bytes();
                let is_last = matches!(frame, Got::TooLarge | Got::Malformed(_) | Got::Closed(..));
                self.kept.push_back(frame);
                if is_last {
                    break;
                }
                if self.kept.len() == TURN.0 || bytes >= TURN.1 {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        let half = self.socket.half_received();
        if self.kept.is_empty() && half.abs_diff(self.told) < TOLD && (half > 0 || self.told == 0) {
            return Poll::Pending;
        }
        let (kept, told) = (&mut self.kept, &mut self.told);
        let held = self.port.with(|hub, now| {
            let mut held = false;
            while !held && let Some(frame) = kept.pop_front() {
                let input = match &frame {
                    Got::Text(text) => Input::Text { conn, text },
                    Got::Binary => Input::Binary { conn },
                    Got::Alive => Input::Alive { conn },
                    Got::TooLarge => Input::TooLarge { conn },
                    Got::Malformed(code) => Input::BadFrame { conn, code: *code },
                    Got::Closed(code, reason) => {
                        log::trace!("connection {} is closed: {code:?} {reason}", conn.0);
                        ended = true;
                        continue;
                    }
                };
                hub.handle_input(input, now);
                held = hub.is_held(conn);
            }
            let bytes = half + kept.iter().map(Got::bytes).sum::<usize>();
            if bytes.abs_diff(*told) >= TOLD || (bytes == 0 && *told > 0) {
                *told = bytes;
                hub.handle_input(Input::Buffered { conn, bytes }, now);
            }
            held
        });
        if held {
            self.held = Some(Timer::after(RESET));
        } else if self.kept.is_empty() && self.kept.capacity() > TURN.0 {
            self.kept = VecDeque::new();
        }
        if ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Writes one batch. Ready when the socket can no longer be written to.
    fn write(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        let before = self.socket.unsent();
        self.full = match self.socket.poll_flush(cx) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(_)) => return Turn::Done(()),
            Poll::Pending => true,
        };
        if self.linger.is_some() || !self.more {
            return Turn::Rest;
        }
        // A full socket accepts nothing more, but must notice a close.
        let room = if self.full { 0 } else { SENT };
        let moved = self.socket.unsent() < before;
        let full = (self.full && (moved || !self.refused)).then_some(moved);
        self.refused = self.full;
        self.more = self.port.transmit(room, full, &mut self.batch);
        if self.batch.is_empty() {
            return Turn::Rest;
        }
        if self.batch.first() == Some(&Transmit::Ping) {
            self.socket.idle(cx);
            self.readable.notify();
        }
        let linger = &mut self.linger;
        let written = &mut self.written;
        let puts = self.batch.drain(..).map(|transmit| match transmit {
            Transmit::Text(text) => {
                *written += text.len();
                Put::Text(text)
            }
            Transmit::Ping => Put::Ping,
            Transmit::Close { code, reason } => {
                *linger = Some(Timer::after(LINGER));
                Put::Close(code, reason.to_string())
            }
        });
        if self.socket.put_all(cx, puts).is_err() {
            return Turn::Done(());
        }
        if self.written >= WRITTEN {
            cx.waker().wake_by_ref();
            return Turn::Rest;
        }
        Turn::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_tungstenite::tungstenite::protocol::Role;
    use futures_lite::future::block_on;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use crate::net::ServerConfig;
    use crate::net::reactor::Socket;
    use crate::net::ws::io::Io;
    use crate::{Server, net::wake::Signal};

    /// What has come to a socket.
    fn came(socket: &mut TcpStream) -> usize {
        let (mut all, mut some) = (0, [0; 64 << 10]);
        while let Ok(n @ 1..) = socket.read(&mut some) {
            all += n;
        }
        all
    }

    #[test]
    fn one_socket_with_much_to_get_leaves_others_their_turn() {
        let listen = ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]);
        let server = Server::bind(listen).expect("a free port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        client.set_nonblocking(true).expect("open");
        let io = Io::plain(Socket::new(listener.accept().expect("one is coming").0).expect("a socket"));
        let socket = block_on(WebSocket::new(io, Vec::new(), Role::Server, 1 << 20));
        let port = Port::open(&server.inner, Some(Ipv4Addr::LOCALHOST.into()));
        server.inner.input(Input::Text { conn: port.conn, text: r#"{"type":"auth","user":"alice"}"# });
        let (count, text) = (400, "x".repeat(10_000));
        for _ in 0..count {
            let missed = server.publish(&format!(r#"{{"type":"message","to":"alice","data":"{text}"}}"#));
            assert_eq!(missed, 0);
        }
        let mut line = Connection::new(socket, port);
        let wakes = Arc::new(Signal::default());
        let waker = Waker::from(wakes.clone());
        let (mut all, mut turns) = (0, 0);
        while all < count * text.len() {
            assert!(Pin::new(&mut line).poll(&mut Context::from_waker(&waker)).is_pending());
            let some = came(&mut client);
            assert!(some <= 256 << 10, "{some} bytes in one turn");
            (all, turns) = (all + some, turns + 1);
            // The socket may be full, which the reactor tells; otherwise the line has woken itself.
            block_on(std::future::poll_fn(|cx| wakes.poll(cx)));
        }
        assert!(turns > 20, "{turns} turns");
    }
}
