//! Handles the source's events, and delivers its frames and snapshots to the program.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CameraCore, Output, Taker, by_preference};
use crate::call::CallId;
use crate::call::body::EndReason;
use crate::camera::demand::{self, Sink};
use crate::camera::event::Event;
use crate::camera::snapshot::{PendingSnapshot, Waiter};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::sink::{self, SnapshotError};
use crate::media::source::{SourceEvent, SourceState, SourceStatus, StatusTracker};
use crate::media::{Codec, Format, Frame, StreamInfo, VideoFormat};
use crate::net::frame_outbox::FrameOutbox;

impl CameraCore {
    /// Delivers frames of these codecs to the outbox from now on; without codecs, those of the best video and the audio.
    pub(in crate::camera) fn take_frames(
        &mut self,
        id: u64,
        codecs: Vec<Codec>,
        outbox: Arc<FrameOutbox>,
        now: Instant,
    ) {
        if self.over {
            return outbox.end();
        }
        self.takers.insert(id, Taker { codecs, streams: BTreeSet::new(), outbox });
        self.choose(now);
        self.settle(now);
    }

    pub(crate) fn drop_frames(&mut self, id: u64, now: Instant) {
        if self.takers.remove(&id).is_some() {
            self.want(Sink::Frames(id), BTreeSet::new(), now);
            self.settle(now);
        }
    }

    /// The newest frame as JPEG, now or once it arrives; one not older than `age` is reused.
    pub(in crate::camera) fn snapshot(&mut self, age: Duration, now: Instant) -> Arc<PendingSnapshot> {
        let slot = Arc::new(PendingSnapshot::default());
        self.ask_for_snapshot(Waiter::Slot(slot.clone()), age, now);
        self.settle(now);
        slot
    }

    pub(super) fn ask_for_snapshot(&mut self, waiter: Waiter, age: Duration, now: Instant) {
        let jpeg = sink::choose(self.demand.streams(), &[Codec::Jpeg]);
        self.snapshots.ask(waiter, age, !jpeg.is_empty(), now);
        if self.snapshots.wants() {
            self.makes_jpeg = true;
            self.want(Sink::Snapshot, jpeg, now);
        }
    }

    /// The streams that are currently requested from the source.
    pub(crate) fn running(&self) -> Vec<StreamInfo> {
        self.demand.running().iter().filter_map(|id| self.demand.stream(*id)).copied().collect()
    }

    /// What the source does; `None` while nobody watches.
    pub(crate) fn source(&self) -> Option<SourceStatus> {
        self.status
    }

    pub(super) fn set_flows(&mut self, flows: bool, now: Instant) {
        if std::mem::replace(&mut self.flows, flows) != flows {
            self.demand.handle_input(demand::Input::Flows(flows), now);
        }
    }

    /// Nothing flows of a source that does not play.
    fn rest_flow(&mut self, now: Instant) {
        if self.status.is_none_or(|status| status.state != SourceState::Playing) {
            self.set_flows(false, now);
        }
    }

    pub(super) fn source_event(&mut self, event: SourceEvent, now: Instant) {
        self.controls_event(&event);
        if self.source.handle_event(&event) {
            self.show_source(self.status.is_some(), now);
            // Trouble again, after a frame that was on its way.
            self.rest_flow(now);
        }
        let event = match event {
            SourceEvent::Streams(streams) => return self.streams(streams, now),
            SourceEvent::Ended => Event::SourceEnded,
            SourceEvent::GaveUp => {
                // Whoever comes next makes it try again.
                self.end_takers(SnapshotError::SourceEnded, now);
                self.demand.handle_input(demand::Input::GaveUp, now);
                let ended = self.source.status().is_some_and(|status| status.state == SourceState::Ended);
                let reason = if ended { EndReason::SourceEnded } else { EndReason::SourceFailed };
                self.calling.hang_up_all(&reason.into(), now);
                Event::Streaming { streams: Vec::new() }
            }
            SourceEvent::Stalled(e) | SourceEvent::Failed(e) | SourceEvent::Trouble(e) => {
                Event::Media { error: e }
            }
            SourceEvent::Adjustable { stream, bitrate, quality } => {
                let adjustable = demand::Input::Adjustable { stream, bitrate, quality };
                return self.demand.handle_input(adjustable, now);
            }
            #[cfg(feature = "gst")]
            SourceEvent::Capture(info) => Event::Capture { info },
            SourceEvent::ControlSet { request, name, result } => Event::ControlSet { request, name, result },
            SourceEvent::ControlsRead { request, result } => Event::ControlsRead { request, result },
            _ => return,
        };
        self.out.push_back(Output::Event(event));
    }

    /// What the device answered, for whoever asked.
    fn controls_event(&mut self, event: &SourceEvent) {
        let Some(controls) = &mut self.controls else { return };
        match event {
            SourceEvent::ControlSet { request, result, .. } => controls.handle_control(*request, result),
            SourceEvent::ControlsRead { request, result } => controls.handle_controls(*request, result),
            _ => {}
        }
    }

