//! A stream and its encoder: the bitrate and quality that were requested of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Event, Output};
use crate::media::adapt::ladder::{Ladder, Step};
use crate::media::adapt::rate::{BitrateLimits, RateControl};
use crate::media::source::Command;
use crate::media::{Codec, Kind, StreamInfo, VideoFormat};

/// Until a key frame has been seen, it is assumed to be as large as all frames of this many milliseconds.
const KEY_FRAME_MS: u64 = 300;

pub(super) struct Stream {
    pub info: StreamInfo,
    /// `None` for audio and JPEG, whose bitrate is not controlled.
    pub encoder: Option<Encoder>,
    /// Since when it runs without being taken.
    pub unused: Option<Instant>,
}

/// The commands for an encoder.
pub(super) struct Encoder {
    pub rate: RateControl,
    /// The rate followed the networks, which is news.
    pub changed: bool,
    pub ladder: Ladder,
    pub adjustable: Adjustable,
    pub bitrate: Rate,
    /// The bitrate that was last commanded.
    pub asked: Option<u32>,
    /// Since when it runs, and whether a key frame has come since.
    pub started: Option<Instant>,
    pub is_live: bool,
    /// It delivered no frames when it was last started, and is not tried again until then.
    pub broken_until: Option<Instant>,
    /// The size of the last key frame, in bytes, and when it came or was asked for for viewers that get only
    /// key frames.
    key_frame: Option<usize>,
    pub paced: Option<Instant>,
    /// Since when a lower bitrate would be better for somebody who has the small rendition.
    pub could_lower: Option<Instant>,
}

/// What the bitrate of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(any(test, feature = "relay")),
    expect(dead_code, reason = "only a relay has encoders of others")
)]
pub(in crate::camera) enum Rate {
    /// What its encoder is asked for, or has by itself.
    #[default]
    Own,
    /// What was measured, in bit/s: its encoder is somebody else's, and heeds nobody here.
    Measured(u32),
    /// Nothing comes of it now.
    Silent,
}

/// An encoder within a camera has a fixed size, and perhaps no bitrate control; what it does not support is neither
/// commanded nor reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adjustable {
    pub bitrate: bool,
    pub quality: bool,
}

impl Adjustable {
    pub(super) const ALL: Adjustable = Adjustable { bitrate: true, quality: true };
}

impl Stream {
    /// With a format that is not known yet.
    pub(super) fn new(info: StreamInfo, limits: &BitrateLimits) -> Stream {
        let steered = info.kind() == Kind::Video && info.codec != Codec::Jpeg;
        let encoder = steered.then(|| Encoder::new(limits.clone()));
        let mut stream = Stream { info, encoder, unused: None };
        stream.forget_format();
        stream
    }

    /// The format isn't known any more.
    pub(super) fn forget_format(&mut self) {
        self.info.format = StreamInfo::new(self.info.id, self.info.codec).format;
    }

    /// The pixels per second to encode at the quality that heat allows.
    pub(super) fn cooled(&self) -> u64 {
        self.encoder.as_ref().map_or(0, |encoder| encoder.ladder.cooled())
    }

    /// The source announces the stream, or a new format of it.
    pub(super) fn handle_format(&mut self, info: StreamInfo, adapt: bool, (steps, why): &(usize, String)) {
        let before = std::mem::replace(&mut self.info, info);
        let (Some(encoder), Some(format)) = (&mut self.encoder, info.video()) else { return };
        if before.format == info.format || !is_known(format) {
            return;
        }
        if before.video().is_some_and(is_known) {
            return encoder.ladder.handle_size(format.width, format.height);
        }
        // Without a known size, it cannot be reduced.
        let ladder = if adapt { Ladder::new } else { Ladder::fixed };
        encoder.ladder = ladder(format.width, format.height, format.fps);
        encoder.ladder.handle_heat(*steps, why);
    }

    /// Whether it is a smaller rendition of another one.
    pub(super) fn is_small(&self) -> bool {
        self.info.rendition > 0
    }

