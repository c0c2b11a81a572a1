//! Frames on their way to all viewers: cut into packets once, whatever the number of shards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::{Codec, Frame, StreamId};
use crate::rtc::send::clock::{Position, Timeline, Timestamp};
use crate::rtc::send::cut::Cutter;
use crate::rtc::send::opus::Joiner;
use crate::rtc::send::track::Cut;
use crate::rtc::session::{Session, Sink};

/// A stream.
#[derive(Debug, Default)]
struct Lane {
    cutter: Cutter,
    position: Position,
    joiner: Joiner,
}

/// A frame as the shards get it.
pub(super) struct Parcel {
    pub(super) stream: StreamId,
    pub(super) cut: Cut,
    /// Audio that is complete with this frame, for viewers that do not send any themselves.
    pub(super) joined: Vec<Cut>,
    /// Grows with each, so that nobody is always the last one served.
    pub(super) number: u64,
}

impl Parcel {
    /// Whether a viewer watches its stream, and it has something for it.
    pub(super) fn is_for(&self, session: &Session) -> bool {
        session.follows(self.stream, self.cut.codec) && !self.cuts(session).is_empty()
    }

    /// Gives it to a viewer.
    pub(super) fn hand_to(&self, session: &mut Session, now: Instant, sink: &mut Sink<'_>) {
        for cut in self.cuts(session) {
            session.handle_frame(self.stream, cut, now, sink);
        }
    }

    /// Viewers get joined audio, and who talks gets each frame.
    fn cuts(&self, session: &Session) -> &[Cut] {
        match self.cut.codec {
            Codec::Opus if !session.is_conversation() => &self.joined,
            _ => std::slice::from_ref(&self.cut),
        }
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
    ) -> Option<Parcel> {
        let lane = self.lanes.entry(frame.stream).or_default();
        let payloads = Arc::new(lane.cutter.cut(frame));
        self.count += 1;
        if payloads.is_empty() {
            log::debug!("ignoring an empty frame of stream {}", frame.stream.0);
            return None;
        }
        let joined = if frame.codec == Codec::Opus {
            let complete = lane.joiner.push(&frame.data, timestamp, per_packet).into_iter();
            complete
                .map(|(payloads, timestamp)| {
                    let payloads = Arc::new(payloads);
                    Cut { codec: frame.codec, key: false, payloads, timestamp, encoding: frame.encoding }
                })
                .collect()
        } else {
            vec![]
        };
        let cut = Cut { codec: frame.codec, key: frame.key, payloads, timestamp, encoding: frame.encoding };
        Some(Parcel { stream: frame.stream, cut, joined, number: self.count })
    }
}
