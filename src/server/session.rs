//! One connection, from `Connected` to `Closed`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::auth_frame::{Claim, Terms};
use super::io::ConnId;
use super::limits::{Bucket, after};
use super::outbox::Outbox;
use super::presence::{Profile, Who};
use super::remote::Away;
use super::{Config, policy};

/// The maximum number of frames, and of their bytes, that are kept for a client that does not wait for `welcome`. A
/// client that sends its first joins and probes at once stays far below.
const MAX_HELD: (usize, usize) = (64, 64 << 10);

/// The maximum size of a frame before `welcome`, in bytes. An `auth` has some hundred bytes, and clients that are not
/// admitted must not make the server store more.
pub(crate) const MAX_BEFORE_WELCOME: usize = 16 << 10;

/// How long a close waits behind the queue. A peer that has not accepted it by then does not read, and a connection
/// that is no longer counted must not stay. Drivers commonly wait as long for the answer to a close.
pub(super) const MAX_FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Session {
    pub conn: ConnId,
    pub local: bool,
    /// When the last frame of any kind arrived.
    pub heard: Instant,
    /// When it was last pinged, or connected.
    pub pinged: Instant,
    /// Its entry in the table of deadlines.
    pub alarm: Option<Instant>,
    /// Bytes of its input that the driver buffers.
    pub input: u32,
    pub outbox: Outbox,
    pub state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Before `auth`.
    Waiting(Box<Arrival>),
    /// Until the host's verdict.
    Judging(Box<Judging>),
    Live(Box<Live>),
    /// A peer of another instance, which has no connection here.
    Away(Box<Away>),
    /// The queue is sent, then the close; all further frames are ignored.
    Closing,
}

#[derive(Debug)]
pub(super) struct Arrival {
    pub id: String,
    pub host: Option<IpAddr>,
    pub since: Instant,
}

#[derive(Debug)]
pub(super) struct Judging {
    pub arrival: Arrival,
    pub claim: Claim,
    pub since: Instant,
    pub held: Vec<Box<str>>,
    /// The terms of its admission, while it waits to be reachable from other instances.
    pub terms: Option<Box<Terms>>,
}

impl Judging {
    /// Keeps a frame until the verdict. False if there are too many.
    pub(super) fn hold(&mut self, text: &str) -> bool {
        let bytes: usize = self.held.iter().map(|text| text.len()).sum();
        let fits = self.held.len() < MAX_HELD.0 && bytes + text.len() <= MAX_HELD.1;
        if fits {
            self.held.push(text.into());
        }
        fits
    }
}

#[derive(Debug)]
pub(super) struct Live {
    pub who: Arc<Who>,
    /// Its IP address, which nobody else sees.
    pub host: Option<IpAddr>,
    pub profile: Profile,
    /// The presence that announces it, once it was needed.
    pub card: Option<Arc<str>>,
    pub bucket: Bucket,
    /// When it was admitted.
    pub since: Instant,
    /// When it was last told that messages of its own did not reach other instances.
    pub unsent: Option<Instant>,
}

impl Session {
    /// The maximum size of its frames now, in bytes.
    pub(super) fn max_frame(&self, config: &Config) -> usize {
        if self.is_stranger() && policy::is_limited(self.local) {
            config.max_message_size.min(MAX_BEFORE_WELCOME)
        } else {
            config.max_message_size
        }
    }

    /// Whether it is a peer in this process.
    pub(super) fn is_local(&self) -> bool {
        self.local && !matches!(self.state, State::Away(_))
    }

    /// Whether it has a connection and is not admitted.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Judging(_))
    }

    /// Bytes of its frames that are kept.
    pub(super) fn kept(&self) -> usize {
        let held = match &self.state {
            State::Judging(judging) => judging.held.iter().map(|text| text.len()).sum(),
            _ => 0,
        };
        self.input as usize + held
    }

    /// When it must be checked next if nothing arrives.
    pub(super) fn due(&self, config: &Config) -> Option<Instant> {
        match &self.state {
            State::Waiting(arrival) => after(arrival.since, config.auth_timeout),
            State::Judging(judging) => after(judging.since, config.verdict_timeout),
            State::Live(_) if policy::is_limited(self.local) => {
                let dead = after(self.heard, config.idle_timeout);
                earlier(after(self.heard.max(self.pinged), config.ping_interval), dead)
            }
            State::Live(_) => None,
            State::Away(_) => None,
            State::Closing => self.outbox.closing_since().and_then(|since| after(since, MAX_FAREWELL)),
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
