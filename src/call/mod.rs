//! Call signalling, sans-IO: many calls at once, with old and new clients. SDP is an opaque string here.
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
//!          ┌────────────────────┐  another offer from either side renegotiates;
//!          │       Active       │  signalling may be lost for up to 30 s
//!          └─────────┬──────────┘
//!                    ▼
//!                  Ended ──► idle     from every state: hangup, reject, timeout, offline, media failure,
//!                                     a new call from the same remote, a bad description
//! ```
//!
//! Feed [`Calls`] with [`Calls::handle_input`] and the commands. After each, drain [`Calls::poll_output`]
//! until it returns [`Output::Timeout`]. The caller's walk:
//!
//! ```
//! use std::time::Instant;
//! use symple::call::{Calls, Config, Event, Input, Output, State};
//!
//! let now = Instant::now();
//! let mut calls = Calls::new(Config::default());
//! calls.handle_input(Input::Own { address: "alice|1" }, now);
//!
//! // All outputs up to the next timeout.
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
//! // idle → Ringing. The application makes the id, which must be unguessable.
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
//! // Connecting → Active, once media is connected.
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
//! A message belongs to the call whose id it carries; a message without an id belongs to the call with its
//! sender's address. Before media is connected, the sender must be that call's remote. In an active call,
//! whoever has the id is the remote, back under a new address. An id of another call, or of none, never falls
//! back to the address. A remote that never sent the id, as the published browser client, is back with the next
//! session of its user: [`Input::PeerOnline`].
//!
//! | message | Ringing (we called) | Incoming | Connecting, Active | no call |
//! |---|---|---|---|---|
//! | `call:init` | glare | replaces the call | replaces the call | Incoming, or `busy` |
//! | `call:accept` | Connecting, see "An offer in the init" | ignored | ignored; from another device: hangup `replaced` | hangup `no-such-call` |
//! | `call:reject` | ended; `busy` in a glare: the remote's call takes over | ignored | to the caller: ended; to the callee: ignored | ignored |
//! | `call:offer` | ignored | kept until accepted | see below | hangup `no-such-call` |
//! | `call:answer` | ignored | ignored | accepted if our offer is pending, else ignored | hangup `no-such-call` |
//! | `call:candidate` | kept | kept | kept until the remote description, then passed on | ignored |
//! | `call:hangup` | ended | ended | ended | ignored |
//! | unknown subtype | ignored | ignored | ignored | ignored |
//!
//! A remote that hangs up also closes its media, which may arrive first ([`Calls::media_closed`]): then the call waits
//! for the hangup and its reason, for [`Config::hangup_wait`], and ignores everything else but a new init.
//!
//! A `call:reject` never ends a callee's call: it is the `busy` of a browser whose call we took in a glare.
//!
//! | `call:offer` when | to the callee | to the caller |
//! |---|---|---|
//! | nothing is negotiated yet | accepted | ignored: the caller makes the first offer |
//! | negotiated | accepted | accepted |
//! | their offer is pending | the newer one is accepted | the newer one is accepted |
//! | our offer is pending | accepted, ours is void | ignored, ours stands |
//! | ours is pending for [`Config::answer_timeout`] | accepted, ours is void | accepted, ours is void |
//!
//! So of two offers that cross, the caller's counts; the callee makes its own again afterwards. The first offer of a call
//! never counts as lost. Offers that renegotiate are numbered ([`Description::number`](body::Description)), and their
//! answers bear the same number: an answer to an earlier offer is ignored, and so is an offer that a later one has
//! overtaken. Clients that do not count send none, and their answer is to the last offer.
//!
//! A description that cannot be parsed ends its call with reason `bad-description`, and the remote is
//! informed. In a message that would be ignored anyway, and in accept, reject and hangup, it has no effect. A
//! candidate that cannot be parsed is ignored and counted. An init whose data is not JSON is rejected.
//!
//! What a peer can make us send is limited per host, or per user if the host is unknown. An init over
//! [`Config::init_rate`] is rejected with `busy` and leaves the sender's current call alone; rejections over
//! [`Config::answer_rate`] are not sent at all.
//!
//! # An offer in the init
//! A callee that answers everybody says `"answers":"all"` in its presence. The init for it may carry
//! `"offer":{"type":"offer","sdp":…}` in its data; then `call:accept` has the data `{"offer":true}`, and
//! `call:answer` follows without another turn. An accept without it is from a callee that ignored the offer:
//! it gets `call:offer`, with the same description. An `offer` that is not such a description is the
//! application's own, and so is any other member of the data.
//!
//! # Glare
//! When both sides call each other, the one with the greater address silently drops its own call (reason
//! `replaced`) and gets the other's as [`Event::Incoming`] with `replaces`. The one with the smaller address
//! keeps ringing and holds the other's init. If its own call is answered `busy`, it gets the held one in the
//! same way; otherwise the held one is dropped. An application can safely accept a call that replaces its own
//! without asking the user.
//!
//! # A name with many devices
//! `invite` accepts every form of address. The first device to accept becomes the remote; the first to reject
//! ends the call, and the others get a hangup sent to the name. A device that accepts too late gets
//! `replaced`; one that does neither rings until its own timeout.
//!
//! # Out of scope
//! The meaning of SDP and candidates (`rtc`), who may call (the server's rooms, and the application at
//! [`Event::Incoming`]), and making ids: they must be unguessable, and this layer has no source of
//! randomness.

