//! One WebSocket, read and written in one task.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
#[cfg(feature = "server")]
use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
#[cfg(feature = "server")]
use futures_lite::AsyncRead;
use futures_lite::Stream;
use futures_sink::Sink;

use super::io::Io;
use crate::proto::CloseCode;

#[cfg(all(test, feature = "server"))]
mod conformance;

/// Bytes that are put on the socket in one go; tungstenite's own default is 128 KiB, a buffer that an
/// idle peer would keep.
pub(crate) const BATCH: usize = 16 << 10;

/// The buffer of tungstenite, which every connection keeps; `io` has a larger one for all. With 4 KiB an idle
/// peer cost 8.3 KB in all.
const READ: usize = 1 << 10;

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
    Text(Text),
    Ping,
    Close(CloseCode, String),
}

/// A text that all recipients share.
pub(crate) struct Text(Arc<str>);

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Text {
        Text(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text.into())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

pub(crate) struct Link {
    ws: WebSocketStream<Io>,
    /// A frame broke the protocol, and what follows has no meaning: so much of it is still read.
    #[cfg(feature = "server")]
    discard: Option<usize>,
}

/// Buffers and limits of a socket whose messages have at most `max` bytes.
pub(crate) fn config(max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(BATCH)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

impl Link {
    /// A socket after its handshake; `read` is what came behind it.
    #[cfg(feature = "server")]
    pub async fn new(io: Io, read: Vec<u8>, role: Role, max: usize) -> Link {
        Link {
            ws: WebSocketStream::from_partially_read(io, read, role, Some(config(max))).await,
            discard: None,
        }
    }

    #[cfg(feature = "client")]
    pub fn from_stream(ws: WebSocketStream<Io>) -> Link {
        Link {
            ws,
            #[cfg(feature = "server")]
            discard: None,
        }
    }

    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        let next = ready!(Pin::new(&mut self.ws).poll_next(cx));
        Poll::Ready(self.got(next, cx))
    }

    fn got(&mut self, next: Option<Result<Message, Error>>, cx: &mut Context<'_>) -> Got {
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
            self.discard = Some(MAX_DISCARD);
        }
        got
    }

    /// Reads what still comes after our close and forgets it; `None` at its end. A socket that is dropped
    /// with unread bytes is reset, and the reset may overtake our close.
    #[cfg(feature = "server")]
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(left) = self.discard else {
            return self.poll_read(cx).map(|got| (!matches!(got, Got::Closed(..))).then_some(()));
        };
        let mut scrap = [0; 4096];
        let n = ready!(Pin::new(self.ws.get_mut()).poll_read(cx, &mut scrap)).unwrap_or(0);
        self.discard = Some(left.saturating_sub(n));
        Poll::Ready((n > 0 && left > n).then_some(()))
    }

    /// Puts one message into the buffer. To be called when [`Link::poll_flush`] was ready, and then for at
    /// most about [`BATCH`] bytes.
    pub fn put(&mut self, put: Put) -> Result<(), Error> {
        let message = match put {
            // As a frame: a `Message::Text` would be asked for its UTF-8 again for each recipient.
            Put::Text(text) => {
                Message::Frame(Frame::message(Bytes::from_owner(text), OpCode::Data(Data::Text), true))
            }
            Put::Ping => Message::Ping(Bytes::new()),
            Put::Close(code, reason) => {
                Message::Close(Some(CloseFrame { code: code.0.into(), reason: reason.into() }))
            }
        };
        Pin::new(&mut self.ws).start_send(message)
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.ws).poll_flush(cx)
    }
}
