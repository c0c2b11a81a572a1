//! The client, sans-IO: connect, authenticate, keep a roster, join rooms, reconnect after a loss.
//!
//! ```text
//!            connect()            Opened                     welcome
//!     Idle ───────────► Opening ────────► Authenticating ─────────────► Online
//!                        ▲   │                 │                          │
//!             the wait   │   │ OpenFailed,     │ error, Closed,           │ Closed, silence
//!             is over,   │   │ Closed, too     │ too late                 │
//!             connect()  │   ▼ late            ▼                          │
//!                       Waiting { until } ◄────┴──────────────────────────┘
//!                            │
//!                            │  error 401, close(), max_attempts: from any state
//!                            ▼
//!                          Ended ──── connect() ────► Opening
//! ```
//!
//! One loop drives an [`Agent`]: one input, or one command of the application, then [`Agent::poll_output`]
//! until it returns [`Output::Timeout`]. It reads no clock and opens no socket.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use symple::client::{Agent, Config, Event, Input, Output, State};
//! use symple::proto::{CloseCode, Draft, MessageKind};
//!
//! fn drain(agent: &mut Agent) -> Vec<Output> {
//!     std::iter::from_fn(|| Some(agent.poll_output()).filter(|o| !matches!(o, Output::Timeout(_)))).collect()
//! }
//!
//! let now = Instant::now();
//! let mut agent = Agent::new(Config::new("alice"), 7, now);
//! assert_eq!(agent.state(), State::Idle);
//!
//! agent.connect(now);
//! assert_eq!(agent.state(), State::Opening);
//! assert_eq!(drain(&mut agent), [Output::Open]); // the driver dials
//!
//! agent.handle_input(Input::Opened, now);
//! assert_eq!(agent.state(), State::Authenticating);
//! assert_eq!(drain(&mut agent), [Output::Send(
//!     r#"{"type":"auth","user":"alice","accept":["presence:batch"]}"#.into(),
//! )]);
//!
//! let welcome = r#"{"type":"welcome","status":200,"peer":{"id":"9f","user":"alice","online":true},"rooms":["alice"]}"#;
//! agent.handle_input(Input::Text(welcome), now);
//! assert_eq!(agent.state(), State::Online);
//! let out = drain(&mut agent);
//! assert!(matches!(&out[0], Output::Event(Event::Online { rooms, .. }) if rooms == &["alice"]));
//! assert!(matches!(&out[1], Output::Send(text) if text.contains("\"probe\":true")));
//! agent.send(Draft::new(MessageKind::Message).to("bob").data("hello"), now)?;
//! assert!(matches!(&drain(&mut agent)[..], [Output::Send(_)]));
//!
//! // The connection breaks: wait, then dial again.
//! agent.handle_input(Input::Closed { code: Some(CloseCode::GOING_AWAY), reason: "" }, now);
//! let State::Waiting { until } = agent.state() else { panic!("it waits") };
//! assert!(until <= now + Duration::from_millis(500));
//! drain(&mut agent);
//! agent.handle_input(Input::Timeout, until);
//! assert_eq!(agent.state(), State::Opening);
//!
//! // A refusal is final.
//! agent.handle_input(Input::Opened, until);
//! agent.handle_input(Input::Text(r#"{"type":"error","status":401,"message":"No session"}"#), until);
//! assert_eq!(agent.state(), State::Ended);
//! # Ok::<(), symple::client::SendError>(())
//! ```
//!
//! # The driver's part
//! - After [`Output::Open`] it dials, then reports [`Input::Opened`] or [`Input::OpenFailed`]. One socket at
//!   a time.
//! - After [`Output::Close`] it forgets the socket, connected or not: nothing from that socket is an input
//!   any more. Do not wait for a peer that does not answer a close.
//! - Every frame, ping and pong is an input. Take what goes out from `poll_output` only when the socket can
//!   accept it, so that waiting messages stay here, where they are counted.
//!
//! # Reconnecting
//! | what ended the session | what happens next |
//! |---|---|
//! | `error` 401, before `welcome` or after | it ends: the same credentials would be refused again |
//! | `error` 503, 400, 403 and others instead of `welcome`; close 1002, 1003, 1007, 1010, 1013 | the longest wait: the server is full, or does not understand us |
//! | `error` 408, 429, 500 instead of `welcome`; any other close (1001, 1008 too slow, 1009, 1011), no close frame, silence | the next wait, [`next_delay`]; after a session of 10 s the waits start from the shortest again |
//!
//! It never gives up unless [`Config::max_attempts`] is set, and it retries the first connect too.
//!
//! # Awaiting an answer
//! [`Agent::request`] is a command, and [`Agent::deliver`] a message, whose answer is kept until
//! [`Agent::take_answer`] takes it; [`Output::Answered`] tells the driver that it is there. At most
//! [`Config::max_commands`] are kept, answered or not.
//!
//! # What survives a reconnect
//! Our presence data, the rooms that [`Agent::join`] requested and those that [`Agent::leave`] left, and the
//! roster: peers not seen again soon after the new `welcome` are removed, the others do not flicker. Messages
//! do not survive: one that was accepted may be lost with its connection (a receipt confirms delivery), and
//! [`Event::Offline`] counts those that were never sent. Our address changes with each `welcome`.
//!
//! Out of scope: calls (the `call` layer, fed with [`Event::Message`]), TLS and sockets (`net`).

mod agent;
mod answers;
mod backoff;
mod commands;
mod config;
mod incoming;
mod io;
mod outgoing;
mod pacing;
mod rooms;
mod roster;

pub use agent::{Agent, State};
#[cfg(feature = "calls")]
pub(crate) use answers::judged;
pub use answers::{AnswerId, RequestError};
pub use backoff::next_delay;
pub use commands::{CommandError, CommandId};
pub use config::Config;
pub use io::{End, Event, Input, Output, SendError};
