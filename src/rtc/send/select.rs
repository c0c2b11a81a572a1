//! Selects the frames of a viewer's section: those of one rendition, only its key frames, or none.
//!
//! A section is negotiated for a codec; any rendition of that codec can be sent in it. Another one takes over at a key
//! frame, under the same SSRC, so nothing is renegotiated. No frame is missed, as far as the network carries both: what
//! the first one sends must not hold back the key frame of the other.
//!
//! ```text
//!               serve(other)                       a key frame of it
//!  one stream ─────────────▶ one stream, awaits another ─────────────▶ the other stream
//! ```

use std::time::{Duration, Instant};

use super::clock::Timestamp;
use crate::media::StreamId;

/// A key frame is requested again after this time.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A viewer that gets only key frames gets at most one in this time.
const KEY_FRAME_EVERY: Duration = ASK_AGAIN;
/// 1 ms on the RTP clock of video: a frame whose time is before the last one's follows it by this.
const APART: u32 = 90;

/// Which part of the negotiated video a session is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serving {
    /// All frames of this stream, from its next key frame on. Until then, the stream before continues, unless it is more
    /// than the network carries.
    Frames(StreamId),
    /// Only key frames of this stream, as often as the network carries one, but not more than one a second.
    KeyFrames(StreamId),
    /// No video.
    Nothing,
}

impl Serving {
    fn stream(self) -> Option<StreamId> {
        match self {
            Serving::Frames(stream) | Serving::KeyFrames(stream) => Some(stream),
            Serving::Nothing => None,
        }
    }
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is sent.
    Send,
    /// It is sent, as the first of another stream.
    Switch,
    /// It is not meant for this viewer.
    Ignore,
    /// It would delay the stream that replaces its own, as would those of its stream that wait.
    GiveWay,
    /// Neither, and a key frame of its stream is needed.
    Ask,
}

/// The selection of one viewer.
#[derive(Debug)]
pub(super) struct Selection {
    serving: Serving,
    /// The stream whose frames are sent now.
    current: StreamId,
    /// When a key frame was last requested.
    asked: Instant,
    /// When one was last sent.
    key_sent: Option<Instant>,
    /// Frames have been skipped, so the next frame that is sent must be a key frame.
    has_gap: bool,
    /// The time of the last frame.
    last: Option<u32>,
}

impl Selection {
    pub(super) fn new(stream: StreamId, now: Instant) -> Selection {
        Selection {
            serving: Serving::Frames(stream),
            current: stream,
            asked: now,
            key_sent: None,
            has_gap: false,
            last: None,
        }
    }

    /// The stream whose frames are sent now, if any.
    pub(super) fn current(&self) -> Option<StreamId> {
        self.serving.stream().map(|_| self.current)
    }

    /// Returns the stream of which a viewer without a picture needs a key frame.
    pub(super) fn needs(&self) -> Option<StreamId> {
        self.serving.stream()
    }

    /// Whether this viewer may get frames of a stream.
    pub(super) fn follows(&self, stream: StreamId) -> bool {
        self.serving.stream().is_some_and(|next| stream == next || stream == self.current)
    }

    /// Changes the selection. Returns the stream of which a key frame is needed for that. The same selection again
    /// needs none, even while it waits for one.
    pub(super) fn serve(&mut self, serving: Serving, now: Instant) -> Option<StreamId> {
        if std::mem::replace(&mut self.serving, serving) == serving {
            return None;
        }
        let next = serving.stream()?;
        let is_thin = matches!(serving, Serving::KeyFrames(_));
        if next == self.current && (is_thin || !self.has_gap) {
            return None;
        }
        self.asked = now;
        Some(next)
    }

    /// Whether another stream is about to take over.
    pub(super) fn is_changing(&self) -> bool {
        self.serving.stream().is_some_and(|next| next != self.current)
    }

