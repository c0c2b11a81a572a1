//! What the feeds of a source share with it: its life, its streams, and what is to be told to whom. Time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access_unit::{Unit, Units};
use super::error::PushError;
use super::frame_rate::Pace;
use super::{Callback, Pushed, Request};
#[cfg(feature = "relay")]
use crate::media::Codec;
use crate::media::adapt::ladder::Quality;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::lifecycle::{self, Input, Lifecycle};
use crate::media::source::{Command, Listener, SourceEvent};
use crate::media::{Encoding, Format, Frame, Kind, StreamId, StreamInfo, VideoFormat};

/// More is not kept for a listener that is slow to return, which it must not be: a second of video and audio.
pub(super) const MOST_QUEUED: usize = 100;
/// What the first frame's time is counted up by, so that a stream that begins a little earlier has one too.
const HEADROOM: Duration = Duration::from_secs(1);
/// A time that is farther ahead of the clock, and of all times before it, is a mistake: longer than any encoder's queue.
const MOST_AHEAD: Duration = Duration::from_secs(60);

/// How much later than the last frame of one encoder the first one of another is at least.
#[cfg(feature = "relay")]
const NEXT: Duration = Duration::from_millis(1);

/// When a frame was made.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) captured: Instant,
    pub(super) encoding: Option<Encoding>,
}

impl Times {
    /// Puts them in order: nothing happened after `now`, and nothing before the capture.
    pub(super) fn until(self, now: Instant) -> Times {
        let captured = self.captured.min(now);
        let ordered = |Encoding { began, ended }: Encoding| {
            let ended = ended.clamp(captured, now);
            Encoding { began: began.clamp(captured, ended), ended }
        };
        Times { captured, encoding: self.encoding.map(ordered) }
    }
}

/// One stream.
pub(super) struct Stream {
    pub(super) info: StreamInfo,
    wanted: bool,
    /// The application was asked to start.
    pub(super) started: bool,
    /// A key frame came since then.
    running: bool,
    /// A key frame was asked for since the last one was missed.
    asked: bool,
    /// Frames are missing before the next one.
    discontinuity: bool,
    /// The least timestamp of the first frame of another encoder.
    least: Option<Duration>,
    units: Units,
    pace: Pace,
    pub(super) callback: Option<Callback>,
    pub(super) adjustable: (bool, bool),
    bitrate: Option<u32>,
    quality: Option<Quality>,
}

impl Stream {
    pub(super) fn new(info: StreamInfo) -> Self {
        Stream {
            info,
            wanted: false,
            started: false,
            running: false,
            asked: false,
            discontinuity: false,
            least: None,
            units: Units::new(info.codec),
            pace: Pace::default(),
            callback: None,
            adjustable: (true, true),
            bitrate: None,
            quality: None,
        }
    }
}

pub(super) enum Out {
    Event(SourceEvent),
    Request(Callback, Request),
}

/// What feeds and source share. Time is an argument.
pub(super) struct State {
    pub(super) life: Lifecycle,
    pub(super) streams: Vec<Stream>,
    pub(super) feeds: usize,
    /// Audio alone makes it play.
    pub(super) audio_plays: bool,
    /// Why no video is pushed for now.
    pub(super) paused: Option<MediaError>,
    /// Zero of all presentation times.
    pub(super) epoch: Instant,
    /// A timestamp as pushed, and as forwarded.
    pub(super) zero: Option<(Duration, Duration)>,
    /// The latest that went on.
    pub(super) newest: Duration,
    pub(super) listener: Option<Listener>,
    pub(super) out: VecDeque<Out>,
    /// Somebody calls whom it concerns.
    pub(super) draining: bool,
}

impl State {
    pub(super) fn infos(&self) -> Vec<StreamInfo> {
        self.streams.iter().map(|stream| stream.info).collect()
    }

    fn event(&mut self, event: SourceEvent) {
        self.out.push_back(Out::Event(event));
    }

    fn request(&mut self, index: usize, request: Request) {
        if let Some(callback) = &self.streams[index].callback {
            self.out.push_back(Out::Request(callback.clone(), request));
        }
    }

    pub(super) fn request_start(&mut self, index: usize) {
        let Stream { bitrate, quality, .. } = self.streams[index];
        bitrate.into_iter().for_each(|bps| self.request(index, Request::Bitrate { bps }));
        quality.into_iter().for_each(|quality| self.request(index, Request::Quality { quality }));
        self.request(index, Request::Start);
    }

