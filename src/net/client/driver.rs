//! The client's driver: one future that connects, reads, writes, keeps time and delivers events.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt;

use super::{ClientEvent, Inner, Way};
use crate::client::{Event, Input, Output};
use crate::net::event_loop::{self, Turn};
use crate::net::lock;
use crate::net::time::Alarm;
use crate::net::ws::{BATCH, Got, Put, WebSocket};
use crate::proto::CloseCode;

/// How long the close frame may take to leave.
const LINGER: Duration = Duration::from_secs(1);

/// The only running driver of a client. Dropping it drops the connection.
pub(super) struct Running(Arc<Inner>);

impl Running {
    pub(super) fn begin(inner: &Arc<Inner>) -> Option<Running> {
        (!inner.running.swap(true, Ordering::AcqRel)).then(|| Running(inner.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.input(Input::Closed { code: None, reason: "the driver stopped" });
        // No event wakes these tasks.
        let wakers = std::mem::take(&mut *lock(&self.0.waiting));
        let awaiting = std::mem::take(&mut *lock(&self.0.awaiting));
        wakers.into_iter().chain(awaiting.into_values()).for_each(Waker::wake);
        self.0.running.store(false, Ordering::Release);
    }
}

/// The state of the connection.
enum Connection {
    Dialling(Pin<Box<dyn Future<Output = Result<WebSocket, String>> + Send>>),
    Socket(Box<WebSocket>),
    #[cfg(feature = "server")]
    Local(Local),
}

/// Why a connection ended.
type Closed = (Option<CloseCode>, String);

/// A connection to a server in this process.
#[cfg(feature = "server")]
struct Local {
    port: crate::net::server::Port,
    batch: Vec<crate::server::Transmit>,
    opened: bool,
    /// The hub accepts nothing from it, because a recipient's queue is full.
    held: bool,
}

#[cfg(feature = "server")]
impl Local {
    fn exchange(
        &mut self,
        inner: &Inner,
        out: &mut VecDeque<Put>,
        cx: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        use crate::server::Transmit;
        let mut any = !std::mem::replace(&mut self.opened, true);
        if any {
            inner.input(Input::Opened);
        }
        if self.port.signal.take(cx) {
            self.held = self.held && self.port.is_held();
        }
        while !self.held
            && let Some(put) = out.pop_front()
        {
            any = true;
            match put {
                Put::Text(text) => self.held = self.port.send(&text),
                // A connection in this process is answered at once.
                Put::Ping => inner.input(Input::Alive),
                Put::Close(..) => {}
            }
        }
        self.port.transmit(BATCH, None, &mut self.batch);
        for transmit in self.batch.drain(..) {
            any = true;
            match transmit {
                Transmit::Text(text) => inner.input(Input::Text(&text)),
                Transmit::Ping => inner.input(Input::Alive),
                Transmit::Close { code, reason } => return Err((Some(code), reason.to_string())),
            }
        }
        Ok(any)
    }
}

/// A socket that is being closed, and still sends its close frame.
struct Goodbye {
    socket: Box<WebSocket>,
    out: VecDeque<Put>,
    alarm: Alarm,
}

pub(super) struct Driver {
    pub(super) inner: Arc<Inner>,
    line: Option<Connection>,
    out: VecDeque<Put>,
    /// The connection does not accept all of that at the moment, and the core knows.
    full: bool,
    alarm: Alarm,
    goodbye: Option<Goodbye>,
    ended: bool,
}

impl Driver {
    pub(super) fn new(inner: Arc<Inner>) -> Driver {
        Driver {
            inner,
            line: None,
            out: VecDeque::new(),
            full: false,
            alarm: Alarm::unset(),
            goodbye: None,
            ended: false,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        self.drain();
        let mut any = self.inner.events.poll(cx).is_ready();
        any |= self.inner.changed.poll(cx).is_ready();
        any |= self.poll_alarm(cx);
        any |= self.poll_line(cx);
        any |= self.tell_fullness();
        self.poll_goodbye(cx);
        if self.ended && self.goodbye.is_none() {
            while self.inner.events.poll(cx).is_ready() {}
            return Turn::Done(());
        }
        Turn::after(any)
    }

    fn input(&self, input: Input<'_>) {
        self.inner.input(input);
    }

    /// Executes all outputs of the core.
    fn drain(&mut self) {
        let inner = self.inner.clone();
        let mut wakers = Vec::new();
        loop {
            // Events are delivered without a lock.
            let output = lock(&inner.agent).poll_output();
            match output {
                Output::Open => self.line = Some(self.open()),
                Output::Send(text) => self.out.push_back(Put::Text(text.into())),
                Output::Ping => self.out.push_back(Put::Ping),
                Output::Close { code, reason } => self.hang_up(code, reason),
                Output::Event(event) => {
                    if matches!(event, Event::Ended { .. }) {
                        self.ended = true;
                    }
                    #[cfg(any(feature = "camera", feature = "calls"))]
                    inner.hook.call(&event);
                    inner.events.push(ClientEvent::Event { event });
                }
                Output::Answered(id) => wakers.extend(lock(&inner.awaiting).remove(&id)),
                Output::Timeout(at) => {
                    self.alarm.set(at);
                    break;
                }
            }
        }
        let agent = lock(&inner.agent);
        if agent.has_room() != Ok(false) {
            wakers.append(&mut lock(&inner.waiting));
        }
        drop(agent);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drops the connection; a socket may still send what is queued and the close.
    fn hang_up(&mut self, code: CloseCode, reason: &'static str) {
        let mut out = std::mem::take(&mut self.out);
        match self.line.take() {
            Some(Connection::Socket(socket)) => {
                out.push_back(Put::Close(code, reason.into()));
                self.goodbye = Some(Goodbye { socket, out, alarm: Alarm::after(LINGER) });
            }
            #[cfg(feature = "server")]
            Some(Connection::Local(local)) => {
                for put in out {
                    if let Put::Text(text) = put {
                        _ = local.port.send(&text);
                    }
                }
            }
            _ => {}
        }
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) {
        let Some(Goodbye { socket, out, alarm }) = &mut self.goodbye else { return };
        let written = Self::write(socket, out, cx);
        // Read until nothing is left: otherwise no wake-up follows for the answer after it.
        let answered = event_loop::poll(cx, |cx| match socket.poll_read(cx) {
            Poll::Ready(Got::Closed(..) | Got::TooLarge | Got::Malformed(_)) => Turn::Done(()),
            Poll::Ready(_) => Turn::Again,
            Poll::Pending => Turn::Rest,
        });
        if written.is_err() || answered.is_ready() || alarm.poll(cx).is_ready() {
            self.goodbye = None;
        }
    }

    /// Tells the core whether its messages are being sent, so that they wait there, within its limit. Returns whether
    /// that has changed.
    fn tell_fullness(&mut self) -> bool {
        let full = !self.out.is_empty();
        if full == self.full {
            return false;
        }
        self.full = full;
        self.input(if full { Input::Full } else { Input::Writable });
        true
    }

    fn open(&mut self) -> Connection {
        self.out.clear();
        self.full = false;
        match &self.inner.way {
            Way::Dial(dialer) => Connection::Dialling(lock(dialer).clone().dial().boxed()),
            #[cfg(feature = "server")]
            Way::Local(server) => Connection::Local(Local {
                port: crate::net::server::Port::open(server, None),
                batch: Vec::new(),
                opened: false,
                held: false,
            }),
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.alarm.poll(cx).is_ready();
        if due {
            self.input(Input::Timeout);
        }
        due
    }

    /// Whether anything happened.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> bool {
        let result = match &mut self.line {
            None => return false,
            Some(Connection::Dialling(dial)) => match dial.poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(socket)) => {
                    self.line = Some(Connection::Socket(Box::new(socket)));
                    self.input(Input::Opened);
                    return true;
                }
                Poll::Ready(Err(reason)) => {
                    self.line = None;
                    self.input(Input::OpenFailed { reason: &reason });
                    return true;
                }
            },
            Some(Connection::Socket(socket)) => Self::read(&self.inner, socket, cx)
                .and_then(|read| Ok(Self::write(socket, &mut self.out, cx)? | read)),
            #[cfg(feature = "server")]
            Some(Connection::Local(local)) => local.exchange(&self.inner, &mut self.out, cx),
        };
        result.unwrap_or_else(|(code, reason)| {
            self.line = None;
            self.out.clear();
            self.input(Input::Closed { code, reason: &reason });
            true
        })
    }

    fn read(inner: &Inner, socket: &mut WebSocket, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let Poll::Ready(got) = socket.poll_read(cx) else { return Ok(false) };
        match got {
            Got::Text(text) => inner.input(Input::Text(&text)),
            Got::Binary | Got::Alive => inner.input(Input::Alive),
            Got::Closed(code, reason) => return Err((code, reason)),
            Got::TooLarge => return Err((None, "the server sent a message that is too large".into())),
            Got::Malformed(code) => {
                return Err((
                    None,
                    format!("the server violated the WebSocket protocol (close code {code})"),
                ));
            }
        }
        Ok(true)
    }

    fn write(socket: &mut WebSocket, out: &mut VecDeque<Put>, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let failed = |e: async_tungstenite::tungstenite::Error| (None, e.to_string());
        let mut any = false;
        loop {
            match socket.poll_flush(cx) {
                Poll::Pending => return Ok(any),
                Poll::Ready(result) => result.map_err(failed)?,
            }
            if out.is_empty() {
                return Ok(any);
            }
            let mut room = BATCH as isize;
            while room > 0
                && let Some(put) = out.pop_front()
            {
                room -= if let Put::Text(text) = &put { text.len() as isize } else { 8 };
                socket.put(put).map_err(failed)?;
                any = true;
            }
        }
    }
}
