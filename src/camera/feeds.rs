//! The feeds of a relay's source: connects the core to the source.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::core::activity::Sending;
use super::core::publish::Order;
use super::publish;
use super::sources::Inbox;
use crate::media::VIDEO_H264_LAYERS;
use crate::media::source::{Feed, Request};
use crate::net::lock;

/// Passes the publisher's frames to the source, and the source's requests to the core.
pub(super) struct Feeds {
    /// By rank, the best first.
    video: [Feed; VIDEO_H264_LAYERS.len()],
    audio: Feed,
    asked: Arc<Mutex<VecDeque<(usize, Request)>>>,
}

impl Feeds {
    pub(super) fn new((video, audio): publish::Feeds, inbox: &Arc<Inbox>) -> Feeds {
        let asked = Arc::<Mutex<VecDeque<(usize, Request)>>>::default();
        for (rank, feed) in video.iter().enumerate() {
            feed.adjustable(true, false);
            let (asked, inbox) = (asked.clone(), Arc::downgrade(inbox));
            feed.on(move |request| {
                lock(&asked).push_back((rank, request));
                if let Some(inbox) = inbox.upgrade() {
                    inbox.changed.notify();
                }
            });
        }
        Feeds { video, audio, asked }
    }

    pub(super) fn handle(&self, order: Order) {
        let (frame, rank) = match order {
            Order::Frame(frame, rank) => (frame, rank),
            Order::Codec(codec) => return Feed::change_codec(&self.video, codec),
            Order::Moved => return self.video.iter().for_each(Feed::begin_anew),
            Order::Sends(Sending::Video) => return self.video[0].resume(),
            Order::Sends(Sending::Audio) => return self.video[0].pause(publish::video_off()),
            Order::Sends(Sending::Nothing) => return self.video[0].pause(publish::silent()),
            Order::Lost => return self.video[0].leave(publish::nobody()),
        };
        let feed = if frame.codec.is_video() { &self.video[rank] } else { &self.audio };
        if let Err(error) = feed.push_captured(frame.data, frame.key, frame.pts, frame.captured) {
            log::debug!("a published frame is left out: {error}");
        }
    }

    /// Returns the next request for a video stream, with its rank.
    pub(super) fn poll_asked(&self) -> Option<(usize, Request)> {
        lock(&self.asked).pop_front()
    }
}
