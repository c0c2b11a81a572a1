//! Decides the bitrates of one video's renditions, and which viewer gets which.
//!
//! For each video, in this order:
//! 1. [`divide`] chooses the bitrate of the main rendition from what the viewers' networks carry. It is lowered at once if
//!    no network carries it. While others carry it, it is lowered for one viewer only after a while ([`LOWER_AFTER`],
//!    [`LOWER_SOON`]), and never for a joiner.
//! 2. Each viewer follows its network to main, small, key frames or nothing ([`Viewer::follow`]). A viewer
//!    whose network cannot carry the bitrate that the main rendition is about to reach is moved first, so that the small
//!    one can start.
//! 3. The small rendition follows the lowest of those who get it.
//! 4. For viewers of key frames, the encoder makes them as often as the fastest of these networks carries: at most once a
//!    second, and once in 5 s ([`APART`]) if others get the stream too.

use std::time::{Duration, Instant};

use super::divide::{self, Bounds};
use super::encoder::{Encoder, Rate};
use super::key_frame_requests::APART;
use super::share::{BitratePolicy, Share, ShareReason};
use super::viewer::{Offer, SMALLS, Tier, Viewer};
use super::{Demand, Output, Sink};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::{Codec, StreamId};

/// How long it must have been better to lower the bitrate for all than to leave one on the small rendition: networks
/// that recover within three seconds should cost nobody else anything.
const LOWER_AFTER: Duration = Duration::from_secs(3);
/// The same where there is no small rendition: nobody can be sent too much for longer than a second.
const LOWER_SOON: Duration = Duration::from_millis(500);
/// A rendition that delivers no key frame for this long after its start does not work, ...
const STARTS_WITHIN: Duration = Duration::from_secs(4);
/// ... and is tried again after this time.
const RETRY: Duration = Duration::from_secs(60);
/// The shortest interval of key frames alone.
const KEY_FRAMES_APART: Duration = Duration::from_secs(1);
/// The bitrate counts as full from this percentage of the maximum, ...
const FULL: u64 = 90;
/// ... and as limited by others if a viewer's network carries this percentage of it.
const OTHERS: u64 = 150;
/// A reason persists down to this many percent less.
const SAME: u64 = 15;

/// One video in its renditions.
#[derive(Clone, Copy, Debug)]
struct Video {
    main: StreamId,
    /// The small renditions of which something may come, the lowest first.
    smalls: [Option<StreamId>; SMALLS],
    /// There is a small rendition, but the board is too hot for it.
    is_hot: bool,
}

impl Video {
    /// The lowest of its small renditions, with its number.
    fn lowest(&self) -> Option<(u8, StreamId)> {
        (0..).zip(self.smalls).find_map(|(number, small)| Some((number, small?)))
    }
}

impl Demand {
    /// Brings viewers and encoders in line with each other.
    pub(super) fn serve(&mut self, now: Instant) {
        let mains = self.streams.values().filter(|s| s.encoder.is_some() && !s.is_small());
        let mut taken = Vec::new();
        for main in mains.map(|stream| stream.info.id).collect::<Vec<_>>() {
            let video = self.video(main, now);
            self.follow_networks(video, now);
            taken.extend(self.follow_viewers(video, now));
            self.pace_key_frames(video, now);
        }
        // No network says anything about another.
        for stream in self.streams.values_mut().filter(|s| s.is_small() && !taken.contains(&s.info.id)) {
            if let Some(encoder) = &mut stream.encoder {
                encoder.rate.handle_target(None);
                encoder.rate.poll(now);
            }
        }
    }

    fn video(&mut self, main: StreamId, now: Instant) -> Video {
        let mut video = Video { main, smalls: [None; SMALLS], is_hot: false };
        let Some((codec, cooled)) = self.streams.get(&main).map(|s| (s.info.codec, s.cooled())) else {
            return video;
        };
        for (at, small) in self.smalls(main, codec).into_iter().enumerate() {
            let (works, is_hot) = self.works(small, cooled, now);
            video.smalls[at] = Some(small).filter(|_| works && !is_hot);
            video.is_hot |= is_hot;
        }
        video
    }

