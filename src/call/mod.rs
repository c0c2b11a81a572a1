//! Call signalling, sans-IO: many calls at once, with peers old and new. SDP is an opaque string here.
//!
//! ```text
//!                 idle
//!     invite() ┌───┴────────┐ call:init from a peer
//!              ▼            ▼
//!          ┌───────┐   ┌────────┐
//!          │Ringing│   │Incoming│   both at once: see "Glare"
//!          └───┬───┘   └────┬───┘
//!  call:accept │            │ accept()
//!              ▼            ▼
//!          ┌────────────────────┐  caller: call:offer ──► callee
//!          │     Connecting     │  callee: call:answer ─► caller, candidates both ways
//!          └─────────┬──────────┘
//!                    │ media_connected()
//!                    ▼
//!          ┌────────────────────┐  another offer of either side renegotiates;
//!          │       Active       │  signalling may go and come within 30 s
//!          └─────────┬──────────┘
//!                    ▼
//!                  Ended ──► idle     from every state: hangup, reject, timeout, offline, media failure,
//!                                     a new call of the same remote, an unreadable one
//! ```
//!
//! Feed [`Calls`] with [`Calls::handle_input`] and the commands, and after each drain
//! [`Calls::poll_output`] until it says [`Output::Timeout`]. The caller's walk:
//!
//! ```
//! use std::time::Instant;
//! use symple::call::{Calls, Config, Event, Input, Output, State};
//!
//! let now = Instant::now();
//! let mut calls = Calls::new(Config::default());
//! calls.handle_input(Input::Own { address: "alice|1" }, now);
//!
//! // What the calls want done, until they want to sleep.
//! fn drain(calls: &mut Calls, now: Instant) -> Vec<Output> {
//!     std::iter::from_fn(|| match calls.poll_output(now) {
//!         Output::Timeout(_) => None,
//!         output => Some(output),
//!     })
//!     .collect()
//! }
//! let hears = |calls: &mut Calls, subtype, data| {
//!     calls.handle_input(Input::Message { from: "bob|2", host: None, subtype, data: Some(data), call: Some("k3Jq") }, now);
//!     drain(calls, now)
//! };
//! let sent = |to: &str, subtype, data: &str| {
//!     Output::Send { to: to.into(), subtype, call: Some("k3Jq".into()), data: data.into() }
//! };
//!
//! // idle → Ringing. The id is the application's to make, and must be unguessable.
//! let id = calls.invite("bob|2", "k3Jq", r#"{"video":true}"#, now)?;
//! assert_eq!(calls.state(id), Some(State::Ringing));
//! assert_eq!(drain(&mut calls, now), [sent("bob|2", "call:init", r#"{"video":true}"#)]);
//!
//! // Ringing → Connecting: make an offer.
//! assert_eq!(
//!     hears(&mut calls, "call:accept", "{}"),
//!     [Output::Event(Event::State { id, state: State::Connecting }), Output::Event(Event::Accepted { id })]
//! );
//! calls.local_offer(id, "v=0 …", now)?;
//! assert_eq!(drain(&mut calls, now), [sent("bob|2", "call:offer", r#"{"type":"offer","sdp":"v=0 …"}"#)]);
//! assert_eq!(
//!     hears(&mut calls, "call:answer", r#"{"type":"answer","sdp":"v=0 …"}"#),
//!     [Output::Event(Event::RemoteAnswer { id, sdp: "v=0 …".into() })]
//! );
//!
//! // Connecting → Active, when the media says so.
//! calls.media_connected(id, now)?;
//! assert_eq!(calls.state(id), Some(State::Active));
//! drain(&mut calls, now);
//!
//! // Active → Ended → idle.
//! assert_eq!(
//!     hears(&mut calls, "call:hangup", r#"{"reason":"bye"}"#),
//!     [Output::Event(Event::Ended { id, remote: "bob|2".into(), end: "bye".into() })]
//! );
//! assert_eq!(calls.state(id), None);
//! # Ok::<(), symple::call::CallError>(())
//! ```
//!
//! # What a message does
//! A message belongs to the call whose id it bears; one without an id to the call with its sender's address. Before
//! the media is connected the sender must be that call's remote; in an active call whoever bears the id is the
//! remote, back under a new address. An id of another call, or of none, never falls back to the address.
//!
//! | message | Ringing (we called) | Incoming | Connecting, Active | no such call |
//! |---|---|---|---|---|
//! | `call:init` | glare | replaces the call | replaces the call | Incoming, or `busy` |
//! | `call:accept` | Connecting | ignored | ignored; from another device: hangup `replaced` | hangup `no-such-call` |
//! | `call:reject` | ended; `busy` in a glare: takes the remote's | ignored | to the caller: ended; to the callee: ignored | ignored |
//! | `call:offer` | ignored | kept until accepted | see below | hangup `no-such-call` |
//! | `call:answer` | ignored | ignored | taken when our offer waits for it, else ignored | hangup `no-such-call` |
//! | `call:candidate` | kept | kept | kept until the remote description, then passed on | ignored |
//! | `call:hangup` | ended | ended | ended | ignored |
//! | unknown subtype | ignored | ignored | ignored | ignored |
//!
//! A `call:reject` never ends a callee's call: it is the `busy` of a browser whose call we took in a glare.
//!
//! | `call:offer` when | to the callee | to the caller |
//! |---|---|---|
//! | nothing is negotiated yet | taken | ignored: the first offer is the caller's |
//! | negotiated | taken | taken |
//! | an offer of theirs waits for our answer | the newer is taken | the newer is taken |
//! | an offer of ours waits for their answer | taken, ours is void | ignored, ours stands |
//!
//! A description that cannot be read ends its call with reason `bad-description`, and the remote is told; where the
//! message would be ignored, and in accept, reject and hangup, it does nothing. A candidate that cannot be read is
//! passed over and counted. An init whose data is not JSON is rejected.
//!
//! What a peer makes us send is limited for each host, or user where no host is known: of inits over
//! [`Config::init_rate`] each is turned down with `busy` and leaves the sender's call as it was, and what is turned
//! down over [`Config::answer_rate`] gets no answer at all.
//!
//! # Glare
//! When both call each other, the one with the greater address drops its own call without a word (reason `replaced`)
//! and gets the other's as [`Event::Incoming`] with `replaces`. The one with the smaller keeps ringing and holds the
//! other's init; when its own call is answered `busy`, it gets the held one in the same way, and otherwise the held
//! one is dropped. The application may well accept a call that replaces its own without asking anybody.
//!
//! # A name with many devices
//! `invite` takes every form of address. The first who accepts is the remote from there on; the first who rejects
//! ends the call, and the others are told by a hangup to the name. Those who accept too late are told `answered
//! elsewhere`; those who do neither ring until their own timeout.
//!
//! # Out of scope
//! The meaning of SDP and candidates (`rtc`), who may call (the server's rooms, and the application at
//! [`Event::Incoming`]), and making ids: they must be unguessable, and there is no source of randomness here.

