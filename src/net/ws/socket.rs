//! One WebSocket, read and written in one task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use futures_lite::Stream;
use futures_sink::Sink;

use super::io::Io;
#[cfg(feature = "server")]
use super::{served, size_limit};
use crate::proto::CloseCode;

/// Bytes to write to the socket at once; tungstenite's own default is 128 KiB, a buffer that an idle peer would keep.
pub(crate) const BATCH: usize = 16 << 10;

/// The buffer of tungstenite, which every connection keeps; `io` has a larger one for all. With 4 KiB, an idle peer
/// needed 8.3 KB in total.
pub(super) const READ: usize = 1 << 10;

/// An incoming message or event.
pub(crate) enum Got {
    Text(Utf8Bytes),
    Binary,
    /// A ping or a pong.
    Alive,
    /// A frame over the limit; nothing more can be read.
    TooLarge,
    /// Not a WebSocket frame, or invalid UTF-8 in a text; nothing more can be read.
    Malformed(CloseCode),
    /// The end, with the close code of the other side if it sent one.
    Closed(Option<CloseCode>, String),
}

impl Got {
    /// The size of its content in bytes.
    #[cfg(feature = "server")]
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Got::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// An outgoing message.
pub(crate) enum Put {
    Text(Arc<str>),
    Ping,
    Close(CloseCode, String),
}

pub(crate) struct WebSocket {
    /// Always present, except while [`WebSocket::shrink`] replaces it.
    pub(super) ws: Option<WebSocketStream<Io>>,
    #[cfg(feature = "server")]
    pub(super) served: served::Served,
}

/// Buffers and limits of a socket for messages of at most `max` bytes.
pub(crate) fn config(max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(BATCH)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

impl WebSocket {
    #[cfg(feature = "client")]
    pub(crate) fn from_stream(ws: WebSocketStream<Io>) -> WebSocket {
        WebSocket {
            ws: Some(ws),
            #[cfg(feature = "server")]
            served: served::Served::default(),
        }
    }

    pub(super) fn ws(&mut self) -> Pin<&mut WebSocketStream<Io>> {
        Pin::new(self.ws.as_mut().expect("shrink puts it back at once"))
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        let next = self.ws().poll_next(cx);
        #[cfg(feature = "server")]
        let next = if next.is_pending() && self.shrink_at_once(cx) { self.ws().poll_next(cx) } else { next };
        next.map(|next| self.got(next, cx))
    }

    pub(super) fn got(&mut self, next: Option<Result<Message, Error>>, cx: &mut Context<'_>) -> Got {
        #[cfg(feature = "server")]
        if let Some(Ok(message)) = &next {
            self.served.count(message);
            self.served.whole = self.ws().get_ref().given();
        }
        let got = match next {
            None => Got::Closed(None, String::new()),
            Some(Ok(Message::Text(text))) => Got::Text(text),
            Some(Ok(Message::Binary(_))) => Got::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Got::Alive,
            Some(Ok(Message::Close(frame))) => {
                // The reply is in the buffer; sending what the socket accepts now is enough.
                _ = self.poll_flush(cx);
                let (code, reason) = frame.map(|f| (CloseCode(f.code.into()), f.reason.to_string())).unzip();
                Got::Closed(code, reason.unwrap_or_default())
            }
            Some(Err(Error::Capacity(_))) => Got::TooLarge,
            #[cfg(feature = "server")]
            Some(Err(Error::Io(e))) if e.get_ref().is_some_and(|e| e.is::<size_limit::TooLarge>()) => {
                Got::TooLarge
            }
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
            self.served.breaks();
        }
        got
    }

    /// Puts one message into the buffer. Call it when [`WebSocket::poll_flush`] was ready, and then for at most about
    /// [`BATCH`] bytes.
    pub(crate) fn put(&mut self, put: Put) -> Result<(), Error> {
        let message = match put {
            Put::Text(text) => Message::Text((&*text).into()),
            Put::Ping => Message::Ping(Bytes::new()),
            Put::Close(code, reason) => {
                #[cfg(feature = "server")]
                self.served.closes();
                Message::Close(Some(CloseFrame { code: code.0.into(), reason: reason.into() }))
            }
        };
        self.ws().start_send(message)
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.ws().poll_flush(cx)
    }
}
