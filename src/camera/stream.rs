//! What the application has of encoded frames while it takes some: the stream that it reads, and the handle of its
//! callback.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::shared::Shared;
use crate::media::sink::FrameEvent;
use crate::net::frame_outbox::FrameOutbox;

/// A bounded stream of encoded frames, from [`Camera::frames`](super::Camera::frames). The source runs while this
/// exists; dropping it stops streams that nobody else uses. It ends when the camera ends, or when the source fails for
/// good.
pub struct Frames {
    shared: Weak<Shared>,
    id: u64,
    outbox: Arc<FrameOutbox>,
}

impl Frames {
    pub(super) fn new(shared: Weak<Shared>, id: u64, outbox: Arc<FrameOutbox>) -> Self {
        Frames { shared, id, outbox }
    }
}

impl Stream for Frames {
    type Item = FrameEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.outbox.poll(cx)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.drop_frames(self.id);
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

/// A callback for encoded frames, from [`Camera::on_frames`](super::Camera::on_frames). Dropping this drops the
/// callback, and stops streams that nobody else uses.
#[must_use = "the frames end when this is dropped"]
pub struct FrameSubscription {
    shared: Weak<Shared>,
    id: u64,
}

impl FrameSubscription {
    pub(super) fn new(shared: Weak<Shared>, id: u64) -> Self {
        FrameSubscription { shared, id }
    }
}

impl Drop for FrameSubscription {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.drop_frames(self.id);
            shared.frame_callbacks.remove(self.id);
        }
    }
}

impl std::fmt::Debug for FrameSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameSubscription").finish_non_exhaustive()
    }
}
