//! Probes: short trains of packets above the estimate, sent when the result can change something.

use super::arrival::Packet;
use super::{Probe, ProbeId};

/// The first two probes, as multiples of the initial rate (libwebrtc's).
const FIRST: [f64; 2] = [3.0, 6.0];
/// While the estimate is below what is wanted, a probe at this multiple of it is sent every `PERIOD` µs. At full use,
/// probes are 0.8 % of what is sent, and capacity that returns is found within two of them.
const AGAIN: f64 = 1.5;
const PERIOD: i64 = 2_000_000;
/// The same after a drop below this part of the best estimate of the last minute, since the drop may end at any time
/// (libwebrtc also probes after such a drop).
const FELL: f64 = 0.66;
const BACK_AGAIN: f64 = 2.0;
const BACK_PERIOD: i64 = 1_200_000;
const REMEMBERED: i64 = 60_000_000;
/// From this time on, estimates count as the best of the last minute; the first ones are guesses. In µs.
const SETTLED: i64 = 5_000_000;
/// After a probe that raised the estimate by more than this factor, the next is due after `SOON` µs: with jitter, it
/// takes several to find out that a path is much faster.
const MUCH: f64 = 1.2;
/// By any factor, if there was no queue for this time, in µs.
const CALM: i64 = 4_000_000;
const SOON: i64 = 400_000;
/// After this many probes in a row that found nothing, the period is longer by half.
const FAILURES: u32 = 5;
/// A probe that passed is followed by one at this multiple of what it found (libwebrtc's).
const NEXT: f64 = 2.0;
/// ... if it found at least this part of the rate at which it was sent.
const PASSED: f64 = 0.7;
/// A probe that takes longer to arrive than to leave, by this factor, has filled the path (libwebrtc's), ...
const SATURATED: f64 = 0.9;
/// ... which then carries this part of the rate of arrival (libwebrtc's).
pub(super) const UTILIZED: f64 = 0.95;
/// The minimum length of a probe (libwebrtc's), and the maximum if jitter requires longer ones, in µs.
const MIN_LENGTH: i64 = 15_000;
const MAX_LENGTH: i64 = 60_000;
/// The length of a probe that confirms another, in µs.
const LONG: i64 = 50_000;
/// The same if others may use a part of the path: long enough to measure how much they use.
const LONGER: i64 = 150_000;
/// Frames of different sizes look like this much jitter, in µs.
const USUAL_JITTER: i64 = 10_000;
/// The size of a short probe: four full packets; at low rates what 100 ms take, in smaller packets.
const FEW_BYTES: f64 = 4_800.0;
const FEW_TIME: f64 = 100_000.0;
const MIN_BYTES: f64 = 1_500.0;
/// The minimum number of packets that must arrive.
const MIN_PACKETS: u32 = 3;
/// If the path drops this part of a probe more than usual, the probe has filled it.
const DROPPED: f64 = 0.2;
/// The minimum part of the bytes that must arrive.
const MIN_ARRIVED: f64 = 0.5;
/// If others overtook at most this part of a probe's packets, these do not show how long it took to arrive. If more, the
/// delays vary.
const OVERTAKEN: f64 = 0.25;
/// A probe that was not sent or not reported on for this time is forgotten, in µs.
const EXPIRES: i64 = 2_000_000;
/// The time until a probe's own queue has drained, in µs.
const DELAYS: i64 = 500_000;
/// How often a probe that showed little is sent again, each time twice as long: it arrived at once, since the receiver is
/// busy and reads seldom, as a browser does that opens a page; or it left too slowly, since we are.
const REPEATS: u32 = 3;
/// The maximum number of probes without a result.
const MAX_ACTIVE: usize = 4;

/// A probe that was handed out, and its observations.
#[derive(Clone, Copy, Debug)]
struct Active {
    id: u32,
    rate: f64,
    sure: bool,
    bytes: u64,
    since: i64,
    /// The first and last number, when they left, and what left. Packets in between count although they are not marked.
    sent: Option<Train>,
    /// Those that arrived: when, and when they had left.
    arrived: Option<Train>,
    left: Option<Train>,
    /// Bytes that were reported as not received. Others are not reported on if feedback is lost.
    missing: u64,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    first: u64,
    last: u64,
    begin: i64,
    end: i64,
    bytes: u64,
    /// Size of the packet at `begin` and at `end`.
    begin_size: u16,
    end_size: u16,
    packets: u32,
    /// Packets that others overtook, and the latest time of all.
    overtaken: u32,
    latest: i64,
}

