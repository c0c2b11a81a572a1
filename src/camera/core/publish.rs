//! Callers who publish: passes the frames of the one who does to the feeds of the source, and what the source is asked for
//! to its call.

use std::time::Instant;

use super::{CameraCore, Output};
use crate::call::CallId;
use crate::call::body::{End, EndReason};
use crate::camera::event::{Event, ViewerId};
use crate::camera::permission::Permission;
use crate::camera::publish::Occupied;
use crate::media::source::Request;
use crate::media::{AUDIO_OPUS, Codec, Frame, Kind, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::proto::Address;
use crate::rtc::Directions;

/// What a publisher is asked for while nobody watches, in bit/s: few bytes on its network, and a picture at once for the
/// first viewer.
const IDLE: u32 = 150_000;
/// What audio is allowed beside the video's bitrate, in bit/s.
const AUDIO: u32 = 64_000;

/// For the feeds of the source.
#[derive(Debug)]
pub(crate) enum Order {
    /// A frame of the publisher.
    Frame(Frame),
    /// The publisher is gone, or another one begins.
    Lost,
}

/// What a camera that shows what callers publish knows of them.
pub(crate) struct Publishers {
    permission: Permission,
    occupied: Occupied,
    /// As a session names what it receives.
    video: StreamId,
    current: Option<CallId>,
    /// Whether the video is wanted, and with which bitrate then, in bit/s.
    is_wanted: bool,
    bitrate: u32,
}

impl Publishers {
    /// Nobody publishes yet. `bitrate` is the initial one, in bit/s.
    pub(in crate::camera) fn new(
        permission: Permission,
        occupied: Occupied,
        video: Codec,
        bitrate: u32,
    ) -> Self {
        let video = if video == Codec::Vp8 { VIDEO_VP8 } else { VIDEO_H264 };
        Publishers { permission, occupied, video, current: None, is_wanted: false, bitrate }
    }

    /// What the video may have now, in bit/s.
    fn video_limit(&self) -> u32 {
        if self.is_wanted { self.bitrate } else { IDLE }
    }

    /// Whether somebody else may begin now.
    fn is_open(&self) -> bool {
        self.current.is_none() || self.occupied == Occupied::Replace
    }
}

impl CameraCore {
    /// What a caller who may publish may send.
    pub(super) fn grant_publishing(&self, peer: &Address, directions: &mut Directions) {
        let may = |p: &Publishers| p.is_open() && p.permission.allows(peer.user());
        if self.publishers.as_ref().is_some_and(may) {
            directions.receive.extend([Kind::Audio, Kind::Video]);
        }
    }

    /// A frame of a caller came. Returns it if it is not for the source.
    pub(super) fn publish(&mut self, call: CallId, frame: Frame, now: Instant) -> Option<Frame> {
        let Some(publishers) = &mut self.publishers else { return Some(frame) };
        if frame.stream != publishers.video && frame.stream != AUDIO_OPUS {
            return None;
        }
        if publishers.current != Some(call) {
            self.begin_publishing(call, now);
        }
        if self.publishers.as_ref().is_some_and(|publishers| publishers.current == Some(call)) {
            self.out.push_back(Output::Publish(Order::Frame(frame)));
        }
        None
    }

    fn begin_publishing(&mut self, call: CallId, now: Instant) {
        let Some(party) = self.calling.party(call) else { return };
        let peer = party.peer.clone();
        let Some(publishers) = &mut self.publishers else { return };
        if !publishers.is_open() {
            // It was granted before the other one began.
            let end = End::new(EndReason::Busy, "somebody else publishes here");
            _ = self.calling.hang_up(call, end, now);
            return;
        }
        if let Some(before) = publishers.current.replace(call) {
            self.out.push_back(Output::Publish(Order::Lost));
            self.out.push_back(Output::Event(Event::PublishEnded { id: ViewerId(before) }));
            let end = End::new(EndReason::Replaced, "somebody else publishes here now");
            _ = self.calling.hang_up(before, end, now);
        }
        self.out.push_back(Output::Event(Event::PublishStarted { id: ViewerId(call), peer }));
        self.ask_publisher(now);
    }

    /// A call has ended.
    pub(super) fn end_publishing(&mut self, call: CallId) {
        let Some(publishers) = &mut self.publishers else { return };
        if publishers.current.take_if(|current| *current == call).is_some() {
            self.out.push_back(Output::Publish(Order::Lost));
            self.out.push_back(Output::Event(Event::PublishEnded { id: ViewerId(call) }));
        }
    }

    /// What the source's video is asked for.
    pub(super) fn ask_for_video(&mut self, request: Request, now: Instant) {
        let Some(publishers) = &mut self.publishers else { return };
        match request {
            Request::Start => {
                publishers.is_wanted = true;
                return self.ask_publisher(now);
            }
            Request::Stop => publishers.is_wanted = false,
            Request::Bitrate { bps } => publishers.bitrate = bps,
            Request::KeyFrame => return self.request_published_key_frame(now),
            // Its encoder is not ours: it lowers size and rate by itself where the bitrate is low.
            Request::Quality { .. } => return,
        }
        self.limit_publisher(now);
    }

    /// Asks a new publisher, or the one that is wanted from now on.
    fn ask_publisher(&mut self, now: Instant) {
        self.limit_publisher(now);
        if self.publishers.as_ref().is_some_and(|publishers| publishers.is_wanted) {
            self.request_published_key_frame(now);
        }
    }

    fn limit_publisher(&mut self, now: Instant) {
        let Some(publishers) = &self.publishers else { return };
        let Some(call) = publishers.current else { return };
        self.calling.limit_received(call, publishers.video_limit().saturating_add(AUDIO), now);
    }

    fn request_published_key_frame(&mut self, now: Instant) {
        let Some(Publishers { current: Some(call), video, .. }) = self.publishers else { return };
        self.calling.request_key_frame(call, video, now);
    }
}

#[cfg(test)]
impl CameraCore {
    pub(in crate::camera) fn set_publishers(&mut self, publishers: Publishers) {
        self.publishers = Some(publishers);
    }

    /// What the publisher is asked to keep to for its video, in bit/s.
    pub(in crate::camera) fn publisher_limit(&self) -> Option<u32> {
        self.publishers.as_ref().map(Publishers::video_limit)
    }
}
