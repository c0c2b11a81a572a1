//! Counters.

/// What has happened since the hub began, and what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open now, in-process peers included.
    pub connections: usize,
    /// Peers that are admitted now.
    pub peers: usize,
    /// Peers of other instances that share a room with one of these now.
    pub peers_away: usize,
    /// Rooms that have members now, those of the users included.
    pub rooms: usize,
    /// Bytes that wait for all connections now.
    pub queued: usize,
    /// The most bytes that wait for one connection now.
    pub longest_queue: usize,
    /// Peers whose sockets are not read now, because a recipient has too much waiting.
    pub held: usize,
    /// Peers admitted so far.
    pub admitted: u64,
    /// Connections refused so far: by the host, for a bad `auth`, too late, or because the server was full.
    pub refused: u64,
    /// Routed frames of type `message`.
    pub messages: u64,
    /// Routed frames of type `presence`.
    pub presences: u64,
    /// Routed frames of type `command`.
    pub commands: u64,
    /// Routed frames of type `event`.
    pub events: u64,
    /// Messages that the host pushed.
    pub injected: u64,
    /// Pushed messages, the host's and those on `symple:broadcast`, that were dropped because they are no
    /// message or name no recipient.
    pub bad_pushes: u64,
    /// Copies of routed and pushed messages that were queued for a recipient.
    pub deliveries: u64,
    /// Routed frames that reached nobody.
    pub unheard: u64,
    /// Copies of what the host pushed that did not fit a recipient's queue; each recipient is told how many.
    pub dropped_slow: u64,
    /// Messages that were given up on their way to other instances, because the bus was away for too long or too
    /// much waited for it. The cluster counts them: 0 from a hub itself.
    pub dropped_bus: u64,
    /// Frames that were dropped because their sender was over its rate.
    pub dropped_rate: u64,
    /// Frames answered 400, 403 or 429 for what they held.
    pub bad_frames: u64,
    /// Connections closed for reading too slowly.
    pub closed_slow: u64,
}
