//! Relay: passes the frames of the publisher to the feeds of the source, and the source's requests to the publisher.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::activity::{Activity, Sending};
use super::simulcast::{LAYERS, Layers};
use super::{CameraCore, Output};
use crate::call::CallId;
use crate::call::body::{End, EndReason};
use crate::camera::demand::{self, Demand, Rate};
use crate::camera::event::{Event, ViewerId};
use crate::camera::permission::Permission;
use crate::camera::publish::Occupied;
use crate::media::source::Request;
use crate::media::{
    AUDIO_OPUS, Codec, Frame, Kind, StreamId, StreamInfo, VIDEO_H264_LAYERS, VIDEO_VP8_LAYERS,
};
use crate::proto::Address;
use crate::rtc::Directions;

/// The limit for a publisher while nobody watches, in bit/s: it costs little, and the first viewer gets a picture at
/// once.
const IDLE: u32 = 150_000;
/// The same while somebody watches one of several encodings. The publisher's network decides which ones it sends, the
/// small ones first; a lower limit would take the best one away from all viewers.
const UNLIMITED: u32 = 100_000_000;
/// A publisher that alternates between codecs costs all viewers a key frame each time: it may change once in this time.
const CHANGE_EVERY: Duration = Duration::from_secs(1);
/// The allowance for audio on top of the video's bitrate, in bit/s.
const AUDIO: u32 = 64_000;

/// An order for the feeds of the source.
#[derive(Debug)]
pub(crate) enum Order {
    /// A frame from the publisher; a video frame is for the stream of this rank.
    Frame(Frame, usize),
    /// The video goes on in this codec, at the next key frame of each stream.
    Codec(Codec),
    /// The video streams switch to other encodings, each at its next key frame.
    Moved,
    /// What the publisher sends has changed.
    Sends(Sending),
    /// The publisher left, or another one starts.
    Lost,
}

/// The state of the relay in the core.
pub(crate) struct Publishers {
    permission: Permission,
    occupied: Occupied,
    /// The video codecs that may be published, in order of preference.
    codecs: Vec<Codec>,
    current: Option<CallId>,
    /// What it sends.
    pub(super) activity: Option<Activity>,
    /// The codec of its video; `None` before it sent any.
    codec: Option<Codec>,
    /// When it changed its codec.
    changed: Option<Instant>,
    /// The codec of the source's video.
    source: Codec,
    layers: Layers,
    /// Their bitrates, as last passed to demand.
    rates: [Rate; LAYERS],
    /// Which ranks are wanted.
    wanted: [bool; LAYERS],
    /// The bitrate to request of a single encoding while it is wanted, in bit/s.
    bitrate: u32,
}

impl Publishers {
    /// Creates the state without a publisher. `bitrate` is the initial one, in bit/s.
    pub(in crate::camera) fn new(
        permission: Permission,
        occupied: Occupied,
        codecs: Vec<Codec>,
        bitrate: u32,
    ) -> Self {
        let layers = Layers::default();
        Publishers {
            permission,
            occupied,
            source: codecs.first().copied().unwrap_or(Codec::H264),
            codecs,
            current: None,
            activity: None,
            codec: None,
            changed: None,
            rates: layers.rates(),
            layers,
            wanted: [false; LAYERS],
            bitrate,
        }
    }

    /// Sets the initial rates: without a publisher the source has no small renditions.
    pub(super) fn begin(&self, demand: &mut Demand, now: Instant) {
        set_rates(demand, self.rates, now);
    }

    /// Returns the current limit for the video, in bit/s.
    fn video_limit(&self) -> u32 {
        match self.wanted.contains(&true) {
            false => IDLE,
            true if self.layers.are_several() => UNLIMITED,
            true => self.bitrate,
        }
    }

    /// Returns when something follows from the passing of time.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.activity.as_ref().and_then(Activity::poll_timeout)
    }

    /// Whether a new publisher may start now.
    fn is_open(&self) -> bool {
        self.current.is_none() || self.occupied == Occupied::Replace
    }
}

