//! A source under test: its events in order, awaited by condition.
#![allow(dead_code)] // each test file uses its part

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use symple::media::board::Board;
use symple::media::error::MediaError;
use symple::media::source::gst::pattern::{self, Burned};
use symple::media::source::gst::{CaptureSettings, EncoderInfo, Pipeline};
use symple::media::source::{Command, Location, Source, SourceEvent};
use symple::media::{Codec, Frame, StreamId, StreamInfo, VideoFormat};

pub(crate) const H264: &[Codec] = &[Codec::H264];
/// The streams to request, as far as the source has them.
pub(crate) const ALL: &[Codec] = &[Codec::H264, Codec::Vp8, Codec::Opus];

/// Far longer than anything takes: it only ends a test that would otherwise wait forever.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Watched {
    pub pipeline: Pipeline,
    source: Source,
    events: Receiver<SourceEvent>,
    /// The streams as last announced.
    streams: RefCell<Vec<StreamInfo>>,
}

/// Small frames, so that tests leave CPU time to others.
pub(crate) fn settings(source: &str) -> CaptureSettings {
    let source: Location = source.parse().expect("a source");
    CaptureSettings { source, width: 320, height: 180, bitrate: 300_000, ..CaptureSettings::default() }
}

pub(crate) fn open(settings: CaptureSettings) -> Result<Watched, MediaError> {
    let (sender, events) = mpsc::channel();
    let pipeline = Pipeline::build(settings)?;
    let source = Source::new(pipeline.clone());
    source.producer().listen(Arc::new(move |event| _ = sender.send(event)));
    let streams = RefCell::new(source.producer().streams());
    Ok(Watched { pipeline, source, events, streams })
}

impl Watched {
    pub(crate) fn has(&self, codec: Codec) -> bool {
        self.source.producer().streams().iter().any(|stream| stream.codec == codec)
    }

    pub(crate) fn encoder(&self) -> &EncoderInfo {
        self.pipeline.encoder()
    }

    /// The stream of this codec, as last announced.
    pub(crate) fn info(&self, codec: Codec) -> StreamInfo {
        *self.streams.borrow().iter().find(|stream| stream.codec == codec).expect("it has such a stream")
    }

    pub(crate) fn id(&self, codec: Codec) -> StreamId {
        self.info(codec).id
    }

    pub(crate) fn command(&self, command: Command) {
        self.source.producer().command(command);
    }

    /// Requests the best streams of these codecs, as far as the source has them.
    pub(crate) fn start(&self, codecs: &[Codec]) {
        let streams = self.source.producer().streams().into_iter();
        let streams = streams.filter(|stream| codecs.contains(&stream.codec) && stream.rendition == 0);
        self.want(&streams.map(|stream| stream.id).collect::<Vec<_>>());
    }

    pub(crate) fn want(&self, streams: &[StreamId]) {
        self.command(Command::Want(streams.iter().copied().collect()));
    }

    /// The small rendition, if it is announced.
    pub(crate) fn small(&self) -> Option<StreamInfo> {
        self.source.producer().streams().into_iter().find(|stream| stream.rendition == 1)
    }

    /// The next frame of a stream that `wanted` accepts.
    pub(crate) fn frame_of(&self, stream: StreamId, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        self.until(what, |event| match event {
            SourceEvent::Frame(frame) if frame.stream == stream && wanted(frame) => Some(frame.clone()),
            SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("{what}: {error}"),
            _ => None,
        })
    }

    pub(crate) fn stop(&self) {
        self.start(&[]);
    }

    pub(crate) fn request_key_frame(&self, codec: Codec) {
        self.command(Command::KeyFrame(self.id(codec)));
    }