pub mod body;
mod calls;
mod goodbye;
mod messages;
mod phase;
#[cfg(test)]
mod tests;
mod timers;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use body::Candidate;
pub use calls::Calls;

pub use crate::limit::RateLimit;

/// The longest address or call id that is accepted, in bytes. Ours have 22 characters; a user has at most 128
/// bytes.
pub const MAX_NAME: usize = 512;

/// Times and limits. They bound all memory that peers can make us hold:
/// `max_calls * (max_early_candidates * max_candidate + max_init + max_description)`, and the same again for
/// our own candidates.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long an init waits for an answer, in either direction: 30 s.
    pub ring_timeout: Duration,
    /// How long an accepted call may take to connect its media: 60 s, because a person may first be asked for
    /// camera permission.
    pub connect_timeout: Duration,
    /// How long an active call survives without signalling: 30 s.
    pub resume_window: Duration,
    /// How long an offer that renegotiates waits for its answer before it counts as lost: 5 s, as in our page.
    pub answer_timeout: Duration,
    /// How long a call whose media the remote has closed waits for its hangup, which says why: 1 s, for a message that
    /// left at the same time by way of the server.
    pub hangup_wait: Duration,
    /// With this many calls, further inits are answered `busy`. Default: none; `max_calls` still applies.
    pub busy_limit: Option<usize>,
    /// Calls in both directions and any state: 256. Inits beyond that are answered `busy`.
    pub max_calls: usize,
    /// Candidates held per call and direction until a description comes before them: 64. More are dropped.
    pub max_early_candidates: usize,
    /// The longest body of a candidate, in bytes of JSON: 2048.
    pub max_candidate: usize,
    /// The longest body of an offer or answer, in bytes of JSON: 128 KiB.
    pub max_description: usize,
    /// The longest body of an init, in bytes of JSON: 16 KiB.
    pub max_init: usize,
    /// Inits from one host, or one user if the host is unknown: 2 a second and 8 at once, since each may
    /// replace a call and restart the media. Those over it are answered `busy`.
    pub init_rate: RateLimit,
    /// Answers to messages from one host or user that belong to no call, and to inits rejected here: 2 a
    /// second and 8 at once. Messages over it are not answered.
    pub answer_rate: RateLimit,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ring_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(60),
            resume_window: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(5),
            hangup_wait: Duration::from_secs(1),
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

/// Our own id for a call, never reused by one [`Calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a call. A call that has ended is forgotten and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// We called and are waiting for an answer.
    Ringing,
    /// A peer called and is waiting for our answer.
    Incoming,
    /// Accepted; descriptions and candidates are exchanged.
    Connecting,
    /// The media is connected.
    Active,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A `call:…` message arrived.
    Message {
        /// The sender's address, as the server stamped it.
        from: &'a str,
        /// The sender's host, if the server reveals it: limits count by it.
        host: Option<IpAddr>,
        /// Including the `call:` prefix.
        subtype: &'a str,
        /// The raw JSON of `data`.
        data: Option<&'a str>,
        /// The member `call`; the published browser clients do not send it.
        call: Option<&'a str>,
    },
    /// The server welcomed us under this address. Pass it in before the first call: it decides glare. Implies
    /// [`Input::SignallingBack`].
    Own {
        /// `user|id`
        address: &'a str,
    },
    /// A peer's presence went offline.
    PeerOffline {
        /// `user|id`
        address: &'a str,
    },
    /// A peer is online. An active call whose remote is away, and never sent the call's id, goes on with another
    /// session of its user that has no call: that client cannot say which call it means.
    PeerOnline {
        /// `user|id`
        address: &'a str,
    },
    /// Our connection to the server was lost.
    SignallingLost,
    /// The connection is back.
    SignallingBack,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send `{"type":"message","to":…,"subtype":…,"call":…,"data":…}`.
    Send {
        /// An address.
        to: String,
        /// Including the `call:` prefix.
        subtype: &'static str,
        /// The call's id on the wire; `None` if the remote made the call without one: omit the member.
        call: Option<String>,
        /// Raw JSON.
        data: String,
    },
    /// Pass this to the application.
    Event(Event),
    /// Nothing left to do: call [`Calls::poll_output`] again at this time, or after the next input.
    Timeout(Option<Instant>),
}