/// Returns the stream IDs of the encodings that are received in a codec.
fn layers(codec: Codec) -> &'static [StreamId] {
    match codec {
        Codec::H264 => &VIDEO_H264_LAYERS,
        Codec::Vp8 => &VIDEO_VP8_LAYERS,
        Codec::Opus | Codec::Jpeg => &[],
    }
}

/// The names of codecs, for people.
fn names(codecs: &[Codec]) -> String {
    codecs.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(" or ")
}

/// Passes the bitrates of the source's video, by rank, to demand.
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
    /// Lets a caller with the permission send media. Returns whether it may.
    pub(super) fn grant_publishing(&self, peer: &Address, directions: &mut Directions) -> bool {
        let may = |p: &Publishers| p.is_open() && p.permission.allows(peer.user());
        let may = self.publishers.as_ref().is_some_and(may);
        if may {
            directions.receive.extend([Kind::Audio, Kind::Video]);
            directions.simulcast = true;
        }
        may
    }

    /// Returns the streams with each video in all codecs that may be published: first the current one, then the one that
    /// most of those who watch support. A publisher is answered with the first that it can send.
    pub(super) fn in_all_codecs(&self, streams: Vec<StreamInfo>) -> Vec<StreamInfo> {
        let Some(Publishers { codecs, codec: current, .. }) = &self.publishers else { return streams };
        let theirs = self.calling.parties().filter_map(|party| self.calling.stats(party.call));
        let theirs: Vec<Vec<Codec>> = theirs.map(|stats| stats.video_codecs).collect();
        let count = |codec: &Codec| theirs.iter().filter(|theirs| theirs.contains(codec)).count();
        let mut order = codecs.clone();
        order.sort_by_cached_key(|codec| (Some(*codec) != *current, Reverse(count(codec))));
        let all = |info: StreamInfo| match info.kind() {
            Kind::Video => order.iter().map(|codec| StreamInfo { codec: *codec, ..info }).collect(),
            Kind::Audio => vec![info],
        };
        streams.into_iter().flat_map(all).collect()
    }

    /// Ends the calls of viewers, or of one, that do not support the codec that is published.
    pub(super) fn refuse_without_codec(&mut self, only: Option<CallId>, now: Instant) {
        let Some(Publishers { codec: Some(codec), current, .. }) = self.publishers else { return };
        let all = self.calling.parties().map(|party| party.call);
        let calls: Vec<CallId> = all.filter(|call| only.is_none_or(|only| only == *call)).collect();
        for call in calls.into_iter().filter(|call| Some(*call) != current) {
            let theirs = self.calling.stats(call).map(|stats| stats.video_codecs).unwrap_or_default();
            if !theirs.is_empty() && !theirs.contains(&codec) {
                let (published, theirs) = (codec.name(), names(&theirs));
                let words =
                    format!("the video here is {published} now, and this viewer supports only {theirs}");
                _ = self.calling.hang_up(call, End::new(EndReason::NoCodec, words), now);
            }
        }
    }

    /// Handles a frame of a caller. Returns it if it is not for the source.
    pub(super) fn publish(&mut self, call: CallId, frame: Frame, now: Instant) -> Option<Frame> {
        let Some(publishers) = &mut self.publishers else { return Some(frame) };
        let may = publishers.codecs.contains(&frame.codec);
        let number = layers(frame.codec).iter().position(|stream| *stream == frame.stream).filter(|_| may);
        if number.is_none() && frame.stream != AUDIO_OPUS {
            // It can send none of the codecs that were preferred in the answer.
            let wanted = names(&publishers.codecs);
            let words = format!("only {wanted} can be published here, not {}", frame.codec.name());
            _ = self.calling.hang_up(call, End::new(EndReason::NoCodec, words), now);
            return None;
        }
        if publishers.current != Some(call) {
            self.begin_publishing(call, now);
        }
        let is_current = |publishers: &Publishers| publishers.current == Some(call);
        self.publishers.as_ref().filter(|publishers| is_current(publishers))?;
        self.note_activity(|activity| activity.handle_frame(frame.codec.kind(), now));
        let Some(number) = number else {
            self.out.push_back(Output::Publish(Order::Frame(frame, 0)));
            return None;
        };
        if !self.follow_codec(call, &frame, now) {
            return None;
        }
        let publishers = self.publishers.as_mut()?;
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
        if moved || measured || place.is_some_and(|place| place.silenced) {
            self.note_rates(now);
        }
        if several != before {
            self.limit_publisher(now);
        }
        None
    }

    /// Changes the source to the codec of a frame. Returns whether the frame has the codec of the source.
    fn follow_codec(&mut self, call: CallId, frame: &Frame, now: Instant) -> bool {
        let Some(publishers) = &mut self.publishers else { return false };
        if publishers.codec == Some(frame.codec) {
            return true;
        }
        if publishers.changed.is_some_and(|at| now.saturating_duration_since(at) < CHANGE_EVERY) {
            return false;
        }
        if !frame.key {
            self.calling.request_key_frame(call, frame.stream, now);
            return false;
        }
        publishers.changed = publishers.codec.replace(frame.codec).map(|_| now);
        publishers.layers = Layers::default();
        if std::mem::replace(&mut publishers.source, frame.codec) != frame.codec {
            self.out.push_back(Output::Publish(Order::Codec(frame.codec)));
        }
        self.refuse_without_codec(None, now);
        true
    }

    /// Passes the bitrates of the publisher's encodings to demand, if they changed.
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
            // Permission was granted before the other publisher started.
            let end = End::new(EndReason::Busy, "somebody else publishes here");
            _ = self.calling.hang_up(call, end, now);
            return;
        }
        publishers.layers = Layers::default();
        (publishers.codec, publishers.changed) = (None, None);
        publishers.activity = Some(Activity::new(now));
        if let Some(before) = publishers.current.replace(call) {
            self.out.push_back(Output::Publish(Order::Lost));
            self.out.push_back(Output::Event(Event::PublishEnded { id: ViewerId(before) }));
            let end = End::new(EndReason::Replaced, "somebody else publishes here now");
            _ = self.calling.hang_up(before, end, now);
        }
        self.out.push_back(Output::Publish(Order::Sends(Sending::Video)));
        self.out.push_back(Output::Event(Event::PublishStarted { id: ViewerId(call), peer }));
        self.note_rates(now);
        self.ask_publisher(now);
    }

    /// Handles the end of a call.
    pub(super) fn end_publishing(&mut self, call: CallId) {
        let Some(publishers) = &mut self.publishers else { return };
        if publishers.current.take_if(|current| *current == call).is_some() {
            // The next one may have another.
            (publishers.codec, publishers.activity) = (None, None);
            self.out.push_back(Output::Publish(Order::Lost));
            self.out.push_back(Output::Event(Event::PublishEnded { id: ViewerId(call) }));
        }
    }

    /// Handles a request for the stream of a rank.
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
            // We don't control its encoder; it reduces size and frame rate by itself if the bitrate is low.
            Request::Quality { .. } => return,
        }
        self.limit_publisher(now);
    }

    /// Sends the current limit and key frame requests to a new publisher.
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
        let Some(publishers) = &self.publishers else { return };
        let (Some(call), Some(codec)) = (publishers.current, publishers.codec) else { return };
        // Before its first key frame, the only encoding has the best rank.
        let number = publishers.layers.number(rank).or((rank == 0).then_some(0));
        if let Some(number) = number {
            self.calling.request_key_frame(call, layers(codec)[number], now);
        }
    }
}

#[cfg(test)]
impl CameraCore {
    pub(in crate::camera) fn set_publishers(&mut self, publishers: Publishers, now: Instant) {
        publishers.begin(&mut self.demand, now);
        self.publishers = Some(publishers);
        self.set_streams();
    }

    /// Returns the limit for the publisher's video, in bit/s.
    pub(in crate::camera) fn publisher_limit(&self) -> Option<u32> {
        self.publishers.as_ref().map(Publishers::video_limit)
    }
}
