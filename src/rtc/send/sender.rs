//! Everything sent to one viewer: its streams, retransmissions, probes and reports, sealed here.
//!
//! ```text
//!   frames, cut once ──▶ Track ──▶┐
//!   NACK ──▶ History ──▶ repeats ─┼─▶ Pacer ─▶ number, seal ─▶ one batch for one system call
//!   Estimator ──▶ probes ────────▶┘
//! ```
//!
//! Everything is pulled: a packet gets its number and is sealed when the socket takes it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::delays::Delays;
use super::estimate::{Arrival, Estimator, Limits, Probe};
use super::feedback::{self, Feedback};
use super::history::Repeat;
use super::ntp::Wall;
use super::outgoing::{Cause, Outgoing, Ratio};
use super::pace::Pacer;
use super::report::{self, SenderInfo};
use super::select::{ASK_AGAIN, Serving};
use super::sequence::{Numbering, Numbers};
use super::track::{Cut, Format, Outlet, Pushed, Track};
use crate::media::{Codec, StreamId};
use crate::rtc::crypto::keys::Keys;
use crate::rtc::crypto::open::Opener;
use crate::rtc::crypto::seal::Sealer;

/// The estimate is what the link carries on average. The packets of a frame may leave this much faster, as in browsers,
/// so that a frame is not spread over the time until the next.
const PACING: u64 = 5;
const PACING_DIVISOR: u64 = 2;
/// Receivers need reports to play audio and video in sync.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Without a measured round trip, a packet is not repeated again before this time has passed.
const REPEAT_AGAIN: Duration = Duration::from_millis(100);
/// The maximum number of waiting retransmissions: 100 ms at 6 Mbit/s.
const MAX_REPEATS: usize = 64;
/// How far sending may be ahead of the estimate; beyond that, frames are dropped up to a key frame.
const MAX_AHEAD: Duration = Duration::from_secs(1);
/// Of a stream that is about to be replaced, nothing is sent beyond this, so that the other one has half of `MAX_AHEAD`.
const GIVES_WAY: Duration = Duration::from_millis(500);
/// The first key frame of another stream waits for what is on its way, at most for this time: a queue of usual length
/// would drop it, and the estimate is low while a queue drains.
const MAX_HOLD: Duration = Duration::from_millis(300);
/// When sending is this far ahead of the estimate, packets that later frames do not depend on are not repeated: they would
/// only delay those that matter. Otherwise they are, since some receivers wait for each packet.
const CROWDED: Duration = Duration::from_millis(200);
/// An estimate that changes by less causes no event.
const CHANGE: f64 = 0.02;
/// What a viewer reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Heard {
    /// It needs a key frame.
    KeyFrame(StreamId),
    /// The estimate of what its link carries changed to this bitrate, in bit/s.
    Estimate(u32),
    /// A sender report of its own stream: a time, and the RTP timestamp at that time.
    Time { ssrc: u32, ntp: u64, rtp: u32 },
}

/// What was sent, and what the viewer reported about it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::rtc) struct Counts {
    pub(in crate::rtc) packets: u64,
    pub(in crate::rtc) bytes: u64,
    pub(in crate::rtc) frames: u64,
    pub(in crate::rtc) repeats: u64,
    pub(in crate::rtc) nacks: u64,
    pub(in crate::rtc) key_frame_requests: u64,
}

/// The keys of a connected session.
struct Keyed {
    sealer: Sealer,
    opener: Opener,
}

