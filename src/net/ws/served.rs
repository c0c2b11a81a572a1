//! A server's side of a [`WebSocket`]. There are many of them, so it frees memory that it does not need.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::{Error, Message};
use futures_lite::AsyncRead;
use futures_lite::future::block_on;

use super::io::Io;
use super::socket::READ;
use super::{Got, Put, WebSocket, config};

/// Bytes written to the socket in one call. With more, the system does less for each byte: 2,000 peers that join one
/// room get 586 MB.
pub(crate) const SENT: usize = 64 << 10;

/// A larger message has the library's buffer replaced at once, which costs as much as a small message.
pub(super) const LARGE: usize = 16 << 10;

/// How much to read of a refused frame, so that its sender receives the reason.
const MAX_DISCARD: usize = 8 << 20;

/// The state of a server's side.
#[derive(Default)]
pub(super) struct Served {
    is_server: bool,
    /// The library must be kept until the end.
    closing: bool,
    max: usize,
    /// A frame violated the protocol, so the bytes after it have no meaning; this many of them are still read.
    discard: Option<usize>,
    /// The minimum size of the frames that were read.
    seen: u64,
    /// The bytes read from [`Io`] when the last message was complete.
    pub(super) whole: u64,
    /// Bytes that were read before, and not from [`Io`].
    ahead: u64,
    /// The largest message since the library's buffer was created; the library keeps that capacity.
    pub(super) largest: usize,
}

impl Served {
    /// A message was read.
    pub(super) fn count(&mut self, message: &Message) {
        self.seen += least_frame(message.len());
        self.largest = self.largest.max(message.len());
        self.closing |= message.is_close();
    }

    /// Nothing meaningful can be read any more.
    pub(super) fn breaks(&mut self) {
        self.discard = Some(MAX_DISCARD);
    }

    /// We have begun to close.
    pub(super) fn closes(&mut self) {
        self.closing = true;
    }
}

/// The minimum size of a masked frame with a payload of this size (RFC 6455, section 5.2).
fn least_frame(payload: usize) -> u64 {
    let length = match payload {
        0..=125 => 0,
        126..=65_535 => 2,
        _ => 8,
    };
    (2 + length + 4 + payload) as u64
}

/// Appends the head of a text frame as a server sends it, without a mask.
fn head(length: usize, bytes: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    header.format(length as u64, bytes).expect("a vector takes all");
}

impl WebSocket {
    /// A server's socket after its handshake; `read` is what was received after the handshake.
    pub(crate) async fn new(io: Io, read: Vec<u8>, role: Role, max: usize) -> WebSocket {
        let ahead = read.len() as u64;
        let ws = WebSocketStream::from_partially_read(io, read, role, Some(config(max))).await;
        let served = Served { is_server: role == Role::Server, max, ahead, ..Served::default() };
        WebSocket { ws: Some(ws), served }
    }

    /// After a large message: frees its memory at once. Returns whether it did.
    pub(super) fn shrink_at_once(&mut self, cx: &mut Context<'_>) -> bool {
        self.served.largest > LARGE && self.shrink(cx)
    }

    /// When a connection has been silent for a while: frees the memory of its messages.
    pub(crate) fn idle(&mut self, cx: &mut Context<'_>) {
        if self.served.largest > READ {
            self.shrink(cx);
        }
    }

    /// Bytes of an incomplete message, to within the library's buffer.
    pub(crate) fn half_received(&mut self) -> usize {
        let bytes = self.ws().get_ref().given() - self.served.whole;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Bytes that the socket has not accepted yet.
    pub(crate) fn unsent(&mut self) -> usize {
        self.ws().get_ref().unsent()
    }

    /// Whether the socket was reset. Without reading, only this reveals it.
    pub(crate) fn is_reset(&mut self) -> bool {
        self.ws().get_ref().is_reset()
    }

    /// Replaces the library's buffer, which would keep its capacity as long as the connection lives. The buffer must be
    /// empty, which is the case when the received frames account for all bytes read. Call [`WebSocket::poll_read`]
    /// next, since no task is registered for the socket any more. Returns false if it cannot be replaced yet.
    fn shrink(&mut self, cx: &mut Context<'_>) -> bool {
        let Served { is_server, closing, max, seen, ahead, .. } = self.served;
        let empty = is_server && !closing && self.ws().get_ref().given() + ahead == seen;
        if !empty || !matches!(self.poll_flush(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.served.largest = 0;
        let io = self.ws.take().map(WebSocketStream::into_inner);
        // No handshake is pending, so this does not block.
        self.ws =
            io.map(|io| block_on(WebSocketStream::from_raw_socket(io, Role::Server, Some(config(max)))));
        true
    }

    /// Reads and discards what still comes after our close; `None` at its end. A socket that is dropped with unread
    /// bytes is reset, and the reset may overtake our close.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(left) = self.served.discard else {
            return self.poll_read(cx).map(|got| (!matches!(got, Got::Closed(..))).then_some(()));
        };
        let mut scrap = [0; 4096];
        let n = ready!(Pin::new(self.ws().get_mut().get_mut()).poll_read(cx, &mut scrap)).unwrap_or(0);
        self.served.discard = Some(left.saturating_sub(n));
        Poll::Ready((n > 0 && left > n).then_some(()))
    }

    /// Writes messages to the socket, and buffers what it does not accept. Call it when [`WebSocket::poll_flush`] was
    /// ready, and then for at most about [`SENT`] bytes.
    pub(crate) fn put_all(
        &mut self,
        cx: &mut Context<'_>,
        puts: impl Iterator<Item = Put>,
    ) -> Result<(), Error> {
        let mut puts = puts.peekable();
        while puts.peek().is_some() {
            // The frames are built here, since the library copies each text into a buffer of the connection, and keeps
            // it.
            if self.served.is_server {
                let io = self.ws().get_mut().get_mut();
                io.send(cx, |outgoing| {
                    while let Some(Put::Text(text)) = puts.next_if(|put| matches!(put, Put::Text(_))) {
                        let length = text.len();
                        outgoing.text(text, |bytes| head(length, bytes));
                    }
                })?;
            }
            if let Some(put) = puts.next() {
                self.put(put)?;
            }
        }
        Ok(())
    }
}