    /// Whether something may come of a small rendition, and whether the board is too hot for it. `cooled` are the pixels a
    /// second of the main one.
    fn works(&mut self, small: StreamId, cooled: u64, now: Instant) -> (bool, bool) {
        let flows = self.flows;
        let Some((stream, encoder)) =
            self.streams.get_mut(&small).and_then(|s| Some((&s.info, s.encoder.as_mut()?)))
        else {
            return (false, false);
        };
        // What was cooled down to its size spares the board more without it.
        let pixels =
            stream.video().map_or(0, |f| u64::from(f.width) * u64::from(f.height) * u64::from(f.fps));
        let is_hot = self.cooling.0 > 0 && cooled <= pixels;
        // Of what is measured it is known whether it comes.
        let waits = flows && !encoder.is_live && encoder.bitrate == Rate::Own;
        let late = encoder.started.filter(|_| waits).map(|at| at + STARTS_WITHIN);
        if late.is_some_and(|at| at <= now) {
            (encoder.started, encoder.broken_until) = (None, Some(now + RETRY));
        }
        let broken = encoder.broken_until.filter(|until| *until > now);
        let is_silent = encoder.bitrate == Rate::Silent;
        self.wake(late.filter(|at| *at > now));
        self.wake(broken);
        (broken.is_none() && !is_silent, is_hot)
    }

    /// The small renditions of a stream, the lowest first. Of several streams of a codec, the first has them.
    fn smalls(&self, main: StreamId, codec: Codec) -> Vec<StreamId> {
        let same = || self.streams.values().filter(move |s| s.info.codec == codec && s.encoder.is_some());
        let first = same().find(|s| !s.is_small()).map(|s| s.info.id);
        let smalls = same().filter(|s| s.is_small() && first == Some(main));
        let mut smalls: Vec<(u8, StreamId)> = smalls.map(|s| (s.info.rendition, s.info.id)).collect();
        smalls.sort_unstable();
        smalls.truncate(SMALLS);
        smalls.into_iter().rev().map(|(_, id)| id).collect()
    }

    fn viewers(&self, main: StreamId) -> impl Iterator<Item = (Sink, &Viewer)> {
        let all = self.sinks.iter().filter_map(|(sink, taker)| Some((*sink, taker.viewer.as_ref()?)));
        all.filter(move |(_, viewer)| viewer.main == Some(main))
    }

    fn encoder(&self, stream: StreamId) -> Option<&Encoder> {
        self.streams.get(&stream)?.encoder.as_ref()
    }

    fn encoder_mut(&mut self, stream: StreamId) -> Option<&mut Encoder> {
        self.streams.get_mut(&stream)?.encoder.as_mut()
    }

    /// The encoder whose key frames go to viewers that get nothing else.
    fn keyed(&self, video: Video) -> Option<&Encoder> {
        let mut running = video.smalls.into_iter().flatten().filter(|small| self.running.contains(small));
        self.encoder(running.next().unwrap_or(video.main))
    }

    /// The lowest bitrate of a small rendition. One whose bitrate is fixed has that.
    fn floor(&self, small: StreamId) -> Option<u32> {
        let stream = self.streams.get(&small)?;
        let encoder = stream.encoder.as_ref()?;
        Some(match encoder.is_steered() {
            true => stream.limits(&self.config.bitrate).min,
            false => encoder.current(),
        })
    }

