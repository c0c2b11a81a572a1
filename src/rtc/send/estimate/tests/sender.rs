//! A simulated sender: an encoder that follows the estimate, and a pacer that sends in bursts, probes included.

use std::collections::VecDeque;

use super::super::{Probe, ProbeId};
use crate::dice::Dice;

/// The time between two turns of the pacer, in µs.
pub(super) const TICK: i64 = 5_000;
/// The pacing rate as a multiple of the estimate, and the maximum length of a burst at this rate, in µs.
const PACE: f64 = 2.5;
const BURST: f64 = 40_000.0;
/// How many turns later the encoder follows the estimate.
const LAG: usize = 20;
/// The maximum size of a packet on the wire, in bytes.
const PACKET: u32 = 1200;
/// A frame is skipped if sending the waiting packets at the estimate would take longer than this, in s.
const FULL: f64 = 0.5;

#[derive(Clone, Debug)]
pub(super) struct Video {
    pub(super) fps: i64,
    /// Maximum rates: the time from which each applies, and bit/s.
    pub(super) rates: Vec<(i64, f64)>,
    /// How much smaller and larger than average frames are.
    pub(super) spread: f64,
    /// The interval of key frames in µs, and their size in average frames.
    pub(super) key_every: i64,
    pub(super) key_size: f64,
    /// Whether to send an audio packet of 120 bytes every 20 ms.
    pub(super) audio: bool,
}

impl Video {
    pub(super) fn new(rate: f64) -> Video {
        Video {
            fps: 30,
            rates: vec![(0, rate)],
            spread: 0.3,
            key_every: 10_000_000,
            key_size: 5.0,
            audio: true,
        }
    }

    pub(super) fn rate(&self, at: i64) -> f64 {
        self.rates.iter().rev().find(|(from, _)| *from <= at).map_or(0.0, |(_, rate)| *rate)
    }
}

#[derive(Debug)]
pub(super) struct Sender {
    video: Video,
    dice: Dice,
    queue: VecDeque<u32>,
    next_frame: i64,
    next_key: i64,
    next_audio: i64,
    /// Bytes that key frames sent beyond the target.
    debt: f64,
    budget: f64,
    past: VecDeque<f64>,
    probe: Option<(Probe, f64, f64)>,
}

impl Sender {
    pub(super) fn new(video: Video, dice: Dice) -> Sender {
        Sender {
            video,
            dice,
            queue: VecDeque::new(),
            next_frame: 0,
            next_key: 0,
            next_audio: 0,
            debt: 0.0,
            budget: 0.0,
            past: VecDeque::new(),
            probe: None,
        }
    }

    pub(super) fn probe(&mut self, probe: Probe) {
        self.probe = Some((probe, probe.bytes as f64, 0.0));
    }

    /// The packets that leave at `now`: size and probe of each.
    pub(super) fn turn(&mut self, now: i64, estimate: f64, out: &mut Vec<(u32, Option<ProbeId>)>) {
        self.past.push_back(estimate);
        let followed = if self.past.len() > LAG { self.past.pop_front() } else { self.past.front().copied() };
        self.encode(now, followed.unwrap_or(estimate), estimate);
        if self.video.audio && now >= self.next_audio {
            self.next_audio += 20_000;
            self.queue.push_front(120);
        }
        let pace = PACE * estimate / 8e6;
        self.budget = (self.budget + pace * TICK as f64).min(pace * BURST);
        if let Some((probe, left, budget)) = &mut self.probe {
            *budget += f64::from(probe.rate) / 8e6 * TICK as f64;
            let padding = (probe.bytes as u32 / 4).min(PACKET);
            while *budget > 0.0 && *left > 0.0 {
                let size = self.queue.pop_front().unwrap_or(padding);
                out.push((size, Some(probe.id)));
                *budget -= f64::from(size);
                *left -= f64::from(size);
            }
            if *left <= 0.0 {
                self.probe = None;
            }
            return;
        }
        while self.budget > 0.0
            && let Some(size) = self.queue.pop_front()
        {
            self.budget -= f64::from(size);
            out.push((size, None));
        }
    }

    fn encode(&mut self, now: i64, followed: f64, estimate: f64) {
        if now < self.next_frame {
            return;
        }
        self.next_frame += 1_000_000 / self.video.fps;
        let waiting: u32 = self.queue.iter().sum();
        if f64::from(waiting) * 8.0 > FULL * estimate {
            return;
        }
        let target = followed.min(self.video.rate(now)) - if self.video.audio { 48_000.0 } else { 0.0 };
        let average = target.max(20_000.0) / 8.0 / self.video.fps as f64;
        let mut size = average * self.dice.range(1.0 - self.video.spread, 1.0 + self.video.spread);
        if now >= self.next_key {
            self.next_key = now + self.video.key_every;
            size *= self.video.key_size;
        } else {
            size -= self.debt.clamp(-0.5 * size, 0.5 * size);
        }
        self.debt = (self.debt + size - average).clamp(-2.0 * average, 20.0 * average);
        let packets = (size / f64::from(PACKET)).ceil().max(1.0);
        for _ in 0..packets as u32 {
            self.queue.push_back((size / packets).max(60.0) as u32);
        }
    }
}
