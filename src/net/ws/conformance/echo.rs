//! An echo over [`WebSocket`]: uses the socket as the server's driver does, but sends messages back instead of passing
//! them to the hub. The client side works likewise, so that close codes show; `net::client` drops a connection that it
//! fails.

use std::future::poll_fn;
use std::net::TcpStream;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::tungstenite::{Error, Message};
use futures_lite::Stream;
use futures_sink::Sink;

use super::super::{Got, Put, WebSocket};
use crate::net::reactor::Socket;
use crate::net::ws::io::Io;
use crate::proto::CloseCode;

/// The largest message of the suite.
const MAX: usize = 16 << 20;

/// Ends when the socket does.
pub(super) fn serve(tcp: TcpStream, role: Role) {
    _ = tcp.set_nodelay(true);
    smol::block_on(async {
        let io = Io::plain(Socket::new(tcp).expect("a fresh socket"));
        let mut link = WebSocket::new(io, Vec::new(), role, MAX).await;
        let mut closing = false;
        poll_fn(|cx| while_open(&mut link, &mut closing, cx)).await;
    });
}

fn while_open(link: &mut WebSocket, closing: &mut bool, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if ready!(link.poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        let put = match ready!(read(link, cx)) {
            Read::Binary(message) if !*closing => link.ws().start_send(message),
            Read::Got(Got::Text(text)) if !*closing => {
                link.put_all(cx, std::iter::once(Put::Text((*text).into())))
            }
            Read::Got(Got::Malformed(code)) if !*closing => close(link, closing, code),
            Read::Got(Got::TooLarge) if !*closing => close(link, closing, CloseCode(1009)),
            Read::Got(Got::Malformed(_) | Got::TooLarge | Got::Closed(..)) => return Poll::Ready(()),
            Read::Binary(_) | Read::Got(_) => Ok(()),
        };
        if put.is_err() {
            return Poll::Ready(());
        }
    }
}

fn close(link: &mut WebSocket, closing: &mut bool, code: CloseCode) -> Result<(), Error> {
    *closing = true;
    link.put(Put::Close(code, String::new()))
}

enum Read {
    Binary(Message),
    Got(Got),
}

/// [`WebSocket::poll_read`], but keeps the content of binary messages: Symple ignores them, and [`Got::Binary`] only
/// reports that one arrived.
fn read(link: &mut WebSocket, cx: &mut Context<'_>) -> Poll<Read> {
    Poll::Ready(match ready!(link.ws().poll_next(cx)) {
        Some(Ok(message @ Message::Binary(_))) => Read::Binary(message),
        next => Read::Got(link.got(next, cx)),
    })
}
