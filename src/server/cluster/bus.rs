//! The bus as the cluster sees it: commands to it, events from it, and the settings of an instance.

use std::sync::Arc;
use std::time::Duration;

/// The channel for messages from emitters.
pub const BROADCAST: &str = "symple:broadcast";

/// How an instance takes part. Create it with [`ClusterSettings::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// The name of this instance, unique across all instances and all restarts.
    pub instance: String,
    /// The prefix of the channels. All instances of a cluster must use the same one. Default: `symple:cluster`.
    pub prefix: String,
    /// The interval of heartbeats. Default: 3 s.
    pub heartbeat: Duration,
    /// The time after which a silent instance counts as gone, with all its peers. Default: 10 s.
    pub dead_after: Duration,
    /// How long a receipt waits for the counts of other instances. Default: 800 ms, since the sender must get it within
    /// a second.
    pub receipt_wait: Duration,
    /// The maximum size of what waits for the bus, counting each copy, and of what is kept until other instances have
    /// confirmed it, in bytes. While there is a bus, peers that add to it are held above an eighth of the limit in the
    /// former and half of it in the latter. Messages beyond the limit are dropped, and their senders are told. Joins
    /// and leaves are not dropped; if they alone exceed four times the limit, the bus is reset. Default: 16 MiB, half
    /// of what Redis buffers for one subscriber (`client-output-buffer-limit`).
    pub queue_limit: usize,
    /// How long a message is kept that not all instances have confirmed. Default: 30 s: by then a restarted Redis is
    /// available again, and so is a new master with usual settings.
    pub keep_for: Duration,
}

impl ClusterSettings {
    /// The defaults, for the instance with this name.
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

/// A command for the bus; the order matters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bus {
    /// Subscribe to a channel; confirm with [`BusInput::Subscribed`].
    Subscribe {
        /// The channel.
        channel: String,
        /// The number of the subscription; ascending.
        tag: u64,
    },
    /// Unsubscribe from a channel.
    Unsubscribe {
        /// The channel.
        channel: String,
    },
    /// Disconnect and reconnect, since the bus cannot keep up: [`BusInput::Down`], then [`BusInput::Up`].
    Reset,
    /// Publish a message once. The driver need not retry: after the next [`BusInput::Up`], lost messages are resent.
    Publish {
        /// The channel.
        channel: Arc<str>,
        /// The message.
        payload: Arc<str>,
        /// If set, report the number of receivers with [`BusInput::Published`].
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

/// An event of the bus.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BusInput<'a> {
    /// The bus is connected, without subscriptions.
    Up,
    /// The bus is disconnected: all subscriptions and messages in transit are lost.
    Down,
    /// All subscriptions up to this number are active.
    Subscribed(u64),
    /// A message with a tag was published.
    Published {
        /// The tag.
        tag: u64,
        /// The number of subscribers that received it.
        receivers: u64,
    },
    /// A message arrived on one of our channels, except [`BROADCAST`].
    Said {
        /// The message.
        payload: &'a str,
    },
    /// A message arrived on [`BROADCAST`].
    Broadcast {
        /// The message.
        text: &'a str,
    },
}
