//! One WebSocket, read and written in one task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
#[cfg(feature = "server")]
use async_tungstenite::tungstenite::protocol::Role;
#[cfg(feature = "server")]
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
#[cfg(feature = "server")]
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
#[cfg(feature = "server")]
use futures_lite::AsyncRead;
use futures_lite::Stream;
#[cfg(feature = "server")]
use futures_lite::future::block_on;
use futures_sink::Sink;

use super::io::Io;
use crate::proto::CloseCode;

#[cfg(all(test, feature = "server"))]
mod conformance;
#[cfg(all(test, feature = "server"))]
mod tests;

/// Bytes that are put on the socket in one go; tungstenite's own default is 128 KiB, a buffer that an
/// idle peer would keep.
pub(crate) const BATCH: usize = 16 << 10;

/// The buffer of tungstenite, which every connection keeps; `io` has a larger one for all. With 4 KiB an idle
/// peer cost 8.3 KB in all.
const READ: usize = 1 << 10;

/// A message for whose sake alone the library's buffer is taken anew; that costs as much as a small message.
#[cfg(feature = "server")]
const LARGE: usize = 16 << 10;

/// What is read of a frame that is refused, so that its sender hears why.
#[cfg(feature = "server")]
const MAX_DISCARD: usize = 8 << 20;

/// What came.
pub(crate) enum Got {
    Text(Utf8Bytes),
    Binary,
    /// A ping or a pong.
    Alive,
    /// A frame over the limit; nothing more can be read.
    TooLarge,
    /// No WebSocket frame, or no UTF-8 where it must be; nothing more can be read.
    Malformed(CloseCode),
    /// The end, with the close code of the other side if it sent one.
    Closed(Option<CloseCode>, String),
}

/// What goes.
pub(crate) enum Put {
    Text(Arc<str>),
    Ping,
    Close(CloseCode, String),
}

pub(crate) struct Link {
    /// Always there, but while [`Link::shrink`] makes a new one of it.
    ws: Option<WebSocketStream<Io>>,
    #[cfg(feature = "server")]
    served: Served,
}

/// What a server's side has beside.
#[cfg(feature = "server")]
#[derive(Default)]
struct Served {
    is_server: bool,
    /// The library's state is needed to its end.
    closing: bool,
    max: usize,
    /// A frame broke the protocol, and what follows has no meaning: so much of it is still read.
    discard: Option<usize>,
    /// The least that the frames took which were read.
    seen: u64,
    /// What was read besides from [`Io`].
    ahead: u64,
    /// The largest message since the library got its buffer; it keeps the room for the next such one.
    largest: usize,
}