    /// Sets the bitrate of the main rendition, and moves the viewers that it does not suit.
    fn follow_networks(&mut self, video: Video, now: Instant) {
        let Video { main, .. } = video;
        let limits = self.config.bitrate.clone();
        let floors = video.smalls.map(|small| self.floor(small?));
        let lowest = floors.into_iter().flatten().next();
        let has_small = lowest.is_some();
        let Some(encoder) = self.encoder(main) else { return };
        let (current, steered) = (encoder.current(), encoder.is_steered());
        // Who has the main rendition keeps it down to its bitrate; for all others there has to be headroom.
        let usable = |viewer: &Viewer| {
            let has = viewer.served.is_none_or(|(share, _)| share == Share::Full(main));
            viewer.link.usable(&limits, if has { current } else { u32::MAX }, now)
        };
        let counts = |viewer: &&Viewer| viewer.wish == Default::default();
        let viewers = || self.viewers(main).map(|(_, viewer)| viewer);
        let settled = viewers().filter(counts).any(|v| !v.link.is_new(now) && usable(v).is_some());
        // A joiner raises the bitrate, but lowers it only where it is alone.
        let suits = |viewer: &&Viewer| {
            !settled || !viewer.link.is_new(now) || usable(viewer).is_some_and(|bps| bps >= current)
        };
        let mut alone: Vec<u32> = viewers().filter(counts).filter(suits).filter_map(usable).collect();
        alone.sort_unstable();
        let has_main = |viewer: &&Viewer| viewer.served.is_some_and(|(share, _)| share == Share::Full(main));
        let on_main = viewers().filter(counts).filter(suits).filter(has_main);
        let mut having: Vec<u32> = on_main.filter_map(usable).collect();
        having.sort_unstable();
        let bounds = Bounds { min: limits.min.min(limits.max), small: lowest };
        let followed = match self.policy {
            BitratePolicy::Follow(sink) => self.viewers(main).find(|(other, _)| *other == sink),
            BitratePolicy::Best | BitratePolicy::Slowest => None,
        };
        let division = match (self.policy, followed.and_then(|(_, viewer)| usable(viewer))) {
            (BitratePolicy::Slowest, _) => divide::slowest(&alone, bounds),
            (BitratePolicy::Follow(_), Some(bps)) => divide::following(&alone, bounds, bps),
            (BitratePolicy::Follow(_) | BitratePolicy::Best, _) => divide::best(&alone, bounds, current),
        };
        // Of a bitrate that nobody carries, the lowest has the smallest key frames.
        let main_rate = division.main.or((!alone.is_empty()).then_some(bounds.min));
        // It is only one's gain while others carry the present bitrate, or what they have without that one.
        let is_carried = alone.last().is_some_and(|most| *most >= current);
        let without = divide::best(&having, bounds, current).main;
        let gain = self.policy == BitratePolicy::Best && (is_carried || main_rate < without);
        let meanwhile = without.filter(|_| !is_carried);
        let flows = self.flows;
        let Some(encoder) = self.encoder_mut(main) else { return };
        let lower = main_rate.filter(|bps| steered && gain && *bps < current);
        let could_lower = lower.map(|_| encoder.could_lower.unwrap_or(now));
        encoder.could_lower = could_lower;
        // Whoever does without it for now can wait.
        let after = if has_small || main_rate < without { LOWER_AFTER } else { LOWER_SOON };
        let later = could_lower.map(|since| since + after).filter(|at| *at > now);
        let target = if later.is_none() { main_rate } else { meanwhile };
        encoder.rate.handle_target(target.filter(|_| flows && steered));
        encoder.changed |= encoder.rate.poll(now).is_some();
        let heading = encoder.heading();
        // Without a small rendition it is waited for: key frames would be a freeze.
        let kept = match lower.filter(|_| later.is_some() && !has_small) {
            Some(bps) => bps.min(heading),
            None => heading,
        };
        let key_bits = self.keyed(video).map_or(0, Encoder::key_bits);
        // Whoever is far below the others is not worth lowering what they share; what is measured is never lowered.
        let least = division.small.filter(|_| steered);
        let smalls = floors.map(|floor| floor.map(|floor| least.map_or(floor, |least| least.max(floor))));
        let offer = Offer { main: heading, kept, smalls, key_bits };
        self.wake(later);
        if !flows {
            // Estimates of what isn't sent are no news.
            return;
        }
        for taker in self.sinks.values_mut() {
            let viewer = taker.viewer.as_mut().filter(|viewer| viewer.main == Some(main));
            if let Some(viewer) = viewer {
                viewer.follow(&offer, &limits, now);
            }
        }
    }