    /// The next event that `wanted` accepts; earlier ones are discarded.
    pub(crate) fn until<T>(&self, what: &str, mut wanted: impl FnMut(&SourceEvent) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let event = match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(_) => panic!("timed out waiting for {what}; received {others:?}"),
            };
            let found = wanted(&event);
            if let SourceEvent::Streams(streams) = &event {
                self.streams.replace(streams.clone());
            }
            if let Some(found) = found {
                return found;
            }
            if !matches!(event, SourceEvent::Frame(_)) {
                others.push(event);
            }
        }
    }

    pub(crate) fn frame(&self, codec: Codec) -> Frame {
        self.frame_where(codec, "a frame", |_| true)
    }

    pub(crate) fn key_frame(&self, codec: Codec) -> Frame {
        self.frame_where(codec, "a key frame", |frame| frame.key)
    }

    pub(crate) fn frame_where(&self, codec: Codec, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        self.until(what, |event| match event {
            SourceEvent::Frame(frame) if frame.codec == codec && wanted(frame) => Some(frame.clone()),
            _ => None,
        })
    }

    pub(crate) fn frames(&self, codec: Codec, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.frame(codec)).collect()
    }

    /// This many consecutive H.264 frames; a problem of the source fails the test.
    pub(crate) fn frames_in_a_row(&self, what: &str, count: usize) -> Vec<Frame> {
        let next = || {
            self.until(what, |event| match event {
                SourceEvent::Frame(frame) if frame.codec == Codec::H264 => Some(frame.clone()),
                SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("{what}: {error}"),
                _ => None,
            })
        };
        (0..count).map(|_| next()).collect()
    }

    /// The stream of this codec that an event announces, if it has a new generation.
    pub(crate) fn announced(&self, event: &SourceEvent, codec: Codec) -> Option<VideoFormat> {
        let SourceEvent::Streams(streams) = event else { return None };
        let stream = streams.iter().find(|stream| stream.codec == codec)?;
        if stream.generation == self.info(codec).generation {
            return None;
        }
        stream.video()
    }

    pub(crate) fn failure(&self) -> MediaError {
        self.until("a failure", |event| match event {
            SourceEvent::Failed(error) => Some(error.clone()),
            _ => None,
        })
    }

    pub(crate) fn event(&self, what: &str, wanted: impl Fn(&SourceEvent) -> bool) {
        self.until(what, |event| wanted(event).then_some(()))
    }

    /// Events that arrived and were not read yet.
    pub(crate) fn rest(&self) -> Vec<SourceEvent> {
        self.events.try_iter().collect()
    }
}

/// The counters and clocks in these frames of the test pattern.
pub(crate) fn burned(frames: &[Frame], decoder: &str, width: usize, height: usize) -> Vec<Burned> {
    let caps = if decoder == "vp8dec" { "video/x-vp8" } else { "video/x-h264,stream-format=byte-stream" };
    let decoder = format!("caps={caps} ! {decoder} ! videoconvert ! video/x-raw,format=I420");
    decoded(frames, &decoder, |sample| {
        let frame = sample.buffer().expect("a frame").map_readable().expect("in memory");
        pattern::read(&frame, width, width, height).expect("the blocks can be read")
    })
}

/// What `see` returns for each decoded frame; `decoder` begins with the caps of its input.
pub(crate) fn decoded<T>(frames: &[Frame], decoder: &str, see: impl Fn(&gstreamer::Sample) -> T) -> Vec<T> {
    use gstreamer::prelude::*;
    let launch = format!("appsrc name=in format=time {decoder} ! appsink name=out sync=false");
    let pipeline = gstreamer::parse::launch(&launch).expect("a decoder");
    let bin = pipeline.downcast_ref::<gstreamer::Bin>().expect("a pipeline");
    let input = bin.by_name("in").and_downcast::<gstreamer_app::AppSrc>().expect("named above");
    let output = bin.by_name("out").and_downcast::<gstreamer_app::AppSink>().expect("named above");
    pipeline.set_state(gstreamer::State::Playing).expect("it plays");
    for frame in frames {
        let mut buffer = gstreamer::Buffer::from_slice(frame.data.clone());
        buffer.get_mut().expect("just made").set_pts(gstreamer::ClockTime::try_from(frame.pts).ok());
        input.push_buffer(buffer).expect("it accepts buffers");
    }
    input.end_of_stream().expect("it accepts the end");
    let seen = std::iter::from_fn(|| output.pull_sample().ok()).map(|sample| see(&sample)).collect();
    pipeline.set_state(gstreamer::State::Null).expect("it stops");
    seen
}

/// A board's profile in a file of its own, which is removed with this value.
pub(crate) struct BoardFile(PathBuf);

impl BoardFile {
    pub(crate) fn new(text: &str) -> BoardFile {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("symple-board-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        BoardFile(path)
    }

    pub(crate) fn board(&self) -> Board {
        Board::File { path: self.0.clone() }
    }
}

impl Drop for BoardFile {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}