pub(in crate::rtc) struct Sender {
    cname: String,
    keyed: Option<Keyed>,
    tracks: Vec<Track>,
    numbers: Numbers,
    /// The next transport-wide sequence number, a single counter for all packets.
    transport: u64,
    estimator: Estimator,
    pacer: Pacer,
    /// Measures what is sent against the estimate itself.
    budget: Pacer,
    /// In the format of its RTP header extension.
    playout_delay: Option<u32>,
    /// The selection of video to send, if it differs from what was negotiated.
    serving: Option<Serving>,
    /// Audio is not sent.
    is_silent: bool,
    probing: Option<(Probe, usize)>,
    /// Packets to repeat, with the index of their track.
    repeats: VecDeque<(usize, Repeat)>,
    ratio: Ratio,
    /// When the next sender reports are due.
    report: Instant,
    /// Since when packets are due that the socket has not taken.
    offered: Option<Instant>,
    /// When the pacer last delayed packets.
    paced: Option<Instant>,
    /// The last estimate that was reported as an event.
    reported: u32,
    counts: Counts,
    /// Buffers that are reused: a header; decrypted RTCP, or a payload being assembled.
    head: Vec<u8>,
    scratch: Vec<u8>,
}

impl Sender {
    /// `playout_delay` is how long the receiver may delay frames to smooth jitter; `None` sends no such limit.
    pub(in crate::rtc) fn new(
        cname: &str,
        limits: Limits,
        playout_delay: Option<Duration>,
        now: Instant,
    ) -> Sender {
        let mut estimator = Estimator::new(limits, now);
        estimator.set_wanted(limits.max);
        let reported = estimator.estimate();
        let mut sender = Sender {
            cname: cname.to_owned(),
            keyed: None,
            tracks: vec![],
            numbers: Numbers::default(),
            transport: 0,
            pacer: Pacer::new(1, now),
            budget: Pacer::new(1, now),
            // The minimum is 0; twelve bits in units of 10 ms.
            playout_delay: playout_delay.map(|max| (max.as_millis() / 10).min(0xfff) as u32),
            serving: None,
            is_silent: false,
            estimator,
            probing: None,
            repeats: VecDeque::new(),
            ratio: Ratio::new(now),
            report: now,
            offered: None,
            paced: None,
            reported,
            counts: Counts::default(),
            head: vec![],
            scratch: vec![],
        };
        sender.set_rate(now);
        sender
    }

    pub(in crate::rtc) fn set_max_bitrate(&mut self, bps: u32) {
        self.estimator.set_max(bps);
        self.estimator.set_wanted(bps);
    }

    /// Sets the keys of a transport that is connected and whose fingerprint was verified.
    pub(in crate::rtc) fn connect(&mut self, keys: &Keys, now: Instant) {
        self.keyed = Some(Keyed { sealer: Sealer::new(keys), opener: Opener::new(keys) });
        self.pacer.begin();
        self.report = now;
    }

    /// Handles a restart of the transport: nothing is sent until it is connected again.
    pub(in crate::rtc) fn disconnect(&mut self) {
        self.keyed = None;
        self.repeats.clear();
        self.probing = None;
        self.offered = None;
        self.tracks.clear();
    }

    /// Sets the streams to send. Those that continue keep their state.
    pub(in crate::rtc) fn set_streams(
        &mut self,
        streams: Vec<(StreamId, Codec, Format)>,
        resend_packets: usize,
        asked: Instant,
    ) {
        let mut before = std::mem::take(&mut self.tracks);
        self.repeats.clear();
        for (stream, codec, format) in streams {
            let same = |t: &Track| t.stream == stream && t.codec == codec && t.format.ssrc == format.ssrc;
            let track = match before.iter().position(same) {
                Some(i) => {
                    let mut track = before.swap_remove(i);
                    track.set_format(format);
                    track
                }
                None => {
                    let mut track = Track::new(stream, codec, format, resend_packets, asked);
                    if let Some(serving) = self.serving {
                        track.serve(serving, asked);
                    }
                    track
                }
            };
            self.tracks.push(track);
        }
        // Audio leaves first: it is small, and late audio is heard.
        self.tracks.sort_by_key(|track| track.codec.is_video());
    }

    /// Forgets SSRCs that are no longer announced.
    pub(in crate::rtc) fn retain_ssrcs(&mut self, is_announced: impl Fn(u32) -> bool) {
        self.numbers.retain(is_announced);
    }

