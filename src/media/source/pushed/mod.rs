//! A source that the application feeds from its own encoder.
//!
//! It has no queue delay and no thread: a frame is forwarded within [`Feed::push`], and a request is delivered within the
//! call that makes it. Events are delivered in order, one at a time, and never under a lock.

mod access_unit;
mod error;
mod frame_rate;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use error::PushError;

use self::access_unit::{Unit, Units};
use self::frame_rate::Pace;
use super::lifecycle::{self, Input, Lifecycle, Reopening};
use super::{Command, Listener, Produce, Source, SourceEvent};
use crate::media::adapt::ladder::Quality;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::{Codec, Encoding, Format, Frame, StreamId, StreamInfo, VideoFormat};

/// More is not kept for a listener that is slow to return, which it must not be: a second of video and audio.
const MOST_QUEUED: usize = 100;
/// What the first frame's time is counted up by, so that a stream that begins a little earlier has one too.
const HEADROOM: Duration = Duration::from_secs(1);
/// A time that is farther ahead of the clock, and of all times before it, is a mistake: longer than any encoder's queue.
const MOST_AHEAD: Duration = Duration::from_secs(60);

/// A request to the application's encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Start pushing frames, beginning with a key frame. Earlier requests (bitrate, quality) are repeated just before.
    Start,
    /// Stop: nobody wants frames any more. Pushing some anyway costs nothing.
    Stop,
    /// Make the next frame a key frame.
    KeyFrame,
    /// Encode at this bitrate.
    Bitrate {
        /// Bitrate in bit/s.
        bps: u32,
    },
    /// Reduce the frame rate and size, or restore them, starting with a key frame.
    Quality {
        /// Frame rate and size.
        quality: Quality,
    },
}

/// What happened to a valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// It was forwarded.
    Taken,
    /// Nobody wants the stream now.
    Unwanted,
    /// Dropped, because no key frame came before it. One is requested.
    NeedsKeyFrame,
    /// Only parameter sets: kept for key frames that come without them.
    ParameterSets,
}

type Callback = Arc<dyn Fn(Request) + Send + Sync>;

impl Source {
    /// Creates a source of one stream that the application encodes itself. Give the source to a camera or a sink, and
    /// the feed to the encoder.
    ///
    /// ```
    /// use std::time::Duration;
    /// use symple::media::Codec;
    /// use symple::media::source::{Pushed, Request, Source};
    ///
    /// let (source, feed) = Source::push(Codec::H264);
    /// feed.on(|request| match request {
    ///     Request::KeyFrame => { /* make the encoder's next frame an IDR picture */ }
    ///     Request::Bitrate { bps } => println!("set the bitrate to {bps} bit/s"),
    ///     _ => {}
    /// });
    /// // For each access unit: Annex B data, whether it is a key frame, and its timestamp from any zero.
    /// let access_unit = vec![0, 0, 0, 1, 0x41, 0x9a];
    /// assert_eq!(feed.push(access_unit, false, Duration::ZERO), Ok(Pushed::Unwanted));
    /// # drop(source);
    /// ```
    pub fn push(codec: Codec) -> (Source, Feed) {
        let (source, [feed]) = Source::push_streams([codec]);
        (source, feed)
    }

    /// Creates a source of several streams, each with a feed: `[Codec::H264, Codec::Opus]` is video with audio. Their
    /// timestamps share one zero.
    ///
    /// Streams of the same codec are renditions of the same video, the best one first: `[Codec::H264, Codec::H264]` is a
    /// main one and one for viewers with less bandwidth. Push a frame to both with the same timestamp. The second one is
    /// only wanted while somebody needs it.
    pub fn push_streams<const N: usize>(codecs: [Codec; N]) -> (Source, [Feed; N]) {
        let stalled = MediaError::new(ErrorKind::Stalled, "the application has stopped pushing frames");
        Source::fed(codecs, stalled)
    }

    /// The same, with another error for feeds that are silent.
    pub(crate) fn fed<const N: usize>(codecs: [Codec; N], stalled: MediaError) -> (Source, [Feed; N]) {
        let streams = (0..).zip(codecs).map(|(id, codec)| {
            let before = codecs.iter().take(id as usize).filter(|other| **other == codec);
            let mut info = StreamInfo::new(StreamId(id), codec);
            info.rendition = u8::try_from(before.count()).unwrap_or(u8::MAX);
            Stream::new(info)
        });
        let life =
            Lifecycle::new(lifecycle::Config { reopening: Reopening::ByItself, pluggable: false, stalled });
        let state = State {
            life,
            streams: streams.collect(),
            feeds: N,
            epoch: Instant::now(),
            zero: None,
            newest: Duration::ZERO,
            listener: None,
            out: VecDeque::new(),
            draining: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let feeds = std::array::from_fn(|index| Feed { shared: shared.clone(), index });
        (Source::new(Producer { shared }), feeds)
    }
}

/// The application pushes the frames of one stream here. Push from one thread at a time, or frames may be reordered.
///
/// Dropping the last feed ends the source.
pub struct Feed {
    shared: Arc<Shared>,
    index: usize,
}

impl Feed {
    /// Pushes an access unit (H.264 in Annex B), a frame (VP8, JPEG) or a packet (Opus) that was captured just now.
    ///
    /// `pts` counts from any zero and must increase. All streams of a source share the zero, which may change while no
    /// stream is wanted, and after [`failed`](Self::failed). H.264 needs SPS and PPS before each key frame, or once
    /// before the first.
    ///
    /// A `pts` more than a minute ahead of both the clock and all frames before it is refused: taken, it would put every
    /// later frame in the past. The first frame sets the zero, so a wrong `pts` there can't be seen; `failed` clears it.
    ///
    /// Errors: [`PushError`] says what is wrong with the frame and how to fix it. An unwanted frame is not an error.
    pub fn push(
        &self,
        access_unit: impl Into<Arc<[u8]>>,
        key: bool,
        pts: Duration,
    ) -> Result<Pushed, PushError> {
        if !self.is_wanted() {
            return Ok(Pushed::Unwanted);
        }
        self.push_captured(access_unit, key, pts, Instant::now())
    }