    pub(super) fn announce_adjustable(&mut self, index: usize) {
        let Stream { info, callback, adjustable: (bitrate, quality), .. } = &self.streams[index];
        let (stream, hears) = (info.id, callback.is_some());
        let (bitrate, quality) = (*bitrate && hears, *quality && hears);
        self.event(SourceEvent::Adjustable { stream, bitrate, quality });
    }

    pub(super) fn command(&mut self, command: Command, now: Instant) {
        let index = |of: StreamId| self.streams.iter().position(|stream| stream.info.id == of);
        match command {
            Command::Want(wanted) => {
                for stream in &mut self.streams {
                    stream.wanted = wanted.contains(&stream.info.id);
                }
                let any = self.streams.iter().any(|stream| stream.wanted);
                let opens = any && self.life.is_closed();
                self.live(if any { Input::Wanted } else { Input::Unwanted }, now);
                if let Some(error) = self.paused.clone().filter(|_| opens) {
                    self.live(Input::Failed(error), now);
                }
                if self.feeds == 0 {
                    self.live(Input::Ended, now);
                }
            }
            Command::KeyFrame(stream) => {
                if let Some(index) = index(stream).filter(|index| self.streams[*index].started) {
                    self.request(index, Request::KeyFrame);
                }
            }
            Command::Bitrate { stream, bps } => {
                let Some(index) = index(stream) else { return };
                let before = self.streams[index].bitrate.replace(bps);
                if before != Some(bps) && self.streams[index].started {
                    self.request(index, Request::Bitrate { bps });
                }
            }
            Command::Quality { stream, quality } => {
                let Some(index) = index(stream) else { return };
                let before = self.streams[index].quality.replace(quality);
                if before != Some(quality) && self.streams[index].started {
                    self.request(index, Request::Quality { quality });
                }
            }
            // Its encoder has its own.
            Command::KeyFrameInterval { .. } => {}
            Command::SetControl { request, name, .. } => {
                self.event(SourceEvent::ControlSet { request, name, result: Err(no_controls()) });
            }
            Command::ReadControls { request } => {
                self.event(SourceEvent::ControlsRead { request, result: Err(no_controls()) });
            }
        }
    }

    /// The source failed: after a loss, streams continue at a key frame, and with timestamps from another zero.
    pub(super) fn fail(&mut self, error: MediaError, now: Instant) {
        for stream in &mut self.streams {
            (stream.running, stream.discontinuity) = (false, stream.discontinuity || stream.running);
            stream.units.begin();
        }
        (self.zero, self.paused) = (None, None);
        self.live(Input::Failed(error), now);
    }

    /// Nobody pushes for now.
    #[cfg(feature = "relay")]
    pub(super) fn leave(&mut self, error: MediaError, now: Instant) {
        self.fail(error.clone(), now);
        self.paused = Some(error);
    }

    /// No video is pushed for now. Streams continue where they were.
    #[cfg(feature = "relay")]
    pub(super) fn pause(&mut self, error: MediaError, now: Instant) {
        self.paused = Some(error.clone());
        self.live(Input::Failed(error), now);
    }

