//! Counters.

/// Totals since the hub started, and current values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections now, including in-process peers.
    pub connections: usize,
    /// Admitted peers now.
    pub peers: usize,
    /// Peers of other instances that share a room with a peer here, now.
    pub peers_away: usize,
    /// Rooms that have members now, including users' own rooms.
    pub rooms: usize,
    /// Bytes queued for all connections now.
    pub queued: usize,
    /// The longest queue of one connection now, in bytes.
    pub longest_queue: usize,
    /// Peers whose sockets are not being read now, because a recipient has too much queued.
    pub held: usize,
    /// Peers admitted in total.
    pub admitted: u64,
    /// Connections refused in total: by the host, for a bad `auth`, for a late `auth`, or because the server
    /// was full.
    pub refused: u64,
    /// Routed frames of type `message`.
    pub messages: u64,
    /// Routed frames of type `presence`.
    pub presences: u64,
    /// Routed frames of type `command`.
    pub commands: u64,
    /// Routed frames of type `event`.
    pub events: u64,
    /// Messages pushed by the host.
    pub injected: u64,
    /// Pushed messages, from the host and from `symple:broadcast`, that were dropped because they were not
    /// messages or named no recipient.
    pub bad_pushes: u64,
    /// Copies of routed and pushed messages queued for a recipient.
    pub deliveries: u64,
    /// Routed frames that reached nobody.
    pub unheard: u64,
    /// Copies of messages pushed by the host that did not fit a recipient's queue; each recipient is told how
    /// many.
    pub dropped_slow: u64,
    /// Messages to other instances that were dropped because the bus was unreachable for too long or too much
    /// was queued for it. The cluster counts them: 0 from a hub itself.
    pub dropped_bus: u64,
    /// Frames dropped because their sender was over its rate.
    pub dropped_rate: u64,
    /// Frames answered 400, 403 or 429 because of their content.
    pub bad_frames: u64,
    /// Connections closed for reading too slowly.
    pub closed_slow: u64,
}