pub mod body;
mod calls;
mod messages;
#[cfg(test)]
mod tests;
mod timers;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use body::Candidate;
pub use calls::Calls;

pub use crate::limit::RateLimit;

/// The longest address and call id that is taken, in bytes. Ours are 22 characters; a user is at most 128 bytes.
pub const MAX_NAME: usize = 512;

/// Times and limits. All memory that peers can make us hold is bounded by these:
/// `max_calls * (max_early_candidates * max_candidate + max_init + max_description)`, and the same of our own candidates.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long an init waits for an answer, ours and theirs: 30 s.
    pub ring_timeout: Duration,
    /// How long an accepted call may take to connect its media: 60 s, because a person may first be asked for a camera.
    pub connect_timeout: Duration,
    /// How long an active call lives without signalling: 30 s.
    pub resume_window: Duration,
    /// Further inits are answered `busy` when there are so many calls. Default: none, but `max_calls` holds.
    pub busy_limit: Option<usize>,
    /// Calls of both directions, whatever their state: 256. Inits over it are answered `busy`.
    pub max_calls: usize,
    /// Candidates held for one call and direction until a description goes before them: 64. More are dropped.
    pub max_early_candidates: usize,
    /// The longest body of a candidate, in bytes of JSON: 2048.
    pub max_candidate: usize,
    /// The longest body of an offer or answer, in bytes of JSON: 128 KiB.
    pub max_description: usize,
    /// The longest body of an init, in bytes of JSON: 16 KiB.
    pub max_init: usize,
    /// Inits of one host, or of one user where no host is known: 2 a second and 8 at once, since each may replace
    /// a call and start the media anew. Those over it are answered `busy`.
    pub init_rate: RateLimit,
    /// What is answered to messages of one host or user that belong to no call, and to inits that are turned down
    /// here: 2 a second and 8 at once. Those over it get no answer.
    pub answer_rate: RateLimit,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ring_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(60),
            resume_window: Duration::from_secs(30),
            busy_limit: None,
            max_calls: 256,
            max_early_candidates: 64,
            max_candidate: 2048,
            max_description: 128 * 1024,
            max_init: 16 * 1024,
            init_rate: RateLimit { per_second: 2, burst: 8 },
            answer_rate: RateLimit { per_second: 2, burst: 8 },
        }
    }
}

