//! A server's side of a [`WebSocket`], of which there are many: it keeps no room that it does not need.

use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::{Error, Message};
use futures_lite::AsyncRead;
use futures_lite::future::block_on;

use super::{Got, Io, Pin, Put, READ, WebSocket, config};

/// A message for whose sake alone the library's buffer is taken anew; that costs as much as a small message.
pub(super) const LARGE: usize = 16 << 10;

/// What is read of a frame that is refused, so that its sender hears why.
const MAX_DISCARD: usize = 8 << 20;

/// What a server's side has beside.
#[derive(Default)]
pub(super) struct Served {
    is_server: bool,
    /// The library's state is needed to its end.
    closing: bool,
    max: usize,
    /// A frame broke the protocol, and what follows has no meaning: so much of it is still read.
    discard: Option<usize>,
    /// The least that the frames took which were read.
    seen: u64,
    /// What had been read from [`Io`] when the last message was whole.
    pub(super) whole: u64,
    /// What was read besides from [`Io`].
    ahead: u64,
    /// The largest message since the library got its buffer; it keeps the room for the next such one.
    pub(super) largest: usize,
}

impl Served {
    /// What was read.
    pub(super) fn count(&mut self, message: &Message) {
        self.seen += least_frame(message.len());
        self.largest = self.largest.max(message.len());
        self.closing |= message.is_close();
    }

    /// Nothing more can be read that makes sense.
    pub(super) fn breaks(&mut self) {
        self.discard = Some(MAX_DISCARD);
    }

    /// We have begun to close.
    pub(super) fn closes(&mut self) {
        self.closing = true;
    }
}

/// The least bytes of a frame with a payload of so many (RFC 6455, section 5.2), masked as a client's is.
fn least_frame(payload: usize) -> u64 {
    let length = match payload {
        0..=125 => 0,
        126..=65_535 => 2,
        _ => 8,
    };
    (2 + length + 4 + payload) as u64
}

/// Appends a text frame as a server sends it, without a mask.
fn frame(text: &str, bytes: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    header.format(text.len() as u64, bytes).expect("a vector takes all");
    bytes.extend_from_slice(text.as_bytes());
}

impl WebSocket {
    /// A server's socket after its handshake; `read` is what came behind it.
    pub(crate) async fn new(io: Io, read: Vec<u8>, role: Role, max: usize) -> WebSocket {
        let ahead = read.len() as u64;
        let ws = WebSocketStream::from_partially_read(io, read, role, Some(config(max))).await;
        let served = Served { is_server: role == Role::Server, max, ahead, ..Served::default() };
        WebSocket { ws: Some(ws), served }
    }

    /// After a large message at once. True where it was done.
    pub(super) fn shrink_at_once(&mut self, cx: &mut Context<'_>) -> bool {
        self.served.largest > LARGE && self.shrink(cx)
    }

    /// Of a connection that has said nothing for a while: gives back the room that its messages took.
    pub(crate) fn idle(&mut self, cx: &mut Context<'_>) {
        if self.served.largest > READ {
            self.shrink(cx);
        }
    }

    /// Bytes of a message that is not whole yet, to within the library's buffer.
    pub(crate) fn half_received(&mut self) -> usize {
        let bytes = self.ws().get_ref().given() - self.served.whole;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn unsent(&mut self) -> usize {
        self.ws().get_ref().unsent()
    }

    /// Whether the socket was reset, which nobody hears of who does not read.
    pub(crate) fn is_reset(&mut self) -> bool {
        self.ws().get_ref().is_reset()
    }

    /// Takes a new buffer in the place of the library's, which would keep its size as long as the connection
    /// lives; once nothing is in it, that is when the frames that came are all that was read. The next
    /// [`WebSocket::poll_read`] must follow, for nobody waits for the socket any more. False where it is not time yet.
    fn shrink(&mut self, cx: &mut Context<'_>) -> bool {
        let Served { is_server, closing, max, seen, ahead, .. } = self.served;
        let empty = is_server && !closing && self.ws().get_ref().given() + ahead == seen;
        if !empty || !matches!(self.poll_flush(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.served.largest = 0;
        let io = self.ws.take().map(WebSocketStream::into_inner);
        // There is no handshake to wait for.
        self.ws =
            io.map(|io| block_on(WebSocketStream::from_raw_socket(io, Role::Server, Some(config(max)))));
        true
    }

    /// Reads what still comes after our close and forgets it; `None` at its end. A socket that is dropped
    /// with unread bytes is reset, and the reset may overtake our close.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(left) = self.served.discard else {
            return self.poll_read(cx).map(|got| (!matches!(got, Got::Closed(..))).then_some(()));
        };
        let mut scrap = [0; 4096];
        let n = ready!(Pin::new(self.ws().get_mut().get_mut()).poll_read(cx, &mut scrap)).unwrap_or(0);
        self.served.discard = Some(left.saturating_sub(n));
        Poll::Ready((n > 0 && left > n).then_some(()))
    }

    /// Puts messages on the socket, or what of them it does not take behind it. To be called when
    /// [`WebSocket::poll_flush`] was ready, and then for at most about [`BATCH`] bytes.
    pub(crate) fn put_all(
        &mut self,
        cx: &mut Context<'_>,
        puts: impl Iterator<Item = Put>,
    ) -> Result<(), Error> {
        let mut puts = puts.peekable();
        while puts.peek().is_some() {
            // Written by us, for the library copies each text into a buffer of the connection's, and keeps that.
            if self.served.is_server {
                let io = self.ws().get_mut().get_mut();
                io.send(cx, |bytes| {
                    while let Some(Put::Text(text)) = puts.next_if(|put| matches!(put, Put::Text(_))) {
                        frame(&text, bytes);
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