    /// Like [`push`](Self::push), with the capture time, which is used for delay measurement and lip sync. A time in the
    /// future counts as now.
    ///
    /// Errors: see [`push`](Self::push).
    pub fn push_captured(
        &self,
        access_unit: impl Into<Arc<[u8]>>,
        key: bool,
        pts: Duration,
        captured: Instant,
    ) -> Result<Pushed, PushError> {
        self.take(access_unit, key, pts, |now| Times { captured, encoding: None }.until(now))
    }

    /// Like [`push_captured`](Self::push_captured), with the time at which the encoder got the raw frame; the encoded one
    /// left it just now. So the delays of each viewer tell capture and encoding apart. A time before the
    /// capture counts as the capture.
    ///
    /// Errors: see [`push`](Self::push).
    pub fn push_encoded(
        &self,
        access_unit: impl Into<Arc<[u8]>>,
        key: bool,
        pts: Duration,
        captured: Instant,
        began: Instant,
    ) -> Result<Pushed, PushError> {
        self.take(access_unit, key, pts, |now| {
            Times { captured, encoding: Some(Encoding { began, ended: now }) }.until(now)
        })
    }

    fn take(
        &self,
        access_unit: impl Into<Arc<[u8]>>,
        key: bool,
        pts: Duration,
        times: impl FnOnce(Instant) -> Times,
    ) -> Result<Pushed, PushError> {
        if !self.is_wanted() {
            return Ok(Pushed::Unwanted);
        }
        let data = access_unit.into();
        let now = Instant::now();
        let pushed = self.shared.lock().push(self.index, data, key, pts, times(now), now);
        self.shared.drain();
        pushed
    }

    /// Sets the callback for each [`Request`]. It may be called on any thread and must not block. Requests already in
    /// effect are repeated at once. Without a callback, bitrate and size cannot adapt to the viewers' networks.
    pub fn on(&self, callback: impl Fn(Request) + Send + Sync + 'static) {
        let mut state = self.shared.lock();
        let before = state.streams[self.index].callback.replace(Arc::new(callback));
        if state.streams[self.index].started {
            state.request_start(self.index);
        }
        drop(state);
        // Not under the lock: it may own another feed, or the camera.
        drop(before);
        self.shared.drain();
    }

    /// Declares what can be adjusted while the encoder runs: its bitrate, and its frame rate and size. The default is
    /// both.
    pub fn adjustable(&self, bitrate: bool, quality: bool) {
        let mut state = self.shared.lock();
        state.streams[self.index].adjustable = (bitrate, quality);
        if state.life.is_playing() {
            state.announce_adjustable(self.index);
        }
        drop(state);
        self.shared.drain();
    }

    /// Whether anybody wants its frames now.
    pub fn is_wanted(&self) -> bool {
        self.shared.lock().streams[self.index].started
    }

    /// The ID of its stream.
    pub fn stream(&self) -> StreamId {
        self.shared.lock().streams[self.index].info.id
    }

    /// Ends the whole source. Calls end with `source-ended`, and the next viewer starts it again.
    pub fn ended(&self) {
        self.live(Input::Ended);
    }

    /// Reports that the whole source failed. If the error [may pass](MediaError::may_pass), the source is lost until the
    /// next frame; otherwise calls end, and the next viewer starts it again. `pts` may count from another zero then.
    pub fn failed(&self, error: MediaError) {
        self.live(Input::Failed(error));
    }