    /// Serves each viewer by its tier, and sets the bitrates of the small renditions for those who get them. Returns those
    /// that somebody gets.
    fn follow_viewers(&mut self, video: Video, now: Instant) -> Vec<StreamId> {
        let Video { main, smalls, is_hot } = video;
        let lowest = video.lowest().map(|(number, _)| number);
        let tiers: Vec<(Sink, Tier, Option<ShareReason>)> = self
            .viewers(main)
            .map(|(sink, viewer)| {
                let (tier, why) = viewer.tier(lowest, now);
                (sink, self.possible(video, tier), why)
            })
            .collect();
        let on =
            |number| move |(_, tier, _): &&(Sink, Tier, Option<ShareReason>)| *tier == Tier::Small(number);
        let numbered = || (0..).zip(smalls).filter_map(|(number, small)| Some((number, small?)));
        let taken = numbered().filter(|(number, _)| tiers.iter().any(|one| on(*number)(&one)));
        let taken: Vec<(u8, StreamId)> = taken.collect();
        for (number, small) in &taken {
            let viewers: Vec<Sink> = tiers.iter().filter(on(*number)).map(|(sink, ..)| *sink).collect();
            self.follow_small(*small, &viewers, now);
        }
        // Of what comes by itself the lowest is there for key frames, too.
        let measured = |(_, small): (u8, StreamId)| {
            self.encoder(small).is_some_and(|encoder| encoder.bitrate != Rate::Own).then_some(small)
        };
        let keyed = taken.first().map(|(_, small)| *small).or(video.lowest().and_then(measured));
        for (sink, tier, why) in tiers {
            let keys = || Share::KeyFrames(keyed.unwrap_or(main));
            let share = match tier {
                Tier::Main => Share::Full(main),
                Tier::Small(number) => smalls[usize::from(number)].map_or_else(keys, Share::Small),
                Tier::KeyFrames => keys(),
                Tier::Nothing => Share::Nothing,
            };
            let why = why.unwrap_or_else(|| self.why(sink, tier, video, is_hot, now));
            self.serve_one(sink, share, why, now);
        }
        taken.into_iter().map(|(_, small)| small).collect()
    }

    fn is_silent(&self, stream: StreamId) -> bool {
        self.encoder(stream).is_some_and(|encoder| encoder.bitrate == Rate::Silent)
    }

    /// The best that there is of a tier that was possible until now.
    fn possible(&self, video: Video, tier: Tier) -> Tier {
        let most = match tier {
            Tier::Main if self.is_silent(video.main) => SMALLS,
            Tier::Small(number) => usize::from(number) + 1,
            tier => return tier,
        };
        let small = video.smalls[..most].iter().rposition(Option::is_some);
        small.map_or(Tier::KeyFrames, |number| Tier::Small(number as u8))
    }

    /// Sets the bitrate of a small rendition for those who get it.
    fn follow_small(&mut self, small: StreamId, viewers: &[Sink], now: Instant) {
        let limits = self.config.bitrate.clone();
        let current = self.encoder(small).map_or(0, |encoder| encoder.rate.current());
        let links = viewers.iter().filter_map(|sink| self.sinks.get(sink)?.viewer.as_ref());
        let runs = self.running.contains(&small);
        // What it last had means nothing until it runs.
        let current = if runs { current } else { u32::MAX };
        let target = links.filter_map(|viewer| viewer.link.usable(&limits, current, now)).min();
        let flows = self.flows;
        if let Some(encoder) = self.encoder_mut(small) {
            let target = target.filter(|_| encoder.is_steered());
            match target.filter(|_| !runs) {
                Some(bps) => encoder.rate.start_at(bps),
                None => encoder.rate.handle_target(target.filter(|_| flows)),
            }
            encoder.changed |= encoder.rate.poll(now).is_some();
        }
    }

