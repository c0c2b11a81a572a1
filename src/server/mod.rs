//! The server's hub, sans-IO: admission, rooms, policy, routing, presence, limits.
//!
//! There is one struct, [`Hub`]. A driver gives it [`Input`]s, polls [`Output`]s until [`Output::Timeout`],
//! and moves what is queued for a connection to its socket with [`Hub::transmit`]. The hub reads no clock and
//! waits for nobody; what it keeps per connection is bounded by [`Config`].
//!
//! A connection moves in one direction:
//!
//! ```text
//!             auth, no verdict needed
//!           ┌─────────────────────────────────┐
//!           │                                 ▼
//!  Waiting ─┴─ auth ─► Judging ─── Admit ───► Live ─── close, error, too slow, idle ─┐
//!     │                   │ frames are held                                          │
//!     │ 401, 408, 400 …   │ Refuse, 503                                              ▼
//!     └───────────────────┴────────────────────────────────────────────────────► Closing
//!                                                         the queue, then the close frame
//! ```
//!
//! and is forgotten on [`Input::Closed`], which may come in any state. A peer is in its rooms, and online for
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
//! assert!(!hub.transmit(alice, 64 << 10, now, &mut out), "nothing more is queued");
//! let welcome = r#"{"type":"welcome","protocol":"symple/4","status":200,"peer":{"id":"9f","user":"alice","name":"alice","online":true},"rooms":["alice"]}"#;
//! assert_eq!(out, [Transmit::Text(welcome.into())]);
//! ```
//!
//! Where protocol.md leaves a choice, the hub makes it as follows:
//!
//! - Before `welcome` a frame may have at most 16 KiB; an in-process peer's may have full size.
//! - Frames that arrive between `auth` and the verdict are kept, at most 64 frames and 64 KiB, since clients
//!   send their first `join` right away; more means `error` 429 and a close.
//! - Each frame over the rate is answered 429. Excess counts as continuous while no whole second passes
//!   without it.
//! - Between a sender and a live recipient nothing is dropped. A recipient whose queue is over half of
//!   [`Config::queue_limit`] holds whoever adds to it: the driver stops reading from that connection
//!   ([`Hub::is_held`]) until the queue is down to a quarter ([`Output::Resume`]). The docs of `hold` say how
//!   long that may last, and why nobody waits forever; after that the recipient is closed with 1008
//!   `too slow`.
//! - What the host pushes holds nobody. It is not queued over the limit; [`Hub::publish`] returns how many
//!   peers missed it, and each of those gets an event `missed`, as does whoever missed something that was
//!   lost between instances. Presences are told later, in their latest state.
//! - Up to 50 members of a room are told at once who joins and leaves; in a larger room that takes 50 to 250
//!   ms, a quarter of a millisecond per member. A newcomer gets its roster at once, and no message from a
//!   peer arrives before the presence that introduces it. Whoever joins and leaves before a member could be
//!   told is not announced to that member, unless it sent the member something in between; whoever leaves and
//!   comes back is announced again.
//! - Clients that accept batches get presences of up to 1 KiB in batches of at most 32 KiB; larger and single
//!   ones are sent on their own.
//! - A named room with more than [`Config::count_above`] members no longer announces newcomers, but gives its
//!   size: `{"type":"event","name":"room:count","subtype":"room:count","room":"r","count":1234}`, to each
//!   member and each newcomer, whenever it has changed and no more often than it would have announced peers.
//!   Members who know each other are told when the other leaves. Presences that peers send reach only those
//!   who will be told when that peer leaves. Once the room is a quarter below the limit, all members are told
//!   about those they don't know.
//! - A close waits behind what is queued, for 5 s; then the queue is dropped and the close is sent first.
//! - A peer's name and data are limited in size (400), and so is the number of names in one `to` (400).
//!
//! Only `policy` decides who may do what. A hub may be one instance of a [`cluster`]. Out of scope: sockets,
//! TLS and Redis, which belong to the driver; the content of calls, which are ordinary messages here.

mod admission;
mod announce;
mod auth_frame;
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
mod policy;
mod presence;
mod remote;
mod rooms;
mod roster_pages;
mod routing;
mod session;
mod slab;
mod stats;
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
