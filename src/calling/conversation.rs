//! A call as a program has it: the stream of received frames, and what can be done about the call.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::line::Line;
use super::shared::Shared;
use super::wish::Wish;
use crate::call::body::{End, EndReason};
use crate::call::{CallId, State};
use crate::media::sink::FrameEvent;
use crate::media::{Kind, StreamId};
use crate::net::lock;
use crate::proto::Address;
use crate::rtc::{Directions, SessionStats};

/// A call that we made or accepted. As a stream it is the encoded frames that the peer sends, bounded, and it ends with
/// the call; then [`end`](Self::end) says why. What we send comes from the source of [`Calling`](super::Calling).
/// Dropping it hangs up.
///
/// Video begins with a key frame. H.264 comes in Annex B format with parameter sets before each key frame, so the
/// concatenated data is a playable file. After a loss the stream goes on at a key frame, which is requested by itself; a
/// reader that is too slow gets [`FrameEvent::Lost`]. Frames that nobody reads are dropped, and the call goes on.
///
/// The methods that change what is sent and received return at once. The change is agreed with the peer by an offer;
/// until then the call continues as it was, and if the peer refuses, it stays so. What is sent can be seen in
/// [`stats`](Self::stats).
pub struct Conversation {
    shared: Arc<Shared>,
    call: CallId,
    line: Arc<Line>,
}

impl Conversation {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId, line: Arc<Line>) -> Conversation {
        Conversation { shared: shared.clone(), call, line }
    }

    /// Identifies the call.
    pub fn id(&self) -> CallId {
        self.call
    }

    /// The peer's address; `None` after the call has ended. It changes when the peer reconnects, and when one of several
    /// devices accepts.
    pub fn peer(&self) -> Option<Address> {
        lock(&self.shared.core).peer(self.call)
    }

    /// The state of the call; `None` after it has ended.
    pub fn state(&self) -> Option<State> {
        lock(&self.shared.core).state(self.call)
    }

    /// Waits until media is connected.
    ///
    /// # Errors
    ///
    /// How the call ended, if it has, before or after that.
    pub async fn connected(&self) -> Result<(), End> {
        self.line.connected().await
    }

    /// Sets the kinds of media that are sent and received. A kind that the call did not have is added. What is muted or
    /// held stays so.
    pub fn set_directions(&self, directions: Directions) {
        self.change(|wish| wish.set(directions));
    }

    /// Neither sends nor receives until [`resume`](Self::resume).
    pub fn hold(&self) {
        self.change(|wish| wish.hold(true));
    }

    /// Ends a [`hold`](Self::hold).
    pub fn resume(&self) {
        self.change(|wish| wish.hold(false));
    }

    /// Stops sending a kind of media.
    pub fn mute(&self, kind: Kind) {
        self.change(|wish| wish.mute(kind, true));
    }

    /// Sends a kind again that was muted, if the call is for sending it.
    pub fn unmute(&self, kind: Kind) {
        self.change(|wish| wish.mute(kind, false));
    }

    fn change(&self, change: impl FnOnce(&mut Wish)) {
        self.shared.change(self.call, &self.line, change);
    }

    /// Asks the peer for a key frame of a received stream, for instance because a decoder begins late. The request is
    /// repeated until there is one.
    pub fn request_key_frame(&self, stream: StreamId) {
        self.shared.request_key_frame(self.call, stream);
    }

    /// Ends the call with a reason for the other side. Frames that wait can still be read.
    pub fn hang_up(&self, end: impl Into<End>) {
        self.shared.hang_up(self.call, end.into());
    }

    /// Why the call ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        self.line.why()
    }

    /// Statistics of its session; `None` before the session exists and after it ended.
    pub fn stats(&self) -> Option<SessionStats> {
        lock(&self.shared.core).stats(self.call)
    }
}

impl Stream for Conversation {
    type Item = FrameEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.line.poll(cx)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.hang_up(EndReason::Ended);
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("call", &self.call)
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
