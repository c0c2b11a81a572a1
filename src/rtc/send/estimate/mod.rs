//! The bandwidth estimate: how much the path to one viewer carries, which determines its pacing.

mod acked;
mod arrival;
mod control;
mod loss;
mod probe;
mod queue;
mod sent;
mod share;
mod still;
mod trend;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use acked::{Busy, Meter};
use arrival::{Clock, Groups, Packet, find_overtaken};
use control::{Control, Probed, View};
use loss::Loss;
use probe::Probes;
use queue::Queue;
use sent::{Fate, History};
use trend::{Trend, Usage};

/// Bounds of the estimate, in bit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Limits {
    /// The estimate before the first measurement.
    pub(in crate::rtc) initial: u32,
    pub(in crate::rtc) min: u32,
    pub(in crate::rtc) max: u32,
}

/// A packet that left.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Sent {
    /// Its transport-wide number, whose low 16 bits are on the wire. Each is above the previous one.
    pub(in crate::rtc) number: u64,
    /// Bytes on the wire, with IP and UDP headers.
    pub(in crate::rtc) size: u16,
    pub(in crate::rtc) at: Instant,
    /// The probe that it belongs to.
    pub(in crate::rtc) probe: Option<ProbeId>,
}

/// What transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01) reports about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Arrival {
    /// The low 16 bits of its number.
    pub(in crate::rtc) number: u16,
    /// When it arrived by the receiver's clock, in µs, which wraps with the 24-bit reference time (2^24 x 64 ms).
    /// `None` if it was reported as not received.
    pub(in crate::rtc) at: Option<i64>,
}

/// The id of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct ProbeId(pub(in crate::rtc) u32);

/// A probe to send: `bytes` at `rate`, starting now, in at least four packets. Packets that are sent meanwhile anyway
/// are part of it; retransmissions or padding fill the rest. All of them carry the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Probe {
    pub(in crate::rtc) id: ProbeId,
    /// In bit/s.
    pub(in crate::rtc) rate: u32,
    pub(in crate::rtc) bytes: usize,
}

/// Without feedback for this time (µs) while packets are sent, the rate is multiplied by `SILENT_PART`; again after
/// each further such time.
const SILENCE: i64 = 2_000_000;
const SILENT_PART: f64 = 0.7;
/// If not one packet sent during this time (µs) arrived, the path was down. It was not congestion, because packets that
/// a full queue accepted do arrive.
const GONE: i64 = 500_000;
/// For this time (µs), the round trip from a receiver report is preferred to ours, which includes the wait for the
/// feedback.
const REPORT_AGE: i64 = 10_000_000;
/// Weight of a new round trip in the average (RFC 6298).
const SMOOTH_RTT: f64 = 0.125;
/// How long a packet that has arrived waits for the feedback on it, in µs (the default interval of libwebrtc's receiver).
const FEEDBACK: f64 = 100_000.0;

/// Estimates how much a path carries.
#[derive(Debug)]
pub(in crate::rtc) struct Estimator {
    limits: Limits,
    wanted: u32,
    start: Instant,
    history: History,
    clock: Clock,
    groups: Groups,
    queue: Queue,
    trend: Trend,
    /// The delay of the latest packet, in µs, including the offset between the clocks.
    delay: i64,
    /// Packets of the feedback that is being read; empty otherwise.
    packets: Vec<Packet>,
    acked: Meter,
    busy: Busy,
    loss: Loss,
    /// When the first packet of the latest unbroken series of losses left.
    missing: Option<i64>,
    probes: Probes,
    control: Control,
    rtt: Option<f64>,
    /// The shortest round trip.
    least_rtt: f64,
    /// When a report last had a round trip.
    reported: Option<i64>,
    /// When feedback last arrived, or the rate was lowered because there was none; and the rate before that.
    heard: Option<i64>,
    before_silence: Option<f64>,
    /// The newest packet that the receiver reported on.
    reported_to: u64,
    sent: Meter,
    /// When a packet last left.
    last_sent: i64,
    /// The receiver's estimate, if it cannot send feedback.
    remb: Option<f64>,
    /// What a receiver asked for that sends transport-wide feedback as well, in bit/s.
    asked: Option<u32>,
}

