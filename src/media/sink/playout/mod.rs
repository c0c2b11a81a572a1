//! When each received frame is shown or heard.
//!
//! ```text
//! captured ──(encoder, network)──▶ arrived ──(waits)──▶ decoder ──(LEAD)──▶ shown or heard
//!          └───────────── the latency of the timeline ─┘
//! ```
//!
//! One [timeline](timeline::Timeline) serves the video and the audio of a sender, so they stay in sync. Audio is laid out
//! without gaps, packet after packet: what is missing is concealed, and the latency changes by whole packets. Video
//! follows audio. A frame that comes too late to be shown is decoded nevertheless, because the frames after it need it.
//!
//! Frames carry no sequence numbers: video must come in decoding order, and lost frames show as a
//! [`discontinuity`](Frame::discontinuity). Audio may come in any order.

mod audio;
mod opus;
#[cfg(test)]
mod tests;
mod timeline;
mod video;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::audio::Audio;
use self::timeline::Timeline;
use self::video::Video;
use crate::media::{Frame, Kind, StreamId};

/// Microseconds since the playout was created, or a number of them.
type Micros = i64;

/// How long before its time a frame goes to its decoder: what a 1080p frame takes to decode in software on a small
/// board, and the packet of 20 ms that a decoder of Opus keeps back for in-band FEC, with room for the output.
const LEAD: Micros = 50_000;
/// A stream without a frame for this long has stalled, or is muted.
const STALLED: Micros = 2_000_000;
/// Another stream of the same kind takes over when the current one has had no frame for this long.
const TAKEOVER: Micros = 1_000_000;
/// Capture times farther from now than this are mistakes, and are taken for the limit.
const FARTHEST: Micros = 3_600_000_000;

/// Bounds of the jitter buffer, in microseconds and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub start: Micros,
    pub least: Micros,
    pub most: Micros,
    /// Of the frames of one kind that wait.
    pub most_bytes: usize,
}

impl Limits {
    /// Frames may be queued for as long as the greatest delay takes, and a second for what comes in bursts.
    fn most_time(&self) -> Micros {
        self.most + 1_000_000
    }
}

#[derive(Debug)]
pub(crate) enum Input {
    Frame(Frame),
    /// The decoder lost its state, or frames were lost between the playout and it.
    Broken(Kind),
    Timeout,
}

#[derive(Debug)]
pub(crate) enum Output {
    /// To be decoded now, and shown at a time; if not `show`, later frames need it but its own time is over.
    Video { frame: Frame, at: Instant, show: bool },
    /// To be decoded now, and heard at a time. `resume` if a pause was before it.
    Audio { frame: Frame, at: Instant, duration: Duration, resume: bool },
    /// A packet is missing: fill the gap.
    Conceal { at: Instant, duration: Duration },
    /// Nothing can be shown before the next key frame.
    NeedKeyFrame(StreamId),
    /// No frame came for two seconds.
    Stalled(Kind),
    /// Frames come again.
    Resumed(Kind),
    /// Nothing to do until then.
    Timeout(Option<Instant>),
}

/// What became of the frames. Each frame counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Decoded to be shown.
    pub video: u64,
    /// Decoded, but not shown.
    pub video_late: u64,
    /// Not decodable before the next key frame.
    pub video_undecodable: u64,
    /// Given to the decoder.
    pub audio: u64,
    pub audio_late: u64,
    /// No valid packet.
    pub audio_undecodable: u64,
    /// Dropped to reduce the delay.
    pub audio_skipped: u64,
    /// Packets that were missing, or inserted to raise the delay.
    pub concealed: u64,
    /// Dropped because too much waited.
    pub overflow: u64,
    /// Of a stream other than the one that plays, or of a codec that is not played.
    pub other: u64,
}

/// The stream that plays, and when it last had a frame.
#[derive(Debug, Default)]
struct Presence {
    stream: Option<StreamId>,
    seen: Micros,
    stalled: bool,
}

impl Presence {
    /// Whether a frame belongs to the stream that plays. Another one takes over once that has stopped.
    fn admit(&mut self, stream: StreamId, now: Micros) -> bool {
        if self.stream.is_some_and(|current| current != stream) && now < self.seen + TAKEOVER {
            return false;
        }
        (self.stream, self.seen) = (Some(stream), now);
        true
    }

    fn stalls_at(&self) -> Option<Micros> {
        (self.stream.is_some() && !self.stalled).then_some(self.seen + STALLED)
    }
}

pub(crate) struct Playout {
    limits: Limits,
    epoch: Instant,
    timeline: Timeline,
    audio: Audio,
    video: Video,
    counts: Counts,
    out: VecDeque<Output>,
}

