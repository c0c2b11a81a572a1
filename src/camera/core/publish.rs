//! Callers who publish: passes the frames of the one who does to the feeds of the source, and what the source is asked for
//! to its call.

use std::time::Instant;

use super::layers::{LAYERS, Layers};
use super::{CameraCore, Output};
use crate::call::CallId;
use crate::call::body::{End, EndReason};
use crate::camera::demand::{self, Demand, Rate};
use crate::camera::event::{Event, ViewerId};
use crate::camera::permission::Permission;
use crate::camera::publish::Occupied;
use crate::media::source::Request;
use crate::media::{AUDIO_OPUS, Codec, Frame, Kind, StreamId, VIDEO_H264_LAYERS, VIDEO_VP8_LAYERS};
use crate::proto::Address;
use crate::rtc::Directions;

/// What a publisher is asked for while nobody watches, in bit/s: few bytes on its network, and a picture at once for the
/// first viewer.
const IDLE: u32 = 150_000;
/// The same while somebody watches one of several encodings: the publisher's network decides which it sends, the small ones
/// first, and a lower limit would take the best one from all.
const UNLIMITED: u32 = 100_000_000;
/// What audio is allowed beside the video's bitrate, in bit/s.
const AUDIO: u32 = 64_000;

/// For the feeds of the source.
#[derive(Debug)]
pub(crate) enum Order {
    /// A frame of the publisher; of video, for the stream of this rank.
    Frame(Frame, usize),
    /// The streams of the video go on with other encodings, each at its next key frame.
    Moved,
    /// The publisher is gone, or another one begins.
    Lost,
}

/// What a camera that shows what callers publish knows of them.
pub(crate) struct Publishers {
    permission: Permission,
    occupied: Occupied,
    /// As a session names the encodings that it receives.
    video: [StreamId; LAYERS],
    current: Option<CallId>,
    layers: Layers,
    /// What demand knows of their bitrates.
    rates: [Rate; LAYERS],
    /// Which ranks are wanted, and with which bitrate a single encoding is then, in bit/s.
    wanted: [bool; LAYERS],
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
        let (layers, video) = (Layers::default(), video == Codec::Vp8);
        let video = if video { VIDEO_VP8_LAYERS } else { VIDEO_H264_LAYERS };
        Publishers {
            permission,
            occupied,
            video,
            current: None,
            rates: layers.rates(),
            layers,
            wanted: [false; LAYERS],
            bitrate,
        }
    }

    /// A source that nobody publishes to has no small renditions.
    pub(super) fn begin(&self, demand: &mut Demand, now: Instant) {
        set_rates(demand, self.rates, now);
    }

    /// What the video may have now, in bit/s.
    fn video_limit(&self) -> u32 {
        match self.wanted.contains(&true) {
            false => IDLE,
            true if self.layers.are_several() => UNLIMITED,
            true => self.bitrate,
        }
    }

    /// Whether somebody else may begin now.
    fn is_open(&self) -> bool {
        self.current.is_none() || self.occupied == Occupied::Replace
    }
}

/// What demand knows of the bitrates of the source's video: those of these ranks.
fn set_rates(demand: &mut Demand, rates: [Rate; LAYERS], now: Instant) {
    let videos = demand.streams().filter(|info| info.kind() == Kind::Video);
    let videos: Vec<(usize, StreamId)> = videos.map(|info| (info.rendition.into(), info.id)).collect();
    for (rank, stream) in videos {
        if let Some(rate) = rates.get(rank) {
            demand.handle_input(demand::Input::Rate { stream, rate: *rate }, now);
        }
    }
}

impl CameraCore {
    /// What a caller who may publish may send.
    pub(super) fn grant_publishing(&self, peer: &Address, directions: &mut Directions) {
        let may = |p: &Publishers| p.is_open() && p.permission.allows(peer.user());
        if self.publishers.as_ref().is_some_and(may) {
            directions.receive.extend([Kind::Audio, Kind::Video]);
            directions.simulcast = true;
        }
    }

