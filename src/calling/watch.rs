//! A call that receives: the stream of its frames, and what can be done about it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::inlet::Inlet;
use super::shared::Shared;
use crate::call::CallId;
use crate::call::body::{End, EndReason};
use crate::media::StreamId;
use crate::media::sink::FrameEvent;
use crate::rtc::SessionStats;

/// What a peer sends in a call: a bounded stream of encoded frames, from [`Calling::watch`](super::Calling::watch). It
/// ends with the call; then [`end`](Self::end) tells why. Dropping it hangs up.
///
/// Video begins with a key frame. H.264 comes in Annex B format with parameter sets before each key frame, so the
/// concatenated data is a playable file. After a loss the stream goes on at a key frame, which is requested by itself; a
/// reader that is too slow gets [`FrameEvent::Lost`].
pub struct Watch {
    shared: Arc<Shared>,
    call: CallId,
    inlet: Arc<Inlet>,
}

impl Watch {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId) -> Watch {
        Watch { shared: shared.clone(), call, inlet: Arc::new(Inlet::new()) }
    }

    pub(super) fn inlet(&self) -> Arc<Inlet> {
        self.inlet.clone()
    }

    /// Identifies the call.
    pub fn id(&self) -> CallId {
        self.call
    }

    /// Asks the sender for a key frame of a stream, for instance because a decoder begins late. The request is repeated
    /// until there is one.
    pub fn request_key_frame(&self, stream: StreamId) {
        self.shared.request_key_frame(self.call, stream);
    }

    /// Ends the call with a reason for the other side. Frames that wait can still be read.
    pub fn hang_up(&self, end: impl Into<End>) {
        self.shared.hang_up(self.call, end.into());
    }

    /// Why the call ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        self.inlet.why()
    }

    /// Statistics of its session; `None` before the session exists and after it ended.
    pub fn stats(&self) -> Option<SessionStats> {
        self.shared.stats(self.call)
    }
}

impl Stream for Watch {
    type Item = FrameEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.inlet.poll(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hang_up(EndReason::Ended);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("call", &self.call).field("end", &self.end()).finish_non_exhaustive()
    }
}
