//! The feeds of a source that callers publish to, between the core and the source.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::core::publish::Order;
use super::publish;
use super::sources::Inbox;
use crate::media::source::{Feed, Request};
use crate::net::lock;

/// Gives the source the publisher's frames, and the core what the source is asked for.
pub(super) struct Feeds {
    video: Feed,
    audio: Feed,
    asked: Arc<Mutex<VecDeque<Request>>>,
}

impl Feeds {
    pub(super) fn new([video, audio]: [Feed; 2], inbox: &Arc<Inbox>) -> Feeds {
        let asked = Arc::<Mutex<VecDeque<Request>>>::default();
        video.adjustable(true, false);
        video.on({
            let (asked, inbox) = (asked.clone(), Arc::downgrade(inbox));
            move |request| {
                lock(&asked).push_back(request);
                if let Some(inbox) = inbox.upgrade() {
                    inbox.changed.notify();
                }
            }
        });
        Feeds { video, audio, asked }
    }

    pub(super) fn handle(&self, order: Order) {
        let frame = match order {
            Order::Frame(frame) => frame,
            Order::Lost => return self.video.failed(publish::left()),
        };
        let feed = if frame.codec.is_video() { &self.video } else { &self.audio };
        if let Err(error) = feed.push_captured(frame.data, frame.key, frame.pts, frame.captured) {
            log::debug!("a published frame is left out: {error}");
        }
    }

    /// What the video is asked for.
    pub(super) fn poll_asked(&self) -> Option<Request> {
        lock(&self.asked).pop_front()
    }
}