    /// A frame of a caller came. Returns it if it is not for the source.
    pub(super) fn publish(&mut self, call: CallId, frame: Frame, now: Instant) -> Option<Frame> {
        let Some(publishers) = &mut self.publishers else { return Some(frame) };
        let number = publishers.video.iter().position(|stream| *stream == frame.stream);
        if number.is_none() && frame.stream != AUDIO_OPUS {
            return None;
        }
        if publishers.current != Some(call) {
            self.begin_publishing(call, now);
        }
        let current = self.publishers.as_mut().filter(|publishers| publishers.current == Some(call));
        let publishers = current?;
        let Some(number) = number else {
            self.out.push_back(Output::Publish(Order::Frame(frame, 0)));
            return None;
        };
        let (before, place) =
            (publishers.layers.are_several(), publishers.layers.handle_frame(number, &frame, now));
        let measured = publishers.layers.measure(now);
        let several = publishers.layers.are_several();
        let moved = place.is_some_and(|place| place.moved);
        if moved {
            self.out.push_back(Output::Publish(Order::Moved));
        }
        if let Some(place) = place {
            self.out.push_back(Output::Publish(Order::Frame(frame, place.rank)));
        }
        if moved || measured {
            self.note_rates(now);
        }
        if several != before {
            self.limit_publisher(now);
        }
        None
    }

    /// What the bitrates of the publisher's encodings are now, for demand.
    fn note_rates(&mut self, now: Instant) {
        let Some(publishers) = &mut self.publishers else { return };
        let rates = publishers.layers.rates();
        if std::mem::replace(&mut publishers.rates, rates) != rates {
            set_rates(&mut self.demand, rates, now);
        }
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
        publishers.layers = Layers::default();
        if let Some(before) = publishers.current.replace(call) {
            self.out.push_back(Output::Publish(Order::Lost));
            self.out.push_back(Output::Event(Event::PublishEnded { id: ViewerId(before) }));
            let end = End::new(EndReason::Replaced, "somebody else publishes here now");
            _ = self.calling.hang_up(before, end, now);
        }
        self.out.push_back(Output::Event(Event::PublishStarted { id: ViewerId(call), peer }));
        self.note_rates(now);
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

    /// What the stream of a rank is asked for.
    pub(super) fn ask_for_video(&mut self, rank: usize, request: Request, now: Instant) {
        let Some(publishers) = &mut self.publishers else { return };
        match request {
            Request::Start => {
                publishers.wanted[rank] = true;
                self.limit_publisher(now);
                return self.request_published_key_frame(rank, now);
            }
            Request::Stop => publishers.wanted[rank] = false,
            Request::Bitrate { bps } if rank == 0 => publishers.bitrate = bps,
            Request::Bitrate { .. } => return,
            Request::KeyFrame => return self.request_published_key_frame(rank, now),
            // Its encoder is not ours: it lowers size and rate by itself where the bitrate is low.
            Request::Quality { .. } => return,
        }
        self.limit_publisher(now);
    }

    /// Asks a new publisher.
    fn ask_publisher(&mut self, now: Instant) {
        self.limit_publisher(now);
        let Some(publishers) = &self.publishers else { return };
        for (rank, wanted) in publishers.wanted.into_iter().enumerate() {
            if wanted {
                self.request_published_key_frame(rank, now);
            }
        }
    }

    fn limit_publisher(&mut self, now: Instant) {
        let Some(publishers) = &self.publishers else { return };
        let Some(call) = publishers.current else { return };
        self.calling.limit_received(call, publishers.video_limit().saturating_add(AUDIO), now);
    }

    fn request_published_key_frame(&mut self, rank: usize, now: Instant) {
        let Some(Publishers { current: Some(call), video, layers, .. }) = &self.publishers else { return };
        // Before its first one, the only encoding is that of the best rank.
        let number = layers.number(rank).or((rank == 0).then_some(0));
        if let Some(number) = number {
            self.calling.request_key_frame(*call, video[number], now);
        }
    }
}

#[cfg(test)]
impl CameraCore {
    pub(in crate::camera) fn set_publishers(&mut self, publishers: Publishers, now: Instant) {
        publishers.begin(&mut self.demand, now);
        self.publishers = Some(publishers);
    }

    /// What the publisher is asked to keep to for its video, in bit/s.
    pub(in crate::camera) fn publisher_limit(&self) -> Option<u32> {
        self.publishers.as_ref().map(Publishers::video_limit)
    }
}