impl Train {
    fn add(train: &mut Option<Train>, number: u64, at: i64, size: u16, overtaken: bool) {
        let train = train.get_or_insert(Train {
            first: number,
            last: number,
            begin: i64::MAX,
            end: i64::MIN,
            bytes: 0,
            begin_size: size,
            end_size: size,
            packets: 0,
            overtaken: 0,
            latest: at,
        });
        train.last = train.last.max(number);
        train.bytes += u64::from(size);
        train.packets += 1;
        train.latest = train.latest.max(at);
        if overtaken {
            train.overtaken += 1;
            return;
        }
        if at < train.begin {
            (train.begin, train.begin_size) = (at, size);
        }
        if at >= train.end {
            (train.end, train.end_size) = (at, size);
        }
    }

    /// From the first to the last packet, without the time of a few that were overtaken.
    fn span(&self) -> i64 {
        let few = f64::from(self.overtaken) <= f64::from(self.packets) * OVERTAKEN;
        (if few { self.end } else { self.latest }).saturating_sub(self.begin)
    }

    /// The rate in bit/s, without the packet of `size` that only marks an end.
    fn rate(&self, size: u16) -> f64 {
        (self.bytes - u64::from(size)) as f64 * 8e6 / self.span().max(1) as f64
    }
}

/// What a probe found, in bit/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) rate: f64,
    /// Found by a long probe, which jitter cannot falsify.
    pub(super) sure: bool,
    /// The path was full, so it carries no more.
    pub(super) saturated: bool,
    /// How much longer it took to arrive than to leave, as a part of the latter.
    pub(super) stretch: f64,
}

#[derive(Debug)]
pub(super) struct Probes {
    next_id: u32,
    active: [Option<Active>; MAX_ACTIVE],
    /// Rates to probe at, next first.
    pending: [Option<f64>; 2],
    /// How often in a row a probe showed little, because it arrived at once or left too slowly, and was sent again.
    repeats: u32,
    /// A rate to probe again for longer, because the result was surprising.
    doubted: Option<f64>,
    /// The length of that probe, in µs.
    long: i64,
    /// When the next periodic probe is due.
    next: i64,
    failures: u32,
    /// The best estimate of the last minute, and when it was.
    best: (f64, i64),
    /// When the path was last congested.
    congested: i64,
    /// When the latest was handed out.
    handed: i64,
    /// While packets of the latest probe are still to be sent: the time by which it must be complete.
    busy_until: i64,
}

impl Probes {
    pub(super) fn new(initial: f64, now: i64) -> Probes {
        Probes {
            next_id: 0,
            active: [None; MAX_ACTIVE],
            pending: FIRST.map(|times| Some(initial * times)),
            repeats: 0,
            doubted: None,
            long: LONG,
            next: now + PERIOD,
            failures: 0,
            best: (0.0, now),
            congested: now,
            handed: i64::MIN / 2,
            busy_until: i64::MIN,
        }
    }

    /// The probe to send now. `estimate` is known to pass; more than `cap` would be useless. Not called while the path
    /// is congested.
    pub(super) fn poll(&mut self, estimate: f64, cap: f64, jitter: i64, now: i64) -> Option<Probe> {
        if now < self.busy_until {
            return None;
        }
        if !is_worth(estimate, cap) {
            self.forget_pending();
            return None;
        }
        let mut rate = self.doubted.take();
        let sure = rate.is_some();
        if rate.is_none() {
            rate = self.pending[0].take();
            self.pending.swap(0, 1);
        }
        if now >= SETTLED && estimate >= self.best.0 || now - self.best.1 > REMEMBERED {
            self.best = (estimate, now);
        }
        let dropped = estimate < FELL * self.best.0;
        if rate.is_none() && now >= self.next {
            rate = Some(estimate * if dropped { BACK_AGAIN } else { AGAIN });
        }
        let rate = rate?.min(cap);
        if self.pending[0].is_some_and(|_| rate >= cap) {
            self.pending = [None; 2];
        }
        self.next = now + self.period(dropped);
        self.handed = now;
        let length =
            if sure { self.long } else { (MIN_LENGTH << self.repeats) + (jitter - USUAL_JITTER).max(0) };
        let length = length.min(if sure { LONGER } else { MAX_LENGTH }) as f64;
        let few = (rate * FEW_TIME / 8e6).clamp(MIN_BYTES, FEW_BYTES);
        let bytes = (rate * length / 8e6).max(few);
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let slot = id as usize % MAX_ACTIVE;
        self.active[slot] = Some(Active {
            id,
            rate,
            sure,
            bytes: bytes as u64,
            since: now,
            sent: None,
            arrived: None,
            left: None,
            missing: 0,
        });
        self.busy_until = now + 2 * (bytes * 8e6 / rate) as i64;
        Some(Probe { id: ProbeId(id), rate: rate as u32, bytes: bytes as usize })
    }