    /// The source announces its streams, new ones and those of another format.
    fn streams(&mut self, streams: Vec<StreamInfo>, now: Instant) {
        let before: Vec<StreamInfo> = self.demand.streams().copied().collect();
        self.demand.handle_input(demand::Input::Streams(streams.clone()), now);
        self.set_streams();
        self.choose(now);
        let changed = |info: &&StreamInfo| {
            before.iter().find(|known| known.id == info.id).is_none_or(|known| known.format != info.format)
        };
        for info in streams.iter().filter(changed) {
            let Format::Video(VideoFormat { width, height, fps, profile_level_id }) = info.format else {
                continue;
            };
            if profile_level_id.is_some() {
                let all: Vec<CallId> = self.calling.parties().map(|party| party.call).collect();
                self.check_profiles(&all);
            }
            self.out.push_back(Output::Event(Event::Format { stream: info.id, width, height, fps }));
        }
    }

    /// Sets the streams that calls are offered.
    pub(super) fn set_streams(&mut self) {
        let streams = by_preference(self.demand.streams());
        #[cfg(feature = "relay")]
        let streams = self.in_all_codecs(streams);
        self.calling.set_streams(&streams);
    }

    /// Gives a frame to those of the program who take its stream.
    pub(super) fn hand_out(&mut self, frame: &Frame, now: Instant) {
        if frame.codec == Codec::Jpeg && self.snapshots.wants() {
            self.snapshots.handle_frame(frame, now);
            self.rest_snapshots(now);
        }
        let info = self.demand.stream(frame.stream);
        let mut torn = false;
        for taker in self.takers.values().filter(|taker| taker.streams.contains(&frame.stream)) {
            torn |= !taker.outbox.push(frame, info);
        }
        if torn {
            self.want_key_frame(None, frame.stream, KeyFrameReason::Loss, now);
        }
    }

    /// No JPEG is made that nobody waits for.
    pub(super) fn rest_snapshots(&mut self, now: Instant) {
        if !self.snapshots.wants() && std::mem::take(&mut self.makes_jpeg) {
            self.want(Sink::Snapshot, BTreeSet::new(), now);
        }
    }

    /// Which streams takers get of those that there are.
    fn choose(&mut self, now: Instant) {
        let mut wants = Vec::new();
        for (id, taker) in &mut self.takers {
            let streams = sink::choose(self.demand.streams(), &taker.codecs);
            if streams != taker.streams {
                taker.streams.clone_from(&streams);
                wants.push((Sink::Frames(*id), streams));
            }
        }
        for (sink, streams) in wants {
            self.want(sink, streams, now);
        }
    }

    pub(super) fn end_takers(&mut self, error: SnapshotError, now: Instant) {
        for (id, taker) in std::mem::take(&mut self.takers) {
            taker.outbox.end();
            self.want(Sink::Frames(id), BTreeSet::new(), now);
        }
        self.snapshots.fail(error);
        self.rest_snapshots(now);
    }

    /// Another source replaces the current one; calls continue.
    pub(super) fn replace(&mut self, streams: Vec<StreamInfo>, live: bool, now: Instant) {
        if let Some(controls) = &mut self.controls {
            controls.abandon();
        }
        self.source = StatusTracker::new(live);
        self.flows = false;
        self.demand.handle_input(demand::Input::Replaced(streams), now);
        self.set_streams();
        self.choose(now);
    }

    /// Tells the program, and all who watch or are about to, what the source does where that is news.
    pub(super) fn show_source(&mut self, watched: bool, now: Instant) {
        let status = self.source.status().filter(|_| watched);
        if std::mem::replace(&mut self.status, status) == status {
            return;
        }
        self.rest_flow(now);
        let to = self.calling.parties().map(|party| party.peer.as_str().to_owned());
        self.out.push_back(Output::Source(status, to.collect()));
        self.out.extend(status.map(|status| Output::Event(Event::Source { status })));
    }
}

#[cfg(test)]
mod tests {
    use crate::camera::core::Input;
    use crate::camera::tests::{OFFER, World};
    use crate::media::error::{ErrorKind, MediaError};
    use crate::media::source::SourceEvent;
    use crate::media::{Codec, VIDEO_H264};

    #[test]
    fn frames_flow_for_those_who_watch_until_something_is_wrong() {
        let mut world = World::new(4, true);
        let frame = |world: &mut World| {
            world.frame(VIDEO_H264, Codec::H264, true);
            world.core.flows
        };
        assert!(!frame(&mut world), "one that was on its way when the last viewer left");
        world.offer("bob|2", OFFER);
        assert!(!world.core.flows);
        assert!(frame(&mut world));
        let stalled = SourceEvent::Stalled(MediaError::new(ErrorKind::Stalled, "nothing came"));
        for _ in 0..2 {
            world.input(Input::Source(stalled.clone()));
            assert!(!world.core.flows);
            assert!(frame(&mut world), "it begins anew");
        }
        world.input(Input::Source(SourceEvent::GaveUp));
        assert!(!world.core.flows && !frame(&mut world));
    }
}