    /// Decides on a frame of a stream. `is_idle`: everything sent before has arrived; `is_crowded`: so much is on its way
    /// that what is sent now would arrive late.
    pub(super) fn handle_frame(
        &mut self,
        stream: StreamId,
        key: bool,
        is_idle: bool,
        is_crowded: bool,
        now: Instant,
    ) -> Verdict {
        let Some(next) = self.serving.stream() else {
            self.has_gap = true;
            return Verdict::Ignore;
        };
        let is_past = |at: Instant| now.saturating_duration_since(at) >= KEY_FRAME_EVERY;
        let thin = matches!(self.serving, Serving::KeyFrames(_));
        let is_early = thin && next == self.current && !(is_idle && self.key_sent.is_none_or(is_past));
        if stream == next && key {
            if is_early {
                return Verdict::Ignore;
            }
            (self.key_sent, self.has_gap) = (Some(now), false);
            return if std::mem::replace(&mut self.current, next) == next {
                Verdict::Send
            } else {
                Verdict::Switch
            };
        }
        let gives_way = stream == self.current && stream != next;
        if gives_way && !thin {
            self.has_gap = is_crowded || self.has_gap && !key;
            return if self.has_gap { Verdict::GiveWay } else { Verdict::Send };
        }
        self.has_gap |= thin && stream == self.current;
        let sent = stream == self.current && !self.has_gap;
        if stream == next && !sent && !is_early && is_past(self.asked) {
            self.asked = now;
            return Verdict::Ask;
        }
        if sent { Verdict::Send } else { Verdict::Ignore }
    }

    /// The time of a frame that is sent: never before the previous one's, whichever stream that belonged to.
    pub(super) fn place(&mut self, at: Timestamp) -> Timestamp {
        let after = |last: u32| at.ticks.wrapping_sub(last).cast_signed() > 0;
        let ticks = match self.last {
            Some(last) if !after(last) => last.wrapping_add(APART),
            _ => at.ticks,
        };
        self.last = Some(ticks);
        Timestamp { ticks, ..at }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Ask, GiveWay, Ignore, Send, Switch};
    use super::*;

    const MAIN: StreamId = StreamId(0);
    const SMALL: StreamId = StreamId(4);

    #[test]
    fn another_stream_takes_over_at_its_key_frame() {
        let now = Instant::now();
        let mut selection = Selection::new(MAIN, now);
        assert_eq!(selection.handle_frame(MAIN, true, true, false, now), Send);
        assert!(!selection.follows(SMALL));
        assert_eq!(selection.serve(Serving::Frames(SMALL), now), Some(SMALL));
        assert!(selection.follows(SMALL) && selection.follows(MAIN));
        assert_eq!(
            selection.handle_frame(SMALL, false, true, false, now),
            Ignore,
            "it begins at a key frame"
        );
        assert_eq!(selection.handle_frame(MAIN, false, true, false, now), Send, "and the other continues");
        assert_eq!(selection.handle_frame(SMALL, false, true, false, now + ASK_AGAIN), Ask);
        assert_eq!(selection.handle_frame(SMALL, true, true, false, now), Switch);
        assert_eq!(selection.current(), Some(SMALL));
        assert_eq!(selection.handle_frame(SMALL, false, true, false, now), Send);
        assert!(!selection.follows(MAIN));
        assert_eq!(selection.handle_frame(MAIN, true, true, false, now), Ignore);
    }