    /// When `poll` next matters.
    pub(super) fn due(&self) -> i64 {
        let next = if self.pending[0].or(self.doubted).is_some() { i64::MIN } else { self.next };
        next.max(self.busy_until)
    }

    /// Records a packet of a probe that was sent.
    pub(super) fn sent(&mut self, id: ProbeId, number: u64, at: i64, size: u16) {
        let probe = self.active.iter_mut().flatten().find(|probe| probe.id == id.0);
        if let Some(probe) = probe.filter(|probe| !probe.is_sent()) {
            Train::add(&mut probe.sent, number, at, size, false);
            if probe.is_sent() {
                self.busy_until = at;
            }
        }
    }

    /// Records a packet that arrived, whether or not it belongs to a probe.
    pub(super) fn arrived(&mut self, packet: &Packet) {
        for probe in self.active.iter_mut().flatten() {
            let Some(sent) = probe.sent else { continue };
            if (sent.first..=sent.last).contains(&packet.number) {
                let Packet { number, sent, arrived, size, overtaken } = *packet;
                Train::add(&mut probe.arrived, number, arrived, size, overtaken);
                Train::add(&mut probe.left, number, sent, size, false);
            }
        }
    }

    /// Records a packet that was reported as not received.
    pub(super) fn missing(&mut self, number: u64, size: u16) {
        let includes =
            |probe: &&mut Active| probe.sent.is_some_and(|sent| (sent.first..=sent.last).contains(&number));
        self.active.iter_mut().flatten().filter(includes).for_each(|probe| probe.missing += u64::from(size));
    }

    /// Whether a packet that left at `sent` may have waited behind a probe.
    pub(super) fn may_delay(&self, sent: i64) -> bool {
        (self.handed..self.handed + DELAYS).contains(&sent)
    }

    /// The best result of probes, after feedback up to the packet `reported`. `own_loss` is the path's own loss.
    pub(super) fn judge(&mut self, reported: u64, own_loss: f64, now: i64) -> Option<Found> {
        let mut best: Option<Found> = None;
        for slot in &mut self.active {
            let Some(probe) = slot else { continue };
            let done = probe.sent.is_some_and(|sent| sent.last <= reported) && probe.is_sent();
            let expired = now - probe.since > EXPIRES;
            if !done && !expired {
                continue;
            }
            let found = probe.found(own_loss);
            let (rate, is_instant) = (probe.rate, probe.is_instant());
            *slot = None;
            let passed = found.filter(|found| !found.saturated);
            let next = passed.filter(|found| found.rate >= PASSED * rate).map(|found| found.rate * NEXT);
            let shows_little = next.is_none() && (is_instant || passed.is_some());
            if done && shows_little && self.repeats < REPEATS {
                self.repeats += 1;
                self.pending = [Some(rate), None];
            } else if found.is_some() {
                self.repeats = 0;
            }
            if next.is_some() {
                self.pending = [next, None];
            }
            let Some(found) = found else { continue };
            if best.is_none_or(|best| best.rate < found.rate) {
                best = Some(found);
            }
        }
        best
    }