    /// The limits of its bitrate. Those of a smaller rendition begin where its frames are just worth watching, and end
    /// where more bits make them no better: at twice the bitrate at which the main rendition would get larger again.
    pub(super) fn limits(&self, limits: &BitrateLimits) -> BitrateLimits {
        if !self.is_small() {
            return limits.clone();
        }
        let known = self.info.video().filter(|format| is_known(*format));
        let Some(VideoFormat { width, height, fps, .. }) = known else { return limits.clone() };
        let (floor, ceiling) = Ladder::bounds(width, height, fps);
        let max = ceiling.saturating_mul(2).min(limits.max);
        BitrateLimits { min: floor.min(max), max, ..limits.clone() }
    }
}

fn is_known(format: VideoFormat) -> bool {
    format.width > 0 && format.height > 0 && format.fps > 0
}

impl Encoder {
    fn new(limits: BitrateLimits) -> Encoder {
        Encoder {
            rate: RateControl::new(limits),
            changed: false,
            ladder: Ladder::fixed(0, 0, 0),
            adjustable: Adjustable::ALL,
            bitrate: Rate::Own,
            asked: None,
            started: None,
            is_live: false,
            broken_until: None,
            key_frame: None,
            paced: None,
            could_lower: None,
        }
    }

    /// Another encoder takes its place.
    pub(super) fn replace(&mut self) {
        (self.asked, self.adjustable, self.ladder) = (None, Adjustable::ALL, Ladder::fixed(0, 0, 0));
        self.bitrate = Rate::Own;
        (self.started, self.is_live, self.broken_until) = (None, false, None);
        (self.key_frame, self.paced) = (None, None);
    }

    /// Whether its bitrate follows the networks.
    pub(super) fn is_steered(&self) -> bool {
        self.adjustable.bitrate && self.bitrate == Rate::Own
    }

    /// Its bitrate now, in bit/s: more than any network carries while nothing comes of it.
    pub(super) fn current(&self) -> u32 {
        match self.bitrate {
            Rate::Own => self.rate.current(),
            Rate::Measured(bps) => bps,
            Rate::Silent => u32::MAX,
        }
    }

    /// Where its bitrate is heading, in bit/s; 0 if nobody knows.
    pub(super) fn heading(&self) -> u32 {
        match self.bitrate {
            Rate::Own if self.adjustable.bitrate => self.rate.heading(),
            Rate::Own => 0,
            _ => self.current(),
        }
    }

    pub(super) fn handle_key_frame(&mut self, bytes: usize, now: Instant) {
        (self.key_frame, self.paced, self.is_live) = (Some(bytes), Some(now), true);
    }

    /// The bits of a key frame.
    pub(super) fn key_bits(&self) -> u64 {
        let seen = self.key_frame.map(|bytes| bytes as u64 * 8);
        seen.unwrap_or_else(|| u64::from(self.rate.current()) * KEY_FRAME_MS / 1000)
    }

    /// How long it takes at this bitrate to send a key frame.
    pub(super) fn key_time(&self, bps: u32) -> Duration {
        Duration::from_millis(self.key_bits() * 1000 / u64::from(bps.max(1)))
    }

    /// The bitrate to command: no more than the quality gains from.
    pub(super) fn target(&self) -> u32 {
        let ceiling = self.ladder.ceiling().filter(|_| self.adjustable.quality);
        ceiling.map_or(self.rate.current(), |most| most.min(self.rate.current()))
    }

    /// Adapts the encoder to network and board; to the network only while frames flow.
    pub(super) fn adapt(
        &mut self,
        stream: &StreamInfo,
        runs: bool,
        flows: bool,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) {
        let (stream, small) = (stream.id, stream.rendition > 0);
        let changed = std::mem::take(&mut self.changed);
        // A small rendition has its size; only heat changes it.
        if runs && flows && !small {
            self.ladder.handle_rate(self.rate.current());
        }
        // Polled in any case, since its time may have come.
        let step = self.ladder.poll(now).filter(|_| self.adjustable.quality);
        if let Some(Step { quality, why }) = step {
            out.push_back(Output::Command(Command::Quality { stream, quality }));
            if runs {
                out.push_back(Output::Event(Event::Quality { stream, quality, why }));
            }
        }
        if !self.is_steered() {
            return;
        }
        let bps = self.target();
        if self.asked.is_some_and(|asked| asked != bps) {
            self.asked = Some(bps);
            out.push_back(Output::Command(Command::Bitrate { stream, bps }));
        }
        if changed && runs {
            out.push_back(Output::Event(Event::Bitrate { stream, bps }));
        }
    }
}