    /// Takes what happened to the source, then starts and stops the streams that it changes.
    pub(super) fn live(&mut self, input: Input, now: Instant) {
        self.life.handle_input(input, now);
        let mut last = Vec::new();
        loop {
            match self.life.poll_output() {
                lifecycle::Output::Timeout(_) => break,
                lifecycle::Output::Event(event @ (SourceEvent::Stopped | SourceEvent::GaveUp)) => {
                    last.push(event)
                }
                lifecycle::Output::Event(event) => self.event(event),
                lifecycle::Output::Open | lifecycle::Output::Close => {}
            }
        }
        let closed = self.life.is_closed();
        if closed {
            self.zero = None;
        }
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let start = stream.wanted && !closed;
            if start == stream.started {
                continue;
            }
            stream.started = start;
            if start {
                self.request_start(index);
            } else {
                stream.discontinuity |= stream.running;
                stream.running = false;
                if closed {
                    stream.units.begin();
                }
                self.request(index, Request::Stop);
            }
        }
        last.into_iter().for_each(|event| self.event(event));
    }

    /// Frames of another encoder are next, from a key frame on.
    #[cfg(feature = "relay")]
    pub(super) fn begin_anew(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        (stream.running, stream.asked) = (false, false);
        stream.least = stream.units.last().map(|last| last + NEXT);
        stream.units.begin();
    }

    /// Frames of another codec are next, from a key frame on.
    #[cfg(feature = "relay")]
    pub(super) fn change_codec(&mut self, feeds: impl Iterator<Item = usize>, codec: Codec) {
        let mut changed = false;
        for index in feeds {
            if self.streams[index].info.codec == codec {
                continue;
            }
            self.begin_anew(index);
            let stream = &mut self.streams[index];
            stream.units = Units::new(codec);
            // The profile was that of the other codec.
            stream.info.change_codec(codec);
            changed = true;
        }
        if changed {
            self.event(SourceEvent::Streams(self.infos()));
        }
    }

    pub(super) fn push(
        &mut self,
        index: usize,
        data: Arc<[u8]>,
        key: bool,
        pts: Duration,
        times: Times,
        now: Instant,
    ) -> Result<Pushed, PushError> {
        if !self.streams[index].started {
            return Ok(Pushed::Unwanted);
        }
        if self.is_ahead(pts, now) {
            return Err(PushError::TimeJumped { pts });
        }
        let stream = &mut self.streams[index];
        let pts = stream.least.filter(|_| key).map_or(pts, |least| pts.max(least));
        let (data, key, format) = match stream.units.check(data, key, pts)? {
            Unit::ParameterSets => return Ok(Pushed::ParameterSets),
            Unit::Frame { data, key, format } => (data, key, format),
        };
        if self.out.len() >= MOST_QUEUED {
            (stream.running, stream.asked, stream.discontinuity) = (false, false, true);
            return Ok(Pushed::NeedsKeyFrame);
        }
        if !key && !stream.running {
            if !std::mem::replace(&mut stream.asked, true) {
                self.request(index, Request::KeyFrame);
            }
            return Ok(Pushed::NeedsKeyFrame);
        }
        let plays = self.audio_plays || self.streams[index].info.kind() == Kind::Video;
        if plays && !self.life.is_playing() {
            (0..self.streams.len()).for_each(|index| self.announce_adjustable(index));
            self.event(SourceEvent::Started);
            self.live(Input::FirstFrame, now);
        }
        let stream = &mut self.streams[index];
        let begins = !stream.running || stream.discontinuity;
        let format = format.or_else(|| stream.info.video().filter(|format| format.width > 0));
        let format =
            format.map(|format| VideoFormat { fps: stream.pace.handle_frame(pts, begins), ..format });
        if format.is_some_and(|format| stream.info.change_format(Format::Video(format))) {
            self.event(SourceEvent::Streams(self.infos()));
        }
        let Times { captured, encoding } = times;
        let pts = self.time(pts, captured);
        let stream = &mut self.streams[index];
        (stream.running, stream.asked, stream.least) = (true, false, None);
        let discontinuity = std::mem::take(&mut stream.discontinuity);
        let Stream { info: StreamInfo { id, codec, .. }, .. } = *stream;
        let duration = Duration::ZERO;
        self.event(SourceEvent::Frame(Frame {
            stream: id,
            codec,
            key,
            captured,
            pts,
            duration,
            discontinuity,
            encoding,
            data,
        }));
        Ok(Pushed::Taken)
    }

    /// Whether a time is farther ahead than any encoder is.
    fn is_ahead(&self, pts: Duration, now: Instant) -> bool {
        let Some((given, made)) = self.zero else { return false };
        let clock = now.saturating_duration_since(self.epoch) + HEADROOM;
        made.saturating_add(pts.saturating_sub(given)) > clock.max(self.newest) + MOST_AHEAD
    }

    /// A presentation time as forwarded: since the source was created, and increasing across restarts.
    fn time(&mut self, pts: Duration, captured: Instant) -> Duration {
        let (given, made) = *self.zero.get_or_insert_with(|| {
            let since = captured.saturating_duration_since(self.epoch) + HEADROOM;
            (pts, since.max(self.newest + Duration::from_millis(1)))
        });
        let time = (made + pts.saturating_sub(given)).saturating_sub(given.saturating_sub(pts));
        self.newest = self.newest.max(time);
        time
    }
}

fn no_controls() -> MediaError {
    MediaError::new(ErrorKind::NoControl, "this source has no controls; only V4L2 cameras do")
}