    /// A probe raised the estimate by this factor, which determines when the next one is worthwhile.
    pub(super) fn learn(&mut self, factor: f64, now: i64) {
        if factor > 1.0 {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        if factor > MUCH || factor > 1.0 && now - self.congested > CALM {
            self.next = self.next.min(now + SOON);
        }
    }

    /// The path is congested: pending probes are useless, and the next one waits.
    pub(super) fn hold_off(&mut self, now: i64) {
        self.forget_pending();
        self.congested = now;
        self.next = self.next.max(now + PERIOD / 2);
    }

    /// Capacity that was lost may have returned: probes at `rate` as soon as possible.
    pub(super) fn request(&mut self, rate: f64) {
        self.pending = [Some(rate), None];
        self.failures = 0;
    }

    /// Requests a probe that confirms the result at `rate`.
    pub(super) fn confirm(&mut self, rate: f64, shared: bool) {
        self.long = if shared { LONGER } else { LONG };
        self.pending = [None; 2];
        self.doubted = Some(rate);
    }

    /// Forgets arrivals, which cannot be compared with later ones.
    pub(super) fn reset(&mut self) {
        self.active = [None; MAX_ACTIVE];
    }

    fn forget_pending(&mut self) {
        self.pending = [None; 2];
        self.doubted = None;
    }

    fn period(&self, dropped: bool) -> i64 {
        let period = if dropped { BACK_PERIOD } else { PERIOD };
        if self.failures < FAILURES { period } else { period * 3 / 2 }
    }
}

/// Whether more than `estimate` would be useful. A probe could not measure the last 2 %.
pub(super) fn is_worth(estimate: f64, cap: f64) -> bool {
    estimate < 0.98 * cap
}

impl Active {
    /// Whether it was sent completely.
    fn is_sent(&self) -> bool {
        self.sent.is_some_and(|sent| sent.bytes >= self.bytes)
    }

    /// Whether it arrived within one tick of the receiver's clock, which shows no rate. That happens on fast links before
    /// the first frame, because until then probes are not paced.
    fn is_instant(&self) -> bool {
        self.arrived.is_some_and(|arrived| arrived.packets >= MIN_PACKETS && arrived.span() == 0)
    }