impl Estimator {
    pub(in crate::rtc) fn new(limits: Limits, now: Instant) -> Estimator {
        let initial = f64::from(limits.initial.clamp(limits.min, limits.max.max(limits.min)));
        Estimator {
            limits,
            wanted: u32::MAX,
            start: now,
            history: History::default(),
            clock: Clock::default(),
            groups: Groups::default(),
            queue: Queue::new(),
            trend: Trend::new(),
            delay: 0,
            packets: Vec::new(),
            acked: Meter::default(),
            busy: Busy::default(),
            loss: Loss::default(),
            missing: None,
            probes: Probes::new(initial, 0),
            control: Control::new(initial, 0),
            rtt: None,
            least_rtt: f64::MAX,
            reported: None,
            heard: None,
            before_silence: None,
            reported_to: 0,
            sent: Meter::default(),
            last_sent: 0,
            remb: None,
            asked: None,
        }
    }

    /// Changes the upper bound of the estimate.
    pub(in crate::rtc) fn set_max(&mut self, bps: u32) {
        self.limits.max = bps.max(self.limits.min);
        self.bound();
    }

    /// The upper bound.
    fn max(&self) -> u32 {
        self.asked.map_or(self.limits.max, |asked| asked.min(self.limits.max)).max(self.limits.min)
    }

    /// Sets the maximum that the application currently wants to send, in bit/s. Probes do not exceed it, and an
    /// estimate above it does not change.
    pub(in crate::rtc) fn set_wanted(&mut self, bps: u32) {
        self.wanted = bps;
    }

    /// Whether the path was found to carry less than the upper bound. Never true if the receiver reports nothing.
    pub(in crate::rtc) fn is_bound_by_path(&self) -> bool {
        (self.reported_to > 0 || self.remb.is_some()) && self.estimate() < self.limits.max
    }

    /// Records a packet that was sent.
    pub(in crate::rtc) fn handle_sent(&mut self, sent: Sent) {
        let at = self.micros(sent.at);
        if !self.history.push(sent, at) {
            return;
        }
        self.last_sent = at;
        self.sent.add(at, sent.size);
        if let Some(id) = sent.probe {
            self.probes.sent(id, sent.number, at, sent.size);
        }
    }

    /// Takes transport-wide feedback that arrived at `now`.
    pub(in crate::rtc) fn handle_feedback(&mut self, arrivals: impl Iterator<Item = Arrival>, now: Instant) {
        let now = self.micros(now);
        let (mut newest, mut usage, mut gone) = (None, Usage::Normal, false);
        let (before, mut packets) = (self.reported_to, std::mem::take(&mut self.packets));
        for arrival in arrivals {
            let Some((number, record)) = self.history.reported(arrival.number) else { continue };
            let (sent, size) = (record.at, record.size);
            if number > self.reported_to + 1 {
                self.busy.interrupt();
            }
            self.reported_to = self.reported_to.max(number);
            newest = newest.max(Some((number, None)));
            let Some(at) = arrival.at else {
                if record.fate == Fate::Unknown {
                    record.fate = Fate::Missing;
                    self.probes.missing(number, size);
                    self.loss.add(sent, true);
                    gone |= sent - *self.missing.get_or_insert(sent) >= GONE;
                }
                continue;
            };
            match record.fate {
                Fate::Missing => {
                    self.loss.add(sent, false);
                    self.loss.correct(sent);
                }
                _ => self.loss.add(sent, false),
            }
            record.fate = Fate::Received;
            self.missing = None;
            newest = newest.max(Some((number, Some(sent))));
            let (arrived, jumped) = self.clock.read(at, sent);
            if jumped {
                packets.clear();
                self.begin_anew();
            }
            packets.push(Packet { number, sent, arrived, size, overtaken: false });
        }
        find_overtaken(&mut packets, before);
        for packet in packets.drain(..) {
            if self.arrived(packet) == Usage::Over {
                usage = Usage::Over;
            }
        }
        self.packets = packets;
        let Some((number, sent)) = newest else { return };
        if let Some(sent) = sent {
            self.round_trip(now - sent, now);
        }
        self.heard = Some(now);
        self.remb = None;
        if let Some(before) = self.before_silence.take() {
            self.probes.request(before);
        }
        if gone {
            // Losses during that time say nothing about what the path carries.
            self.loss.settle(now);
        }
        self.decide(number, usage, now);
    }