/// Our own name for a call; never used twice by one [`Calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a call is. A call that has ended is forgotten, and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// We called and wait for an answer.
    Ringing,
    /// A peer called and waits for ours.
    Incoming,
    /// Accepted; descriptions and candidates go both ways.
    Connecting,
    /// The media is connected.
    Active,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A `call:…` message came.
    Message {
        /// The sender's address, as the server stamped it.
        from: &'a str,
        /// Where the sender comes from, if the server tells us: whom the limits count together.
        host: Option<IpAddr>,
        /// With its `call:`.
        subtype: &'a str,
        /// The raw JSON of `data`.
        data: Option<&'a str>,
        /// The member `call`; the published browser clients do not write it.
        call: Option<&'a str>,
    },
    /// The server welcomed us under this address. Give it before the first call: glare is decided by it.
    /// Implies [`Input::SignallingBack`].
    Own {
        /// `user|id`
        address: &'a str,
    },
    /// A peer's presence went offline.
    PeerOffline {
        /// `user|id`
        address: &'a str,
    },
    /// Our connection to the server is gone.
    SignallingLost,
    /// It is there again.
    SignallingBack,
}

/// What the calls want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send `{"type":"message","to":…,"subtype":…,"call":…,"data":…}`.
    Send {
        /// An address.
        to: String,
        /// With its `call:`.
        subtype: &'static str,
        /// The call's id on the wire; `None` when the remote made the call and gave it none: leave the member out.
        call: Option<String>,
        /// Raw JSON.
        data: String,
    },
    /// Tell the application.
    Event(Event),
    /// Nothing more: call [`Calls::poll_output`] again at this time, or after the next input.
    Timeout(Option<Instant>),
}

/// What the application should know. The events of a call come in order; [`Event::Ended`] is its last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer calls: [`Calls::accept`] or [`Calls::reject`].
    Incoming {
        /// The new call.
        id: CallId,
        /// The caller's address.
        from: String,
        /// What the caller wants, raw JSON.
        data: String,
        /// The call with the same peer that ended in this one's favour: the peer called again, or both called each other.
        replaces: Option<CallId>,
    },
    /// Our call was accepted: make an offer and give it to [`Calls::local_offer`].
    Accepted {
        /// The call.
        id: CallId,
    },
    /// Answer this by [`Calls::local_answer`]. When an offer of our own was waiting, it is void: roll it back.
    RemoteOffer {
        /// The call.
        id: CallId,
        /// The remote description.
        sdp: String,
    },
    /// The answer to our offer.
    RemoteAnswer {
        /// The call.
        id: CallId,
        /// The remote description.
        sdp: String,
    },
    /// A candidate of the remote. It comes after the remote description.
    RemoteCandidate {
        /// The call.
        id: CallId,
        /// Never the empty one.
        candidate: Candidate,
    },
    /// The remote has no more candidates; may come more than once.
    RemoteCandidatesDone {
        /// The call.
        id: CallId,
    },
    /// The call is [`State::Connecting`] or [`State::Active`] now. The first state is told by
    /// [`Event::Incoming`] or returned by [`Calls::invite`], the last by [`Event::Ended`].
    State {
        /// The call.
        id: CallId,
        /// Its new state.
        state: State,
    },
    /// The call is over, whoever ended it, and forgotten: close its media.
    Ended {
        /// The call.
        id: CallId,
        /// The remote's address.
        remote: String,
        /// Why, as the peer or the application told, or as it came.
        end: body::End,
    },
}

/// Why a command was not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The call is over, or never was.
    Unknown(CallId),
    /// The call is not at the point that the command is for.
    WrongState {
        /// The call.
        id: CallId,
        /// Where it is.
        state: State,
        /// When the command may be given, in words.
        wanted: &'static str,
    },
    /// There is a call with this remote already.
    Exists(CallId),
    /// [`Config::max_calls`] is reached.
    Full(usize),
    /// Our connection to the server is gone.
    Offline,
    /// An address or call id is empty, or longer than [`MAX_NAME`].
    BadName(&'static str),
    /// The id on the wire names another call.
    WireIdTaken,
    /// The data is not JSON.
    NotJson,
    /// A body is larger than its limit in [`Config`].
    TooLarge {
        /// Which limit.
        what: &'static str,
        /// In bytes.
        limit: usize,
    },
    /// [`Config::max_early_candidates`] are held already.
    TooManyCandidates(usize),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Unknown(id) => write!(f, "call {id} is over or never was"),
            CallError::WrongState { id, state, wanted } => {
                write!(f, "call {id} is {state:?}; this is for {wanted}")
            }
            CallError::Exists(id) => {
                write!(f, "call {id} is with this peer already: answer it, or hang it up first")
            }
            CallError::Full(limit) => write!(f, "{limit} calls are the limit (max_calls): end one first"),
            CallError::Offline => f.write_str("no connection to the server: try again once it is back"),
            CallError::BadName(what) => write!(f, "{what} must have 1 to {MAX_NAME} bytes"),
            CallError::WireIdTaken => {
                f.write_str("another call has this id: make a random one for each call")
            }
            CallError::NotJson => f.write_str("data must be one JSON value; {} when there is nothing to say"),
            CallError::TooLarge { what, limit } => write!(f, "larger than {what} allows: {limit} bytes"),
            CallError::TooManyCandidates(limit) => write!(
                f,
                "{limit} candidates wait for the description already (max_early_candidates): give that first"
            ),
        }
    }
}

impl std::error::Error for CallError {}