    fn found(&self, own_loss: f64) -> Option<Found> {
        let (sent, left, arrived) = (self.sent?, self.left?, self.arrived?);
        let part = arrived.bytes as f64 / sent.bytes as f64;
        if arrived.packets < MIN_PACKETS || part < MIN_ARRIVED || arrived.span() <= 0 {
            return None;
        }
        let dropped = self.missing as f64 / (self.missing + arrived.bytes).max(1) as f64;
        // A train that left in bursts contains pauses that its ends do not show.
        let bits = (left.bytes - u64::from(left.end_size)) as f64 * 8.0;
        if bits <= 0.0 {
            return None;
        }
        let time = ((left.end - left.begin) as f64).max(bits * 1e6 / self.rate);
        // Sizes differ, so those of the first and last packet matter for the rate, but not for the stretch.
        let stretch = (arrived.span() as f64 / time - 1.0).max(0.0);
        let saturated = stretch > 1.0 / SATURATED - 1.0 || dropped > own_loss + DROPPED;
        let sent = bits * 1e6 / time;
        let arrived = arrived.rate(arrived.begin_size) / (1.0 - own_loss).max(0.2);
        let rate = if saturated { arrived.min(sent) * UTILIZED } else { sent };
        Some(Found { rate, sure: self.sure, saturated, stretch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    /// Sends a probe in bursts of 5 ms over a path of `rate`, which loses every `lose`th packet.
    fn send(probes: &mut Probes, probe: Probe, first: u64, at: i64, rate: f64, lose: u64) -> Option<Found> {
        let (mut left, mut free, mut number) = (probe.bytes as i64, 0, first);
        for tick in 0.. {
            let mut budget = i64::from(probe.rate) * 5 / 8_000;
            while budget > 0 && left > 0 {
                let sent = at + tick * 5 * MS;
                probes.sent(probe.id, number, sent, 1200);
                free = free.max(sent + 20 * MS) + (1200.0 * 8e6 / rate) as i64;
                if number % lose == lose - 1 {
                    probes.missing(number, 1200);
                } else {
                    probes.arrived(&Packet { number, sent, arrived: free, size: 1200, overtaken: false });
                }
                number += 1;
                budget -= 1200;
                left -= 1200;
            }
            if left <= 0 {
                break;
            }
        }
        probes.judge(number - 1, 0.0, free + 20 * MS)
    }

    fn near(found: Option<Found>, rate: f64, saturated: bool) {
        let found = found.expect("an answer");
        assert!(
            (found.rate / rate - 1.0).abs() < 0.1 && found.saturated == saturated,
            "{found:?}, not {rate}"
        );
    }

    #[test]
    fn the_first_probes_are_at_three_and_six_times_the_initial_rate() {
        let mut probes = Probes::new(300e3, 0);
        let first = probes.poll(300e3, 10e6, 0, 0).expect("at once");
        assert_eq!(first.rate, 900_000);
        assert_eq!(probes.poll(300e3, 10e6, 0, 0), None, "the first is being sent");
        near(send(&mut probes, first, 0, 0, 100e6, 1000), 900e3, false);
        // It found 0.9 Mbit/s, so the next probe is at twice that, and not below six times the initial rate.
        assert_eq!(probes.poll(900e3, 10e6, 0, 200 * MS).expect("the next").rate, 1_800_000);
    }

    #[test]
    fn nothing_is_probed_that_nobody_wants() {
        let mut probes = Probes::new(300e3, 0);
        assert_eq!(probes.poll(300e3, 300e3, 0, 0), None);
        assert_eq!(probes.poll(300e3, 300e3, 0, 100_000 * MS), None);
        let probe = probes.poll(300e3, 450e3, 0, 200_000 * MS).expect("more is wanted");
        assert_eq!(probe.rate, 450_000);
        let mut probes = Probes::new(300e3, 0);
        assert_eq!(probes.poll(300e3, 800e3, 0, 0).expect("at once").rate, 800_000);
        assert_eq!(probes.poll(300e3, 800e3, 0, 500 * MS), None, "one at what is wanted will do");
    }

    #[test]
    fn a_full_path_answers_what_it_carries() {
        for (rate, loses) in [(700e3, 1000), (1.2e6, 1000), (2e6, 1000)] {
            let mut probes = Probes::new(1e6, 0);
            let probe = probes.poll(1e6, 10e6, 0, 0).expect("at once");
            near(send(&mut probes, probe, 50, 0, rate, loses), rate * 0.95, true);
            assert_eq!(probes.pending[0], Some(6e6), "what was pending");
        }
    }

    #[test]
    fn without_enough_packets_there_is_no_answer_and_none_is_waited_for() {
        let mut probes = Probes::new(1e6, 0);
        let probe = probes.poll(1e6, 3e6, 0, 0).expect("at once");
        assert_eq!(send(&mut probes, probe, 0, 0, 10e6, 1), None, "all lost");
        for round in 1..100 {
            // Never sent, never reported.
            let now = round * 3_000 * MS;
            assert!(probes.poll(1e6, 3e6, 0, now).is_some(), "round {round}");
            assert_eq!(probes.judge(0, 0.0, now + 2_500 * MS), None);
        }
        assert!(probes.active.iter().all(Option::is_none));
    }

    #[test]
    fn packets_are_dropped_only_if_they_were_reported_as_missing() {
        for (is_reported, saturated) in [(true, true), (false, false)] {
            let mut probes = Probes::new(1e6, 0);
            let probe = probes.poll(1e6, 10e6, 0, 0).expect("at once");
            for number in 0..5 {
                let sent = number as i64 * 4 * MS;
                probes.sent(probe.id, number, sent, 1200);
                let (arrived, size) = (sent + 20 * MS, 1200);
                match number {
                    1 | 2 if is_reported => probes.missing(number, size),
                    1 | 2 => {}
                    _ => probes.arrived(&Packet { number, sent, arrived, size, overtaken: false }),
                }
            }
            let found = probes.judge(4, 0.0, 100 * MS).expect("enough arrived");
            assert_eq!(found.saturated, saturated, "{found:?}");
        }
    }

    #[test]
    fn congestion_holds_probes_off() {
        let mut probes = Probes::new(1e6, 0);
        probes.hold_off(1_900 * MS);
        assert_eq!(probes.poll(1e6, 10e6, 0, 2_000 * MS), None);
        assert!(probes.poll(1e6, 10e6, 0, 2_900 * MS).is_some());
        probes.request(5e6);
        assert_eq!(probes.poll(1e6, 10e6, 0, 3_500 * MS).expect("at once").rate, 5_000_000);
    }

    #[test]
    fn jitter_makes_them_longer() {
        let bytes = |jitter| Probes::new(1e6, 0).poll(1e6, 10e6, jitter, 0).expect("at once").bytes;
        assert_eq!((bytes(0), bytes(10 * MS), bytes(10_000 * MS)), (5_625, 5_625, 22_500));
    }
}
