//! Viewers and their calls: the program's commands, and the events of calls.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::{CameraCore, Output};
use crate::call::body::End;
use crate::call::{CallError, CallId};
use crate::calling::{self, Party};
use crate::camera::demand::{self, Sink};
use crate::camera::event::{Event, Viewer, ViewerId};
use crate::camera::profile;
#[cfg(feature = "recv")]
use crate::media::Frame;
use crate::media::{Codec, Kind};
use crate::proto::Address;
use crate::rtc::{self, SessionStats, Shard};

impl CameraCore {
    /// Calls a peer to send it the video. `at_once`: with our offer in the init.
    pub(crate) fn invite(
        &mut self,
        to: &str,
        wire_id: &str,
        at_once: bool,
        now: Instant,
    ) -> Result<ViewerId, CallError> {
        let call = self.calling.invite(to, wire_id, at_once, now)?;
        self.settle(now);
        Ok(ViewerId(call))
    }

    pub(crate) fn accept(&mut self, viewer: ViewerId, now: Instant) -> Result<(), CallError> {
        self.calling.accept(viewer.0, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn reject(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calling.reject(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn hang_up(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calling.hang_up(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Ends all calls, including those that are not connected yet. Returns how many.
    pub(crate) fn hang_up_all(&mut self, end: &End, now: Instant) -> usize {
        let count = self.calling.hang_up_all(end, now);
        self.settle(now);
        count
    }

    /// The addresses of all connected viewers.
    pub(crate) fn watchers(&self) -> Vec<Address> {
        self.calling.parties().filter(|party| party.joined).map(|party| party.peer.clone()).collect()
    }

    /// Where viewers can reach us from now on, and where they no longer can.
    pub(crate) fn set_candidates(
        &mut self,
        candidates: Vec<rtc::LocalCandidate>,
        gone: &[IpAddr],
        now: Instant,
    ) {
        self.calling.set_candidates(candidates, gone, now);
        self.settle(now);
    }

    /// A shard of those who watch, for a driver of its own.
    pub(crate) fn shard(&mut self, now: Instant) -> Shard {
        let shard = self.calling.shard(now);
        self.settle(now);
        shard
    }

    pub(crate) fn viewers(&self) -> impl Iterator<Item = (Viewer, Option<SessionStats>)> {
        self.calling
            .parties()
            .filter(|party| party.joined)
            .map(|party| (self.viewer(&party), self.calling.stats(party.call)))
    }

    /// Sessions that a panic ended.
    pub(crate) fn panics(&self) -> u64 {
        self.calling.panics()
    }

    /// Frames that viewers were not sent.
    pub(crate) fn skipped(&self) -> rtc::Skipped {
        self.calling.skipped()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.calling.is_idle()
    }

    /// Whenever somebody came or left: every datagram would be too often.
    fn count_viewers(&mut self) {
        self.joined = self.calling.parties().filter(|party| party.joined).count();
    }

    pub(in crate::camera) fn calling_event(&mut self, event: calling::Event, now: Instant) {
        let event = match event {
            calling::Event::Incoming { call, peer, data } => {
                Event::Incoming { id: ViewerId(call), peer, data }
            }
            calling::Event::Calling { call, peer } => {
                #[cfg(any(feature = "talk", feature = "relay"))]
                self.grant(call, &peer, now);
                Event::Calling { id: ViewerId(call), peer }
            }
            calling::Event::Takes { call, streams } => {
                self.check_profiles(&[call]);
                self.serve_again(call, &streams, now);
                #[cfg(feature = "talk")]
                self.silence_again(call, now);
                self.want(Sink::Call(call), streams, now);
                #[cfg(feature = "relay")]
                self.refuse_without_codec(Some(call), now);
                return;
            }
            calling::Event::Joined { call } => {
                self.count_viewers();
                self.apply_policy(now);
                self.look(now);
                let Some(party) = self.calling.party(call) else { return };
                Event::ViewerJoined { viewer: self.viewer(&party) }
            }
            calling::Event::Left { call, peer, takes, end } => {
                self.count_viewers();
                self.apply_policy(now);
                let viewer = self.viewer(&Party { call, peer: &peer, takes: &takes, joined: true });
                self.want(Sink::Call(call), BTreeSet::new(), now);
                self.shares.forget(call);
                #[cfg(feature = "channels")]
                self.channels.forget(call);
                #[cfg(feature = "relay")]
                self.end_publishing(call);
                #[cfg(feature = "talk")]
                self.end_talk(call, now);
                Event::ViewerLeft { viewer, end }
            }
            calling::Event::Failed { call, peer, end } => {
                self.want(Sink::Call(call), BTreeSet::new(), now);
                self.shares.forget(call);
                #[cfg(feature = "channels")]
                self.channels.forget(call);
                #[cfg(feature = "relay")]
                self.end_publishing(call);
                #[cfg(feature = "talk")]
                self.end_talk(call, now);
                Event::CallFailed { id: ViewerId(call), peer, end }
            }
            calling::Event::KeyFrameWanted { call, stream, reason } => {
                return self.want_key_frame(Some(Sink::Call(call)), stream, reason, now);
            }
            #[cfg(feature = "recv")]
            calling::Event::Frame { call, frame } => return self.received(call, frame, now),
            #[cfg(feature = "channels")]
            calling::Event::Channel { call, event } => return self.channel_event(call, event, now),
            // Without the feature a camera grants none.
            #[cfg(all(feature = "calls", not(feature = "channels")))]
            calling::Event::Channel { .. } => return,
            calling::Event::Estimate { call, bps } => {
                let estimate = demand::Input::Estimate { sink: Sink::Call(call), bps };
                return self.demand.handle_input(estimate, now);
            }
        };
        self.out.push_back(Output::Event(event));
    }

    /// What a caller may send is agreed in the answer.
    #[cfg(any(feature = "talk", feature = "relay"))]
    fn grant(&mut self, call: CallId, peer: &Address, now: Instant) {
        let mut directions = rtc::Directions::default();
        #[cfg(feature = "talk")]
        self.grant_talk(peer, &mut directions);
        #[cfg(feature = "relay")]
        if self.grant_publishing(peer, &mut directions) {
            // Its offer is answered with the codec that suits the viewers of now.
            self.set_streams();
        }
        if !directions.receive.is_empty() {
            self.calling.set_directions(call, directions, now);
        }
    }

    /// A caller sent a frame.
    #[cfg(feature = "recv")]
    fn received(&mut self, call: CallId, frame: Frame, now: Instant) {
        #[cfg(feature = "relay")]
        let Some(frame) = self.publish(call, frame, now) else { return };
        #[cfg(feature = "talk")]
        self.hear(call, frame, now);
        #[cfg(not(feature = "talk"))]
        let _ = (call, frame, now);
    }

    /// Checks whether the encoder's profile is the one negotiated with these viewers; warns once for all of them.
    pub(super) fn check_profiles(&mut self, calls: &[CallId]) {
        let agreed = calls.iter().filter_map(|call| {
            let stats = self.calling.stats(*call)?;
            let mut made =
                stats.streams.iter().filter_map(|id| self.demand.stream(*id)?.video()?.profile_level_id);
            Some((made.next()?, stats.profile_level_id?))
        });
        let error = profile::check(agreed);
        self.out.extend(error.map(|error| Output::Event(Event::Media { error })));
    }

    pub(super) fn viewer(&self, party: &Party<'_>) -> Viewer {
        let kind = |kind| {
            let codecs = party.takes.iter().filter_map(|id| self.demand.stream(*id)).map(|info| info.codec);
            codecs.into_iter().find(|codec: &Codec| codec.kind() == kind)
        };
        Viewer {
            id: ViewerId(party.call),
            address: party.peer.clone(),
            video: kind(Kind::Video),
            audio: kind(Kind::Audio).is_some(),
            share: self.shares.of(party.call),
        }
    }
}
