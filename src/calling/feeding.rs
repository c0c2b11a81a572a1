//! Controls the source for all calls: one encoder for all of them.
//!
//! A stream is wanted while a call sends it. Key frame requests are merged. The bitrate is limited by the slowest
//! network, since all calls get the same frames.
//!
//! A lost source comes back by itself: its streams stay, and calls wait for its frames. A source that was given up has
//! no streams, until a call that wants to send tries it again.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Instant;

use super::Event;
use crate::call::CallId;
use crate::call::body::EndReason;
use crate::media::adapt::keyframes::{KeyFrameReason, KeyFrames};
use crate::media::adapt::rate::{BitrateLimits, RateControl};
use crate::media::source::{Command, SourceEvent, SourceState, SourceStatus, StatusTracker};
use crate::media::{Codec, Frame, StreamId, StreamInfo};

/// What one call sends.
#[derive(Debug, Default)]
struct Taker {
    streams: BTreeSet<StreamId>,
    /// The estimate for its network, in bit/s.
    estimate: Option<u32>,
}

/// The consequence of a source event for calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// It has these streams; `others` if they differ from before in more than their format.
    Streams {
        streams: Vec<StreamInfo>,
        others: bool,
    },
    /// It is given up and has no streams: calls that only send end with this reason.
    GivenUp(EndReason),
}

/// The core. Feed it, then drain [`poll_command`](Self::poll_command) and [`poll_status`](Self::poll_status).
pub(super) struct Feeding {
    streams: Vec<StreamInfo>,
    /// The streams of a source that was given up.
    given_up: Option<Vec<StreamInfo>>,
    tracker: StatusTracker,
    statuses: VecDeque<SourceStatus>,
    takers: BTreeMap<CallId, Taker>,
    wanted: BTreeSet<StreamId>,
    keys: KeyFrames,
    rates: BTreeMap<StreamId, RateControl>,
    commands: VecDeque<Command>,
}

impl Feeding {
    /// Creates the core without a source.
    pub(super) fn new() -> Feeding {
        Feeding {
            streams: vec![],
            given_up: None,
            tracker: StatusTracker::new(true),
            statuses: VecDeque::new(),
            takers: BTreeMap::new(),
            wanted: BTreeSet::new(),
            keys: KeyFrames::new(),
            rates: BTreeMap::new(),
            commands: VecDeque::new(),
        }
    }

    /// Replaces the source; nothing is wanted of the new one yet. `is_live` if it may come back after a loss.
    pub(super) fn replace(&mut self, is_live: bool, now: Instant) {
        *self = Feeding {
            tracker: StatusTracker::new(is_live),
            takers: std::mem::take(&mut self.takers),
            ..Feeding::new()
        };
        self.update(now);
    }

    /// Handles an event of the source.
    pub(super) fn handle_source(&mut self, event: &SourceEvent, now: Instant) -> Change {
        let before = self.tracker.status();
        self.tracker.handle_event(event);
        let status = self.tracker.status();
        self.statuses.extend(status.filter(|_| status != before));
        match event {
            SourceEvent::Streams(streams) => {
                let others = self.set_streams(streams, now);
                Change::Streams { streams: streams.clone(), others }
            }
            SourceEvent::GaveUp if self.given_up.is_none() => {
                self.given_up = Some(std::mem::take(&mut self.streams));
                self.update(now);
                let has_ended = status.is_some_and(|status| status.state == SourceState::Ended);
                Change::GivenUp(if has_ended { EndReason::SourceEnded } else { EndReason::SourceFailed })
            }
            _ => Change::Nothing,
        }
    }

    /// Tries a source again that was given up, because a call wants to send. Returns its streams.
    pub(super) fn try_again(&mut self, now: Instant) -> Option<Vec<StreamInfo>> {
        let streams = self.given_up.take()?;
        self.set_streams(&streams, now);
        Some(streams)
    }

    /// Returns the status of the source, if it changed.
    pub(super) fn poll_status(&mut self) -> Option<SourceStatus> {
        self.statuses.pop_front()
    }

    /// Sets the available streams. Returns whether they differ from before in more than their format.
    pub(super) fn set_streams(&mut self, streams: &[StreamInfo], now: Instant) -> bool {
        let known = |streams: &[StreamInfo]| -> HashSet<(StreamId, Codec)> {
            streams.iter().map(|info| (info.id, info.codec)).collect()
        };
        let changed = known(streams) != known(&self.streams);
        (self.streams, self.given_up) = (streams.to_vec(), None);
        self.update(now);
        changed
    }

