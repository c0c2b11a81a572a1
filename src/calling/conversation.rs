//! An application's handle of a call: the stream of received frames, and the methods that change the call.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::channel::{Channel, Channels};
use super::line::Line;
use super::messages::Messages;
use super::shared::Shared;
use super::wish::Wish;
use crate::call::body::{End, EndReason};
use crate::call::{CallId, State};
use crate::media::sink::FrameEvent;
use crate::media::{Kind, StreamId};
use crate::net::lock;
use crate::proto::Address;
use crate::rtc::{ChannelError, ChannelOptions, Directions, SessionStats};

/// A call that we made or accepted. It is a bounded stream of the peer's encoded frames and ends with the call; then
/// [`end`](Self::end) returns the reason. We send the source of [`Calling`](super::Calling). Dropping it hangs up.
///
/// Video starts with a key frame. H.264 is in Annex B format with parameter sets before each key frame, so the
/// concatenated data is a playable file. After a loss the stream continues at a key frame, which is requested
/// automatically. A reader that is too slow gets [`FrameEvent::Lost`]. Unread frames are dropped, and the call
/// continues.
///
/// The methods that change what is sent and received return immediately and negotiate the change with the peer. Until
/// the peer agrees, and also if it refuses, the call continues unchanged. [`stats`](Self::stats) shows what is sent.
pub struct Conversation {
    shared: Arc<Shared>,
    call: CallId,
    line: Arc<Line>,
}

impl Conversation {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId, line: Arc<Line>) -> Conversation {
        Conversation { shared: shared.clone(), call, line }
    }

    /// Returns the ID of the call.
    pub fn id(&self) -> CallId {
        self.call
    }

    /// Returns the peer's address; `None` after the call has ended. It changes when the peer reconnects, and when one
    /// of several devices accepts.
    pub fn peer(&self) -> Option<Address> {
        lock(&self.shared.core).peer(self.call)
    }

    /// Returns the state of the call; `None` after it has ended.
    pub fn state(&self) -> Option<State> {
        lock(&self.shared.core).state(self.call)
    }

    /// Waits until media is connected.
    ///
    /// # Errors
    ///
    /// The reason if the call has ended, even if media was connected before.
    pub async fn connected(&self) -> Result<(), End> {
        self.line.connected().await
    }

    /// Sets the kinds of media to send and receive. Adds kinds that the call did not have. Muted or held media stays
    /// muted or held.
    pub fn set_directions(&self, directions: Directions) {
        self.change(|wish| wish.set(directions));
    }

    /// Stops sending and receiving until [`resume`](Self::resume).
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

    /// Resumes sending a muted kind, if the call sends it at all.
    pub fn unmute(&self, kind: Kind) {
        self.change(|wish| wish.mute(kind, false));
    }

    /// Opens a data channel, beside media or in a call without any. It can be used once it is
    /// [open](Channel::opened). If the call began without data channels, they are offered to the peer now; one that
    /// takes none closes the channel ([`ChannelError::NotAgreed`]).
    ///
    /// # Errors
    ///
    /// Nothing is agreed yet ([`ChannelError::NotAgreed`]): wait for [`connected`](Self::connected). The label is too
    /// long, 16 channels exist, or the call has ended.
    pub fn open_channel(&self, options: impl Into<ChannelOptions>) -> Result<Channel, ChannelError> {
        self.shared.open_channel(self.call, &self.line, options.into())
    }

    /// The data channels that the peer opens from now on, which are closed at once without it; a call without data
    /// channels takes them from now on, if the peer offers them. There is one such stream: an earlier one ends. Up to 16
    /// wait in it.
    pub fn channels(&self) -> Channels {
        self.shared.channels(self.call, &self.line)
    }

    /// Messages of Symple to and from the peer, by a channel of the call instead of the server. Take it before the call is
    /// connected to miss none. If the call began without data channels, they are offered to the peer now.
    pub fn messages(&self) -> Messages {
        Messages::new(&self.shared, self.call, &self.line)
    }

    fn change(&self, change: impl FnOnce(&mut Wish)) {
        self.shared.change(self.call, &self.line, change);
    }

    /// Requests a key frame of a received stream from the peer, for example because a decoder starts late. Repeats the
    /// request until one arrives.
    pub fn request_key_frame(&self, stream: StreamId) {
        self.shared.request_key_frame(self.call, stream);
    }

    /// Ends the call with a reason for the other side. Queued frames can still be read.
    pub fn hang_up(&self, end: impl Into<End>) {
        self.shared.hang_up(self.call, end.into());
    }

    /// Returns why the call ended; `None` before that.
    pub fn end(&self) -> Option<End> {
        self.line.why()
    }

    /// Returns the statistics of its session; `None` before the session exists and after it ended.
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
