//! The bus as the cluster sees it: what it is to do, what it did, and how an instance takes part.

use std::sync::Arc;
use std::time::Duration;

/// What carries `symple:broadcast`.
pub const BROADCAST: &str = "symple:broadcast";

/// How an instance takes part. Build it from [`ClusterSettings::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// The name of this instance: one that no other ever has, also none that ran here before.
    pub instance: String,
    /// The prefix of the channels. All instances of a cluster must use the same one. Default: `symple:cluster`.
    pub prefix: String,
    /// How often the others are told that this one lives. Default: 3 s.
    pub heartbeat: Duration,
    /// An instance that says nothing for so long is gone, and its peers with it. Default: 10 s.
    pub dead_after: Duration,
    /// How long a receipt waits for other instances to count. Default: 800 ms, for it is owed within a second.
    pub receipt_wait: Duration,
    /// Bytes that may wait for the bus, each copy counted, and bytes that are kept until other instances have
    /// confirmed them. Peers that add to it are held from an eighth of the former and a half of the latter on,
    /// while the bus is there. What they say beyond all of it is dropped, and they are told; who comes and goes
    /// is not dropped, so where that alone takes four times as much the bus is begun anew. Default: 16 MiB, half
    /// of what Redis lets wait for one subscriber (`client-output-buffer-limit`).
    pub queue_limit: usize,
    /// How long a message is kept that not all instances have confirmed. Default: 30 s: a Redis that restarts is
    /// back by then, and so is a master's successor with usual settings.
    pub keep_for: Duration,
}

impl ClusterSettings {
    /// The defaults, for the instance of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        ClusterSettings {
            instance: instance.into(),
            prefix: "symple:cluster".into(),
            heartbeat: Duration::from_secs(3),
            dead_after: Duration::from_secs(10),
            receipt_wait: Duration::from_millis(800),
            queue_limit: 16 << 20,
            keep_for: Duration::from_secs(30),
        }
    }
}

/// What the bus is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bus {
    /// Hear a channel; to be confirmed by [`BusInput::Subscribed`].
    Subscribe {
        /// Which.
        channel: String,
        /// The number of the subscription; ascending.
        tag: u64,
    },
    /// Hear it no more.
    Unsubscribe {
        /// Which.
        channel: String,
    },
    /// Give it up and come back, for it falls behind: [`BusInput::Down`], then [`BusInput::Up`].
    Reset,
    /// Say something once. The driver need not say it again when it fails: with the bus's next coming all is
    /// made up for.
    Publish {
        /// Where.
        channel: Arc<str>,
        /// What.
        payload: Arc<str>,
        /// How many heard it is to be told by [`BusInput::Published`].
        tag: Option<u64>,
    },
}

impl Bus {
    pub(super) fn cost(&self) -> usize {
        64 + match self {
            Bus::Reset => 0,
            Bus::Subscribe { channel, .. } | Bus::Unsubscribe { channel } => channel.len(),
            Bus::Publish { channel, payload, .. } => channel.len() + payload.len(),
        }
    }
}

/// What the bus did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BusInput<'a> {
    /// It is there, and nothing is subscribed.
    Up,
    /// It is gone, with all subscriptions and whatever was under way.
    Down,
    /// All subscriptions up to this number are in force.
    Subscribed(u64),
    /// So many subscribers were handed what was published under this tag.
    Published {
        /// The tag.
        tag: u64,
        /// How many.
        receivers: u64,
    },
    /// Something was said on a channel of ours, [`BROADCAST`] excepted.
    Said {
        /// What.
        payload: &'a str,
    },
    /// Something was said on [`BROADCAST`].
    Broadcast {
        /// A message.
        text: &'a str,
    },
}