    pub(in crate::rtc) fn tracks(&mut self) -> &mut [Track] {
        &mut self.tracks
    }

    pub(in crate::rtc) fn follows(&self, stream: StreamId, codec: Codec) -> bool {
        self.keyed.is_some() && self.tracks.iter().any(|t| t.follows(stream, codec))
    }

    /// Selects the video to send. Returns the streams of which key frames are needed for that.
    pub(in crate::rtc) fn serve(&mut self, serving: Serving, now: Instant) -> Vec<StreamId> {
        self.serving = Some(serving);
        self.tracks.iter_mut().filter_map(|track| track.serve(serving, now)).collect()
    }

    /// Stops or resumes sending audio.
    pub(in crate::rtc) fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
    }

    pub(in crate::rtc) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns the delays of video frames.
    pub(in crate::rtc) fn delays(&self) -> Option<Delays> {
        self.tracks.iter().find(|track| track.codec.is_video())?.delays()
    }

    /// Returns the video stream whose frames are sent.
    pub(in crate::rtc) fn video(&self) -> Option<StreamId> {
        self.tracks.iter().find(|track| track.codec.is_video())?.current()
    }

    pub(in crate::rtc) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the last estimate that was reported as an event, in bit/s.
    pub(in crate::rtc) fn estimate(&self) -> u32 {
        self.reported
    }

    pub(in crate::rtc) fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    /// Queues a frame, if its stream is sent here.
    pub(in crate::rtc) fn handle_frame(
        &mut self,
        stream: StreamId,
        cut: &Cut,
        now: Instant,
    ) -> Option<Pushed> {
        if self.is_silent && !cut.codec.is_video() {
            return None;
        }
        if !self.estimator.is_bound_by_path() {
            self.budget.clear(now);
        }
        let ahead = self.budget.ahead(now);
        let (at, track) = self.tracks.iter_mut().enumerate().find(|(_, t)| t.follows(stream, cut.codec))?;
        // It is counted packet by packet.
        let queued = if track.is_changing() { self.estimator.queued() } else { None };
        let outlet = Outlet {
            blocked: self.offered,
            paced: self.paced,
            is_over: ahead > MAX_AHEAD,
            is_idle: self.pacer.is_idle(now) && ahead.is_zero(),
            is_crowded: ahead.max(queued.unwrap_or_default()) > GIVES_WAY,
        };
        let pushed = track.push(stream, cut, outlet, now);
        if pushed.switched {
            // What was sent of the other stream counts as far as it is still on its way.
            let queued = queued.unwrap_or(CROWDED);
            self.budget.limit(queued, now);
            self.pacer.hold(now + queued.min(MAX_HOLD));
        }
        if pushed.skipped.is_some() {
            let history = &track.history;
            self.repeats.retain(|(of, repeat)| *of != at || !history.is_abandoned(repeat.number));
        }
        Some(pushed)
    }

    /// Handles SRTCP. Returns whether it is authentic.
    pub(in crate::rtc) fn handle_rtcp(
        &mut self,
        packet: &[u8],
        wall: &Wall,
        now: Instant,
        mut heard: impl FnMut(Heard),
    ) -> bool {
        let Some(keyed) = &mut self.keyed else { return false };
        let mut scratch = std::mem::take(&mut self.scratch);
        let opened = match keyed.opener.open_rtcp(packet, &mut scratch) {
            Ok(compound) => {
                for said in feedback::read(compound) {
                    self.handle_feedback(&said, wall, now, &mut heard);
                }
                true
            }
            Err(_) => false,
        };
        self.scratch = scratch;
        if opened {
            self.set_rate(now);
            let (estimate, before) = (self.estimator.estimate(), f64::from(self.reported));
            if (f64::from(estimate) - before).abs() > before * CHANGE {
                self.reported = estimate;
                heard(Heard::Estimate(estimate));
            }
        }
        opened
    }

    fn handle_feedback(
        &mut self,
        said: &Feedback<'_>,
        wall: &Wall,
        now: Instant,
        heard: &mut impl FnMut(Heard),
    ) {
        if matches!(said, Feedback::Transport(_) | Feedback::Report { .. } | Feedback::Remb { .. }) {
            self.pacer.settle();
        }
        match said {
            Feedback::Transport(feedback) => {
                let arrivals = feedback.arrivals().map(|(number, at)| Arrival { number, at });
                self.estimator.handle_feedback(arrivals, now);
            }
            Feedback::Report { ssrc, lost, last_sr, delay_since, .. } => {
                let Some(track) = self.tracks.iter_mut().find(|t| t.format.ssrc == *ssrc) else { return };
                track.is_known = true;
                let rtt = wall.round_trip(*last_sr, *delay_since, now);
                if track.codec.is_video() || self.tracks.len() == 1 {
                    self.estimator.handle_report(*lost, rtt, now);
                }
            }
            Feedback::Remb { bps, .. } => {
                self.estimator.handle_remb(u32::try_from(*bps).unwrap_or(u32::MAX), now);
            }
            Feedback::Nack { ssrc, numbers } => {
                let Some(i) = self.tracks.iter().position(|t| t.format.ssrc == *ssrc) else { return };
                self.counts.nacks += 1;
                let again = self.estimator.rtt().unwrap_or(REPEAT_AGAIN);
                let is_crowded = self.budget.ahead(now) > CROWDED;
                let is_limited = self.ratio.is_high();
                // What is not repeated, now or ever, is mended by a key frame, if none came since.
                let mut is_gone = false;
                for number in numbers.clone() {
                    let history = &mut self.tracks[i].history;
                    if history.is_abandoned(number) || is_crowded && history.is_superseded(number) {
                        continue;
                    }
                    let is_full = self.repeats.len() >= MAX_REPEATS;
                    is_gone |= history.is_gone(number, now);
                    is_gone |= !is_crowded
                        && (is_full || is_limited)
                        && history.is_kept(number)
                        && !history.is_superseded(number);
                    if is_full {
                        continue;
                    }
                    let repeat = history.repeat(number, again, now);
                    self.repeats.extend(repeat.map(|repeat| (i, repeat)));
                }
                // A viewer that waits for lost packets requests a key frame only after seconds: libwebrtc after three.
                let reported = self.estimator.reported_to();
                let track = &mut self.tracks[i];
                let is_new = track.gone.is_none_or(|at| now.saturating_duration_since(at) >= ASK_AGAIN);
                if is_gone && is_new && !track.has_key_on_its_way(reported, now) {
                    track.gone = Some(now);
                    track.current().map(Heard::KeyFrame).map(&mut *heard);
                }
            }
            Feedback::Pli { ssrc } => {
                let Some(track) = self.tracks.iter().find(|t| t.format.ssrc == *ssrc) else { return };
                self.counts.key_frame_requests += 1;
                // It was requested before the last one could arrive; a second one would delay that.
                if track.has_key_on_its_way(self.estimator.reported_to(), now) {
                    return;
                }
                track.current().map(Heard::KeyFrame).map(&mut *heard);
            }
            Feedback::Fir { ssrc, number } => {
                let Some(track) = self.tracks.iter_mut().find(|t| t.format.ssrc == *ssrc) else { return };
                if track.fir.replace(*number) != Some(*number) {
                    self.counts.key_frame_requests += 1;
                    track.current().map(Heard::KeyFrame).map(&mut *heard);
                }
            }
            Feedback::SenderReport { ssrc, ntp, rtp } => {
                heard(Heard::Time { ssrc: *ssrc, ntp: *ntp, rtp: *rtp });
            }
            Feedback::Bye { .. } => {}
        }
    }

    pub(in crate::rtc) fn handle_timeout(&mut self, now: Instant) {
        self.estimator.handle_timeout(now);
        if self.keyed.is_some() && self.may_probe() {
            self.probing = self.estimator.poll_probe(now).map(|probe| (probe, probe.bytes));
        }
        self.set_rate(now);
    }

    /// Whether a probe could start now. Before the first frame, probes are not paced, and may find nothing: they are not
    /// repeated before.
    fn may_probe(&self) -> bool {
        let is_measured = self.delays().is_some() || self.estimator.reported_to().is_none();
        is_measured && self.probing.is_none() && self.tracks.iter().any(Track::can_probe)
    }

    fn set_rate(&mut self, now: Instant) {
        let paced = u64::from(self.estimator.estimate()) * PACING / PACING_DIVISOR;
        let probed = self.probing.as_ref().map_or(0, |(probe, _)| u64::from(probe.rate));
        self.pacer.set_rate(paced.max(probed), now);
        // Not before the first frame, which would be delayed if its packets were spread out.
        self.pacer.set_probing(self.probing.is_some() && self.delays().is_some(), now);
        self.budget.set_rate(self.estimator.estimate().into(), now);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), or to check whether packets may leave.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        self.keyed.as_ref()?;
        let paced = self.paced_at().filter(|_| self.offered.is_none());
        let probe = self.may_probe().then(|| self.estimator.probe_due()).flatten();
        paced.into_iter().chain(probe).min()
    }

    /// Returns the same for timers without urgency.
    pub(in crate::rtc) fn calm_deadline(&self, now: Instant) -> Option<Instant> {
        self.keyed.as_ref()?;
        let report = self.report_due().filter(|at| *at > now);
        report.into_iter().chain(self.estimator.deadline()).min()
    }

    fn report_due(&self) -> Option<Instant> {
        (!self.tracks.is_empty()).then_some(self.report)
    }

    /// Whether reports are due.
    pub(in crate::rtc) fn has_report(&self, now: Instant) -> bool {
        self.keyed.is_some() && self.report_due().is_some_and(|at| at <= now)
    }

    /// Returns when the next paced packet may leave.
    fn paced_at(&self) -> Option<Instant> {
        let video = |t: &Track| t.codec.is_video() && t.has_packets();
        let any = !self.repeats.is_empty() || self.probing.is_some() || self.tracks.iter().any(video);
        any.then(|| self.pacer.opens_at())
    }

    /// Whether packets may leave now, or were due earlier and not taken.
    pub(in crate::rtc) fn has_packets(&mut self, now: Instant) -> bool {
        let audio = |t: &Track| !t.codec.is_video() && t.has_packets();
        let any = self.keyed.is_some()
            && (self.tracks.iter().any(audio) || self.paced_at().is_some_and(|at| at <= now));
        if any {
            self.offered.get_or_insert(now);
        }
        // A socket that took nothing is tried again, even if the packets have been dropped meanwhile.
        self.offered.is_some()
    }

    /// Returns packets for one system call. The caller must pass them to the socket: they count as sent.
    pub(in crate::rtc) fn poll_packets(
        &mut self,
        wall: &Wall,
        now: Instant,
    ) -> Option<(Option<usize>, Vec<u8>)> {
        let mut batch = Batch::expecting(self.tracks.iter().map(Track::left).sum());
        self.offered = None;
        let keyed = self.keyed.as_mut()?;
        let mut out = Outgoing {
            sealer: &mut keyed.sealer,
            numbers: &mut self.numbers,
            transport: &mut self.transport,
            estimator: &mut self.estimator,
            pacer: &mut self.pacer,
            budget: &mut self.budget,
            ratio: &mut self.ratio,
            counts: &mut self.counts,
            head: &mut self.head,
            scratch: &mut self.scratch,
            probe: self.probing.as_ref().map(|(probe, _)| probe.id),
            send_time: wall.send_time(now),
            playout_delay: self.playout_delay,
            now,
            probed: 0,
            rider: None,
        };
        // Lost packets first: the next frame to be shown waits for them.
        while let Some((i, repeat)) = self.repeats.front().filter(|_| out.pacer.is_open(now)) {
            if out.ratio.is_high() {
                self.repeats.clear();
                break;
            }
            let Some(track) = self.tracks.get(*i) else { break };
            if !out.repeat(track, repeat, Cause::Lost, &mut batch) {
                break;
            }
            self.repeats.pop_front();
        }
        // Audio leaves before video, or with it as the last of the batch.
        let video = self.tracks.partition_point(|track| !track.codec.is_video());
        let (audio, video) = self.tracks.split_at_mut(video);
        out.rider = if batch.is_empty() { out.find_rider(audio, video) } else { None };
        let order = if out.rider.is_some() { [video, audio] } else { [audio, video] };
        for track in order.into_iter().flatten() {
            out.frame(track, wall, &mut batch);
        }
        if !out.pacer.is_open(now) {
            self.paced = Some(now);
        }
        if let Some((_, left)) = &mut self.probing {
            let mut padded = 0;
            while out.probed < *left && out.pacer.is_open(now) {
                let Some(track) = self.tracks.iter().find(|track| track.can_probe()) else {
                    // The stream has ended; nothing else would end the probe.
                    *left = 0;
                    break;
                };
                if !out.pad(track, padded, &mut batch) {
                    break;
                }
                padded += 1;
            }
            *left = left.saturating_sub(out.probed);
            if *left == 0 {
                self.probing = None;
                self.set_rate(now);
            }
        }
        if batch.is_empty() && self.paced_at().is_some_and(|at| at <= now) {
            // What cannot be sent now never can be; it must not be offered to the socket forever.
            (self.probing, self.repeats) = (None, VecDeque::new());
            self.set_rate(now);
        }
        (!batch.is_empty()).then(|| batch.take())
    }

    /// Seals a compound that reports on received media, since all RTCP of a session shares one counter of indexes.
    pub(in crate::rtc) fn seal_report(&mut self, compound: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![];
        self.keyed.as_mut()?.sealer.seal_rtcp(compound, &mut out).ok().map(|()| out)
    }

    /// Returns a report on what was sent; `None` if nothing has been sent yet.
    pub(in crate::rtc) fn poll_report(&mut self, wall: &Wall, now: Instant) -> Option<Vec<u8>> {
        self.report = now + REPORT_EVERY;
        self.report_with(&[], wall, now)
    }

    /// Returns the last report, with a goodbye for all streams that were sent.
    pub(in crate::rtc) fn poll_goodbye(&mut self, wall: &Wall, now: Instant) -> Option<Vec<u8>> {
        let ssrcs: Vec<u32> = self
            .tracks
            .iter()
            .flat_map(|t| [Some(t.format.ssrc), t.format.rtx.map(|(_, ssrc)| ssrc)])
            .flatten()
            .filter(|ssrc| self.numbers.get(*ssrc).is_some_and(|n| n.packets > 0))
            .collect();
        self.report_with(&ssrcs, wall, now)
    }

    fn report_with(&mut self, bye: &[u32], wall: &Wall, now: Instant) -> Option<Vec<u8>> {
        let mut infos = vec![];
        for track in &self.tracks {
            let Some(Numbering { packets, octets, last: Some((time, at)), .. }) =
                self.numbers.get(track.format.ssrc)
            else {
                continue;
            };
            let since = now.saturating_duration_since(*at).as_micros() * u128::from(track.codec.clock_rate());
            infos.push(SenderInfo {
                ssrc: track.format.ssrc,
                ntp: wall.ntp(now),
                rtp: time.wrapping_add((since / 1_000_000) as u32),
                packets: *packets,
                octets: *octets,
            });
        }
        if infos.is_empty() {
            return None;
        }
        let keyed = self.keyed.as_mut()?;
        let mut compound = std::mem::take(&mut self.scratch);
        compound.clear();
        report::write(&infos, &self.cname, bye, &mut compound);
        let mut out = vec![];
        let sealed = keyed.sealer.seal_rtcp(&compound, &mut out);
        self.scratch = compound;
        sealed.ok().map(|()| out)
    }
}

#[cfg(test)]
pub(in crate::rtc) mod tests;