    fn arrived(&mut self, packet: Packet) -> Usage {
        self.delay = packet.delay();
        self.acked.add(packet.arrived, packet.size);
        if let Some(base) = self.queue.base() {
            self.busy.add(&packet, base);
        }
        self.probes.arrived(&packet);
        let Some(sample) = self.groups.add(&packet) else { return Usage::Normal };
        self.queue.add(sample);
        self.trend.add(sample)
    }

    /// Sets the rate from the observations up to `now`. `reported` is the newest packet that was reported on.
    fn decide(&mut self, reported: u64, usage: Usage, now: i64) {
        // What arrives is what was sent, minus the path's own loss.
        let passes = 1.0 / (1.0 - self.loss.own()).max(0.2);
        let view = View {
            usage: if usage == Usage::Over { usage } else { self.trend.usage() },
            sent: self.sent.rate(),
            acked: self.acked.rate().map(|rate| rate * passes),
            busy: self.busy.rate().map(|rate| rate * passes),
            lost: self.loss.recent_excess(),
            standing: self.queue.standing(),
            waited: self.queue.base().map_or(0, |base| self.delay - base),
            jitter: self.queue.jitter(),
            slope: self.trend.growth(),
            latest: self.queue.latest(),
            probing: self.probes.may_delay(self.queue.latest()),
        };
        if let Some(before) = self.control.update(view, now) {
            self.queue.rebase();
            self.busy = Busy::default();
            self.loss.settle(now);
            if before > self.control.rate() {
                self.probes.request(before);
            }
        }
        if self.control.is_draining() {
            self.loss.settle(now);
        } else if let Some(verdict) = self.loss.judge(self.control.rate(), self.control.is_queued(&view), now)
        {
            self.control.lost(verdict);
        }
        if let Some(found) = self.probes.judge(reported, self.loss.own(), now) {
            match self.control.probed(found) {
                Probed::Raised(factor) => self.probes.learn(factor, now),
                Probed::NoMore => self.probes.learn(1.0, now),
                Probed::Doubted => self.probes.confirm(found.rate, self.control.is_shared(found.rate)),
            }
        }
        if self.control.is_draining() {
            self.probes.hold_off(now);
        }
        self.bound();
    }

    /// Takes a receiver report: the fraction lost since the previous one, 0 to 1, and the round trip if it is known.
    pub(in crate::rtc) fn handle_report(&mut self, lost: f32, rtt: Option<Duration>, now: Instant) {
        let now = self.micros(now);
        if let Some(rtt) = rtt {
            self.rtt = None;
            self.round_trip(i64::try_from(rtt.as_micros()).unwrap_or(i64::MAX), now);
            self.reported = Some(now);
        }
        if self.heard.is_none() && (0.0..=1.0).contains(&lost) {
            // What is sent has to stand in for what arrives.
            let acked = self.sent.rate();
            let quiet = View { acked, ..View::default() };
            let verdict = self.loss.report(f64::from(lost), self.control.rate(), now);
            match verdict {
                Some(verdict) => self.control.lost(verdict),
                None => {
                    self.control.update(quiet, now);
                }
            }
            self.bound();
        }
    }

    /// Takes the estimate (REMB) of a receiver. From the first transport-wide feedback on it is a limit.
    pub(in crate::rtc) fn handle_remb(&mut self, bps: u32, _now: Instant) {
        if self.heard.is_some() {
            // The estimate is ours, and this is what the receiver can use of it.
            self.asked = Some(bps);
            self.bound();
        } else {
            let bps = f64::from(bps);
            // Losses lower the rate below the receiver's estimate; without losses, it is followed.
            let lowered = self.remb.is_some_and(|before| self.control.rate() < before * 0.99);
            self.remb = Some(bps);
            if !lowered {
                self.control.set(bps);
            }
            self.bound();
        }
    }