    fn live(&self, input: Input) {
        self.shared.lock().live(input, Instant::now());
        self.shared.drain();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.feeds -= 1;
        let callback = state.streams[self.index].callback.take();
        if state.feeds == 0 {
            state.live(Input::Ended, Instant::now());
        }
        drop(state);
        // Not under the lock: it may own another feed, or the camera.
        drop(callback);
        self.shared.drain();
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("stream", &self.stream()).finish_non_exhaustive()
    }
}

/// When a frame was made.
#[derive(Clone, Copy)]
struct Times {
    captured: Instant,
    encoding: Option<Encoding>,
}

impl Times {
    /// Puts them in order: nothing happened after `now`, and nothing before the capture.
    fn until(self, now: Instant) -> Times {
        let captured = self.captured.min(now);
        let ordered = |Encoding { began, ended }: Encoding| {
            let ended = ended.clamp(captured, now);
            Encoding { began: began.clamp(captured, ended), ended }
        };
        Times { captured, encoding: self.encoding.map(ordered) }
    }
}

struct Producer {
    shared: Arc<Shared>,
}

impl Produce for Producer {
    fn streams(&self) -> Vec<StreamInfo> {
        self.shared.lock().infos()
    }

    fn listen(&self, listener: Listener) {
        let before = self.shared.lock().listener.replace(listener);
        drop(before); // not under the lock
    }

    fn command(&self, command: Command) {
        self.shared.lock().command(command, Instant::now());
        self.shared.drain();
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.command(Command::Want(BTreeSet::new()));
    }
}

struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whom it concerns, one at a time and in order, whichever thread filled the queue.
    fn drain(&self) {
        /// What a callback that panics must not leave behind.
        struct Turn<'a>(&'a Shared);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.lock().draining = false;
            }
        }
        if std::mem::replace(&mut self.lock().draining, true) {
            return;
        }
        let turn = Turn(self);
        loop {
            let mut state = self.lock();
            let Some(next) = state.out.pop_front() else {
                // Under the same lock, or what comes now would wait for the next time.
                state.draining = false;
                drop(state);
                return std::mem::forget(turn);
            };
            let listener = state.listener.clone();
            drop(state);
            match next {
                Out::Event(event) => listener.into_iter().for_each(|listener| listener(event.clone())),
                Out::Request(callback, request) => callback(request),
            }
        }
    }
}

/// One stream.
struct Stream {
    info: StreamInfo,
    wanted: bool,
    /// The application was asked to start.
    started: bool,
    /// A key frame came since then.
    running: bool,
    /// A key frame was asked for since the last one was missed.
    asked: bool,
    /// Frames are missing before the next one.
    discontinuity: bool,
    units: Units,
    pace: Pace,
    callback: Option<Callback>,
    adjustable: (bool, bool),
    bitrate: Option<u32>,
    quality: Option<Quality>,
}

impl Stream {
    fn new(info: StreamInfo) -> Self {
        Stream {
            info,
            wanted: false,
            started: false,
            running: false,
            asked: false,
            discontinuity: false,
            units: Units::new(info.codec),
            pace: Pace::default(),
            callback: None,
            adjustable: (true, true),
            bitrate: None,
            quality: None,
        }
    }
}

enum Out {
    Event(SourceEvent),
    Request(Callback, Request),
}

/// What feeds and source share. Time is an argument.
struct State {
    life: Lifecycle,
    streams: Vec<Stream>,
    feeds: usize,
    /// Zero of all presentation times.
    epoch: Instant,
    /// A timestamp as pushed, and as forwarded.
    zero: Option<(Duration, Duration)>,
    /// The latest that went on.
    newest: Duration,
    listener: Option<Listener>,
    out: VecDeque<Out>,
    /// Somebody calls whom it concerns.
    draining: bool,
}

impl State {
    fn infos(&self) -> Vec<StreamInfo> {
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

    fn request_start(&mut self, index: usize) {
        let Stream { bitrate, quality, .. } = self.streams[index];
        bitrate.into_iter().for_each(|bps| self.request(index, Request::Bitrate { bps }));
        quality.into_iter().for_each(|quality| self.request(index, Request::Quality { quality }));
        self.request(index, Request::Start);
    }

    fn announce_adjustable(&mut self, index: usize) {
        let Stream { info, callback, adjustable: (bitrate, quality), .. } = &self.streams[index];
        let (stream, hears) = (info.id, callback.is_some());
        let (bitrate, quality) = (*bitrate && hears, *quality && hears);
        self.event(SourceEvent::Adjustable { stream, bitrate, quality });
    }

    fn command(&mut self, command: Command, now: Instant) {
        let index = |of: StreamId| self.streams.iter().position(|stream| stream.info.id == of);
        match command {
            Command::Want(wanted) => {
                for stream in &mut self.streams {
                    stream.wanted = wanted.contains(&stream.info.id);
                }
                let any = self.streams.iter().any(|stream| stream.wanted);
                self.live(if any { Input::Wanted } else { Input::Unwanted }, now);
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

    /// Takes what happened to the source, then starts and stops the streams that it changes.
    fn live(&mut self, input: Input, now: Instant) {
        if matches!(input, Input::Failed(_)) {
            // After a loss the stream continues at a key frame.
            for stream in &mut self.streams {
                (stream.running, stream.discontinuity) = (false, stream.discontinuity || stream.running);
                stream.units.begin();
            }
            self.zero = None;
        }
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

    fn push(
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
        if !self.life.is_playing() {
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
        (stream.running, stream.asked) = (true, false);
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

#[cfg(test)]
mod tests;