impl Playout {
    pub(crate) fn new(limits: Limits, now: Instant) -> Playout {
        let timeline = Timeline::new(limits);
        let (audio, video) = (Audio::default(), Video::default());
        Playout {
            limits,
            epoch: now,
            timeline,
            audio,
            video,
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of video and of audio that wait.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn waiting(&self) -> [usize; 2] {
        [self.video.bytes(), self.audio.bytes()]
    }

    /// How long the fastest frame waits before it is decoded.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.timeline.delay()).unwrap_or(0))
    }

    pub(crate) fn handle_input(&mut self, input: Input, now: Instant) {
        let now = self.micros(now);
        match input {
            Input::Frame(frame) => {
                let captured = self.micros(frame.captured).clamp(now - FARTHEST, now + FARTHEST);
                match frame.codec.kind() {
                    Kind::Video => self.handle_video(frame, captured, now),
                    Kind::Audio => self.handle_audio(frame, captured, now),
                }
            }
            Input::Broken(Kind::Video) => {
                self.counts.video_undecodable += self.video.break_off();
                self.request_key_frame(now);
            }
            Input::Broken(Kind::Audio) => self.counts.audio_late += self.audio.clear(),
            Input::Timeout => {}
        }
        self.release(now);
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        let due = [
            self.audio.due(&self.timeline),
            self.video.due(&self.timeline, self.audio.offset()),
            self.audio.presence.stalls_at(),
            self.video.presence.stalls_at(),
        ];
        Output::Timeout(due.into_iter().flatten().min().map(|at| self.instant(at)))
    }

    fn handle_video(&mut self, frame: Frame, captured: Micros, now: Micros) {
        // Not `admit` first: a stream that cannot be played must not take the place of one that can.
        if !Video::plays(frame.codec) || !self.video.presence.admit(frame.stream, now) {
            self.counts.other += 1;
            return;
        }
        self.resume(Kind::Video);
        // How late it is shows in its own time.
        _ = self.timeline.arrive(captured, now);
        self.video.push(frame, captured, &self.limits, &mut self.counts);
        self.request_key_frame(now);
    }

    fn request_key_frame(&mut self, now: Micros) {
        if let Some(stream) = self.video.wants_key_frame(now) {
            self.out.push_back(Output::NeedKeyFrame(stream));
        }
    }

    fn handle_audio(&mut self, frame: Frame, captured: Micros, now: Micros) {
        let Some(duration) = opus::duration(&frame.data) else {
            self.counts.audio_undecodable += 1;
            return;
        };
        if !self.audio.presence.admit(frame.stream, now) {
            self.counts.other += 1;
            return;
        }
        self.resume(Kind::Audio);
        match self.timeline.arrive(captured, now) {
            timeline::Arrival::InTime => {}
            timeline::Arrival::TooLate => {
                self.counts.audio_late += 1;
                return;
            }
            timeline::Arrival::Restarted => self.counts.audio_late += self.audio.clear(),
        }
        self.audio.push(frame, captured, duration, &self.limits, &mut self.counts);
    }

    fn resume(&mut self, kind: Kind) {
        let presence = match kind {
            Kind::Video => &mut self.video.presence,
            Kind::Audio => &mut self.audio.presence,
        };
        if std::mem::take(&mut presence.stalled) {
            self.out.push_back(Output::Resumed(kind));
        }
    }

    fn release(&mut self, now: Micros) {
        self.release_audio(now);
        let (offset, audible) = (self.audio.offset(), self.audio.plays());
        while let Some((frame, due, show)) = self.video.next(&mut self.timeline, offset, now, audible) {
            *(if show { &mut self.counts.video } else { &mut self.counts.video_late }) += 1;
            self.out.push_back(Output::Video { frame, at: instant(self.epoch, due + LEAD), show });
        }
        // While no audio plays, video lowers the latency, and audio that waits may be due by that.
        self.release_audio(now);
        for (kind, presence) in
            [(Kind::Audio, &mut self.audio.presence), (Kind::Video, &mut self.video.presence)]
        {
            if presence.stalls_at().is_some_and(|at| now >= at) {
                presence.stalled = true;
                self.out.push_back(Output::Stalled(kind));
            }
        }
    }

    fn release_audio(&mut self, now: Micros) {
        let epoch = self.epoch;
        let at = |micros: Micros| instant(epoch, micros + LEAD);
        while let Some(next) = self.audio.next(&mut self.timeline, now, &mut self.counts) {
            self.out.push_back(match next {
                audio::Next::Packet { frame, due, duration, resume } => {
                    Output::Audio { frame, at: at(due), duration: length(duration), resume }
                }
                audio::Next::Missing { due, duration } => {
                    Output::Conceal { at: at(due), duration: length(duration) }
                }
            });
        }
    }

    fn micros(&self, at: Instant) -> Micros {
        let micros = |duration: Duration| Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4);
        match at.checked_duration_since(self.epoch) {
            Some(after) => micros(after),
            None => -micros(self.epoch - at),
        }
    }

    fn instant(&self, micros: Micros) -> Instant {
        instant(self.epoch, micros)
    }
}

fn length(micros: Micros) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

fn instant(epoch: Instant, micros: Micros) -> Instant {
    let moved =
        if micros < 0 { epoch.checked_sub(length(micros)) } else { epoch.checked_add(length(micros)) };
    moved.unwrap_or(epoch)
}