    /// Lowers the rate if feedback stops.
    pub(in crate::rtc) fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        let Some(heard) = self.heard.filter(|heard| now - heard >= SILENCE) else { return };
        self.heard = Some(now);
        if self.last_sent > heard {
            self.before_silence.get_or_insert(self.control.rate());
            self.control.set(self.control.rate() * SILENT_PART);
            self.bound();
        }
    }

    /// How much the path carries, in bit/s, within the limits.
    pub(in crate::rtc) fn estimate(&self) -> u32 {
        (self.control.rate() as u32).clamp(self.limits.min, self.max())
    }

    /// The newest packet that the receiver reported on, by its transport-wide number.
    pub(in crate::rtc) fn reported_to(&self) -> Option<u64> {
        (self.reported_to > 0).then_some(self.reported_to)
    }

    /// The round trip.
    pub(in crate::rtc) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| Duration::from_micros(rtt as u64))
    }

    /// How long the path takes at the estimate for what the receiver has not reported on, less what is on its way anyway:
    /// what waits in the network. `None` if the receiver reports nothing.
    pub(in crate::rtc) fn queued(&self) -> Option<Duration> {
        self.heard.filter(|_| self.reported_to > 0)?;
        let bits = self.history.bytes_after(self.reported_to) as f64 * 8.0;
        let takes = bits * 1e6 / f64::from(self.estimate().max(1));
        Some(Duration::from_micros((takes - self.least_rtt - FEEDBACK).max(0.0) as u64))
    }

    /// The smoothed part of the packets that is lost, 0 to 1.
    pub(in crate::rtc) fn loss(&self) -> f32 {
        self.loss.smoothed() as f32
    }

    /// A probe to send now.
    pub(in crate::rtc) fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        if !self.may_probe() {
            return None;
        }
        let now = self.micros(now);
        self.probes.poll(self.control.rate(), self.cap(), self.queue.jitter(), now)
    }

    /// When `handle_timeout` must be called next.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        self.heard.map(|heard| self.instant(heard + SILENCE))
    }

    /// When `poll_probe` next has a probe. Callers that cannot send one then need not ask.
    pub(in crate::rtc) fn probe_due(&self) -> Option<Instant> {
        let is_due = self.may_probe() && probe::is_worth(self.control.rate(), self.cap());
        is_due.then(|| self.instant(self.probes.due()))
    }

    fn may_probe(&self) -> bool {
        !self.control.is_draining() && self.remb.is_none()
    }

    /// More than this is useless.
    fn cap(&self) -> f64 {
        self.max().min(self.wanted).into()
    }

    /// The receiver's clock was set, so earlier arrivals cannot be compared with later ones.
    fn begin_anew(&mut self) {
        self.groups = Groups::default();
        self.queue = Queue::new();
        self.trend = Trend::new();
        self.acked = Meter::default();
        self.busy = Busy::default();
        self.probes.reset();
    }

    fn round_trip(&mut self, sample: i64, now: i64) {
        let sample = sample.clamp(0, SILENCE) as f64;
        self.least_rtt = self.least_rtt.min(sample);
        if self.reported.is_some_and(|reported| now - reported < REPORT_AGE) && self.rtt.is_some() {
            return;
        }
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt + (sample - rtt) * SMOOTH_RTT));
    }

    /// Keeps the rate within the limits, so that it never has to return from beyond them.
    fn bound(&mut self) {
        let (min, max) = (f64::from(self.limits.min), f64::from(self.max()));
        let max = self.remb.map_or(max, |remb| remb.clamp(min, max));
        self.control.set(self.control.rate().clamp(min, max));
    }

    fn instant(&self, micros: i64) -> Instant {
        self.start + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    fn micros(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX)
    }
}