/// Buffers and limits of a socket whose messages have at most `max` bytes.
pub(crate) fn config(max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(BATCH)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

#[cfg(feature = "server")]
impl Served {
    fn count(&mut self, message: &Message) {
        self.seen += least_frame(message.len());
        self.largest = self.largest.max(message.len());
        self.closing |= message.is_close();
    }
}

/// The least bytes of a frame with a payload of so many (RFC 6455, section 5.2), masked as a client's is.
#[cfg(feature = "server")]
fn least_frame(payload: usize) -> u64 {
    let length = match payload {
        0..=125 => 0,
        126..=65_535 => 2,
        _ => 8,
    };
    (2 + length + 4 + payload) as u64
}

/// Appends a text frame as a server sends it, without a mask.
#[cfg(feature = "server")]
fn frame(text: &str, bytes: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    header.format(text.len() as u64, bytes).expect("a vector takes all");
    bytes.extend_from_slice(text.as_bytes());
}

impl Link {
    /// A server's socket after its handshake; `read` is what came behind it.
    #[cfg(feature = "server")]
    pub async fn new(io: Io, read: Vec<u8>, role: Role, max: usize) -> Link {
        let ahead = read.len() as u64;
        let ws = WebSocketStream::from_partially_read(io, read, role, Some(config(max))).await;
        let served = Served { is_server: role == Role::Server, max, ahead, ..Served::default() };
        Link { ws: Some(ws), served }
    }

    #[cfg(feature = "client")]
    pub fn from_stream(ws: WebSocketStream<Io>) -> Link {
        Link {
            ws: Some(ws),
            #[cfg(feature = "server")]
            served: Served::default(),
        }
    }

    fn ws(&mut self) -> Pin<&mut WebSocketStream<Io>> {
        Pin::new(self.ws.as_mut().expect("shrink puts it back at once"))
    }

    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        let mut next = self.ws().poll_next(cx);
        #[cfg(feature = "server")]
        if next.is_pending() && self.served.largest > LARGE && self.shrink(cx) {
            next = self.ws().poll_next(cx);
        }
        next.map(|next| self.got(next, cx))
    }

    /// Of a connection that has said nothing for a while: gives back the room that its messages took.
    #[cfg(feature = "server")]
    pub fn idle(&mut self, cx: &mut Context<'_>) {
        if self.served.largest > READ {
            self.shrink(cx);
        }
    }

    /// Takes a new buffer in the place of the library's, which would keep its size as long as the connection
    /// lives; once nothing is in it, that is when the frames that came are all that was read. The next
    /// [`Link::poll_read`] must follow, for nobody waits for the socket any more. False where it is not time yet.
    #[cfg(feature = "server")]
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

    fn got(&mut self, next: Option<Result<Message, Error>>, cx: &mut Context<'_>) -> Got {
        #[cfg(feature = "server")]
        if let Some(Ok(message)) = &next {
            self.served.count(message);
        }
        let got = match next {
            None => Got::Closed(None, String::new()),
            Some(Ok(Message::Text(text))) => Got::Text(text),
            Some(Ok(Message::Binary(_))) => Got::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Got::Alive,
            Some(Ok(Message::Close(frame))) => {
                // The answer to it waits in the buffer; what the socket takes now is enough.
                _ = self.poll_flush(cx);
                let (code, reason) = frame.map(|f| (CloseCode(f.code.into()), f.reason.to_string())).unzip();
                Got::Closed(code, reason.unwrap_or_default())
            }
            Some(Err(Error::Capacity(_))) => Got::TooLarge,
            Some(Err(Error::Utf8(_))) => Got::Malformed(CloseCode(1007)),
            Some(Err(Error::Protocol(
                async_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ))) => Got::Closed(None, String::new()),
            Some(Err(Error::Protocol(_))) => Got::Malformed(CloseCode(1002)),
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => Got::Closed(None, String::new()),
            Some(Err(e)) => Got::Closed(None, e.to_string()),
        };
        #[cfg(feature = "server")]
        if matches!(got, Got::TooLarge | Got::Malformed(_)) {
            self.served.discard = Some(MAX_DISCARD);
        }
        got
    }

    /// Reads what still comes after our close and forgets it; `None` at its end. A socket that is dropped
    /// with unread bytes is reset, and the reset may overtake our close.
    #[cfg(feature = "server")]
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(left) = self.served.discard else {
            return self.poll_read(cx).map(|got| (!matches!(got, Got::Closed(..))).then_some(()));
        };
        let mut scrap = [0; 4096];
        let n = ready!(Pin::new(self.ws().get_mut().get_mut()).poll_read(cx, &mut scrap)).unwrap_or(0);
        self.served.discard = Some(left.saturating_sub(n));
        Poll::Ready((n > 0 && left > n).then_some(()))
    }

    /// Puts messages on the socket, or what of them it does not take behind it. To be called when
    /// [`Link::poll_flush`] was ready, and then for at most about [`BATCH`] bytes.
    #[cfg(feature = "server")]
    pub fn put_all(&mut self, cx: &mut Context<'_>, puts: impl Iterator<Item = Put>) -> Result<(), Error> {
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

    /// Puts one message into the buffer. To be called when [`Link::poll_flush`] was ready, and then for at
    /// most about [`BATCH`] bytes.
    pub fn put(&mut self, put: Put) -> Result<(), Error> {
        let message = match put {
            Put::Text(text) => Message::Text((&*text).into()),
            Put::Ping => Message::Ping(Bytes::new()),
            Put::Close(code, reason) => {
                #[cfg(feature = "server")]
                {
                    self.served.closing = true;
                }
                Message::Close(Some(CloseFrame { code: code.0.into(), reason: reason.into() }))
            }
        };
        self.ws().start_send(message)
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.ws().poll_flush(cx)
    }
}
