//! One measurement: a fresh subject, so many viewers, a steady interval.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::{self, MILLISECOND, Nanos, SECOND};
use crate::load::{Load, Viewer};
use crate::options::Options;
use crate::status::{self, Status};
use crate::subject::{Cpu, Kind, Subject};

/// Between arrivals.
const ARRIVAL: Nanos = 20 * MILLISECOND;
/// Far more than it takes to connect; a deadline, not a measurement.
const PATIENCE: Nanos = 20 * SECOND;
/// After the last arrival, until handshakes, key frames for joiners and first estimates are over.
const SETTLE: Nanos = 2 * SECOND;
/// How long `/api/status` is asked for.
const ASKING: Nanos = 2 * SECOND;
/// How long a frame may take; what comes later counts as lost.
const LATEST: Nanos = SECOND / 2;

/// What one measurement found.
pub(crate) struct Figures {
    /// Viewers that saw a key frame.
    pub(crate) watching: usize,
    /// CPU time of the sender, of one second, and how long it waited for a CPU.
    pub(crate) cpu: f64,
    pub(crate) waited: f64,
    /// Packets of a viewer in a second, and beside them repeats that nobody asked for: probes for bandwidth.
    pub(crate) rate: f64,
    pub(crate) probes: f64,
    pub(crate) microseconds: f64,
    /// Bytes for each viewer beyond the first.
    pub(crate) memory: f64,
    /// From the beginning of a call to the first complete key frame, of each viewer, in ms.
    pub(crate) first_key: Vec<f64>,
    /// From the encoder to the last packet of a frame in the kernel, for frames that are no key frames, in ms.
    pub(crate) out: Vec<f64>,
    /// What requests for `/api/status` took, in ms; none for a subject without a page.
    pub(crate) status: Vec<f64>,
    /// The share of each of its threads in the packets that were sent; none for a subject without a page.
    pub(crate) split: Vec<f64>,
    pub(crate) packets_lost: u64,
    pub(crate) frames_lost: u64,
    pub(crate) gaps: u64,
    /// Packets that this process read too late.
    pub(crate) dropped: u64,
    /// CPU time of the viewers' thread, of one second.
    pub(crate) own: f64,
}

pub(crate) fn run(kind: Kind, count: usize, options: &Options) -> Figures {
    let seconds = options.seconds;
    let mut load = Load::new(options.loss);
    let (subject, mut calls) = Subject::start(kind, load.desk());
    let watches = |viewer: &Viewer| viewer.track.first_key.is_some();
    let all_watch = |viewers: &[Viewer]| viewers.iter().all(watches);
    let empty = subject.resident();
    load.add(&mut calls);
    load.run(clock::now() + PATIENCE, all_watch);
    assert!(all_watch(&load.viewers), "{} sends nothing", kind.name());
    // What the first viewer needs is needed once, if there are others.
    load.run(clock::now() + SETTLE / 4, |_| false);
    let (base, beside) = if count > 1 { (subject.resident(), 1) } else { (empty, 0) };
    let mut arrival = clock::now();
    for _ in 1..count {
        load.run(arrival, |_| false);
        load.add(&mut calls);
        arrival += ARRIVAL;
    }
    load.run(clock::now() + PATIENCE, all_watch);
    load.run(clock::now() + SETTLE, |_| false);

    let dropped = |load: &Load| load.viewers.iter().map(|viewer| u64::from(viewer.dropped)).sum::<u64>();
    let dropped_before = dropped(&load);
    let begin = clock::now() + 20 * MILLISECOND;
    let end = begin + (seconds * SECOND as f64) as Nanos;
    load.measure(&(begin..end));
    let packets_before = subject.page.map(status::packets).unwrap_or_default();
    load.run(begin, |_| false);
    let (began, cpu, own) = (clock::now(), subject.cpu(), Cpu::of_this_thread());
    load.run(end, |_| false);
    let (ended, cpu, own) = (clock::now(), subject.cpu().since(cpu), Cpu::of_this_thread().since(own));
    let memory = subject.resident().saturating_sub(base);
    let mut split: Vec<f64> = subject
        .page
        .map(status::packets)
        .unwrap_or_default()
        .iter()
        .map(|(thread, packets)| {
            packets.saturating_sub(packets_before.get(thread).copied().unwrap_or(0)) as f64
        })
        .collect();
    let all: f64 = split.iter().sum();
    split.iter_mut().for_each(|packets| *packets /= all);
    // Afterwards, since it takes CPU time.
    let status = subject.page.map(|page| {
        let status = Status::ask(page);
        load.run(clock::now() + ASKING, |_| false);
        status.take()
    });
    let status = status.unwrap_or_default();
    load.run(clock::now() + LATEST, |_| false);

    let of_second = |cpu: Duration| cpu.as_nanos() as f64 / (ended - began) as f64;
    let pushed: HashMap<u32, Nanos> =
        subject.frames().into_iter().filter(|(_, at)| (begin..end).contains(at)).collect();
    let watching: Vec<&Viewer> = load.viewers.iter().filter(|viewer| watches(viewer)).collect();
    let sum = |of: fn(&Viewer) -> u64| load.viewers.iter().map(of).sum::<u64>();
    assert_eq!(sum(|viewer| viewer.track.garbled), 0, "frames without their label");
    let packets = sum(|viewer| viewer.track.tally.packets + viewer.track.tally.audio);
    let rate = |packets| packets as f64 / watching.len() as f64 / seconds;
    let (mut frames, mut out) = (0, Vec::new());
    for (label, at) in watching.iter().flat_map(|viewer| &viewer.track.tally.frames) {
        let Some(pushed) = pushed.get(&label.number) else { continue };
        frames += 1;
        if !label.key {
            out.push(milliseconds(at.saturating_sub(*pushed)));
        }
    }
    Figures {
        watching: watching.len(),
        cpu: of_second(cpu.ran),
        waited: of_second(cpu.waited),
        rate: rate(packets),
        probes: rate(sum(|viewer| viewer.track.tally.needless)),
        microseconds: cpu.ran.as_secs_f64() * 1e6 / packets.max(1) as f64,
        memory: memory as f64 / (count - beside) as f64,
        first_key: watching.iter().filter_map(|viewer| first_key(viewer)).collect(),
        out,
        status,
        split,
        packets_lost: sum(|viewer| viewer.track.tally.lost),
        frames_lost: (pushed.len() * count) as u64 - frames,
        gaps: sum(|viewer| viewer.track.tally.gaps),
        dropped: dropped(&load) - dropped_before,
        own: of_second(own.ran),
    }
}

fn first_key(viewer: &Viewer) -> Option<f64> {
    Some(milliseconds(viewer.track.first_key?.saturating_sub(viewer.called?)))
}

fn milliseconds(time: Nanos) -> f64 {
    time as f64 / MILLISECOND as f64
}