/// What the application should know. The events of a call arrive in order; [`Event::Ended`] is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is calling: [`Calls::accept`] or [`Calls::reject`] it.
    Incoming {
        /// The new call.
        id: CallId,
        /// The caller's address.
        from: String,
        /// What the caller wants, as raw JSON.
        data: String,
        /// The call with the same peer that this one replaced: the peer called again, or both called each
        /// other.
        replaces: Option<CallId>,
    },
    /// Our call was accepted: create an offer and pass it to [`Calls::local_offer`]. Not after
    /// [`Calls::invite_with_offer`].
    Accepted {
        /// The call.
        id: CallId,
    },
    /// Answer this with [`Calls::local_answer`]. If an offer of ours was pending, it is void: roll it back.
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
    /// A candidate from the remote. It never arrives before the remote description.
    RemoteCandidate {
        /// The call.
        id: CallId,
        /// Never the empty one.
        candidate: Candidate,
    },
    /// The remote has no more candidates; may arrive more than once.
    RemoteCandidatesDone {
        /// The call.
        id: CallId,
    },
    /// The call is now [`State::Connecting`] or [`State::Active`]. [`Event::Incoming`] or the return of
    /// [`Calls::invite`] marks its first state, [`Event::Ended`] its end.
    State {
        /// The call.
        id: CallId,
        /// Its new state.
        state: State,
    },
    /// The remote of an active call is back under a new address.
    Moved {
        /// The call.
        id: CallId,
        /// The remote's address from now on.
        remote: String,
    },
    /// The call has ended, whoever ended it, and is forgotten: close its media.
    Ended {
        /// The call.
        id: CallId,
        /// The remote's address.
        remote: String,
        /// Why: as given by the peer or the application, or the cause detected here.
        end: body::End,
    },
}

/// Why a command was rejected. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The call has ended, or never existed.
    Unknown(CallId),
    /// The call is not in a state that allows the command.
    WrongState {
        /// The call.
        id: CallId,
        /// Its current state.
        state: State,
        /// Which calls the command is for, as text.
        wanted: &'static str,
    },
    /// There is already a call with this remote.
    Exists(CallId),
    /// [`Config::max_calls`] calls exist.
    Full(usize),
    /// There is no connection to the server.
    Offline,
    /// An address or call id is empty, or longer than [`MAX_NAME`].
    BadName(&'static str),
    /// The wire id belongs to another call.
    WireIdTaken,
    /// The data is not JSON.
    NotJson,
    /// The data is not a JSON object, or has an `offer` already.
    NotAnInit,
    /// A body is larger than its limit in [`Config`].
    TooLarge {
        /// Which limit.
        what: &'static str,
        /// In bytes.
        limit: usize,
    },
    /// [`Config::max_early_candidates`] candidates are held already.
    TooManyCandidates(usize),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Unknown(id) => write!(f, "call {id} has ended or never existed"),
            CallError::WrongState { id, state, wanted } => {
                write!(f, "call {id} is {state:?}; this command is for {wanted}")
            }
            CallError::Exists(id) => {
                write!(f, "there is already a call with this peer, {id}: answer it, or hang it up first")
            }
            CallError::Full(limit) => {
                write!(f, "too many calls, the limit is {limit} (max_calls): end one first")
            }
            CallError::Offline => f.write_str("no connection to the server: try again once it is back"),
            CallError::BadName(what) => write!(f, "{what} must have 1 to {MAX_NAME} bytes"),
            CallError::WireIdTaken => f.write_str("another call has this id: use a random id for each call"),
            CallError::NotJson => {
                f.write_str("data must be one JSON value; use {} if there is nothing to say")
            }
            CallError::NotAnInit => f.write_str(
                "data must be a JSON object without the member \"offer\"; use {} if there is nothing to say",
            ),
            CallError::TooLarge { what, limit } => write!(f, "larger than {what} allows: {limit} bytes"),
            CallError::TooManyCandidates(limit) => write!(
                f,
                "{limit} candidates are already waiting for the description (max_early_candidates): pass that in first"
            ),
        }
    }
}

impl std::error::Error for CallError {}
