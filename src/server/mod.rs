//! The server's hub, sans-IO: admission, rooms, policy, routing, presence, limits.
//!
//! One struct, [`Hub`]. A driver gives it [`Input`]s, polls [`Output`]s until [`Output::Timeout`], and moves
//! what waits for a connection to its socket with [`Hub::transmit`]. The hub reads no clock and waits for
//! nobody; what it keeps of each connection is bounded by [`Config`].
//!
//! A connection goes one way:
//!
//! ```text
//!             auth, no verdict needed
//!           ┌─────────────────────────────────┐
//!           │                                 ▼
//!  Waiting ─┴─ auth ─► Judging ─── Admit ───► Live ─── close, error, too slow, idle ─┐
//!     │                   │ frames are held                                          │
//!     │ 401, 408, 400 …   │ Refuse, 503                                              ▼
//!     └───────────────────┴────────────────────────────────────────────────────► Closing
//!                                                         what waits, then the close frame
//! ```
//!
//! and is forgotten on [`Input::Closed`], which may come in any state. A peer is in its rooms, and online to
//! others, exactly while it is live.
//!
//! ```
//! use std::time::Instant;
//! use symple::server::{Config, ConnId, Event, Hub, Input, Output, Transmit};
//!
//! let (mut hub, now, alice) = (Hub::new(Config::default()), Instant::now(), ConnId(1));
//! hub.handle_input(Input::Connected { conn: alice, id: "9f".into(), host: None, local: false }, now);
//! hub.handle_input(Input::Text { conn: alice, text: r#"{"type":"auth","user":"alice"}"# }, now);
//! assert!(matches!(hub.poll_output(), Output::Event(Event::PeerOnline { .. })));
//! assert!(matches!(hub.poll_output(), Output::Ready(conn) if conn == alice));
//! assert!(matches!(hub.poll_output(), Output::Timeout(Some(_))));
//!
//! let mut out = Vec::new();
//! assert!(!hub.transmit(alice, 64 << 10, now, &mut out), "nothing more waits");
//! let welcome = r#"{"type":"welcome","protocol":"symple/4","status":200,"peer":{"id":"9f","user":"alice","name":"alice","online":true},"rooms":["alice"]}"#;
//! assert_eq!(out, [Transmit::Text(welcome.into())]);
//! ```
//!
//! Where protocol.md leaves room, the hub decides so:
//!
//! - Before `welcome` a frame may have 16 KiB at most; an in-process peer's may be as large as ever.
//! - Frames that come between `auth` and the verdict are held, 64 of them and 64 KiB at most, since clients
//!   send their first `join` right behind; more is `error` 429 and a close.
//! - Each frame over the rate is answered 429; an excess is without a pause if no second passes without one.
//! - Between a sender and a live recipient nothing is dropped. A recipient whose queue is over half of
//!   [`Config::queue_limit`] holds whoever adds to it: the driver reads no more of that connection
//!   ([`Hub::is_held`]) until the queue is down to a quarter ([`Output::Resume`]). How long that may last, and
//!   that nobody waits for ever, is in the docs of `hold`; then the recipient is closed, 1008 `too slow`.
//! - What the host pushes holds nobody. It is not queued over the limit; [`Hub::publish`] answers how many missed
//!   it, and each of those is told by an event `missed`, as is whoever missed something that was lost between
//!   instances. Presences are told later, in their newest state.
//! - Up to 50 members of a room are told at once who comes and goes; in a larger room that waits for 50 to 250 ms,
//!   a quarter of a millisecond for each member. A newcomer gets its roster at once, and no message of a peer comes
//!   before the presence that introduces it. Whoever comes and goes before a member could be told is not told to it,
//!   unless something that it said lies in between; whoever leaves and comes back is told again.
//! - To clients that accept them, presences of up to 1 KiB come in batches of at most 32 KiB; larger ones, and
//!   single ones, come by themselves.
//! - A named room with more than [`Config::count_above`] members tells who comes no more, but how many they are:
//!   `{"type":"event","name":"room:count","subtype":"room:count","room":"r","count":1234}`, to each member and each
//!   newcomer, whenever that has changed and no more often than it would have told of peers. Members who were told of
//!   each other hear of each other's going. Presences that peers send reach only those who will hear of their going.
//!   Once a quarter fewer are in it, all are told of those whom they don't know.
//! - A close waits behind what is queued, for 5 s; then that is given up, and the close comes first.
//! - A peer's name and data are bounded (400), so is the number of names in one `to` (400).
//!
//! Who may what is decided in `policy` alone. A hub may be one of several instances ([`cluster`]).
//! Out of scope: sockets, TLS and Redis, which are the driver's; what is in calls, which are messages like
//! others.

mod admission;
mod admit;
pub mod cluster;
mod config;
mod error;
mod flow;
mod hold;
mod hub;
mod io;
mod limits;
mod live;
mod outbox;
mod pages;
mod policy;
mod presence;
mod remote;
mod rooms;
mod routing;
mod session;
mod slab;
mod stats;
mod telling;
#[cfg(test)]
mod tests;
mod transmit;

pub use config::Config;
pub use hub::Hub;
pub use io::{Admission, Auth, ConnId, Event, Input, Output, Transmit, Verdict, Whom};
#[cfg(feature = "server")]
pub(crate) use limits::Seldom;
#[cfg(feature = "server")]
pub(crate) use session::MAX_BEFORE_WELCOME;
pub use stats::Stats;
