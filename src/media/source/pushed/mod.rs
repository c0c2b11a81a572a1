//! A source that the application feeds from its own encoder.
//!
//! It has no queue delay and no thread: a frame is forwarded within [`Feed::push`], and a request is delivered within the
//! call that makes it. Events are delivered in order, one at a time, and never under a lock.

mod access_unit;
mod error;
mod frame_rate;
mod state;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use error::PushError;

use self::state::{Out, State, Stream, Times};
use super::lifecycle::{self, Input, Lifecycle, Reopening};
use super::{Command, Listener, Produce, Source};
use crate::media::adapt::ladder::Quality;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::{Codec, Encoding, StreamId, StreamInfo};

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
            audio_plays: true,
            paused: None,
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
        self.shared.lock().fail(error, Instant::now());
        self.shared.drain();
    }

    /// The source plays only while there is video: audio is forwarded without it, and changes no state.
    #[cfg(feature = "relay")]
    pub(crate) fn follow_video(&self) {
        self.shared.lock().audio_plays = false;
    }

    /// No video is pushed for now, for this reason: the source is lost until the next frame of it, and audio goes on.
    #[cfg(feature = "relay")]
    pub(crate) fn pause(&self, error: MediaError) {
        self.shared.lock().pause(error, Instant::now());
        self.shared.drain();
    }

    /// Nobody pushes for now, for this reason: the source is lost, also when it is opened, until the next frame after
    /// [`resume`](Self::resume). `pts` may count from another zero then.
    #[cfg(feature = "relay")]
    pub(crate) fn leave(&self, error: MediaError) {
        self.shared.lock().leave(error, Instant::now());
        self.shared.drain();
    }

    /// Video is pushed again, wanted or not.
    #[cfg(feature = "relay")]
    pub(crate) fn resume(&self) {
        self.shared.lock().paused = None;
    }

    /// The stream goes on with the frames of another encoder, at its next key frame. They may have been captured a moment
    /// earlier than the last one.
    #[cfg(feature = "relay")]
    pub(crate) fn begin_anew(&self) {
        self.shared.lock().begin_anew(self.index);
    }

    /// The streams of these feeds of one source go on in another codec, each at its next key frame.
    #[cfg(feature = "relay")]
    pub(crate) fn change_codec(feeds: &[Feed], codec: Codec) {
        let Some(shared) = feeds.first().map(|feed| &feed.shared) else { return };
        shared.lock().change_codec(feeds.iter().map(|feed| feed.index), codec);
        shared.drain();
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

#[cfg(test)]
mod tests;
