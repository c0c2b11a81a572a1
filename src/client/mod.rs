//! The client, sans-IO: connect, authenticate, know who is there, be in rooms, come back after a loss.
//!
//! ```text
//!            connect()            Opened                     welcome
//!     Idle ───────────► Opening ────────► Authenticating ─────────────► Online
//!                        ▲   │                 │                          │
//!             the wait   │   │ OpenFailed,     │ error, Closed,           │ Closed, nothing heard,
//!             is over,   │   │ Closed, too     │ too late                 │ no wish to go on
//!             connect()  │   ▼ late            ▼                          │
//!                       Waiting { until } ◄────┴──────────────────────────┘
//!                            │
//!                            │  error 401, close(), max_attempts: from any state
//!                            ▼
//!                          Ended ──── connect() ────► Opening
//! ```
//!
//! An [`Agent`] is driven by one loop: one input, or one command of the application, then
//! [`Agent::poll_output`] until it answers [`Output::Timeout`]. It reads no clock and opens no socket.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use symple::client::{Agent, Config, Event, Input, Output, State};
//! use symple::proto::{CloseCode, Draft, Kind};
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
//! agent.send(Draft::new(Kind::Message).to("bob").data("hello"), now)?;
//! assert!(matches!(&drain(&mut agent)[..], [Output::Send(_)]));
//!
//! // The connection breaks: wait a little, dial again.
//! agent.handle_input(Input::Closed { code: Some(CloseCode::GOING_AWAY), reason: "" }, now);
//! let State::Waiting { until } = agent.state() else { panic!("it waits") };
//! assert!(until <= now + Duration::from_millis(500));
//! drain(&mut agent);
//! agent.handle_input(Input::Timeout, until);
//! assert_eq!(agent.state(), State::Opening);
//!
//! // A refusal ends it.
//! agent.handle_input(Input::Opened, until);
//! agent.handle_input(Input::Text(r#"{"type":"error","status":401,"message":"No session"}"#), until);
//! assert_eq!(agent.state(), State::Ended);
//! # Ok::<(), symple::client::SendError>(())
//! ```
//!
//! # The driver's part
//! - After [`Output::Open`] it dials, and says [`Input::Opened`] or [`Input::OpenFailed`]. One socket at a time.
//! - After [`Output::Close`] it forgets the socket, dialled or not: nothing that comes of it is an input.
//!   A peer that does not answer a close must not be waited for.
//! - Every frame, ping and pong is an input; what goes out is taken from `poll_output` when the socket can
//!   take it, so the waiting messages stay here, where they are counted.
//!
//! # Coming back
//! | what ended it | what follows |
//! |---|---|
//! | `error` 401, before `welcome` or after | the end: the same credentials would be refused again |
//! | `error` 503, 400, 403 and others in place of `welcome`; close 1002, 1003, 1007, 1010, 1013 | the longest wait: it is full, or does not understand us |
//! | `error` 408, 429, 500 in place of `welcome`; any other close (1001, 1008 too slow, 1009, 1011), none at all, silence | the next wait, [`next_delay`]; from the shortest again after a session of 10 s |
//!
//! It never gives up unless [`Config::max_attempts`] says so, and the first connect retries too.
//!
//! # What survives a reconnect
//! Our presence data, the rooms that [`Agent::join`] asked for and those that [`Agent::leave`] left, and the
//! roster: who is not seen again soon after the new `welcome` is removed, the others do not flicker.
//! Messages do not: one that was accepted may be lost with its connection (a receipt tells), and
//! [`Event::Offline`] counts those that never left. Our address is another one after each `welcome`.
//!
//! Out of scope: calls (the `call` layer, fed with [`Event::Message`]), TLS and sockets (`net`).

mod agent;
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
pub use backoff::next_delay;
pub use commands::{CommandError, CommandId};
pub use config::Config;
pub use io::{End, Event, Input, Output, SendError};