    #[test]
    fn what_the_network_does_not_carry_gives_way_to_the_other_stream() {
        let now = Instant::now();
        let mut selection = Selection::new(MAIN, now);
        let frame = |selection: &mut Selection, stream, key, is_crowded| {
            selection.handle_frame(stream, key, false, is_crowded, now)
        };
        assert_eq!(frame(&mut selection, MAIN, true, true), Send, "nothing replaces it");
        selection.serve(Serving::Frames(SMALL), now);
        assert_eq!(frame(&mut selection, MAIN, false, false), Send);
        assert_eq!(frame(&mut selection, MAIN, false, true), GiveWay);
        assert_eq!(frame(&mut selection, MAIN, false, false), GiveWay, "it cannot be decoded");
        assert_eq!(frame(&mut selection, MAIN, true, true), GiveWay);
        assert_eq!(frame(&mut selection, MAIN, true, false), Send, "a picture while there is no other");
        assert_eq!(frame(&mut selection, MAIN, false, true), GiveWay);
        assert_eq!(frame(&mut selection, SMALL, true, true), Switch);
        assert_eq!(frame(&mut selection, SMALL, false, true), Send);
        // Back before the key frame: frames were skipped.
        selection.serve(Serving::Frames(MAIN), now);
        assert_eq!(frame(&mut selection, SMALL, false, true), GiveWay);
        assert_eq!(selection.serve(Serving::Frames(SMALL), now), Some(SMALL));
    }

    #[test]
    fn a_change_of_mind_before_the_key_frame_needs_none() {
        let now = Instant::now();
        let mut selection = Selection::new(MAIN, now);
        selection.serve(Serving::Frames(SMALL), now);
        assert_eq!(selection.serve(Serving::Frames(MAIN), now), None);
        assert_eq!(selection.handle_frame(MAIN, false, true, false, now), Send);
    }

    #[test]
    fn key_frames_alone_come_as_often_as_the_network_takes_them() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut selection = Selection::new(MAIN, start);
        assert_eq!(selection.handle_frame(MAIN, true, true, false, at(0)), Send);
        assert_eq!(selection.serve(Serving::KeyFrames(MAIN), start), None, "the last picture is complete");
        assert_eq!(selection.handle_frame(MAIN, false, true, false, at(10)), Ignore);
        assert_eq!(selection.handle_frame(MAIN, true, true, false, at(20)), Ignore, "too soon");
        assert_eq!(
            selection.handle_frame(MAIN, false, false, false, at(1000)),
            Ignore,
            "the network is busy"
        );
        assert_eq!(selection.handle_frame(MAIN, false, true, false, at(1100)), Ask);
        assert_eq!(selection.handle_frame(MAIN, true, true, false, at(1200)), Send);
        assert_eq!(selection.handle_frame(MAIN, false, true, false, at(2100)), Ignore, "too soon");
        assert_eq!(selection.handle_frame(MAIN, true, false, false, at(2300)), Ignore, "the network is busy");
        assert_eq!(selection.handle_frame(MAIN, true, true, false, at(2400)), Send);
        assert_eq!(selection.serve(Serving::Frames(MAIN), at(2400)), None, "nothing was skipped since");
        assert_eq!(selection.serve(Serving::KeyFrames(MAIN), at(2400)), None);
        assert_eq!(selection.handle_frame(MAIN, false, true, false, at(2433)), Ignore);
        assert_eq!(selection.serve(Serving::Frames(MAIN), at(2500)), Some(MAIN), "frames were skipped");
        assert_eq!(selection.serve(Serving::Nothing, at(2500)), None);
        assert!(!selection.follows(MAIN) && selection.current().is_none());
        assert_eq!(selection.handle_frame(MAIN, true, true, false, at(9000)), Ignore);
        assert_eq!(selection.serve(Serving::Frames(MAIN), at(9000)), Some(MAIN), "frames were skipped");
    }

    #[test]
    fn time_never_goes_back_from_stream_to_stream() {
        let now = Instant::now();
        let mut selection = Selection::new(MAIN, now);
        let mut place = |ticks| selection.place(Timestamp { ticks, wallclock: now }).ticks;
        assert_eq!(place(u32::MAX - 10), u32::MAX - 10);
        assert_eq!(place(u32::MAX - 3000), 79, "one behind");
        assert_eq!(place(10), 169, "and another");
        assert_eq!(place(6000), 6000);
    }
}