    /// Why the network of a viewer led to this tier.
    fn why(&self, sink: Sink, tier: Tier, video: Video, is_hot: bool, now: Instant) -> ShareReason {
        let (main, best) = (video.main, self.possible(video, Tier::Main));
        let viewer = self.sinks.get(&sink).and_then(|taker| taker.viewer.as_ref());
        let carries = viewer.and_then(|viewer| viewer.link.carries(now));
        let encoder = self.encoder(main).filter(|encoder| encoder.heading() > 0);
        let (Some(carries), Some(encoder)) = (carries, encoder) else { return ShareReason::Full };
        let BitrateLimits { max, .. } = self.config.bitrate;
        let heading = u64::from(encoder.heading());
        let usable = u64::from(self.config.bitrate.usable(carries));
        let before = viewer.and_then(|viewer| viewer.served).map(|(_, why)| why);
        let least = |percent, why| if before == Some(why) { percent - SAME } else { percent };
        match tier {
            Tier::Main if !encoder.is_steered() => ShareReason::Full,
            Tier::Main if heading * 100 >= u64::from(max) * least(FULL, ShareReason::Full) => {
                ShareReason::Full
            }
            Tier::Main if usable * 100 > heading * least(OTHERS, ShareReason::Others) => {
                let alone = self.viewers(main).nth(1).is_none();
                if alone { ShareReason::Full } else { ShareReason::Others }
            }
            Tier::Small(_) if self.is_silent(main) && tier == best => ShareReason::Source,
            Tier::Main | Tier::Small(_) => ShareReason::Network(carries),
            Tier::KeyFrames | Tier::Nothing if is_hot => ShareReason::Heat,
            Tier::KeyFrames | Tier::Nothing => ShareReason::Network(carries),
        }
    }

    fn serve_one(&mut self, sink: Sink, share: Share, why: ShareReason, now: Instant) {
        let Some(viewer) = self.sinks.get_mut(&sink).and_then(|taker| taker.viewer.as_mut()) else { return };
        let before = viewer.served.replace((share, why));
        if before.is_some_and(|(before, reason)| before == share && reason.code() == why.code()) {
            return;
        }
        self.out.push_back(Output::Serve { sink, share, why });
        let Some((before, _)) = before.filter(|(before, _)| *before != share) else { return };
        // Frames between key frames go on from the last one, except after a gap.
        let goes_on = before.stream() == share.stream() && matches!(share, Share::KeyFrames(_));
        let Some(stream) = share.stream().filter(|_| !goes_on) else { return };
        viewer.requests.handle_begin();
        // A stream that starts begins with one.
        if self.running.contains(&stream) && !matches!(share, Share::KeyFrames(_)) {
            self.want_key_frame(Some(sink), stream, KeyFrameReason::Join, now);
        }
    }

    /// Requests key frames for viewers that get nothing else.
    fn pace_key_frames(&mut self, video: Video, now: Instant) {
        let served =
            self.viewers(video.main).filter_map(|(sink, viewer)| Some((sink, viewer, viewer.served?.0)));
        let keyed = served.filter_map(|(sink, viewer, share)| match share {
            Share::KeyFrames(stream) => Some((sink, viewer, stream)),
            _ => None,
        });
        let mut keyed = keyed.peekable();
        let Some(stream) = keyed.peek().map(|(_, _, stream)| *stream) else { return };
        let Some(encoder) = self.encoder(stream) else { return };
        let limits = &self.config.bitrate;
        let apart = keyed.map(|(_, viewer, _)| {
            let carries = viewer.link.usable(limits, u32::MAX, now);
            let wished = if viewer.wish == Default::default() { KEY_FRAMES_APART } else { APART };
            carries.map_or(APART, |bps| encoder.key_time(bps)).max(wished)
        });
        let alone = self.takers(stream).all(|sink| self.is_on_key_frames(sink));
        let apart = apart.min().unwrap_or(APART).max(if alone { Duration::ZERO } else { APART });
        let due = encoder.paced.map_or(now, |at| at + apart);
        if !self.flows || !self.running.contains(&stream) {
            return;
        }
        if now < due {
            return self.wake(Some(due));
        }
        if let Some(encoder) = self.encoder_mut(stream) {
            encoder.paced = Some(now);
        }
        self.wake(Some(now + apart));
        self.key_frames.request(stream, KeyFrameReason::Join, now);
    }

    /// The sinks that get a stream.
    pub(super) fn takers(&self, stream: StreamId) -> impl Iterator<Item = Sink> {
        self.sinks.iter().filter(move |(_, taker)| taker.takes(stream)).map(|(sink, _)| *sink)
    }

    /// Whether a viewer gets key frames only.
    pub(super) fn is_on_key_frames(&self, sink: Sink) -> bool {
        let viewer = self.sinks.get(&sink).and_then(|taker| taker.viewer.as_ref());
        viewer.and_then(|viewer| viewer.served).is_some_and(|(share, _)| matches!(share, Share::KeyFrames(_)))
    }
}