    /// Handles an event of a call.
    pub(super) fn handle_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Takes { call, streams } => {
                self.takers.entry(*call).or_default().streams.clone_from(streams);
            }
            Event::Estimate { call, bps } => self.takers.entry(*call).or_default().estimate = Some(*bps),
            Event::Left { call, .. } | Event::Failed { call, .. } => _ = self.takers.remove(call),
            Event::KeyFrameWanted { stream, reason, .. } => {
                return self.want_key_frame(*stream, *reason, now);
            }
            _ => return,
        }
        self.update(now);
    }

    /// Requests a key frame of a stream.
    pub(super) fn want_key_frame(&mut self, stream: StreamId, reason: KeyFrameReason, now: Instant) {
        self.keys.request(stream, reason, now);
        self.handle_timeout(now);
    }

    /// Handles a frame of the source.
    pub(super) fn handle_frame(&mut self, frame: &Frame, now: Instant) {
        if frame.key && frame.codec.is_video() {
            self.keys.handle_key_frame(frame.stream, now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(stream) = self.keys.poll(now) {
            if self.wanted.contains(&stream) {
                self.commands.push_back(Command::KeyFrame(stream));
            }
        }
        for (stream, rate) in &mut self.rates {
            if let Some(bps) = rate.poll(now) {
                self.commands.push_back(Command::Bitrate { stream: *stream, bps });
            }
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let rates = self.rates.values().filter_map(RateControl::poll_timeout);
        rates.chain(self.keys.poll_timeout()).min()
    }

    /// Returns the next command to the source.
    pub(super) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Updates the commands for what is wanted now.
    fn update(&mut self, now: Instant) {
        let exists = |id: &&StreamId| self.streams.iter().any(|info| info.id == **id);
        let taken = self.takers.values().flat_map(|taker| &taker.streams).filter(exists);
        let wanted: BTreeSet<StreamId> = taken.copied().collect();
        for info in self.streams.iter().filter(|info| info.codec.is_video() && wanted.contains(&info.id)) {
            let takers = self.takers.values().filter(|taker| taker.streams.contains(&info.id));
            let slowest = takers.filter_map(|taker| taker.estimate).min();
            let limits = limits();
            let target = slowest.map(|estimate| limits.usable(estimate));
            let rate = self.rates.entry(info.id).or_insert_with(|| {
                let bps = limits.start;
                self.commands.push_back(Command::Bitrate { stream: info.id, bps });
                RateControl::new(limits)
            });
            rate.handle_target(target);
        }
        if wanted != self.wanted {
            self.commands.push_back(Command::Want(wanted.clone()));
            let before = self.tracker.status();
            self.tracker.handle_wanted(!wanted.is_empty());
            let status = self.tracker.status();
            self.statuses.extend(status.filter(|_| status != before));
            self.wanted = wanted;
        }
        self.handle_timeout(now);
    }
}

/// Returns the bitrate limits of video.
pub(super) fn limits() -> BitrateLimits {
    BitrateLimits::default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::error::{ErrorKind, MediaError};
    use crate::media::{AUDIO_OPUS, VIDEO_H264};
    use crate::proto::Address;

    struct Bench {
        feeding: Feeding,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let (mut feeding, now) = (Feeding::new(), Instant::now());
            let streams =
                [StreamInfo::new(VIDEO_H264, Codec::H264), StreamInfo::new(AUDIO_OPUS, Codec::Opus)];
            assert!(feeding.set_streams(&streams, now) && !feeding.set_streams(&streams, now));
            Bench { feeding, now }
        }

        fn event(&mut self, event: &Event) -> Vec<Command> {
            self.feeding.handle_event(event, self.now);
            self.commands()
        }

        fn takes(&mut self, call: u64, streams: &[StreamId]) -> Vec<Command> {
            self.event(&Event::Takes { call: CallId(call), streams: streams.iter().copied().collect() })
        }

        fn commands(&mut self) -> Vec<Command> {
            std::iter::from_fn(|| self.feeding.poll_command()).collect()
        }

        fn pass(&mut self, time: Duration) -> Vec<Command> {
            let end = self.now + time;
            while let Some(at) = self.feeding.poll_timeout().filter(|at| *at <= end) {
                self.now = self.now.max(at) + Duration::from_millis(1);
                self.feeding.handle_timeout(self.now);
            }
            self.now = end;
            self.commands()
        }
    }

    impl Bench {
        fn source(&mut self, event: &SourceEvent) -> (Change, Vec<Command>) {
            (self.feeding.handle_source(event, self.now), self.commands())
        }

        fn states(&mut self) -> Vec<SourceState> {
            std::iter::from_fn(|| self.feeding.poll_status()).map(|status| status.state).collect()
        }
    }

    fn want(streams: &[StreamId]) -> Command {
        Command::Want(streams.iter().copied().collect())
    }

    #[test]
    fn a_stream_is_wanted_while_a_call_takes_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.takes(1, &[AUDIO_OPUS]), [want(&[AUDIO_OPUS])]);
        let start = Command::Bitrate { stream: VIDEO_H264, bps: limits().start };
        assert_eq!(bench.takes(2, &[VIDEO_H264]), [start, want(&[VIDEO_H264, AUDIO_OPUS])]);
        assert_eq!(bench.takes(2, &[]), [want(&[AUDIO_OPUS])], "held");
        assert_eq!(bench.takes(2, &[VIDEO_H264]), [want(&[VIDEO_H264, AUDIO_OPUS])], "resumed");
        let peer = Address::from("a|1");
        let end = EndReason::Ended.into();
        let left = Event::Left { call: CallId(2), peer, takes: BTreeSet::new(), end };
        assert_eq!(bench.event(&left), [want(&[AUDIO_OPUS])]);
        assert!(bench.feeding.set_streams(&[], bench.now));
        assert_eq!(bench.commands(), [want(&[])], "the source has ended");
    }

    #[test]
    fn the_slowest_network_sets_the_bitrate() {
        let mut bench = Bench::new();
        bench.takes(1, &[VIDEO_H264]);
        bench.takes(2, &[VIDEO_H264]);
        let rate = |commands: Vec<Command>| match commands.last() {
            Some(Command::Bitrate { stream: VIDEO_H264, bps }) => Some(*bps),
            _ => None,
        };
        let estimate = |call, bps| Event::Estimate { call: CallId(call), bps };
        bench.event(&estimate(1, 4_000_000));
        assert_eq!(rate(bench.pass(Duration::from_secs(3))), Some(3_400_000));
        let down = bench.event(&estimate(2, 1_000_000));
        assert_eq!(rate(down), Some(850_000));
        bench.takes(2, &[]);
        assert_eq!(rate(bench.pass(Duration::from_secs(30))), Some(3_400_000), "it takes no video now");
    }

    #[test]
    fn key_frame_requests_of_all_calls_are_merged() {
        let mut bench = Bench::new();
        bench.takes(1, &[VIDEO_H264]);
        let wanted = |call| Event::KeyFrameWanted {
            call: CallId(call),
            stream: VIDEO_H264,
            reason: KeyFrameReason::Loss,
        };
        assert_eq!(bench.event(&wanted(1)), [Command::KeyFrame(VIDEO_H264)]);
        assert_eq!(bench.event(&wanted(2)), []);
        assert_eq!(bench.event(&wanted(1)), []);
        assert_eq!(bench.pass(Duration::from_secs(1)), [Command::KeyFrame(VIDEO_H264)]);
    }

    #[test]
    fn calls_wait_for_a_source_that_is_lost() {
        let mut bench = Bench::new();
        bench.takes(1, &[VIDEO_H264]);
        let gone = MediaError::new(ErrorKind::NoCamera, "/dev/video0");
        for event in [SourceEvent::Started, SourceEvent::Failed(gone), SourceEvent::Started] {
            assert_eq!(bench.source(&event), (Change::Nothing, vec![]));
        }
        use SourceState::{Lost, Playing, Starting};
        assert_eq!(bench.states(), [Starting, Playing, Lost, Playing]);
    }

    #[test]
    fn a_source_that_is_given_up_is_tried_again_by_who_wants_to_send_next() {
        let wrong = || SourceEvent::Failed(MediaError::new(ErrorKind::Unauthorized, "rtsp://192.0.2.7/"));
        let cases = [
            (SourceEvent::Ended, EndReason::SourceEnded, SourceState::Ended),
            (wrong(), EndReason::SourceFailed, SourceState::Failed),
        ];
        for (why, reason, state) in cases {
            let mut bench = Bench::new();
            bench.feeding.replace(false, bench.now);
            bench.feeding.set_streams(&[StreamInfo::new(AUDIO_OPUS, Codec::Opus)], bench.now);
            bench.takes(1, &[AUDIO_OPUS]);
            assert_eq!(bench.feeding.try_again(bench.now), None, "it runs");
            bench.source(&why);
            let (change, commands) = bench.source(&SourceEvent::GaveUp);
            assert_eq!((change, commands), (Change::GivenUp(reason), vec![want(&[])]));
            assert_eq!(bench.states(), [SourceState::Starting, state]);
            assert_eq!(bench.source(&SourceEvent::GaveUp).0, Change::Nothing, "once");
            bench.takes(1, &[]);
            let streams = bench.feeding.try_again(bench.now).expect("it was given up");
            assert_eq!(streams, [StreamInfo::new(AUDIO_OPUS, Codec::Opus)]);
            assert_eq!(bench.feeding.try_again(bench.now), None);
            assert_eq!(bench.takes(2, &[AUDIO_OPUS]), [want(&[AUDIO_OPUS])]);
            assert_eq!(bench.states(), [SourceState::Starting]);
        }
    }
}
