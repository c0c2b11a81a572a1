//! Frames on their way to all viewers: cut into packets once, whatever the number of shards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::{Codec, Frame, StreamId};
use crate::rtc::send::clock::{Position, Timeline, Timestamp};
use crate::rtc::send::cut::{Cutter, Payloads};
use crate::rtc::send::opus::Joiner;
use crate::rtc::send::track::Cut;
use crate::rtc::session::{Session, Sink};

/// A stream.
#[derive(Debug, Default)]
struct Lane {
    cutter: Cutter,
    position: Position,
    /// Of audio.
    joiner: Joiner,
    /// Of video that somebody watches.
    rhythm: Rhythm,
}

/// When to expect the next frame of a stream.
#[derive(Debug, Default)]
struct Rhythm {
    /// When the last one came, and its RTP time.
    last: Option<(Instant, u32)>,
    /// Between the last two.
    every: Option<Duration>,
}

impl Rhythm {
    fn handle_frame(&mut self, timestamp: Timestamp, now: Instant) {
        let ticks =
            self.last.replace((now, timestamp.ticks)).map(|(_, last)| timestamp.ticks.wrapping_sub(last));
        // 90 in a millisecond, for video.
        self.every = ticks.map(|ticks| Duration::from_micros(u64::from(ticks) * 100 / 9));
    }

    /// The time until the next frame; `None` if the stream seems to have stopped.
    fn next(&self, now: Instant) -> Option<Duration> {
        let ((last, _), every) = self.last.zip(self.every)?;
        let since = now.saturating_duration_since(last);
        (since < 2 * every).then(|| every.saturating_sub(since))
    }
}

/// A frame as the shards get it.
pub(super) struct Parcel {
    pub(super) stream: StreamId,
    pub(super) cut: Cut,
    /// Audio that is complete with this frame, or leaves with it, for viewers that do not send any themselves.
    joined: Vec<(StreamId, Cut)>,
    /// Grows with each, so that nobody is always the last one served.
    pub(super) number: u64,
}

impl Parcel {
    /// Whether it has something for a viewer.
    pub(super) fn is_for(&self, session: &Session) -> bool {
        self.cuts(session.is_conversation()).any(|(stream, cut)| session.follows(stream, cut.codec))
    }

    /// Gives it to a viewer.
    pub(super) fn hand_to(&self, session: &mut Session, now: Instant, sink: &mut Sink<'_>) {
        for (stream, cut) in self.cuts(session.is_conversation()) {
            session.handle_frame(stream, cut, now, sink);
        }
    }

    /// Viewers get joined audio, and who talks gets each frame.
    fn cuts(&self, talks: bool) -> impl Iterator<Item = (StreamId, &Cut)> {
        let joined = if talks { &[][..] } else { &self.joined };
        let own = (talks || self.cut.codec != Codec::Opus).then_some((self.stream, &self.cut));
        joined.iter().map(|(stream, cut)| (*stream, cut)).chain(own)
    }
}

/// All streams.
pub(super) struct Cutting {
    lanes: HashMap<StreamId, Lane>,
    timeline: Timeline,
    /// Frames that were cut.
    pub(super) count: u64,
}

impl Cutting {
    pub(super) fn new(now: Instant) -> Cutting {
        Cutting { lanes: HashMap::new(), timeline: Timeline::new(now), count: 0 }
    }

    /// When a frame is shown. To be asked of each frame, watched or not.
    pub(super) fn place(&mut self, frame: &Frame) -> Timestamp {
        let lane = self.lanes.entry(frame.stream).or_default();
        self.timeline.place(&mut lane.position, frame)
    }

    /// Nobody watches a stream: what waits for more audio would be old when somebody comes.
    pub(super) fn drop_waiting(&mut self, stream: StreamId) {
        if let Some(lane) = self.lanes.get_mut(&stream) {
            lane.joiner = Joiner::default();
        }
    }

    /// Cuts a frame; `None` if there is nothing in it.
    pub(super) fn cut(
        &mut self,
        frame: &Frame,
        timestamp: Timestamp,
        per_packet: Duration,
        now: Instant,
    ) -> Option<Parcel> {
        let next_video = self.lanes.values().filter_map(|lane| lane.rhythm.next(now)).min();
        let lane = self.lanes.entry(frame.stream).or_default();
        let payloads = Arc::new(lane.cutter.cut(frame));
        self.count += 1;
        if payloads.is_empty() {
            log::debug!("ignoring an empty frame of stream {}", frame.stream.0);
            return None;
        }
        let mut joined = vec![];
        if frame.codec == Codec::Opus {
            let complete = lane.joiner.push(&frame.data, timestamp, per_packet, next_video);
            joined.extend(complete.into_iter().map(|packet| (frame.stream, audio(packet))));
        } else {
            lane.rhythm.handle_frame(timestamp, now);
            for (stream, lane) in &mut self.lanes {
                let complete = lane.joiner.handle_video(per_packet);
                joined.extend(complete.into_iter().map(|packet| (*stream, audio(packet))));
            }
        }
        let cut = Cut { codec: frame.codec, key: frame.key, payloads, timestamp, encoding: frame.encoding };
        Some(Parcel { stream: frame.stream, cut, joined, number: self.count })
    }
}

fn audio((payloads, timestamp): (Payloads, Timestamp)) -> Cut {
    Cut { codec: Codec::Opus, key: false, payloads: Arc::new(payloads), timestamp, encoding: None }
}
