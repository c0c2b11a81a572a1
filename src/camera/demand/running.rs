//! Which streams run: those that a sink gets, and for a while those that one got before.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Demand, Event, Output};
use crate::media::adapt::rate::RateControl;
use crate::media::source::Command;
use crate::media::{Codec, StreamId};

/// How long a rendition runs after its last viewer has left it for another: a viewer that goes back and forth finds it
/// running.
const RENDITION_LINGER: Duration = Duration::from_secs(5);

impl Demand {
    /// Decides which streams run.
    pub(super) fn run(&mut self, now: Instant) {
        let wanted = self.wanted(now);
        let (brief, lasting): (BTreeSet<_>, BTreeSet<_>) =
            wanted.into_iter().partition(|id| self.is_brief(*id));
        let running: BTreeSet<_> = self.running.iter().copied().filter(|id| !self.is_brief(*id)).collect();
        if !lasting.is_empty() || running.is_empty() {
            self.stop_at = None;
            return self.start(&lasting | &brief, now);
        }
        // A time that no clock can represent never comes.
        self.stop_at = self.stop_at.or_else(|| now.checked_add(self.config.linger));
        if self.stop_at.is_none_or(|at| now < at) {
            return self.start(&running | &brief, now);
        }
        self.stop_at = None;
        self.start(brief, now);
        for (id, stream) in &mut self.streams {
            let limits = stream.limits(&self.config.bitrate);
            if let Some(encoder) = &mut stream.encoder {
                encoder.rate = RateControl::new(limits);
                encoder.ladder.forget_rate();
                let bps = encoder.rate.current();
                encoder.asked = Some(bps);
                self.out.push_back(Output::Command(Command::Bitrate { stream: *id, bps }));
            }
        }
    }

    /// The streams that sinks get, and the renditions that viewers got until recently.
    fn wanted(&mut self, now: Instant) -> BTreeSet<StreamId> {
        let mut wanted = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for taker in self.sinks.values() {
            wanted.extend(self.streams.keys().copied().filter(|id| taker.takes(*id)));
            seen.extend(taker.viewer.as_ref().and_then(|viewer| viewer.main));
        }
        let codecs: Vec<Codec> =
            seen.iter().filter_map(|id| Some(self.streams.get(id)?.info.codec)).collect();
        for (id, stream) in &mut self.streams {
            let runs = stream.encoder.is_some() && self.running.contains(id);
            if wanted.contains(id) || !runs || !codecs.contains(&stream.info.codec) {
                stream.unused = None;
                continue;
            }
            let until = *stream.unused.get_or_insert(now) + RENDITION_LINGER;
            if now < until {
                self.wake = self.wake.into_iter().chain([until]).min();
                wanted.insert(*id);
            }
        }
        // Without any frames nobody would notice that a network is back.
        for main in seen {
            let codec = self.streams.get(&main).map(|stream| stream.info.codec);
            let same = |id: &StreamId| self.streams.get(id).map(|stream| stream.info.codec) == codec;
            if !wanted.iter().any(same) {
                wanted.insert(main);
            }
        }
        wanted
    }

    /// Streams of single frames only run until those have arrived.
    fn is_brief(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.info.codec == Codec::Jpeg)
    }

    fn start(&mut self, streams: BTreeSet<StreamId>, now: Instant) {
        if streams == self.running {
            return;
        }
        for (id, stream) in &mut self.streams {
            let Some(encoder) = &mut stream.encoder else { continue };
            let (ran, runs) = (self.running.contains(id), streams.contains(id));
            if ran != runs {
                (encoder.started, encoder.is_live) = (runs.then_some(now), false);
            }
            // An encoder starts at its target bitrate.
            let bps = encoder.target();
            if runs && !ran && encoder.is_steered() && encoder.asked != Some(bps) {
                encoder.asked = Some(bps);
                self.out.push_back(Output::Command(Command::Bitrate { stream: *id, bps }));
            }
        }
        self.running.clone_from(&streams);
        self.command(Command::Want(streams.clone()));
        self.emit(Event::Running(streams));
    }
}
