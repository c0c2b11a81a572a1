//! A pipeline under test: its events in order, awaited by condition.
#![allow(dead_code)] // each test file uses its part

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use symple::media::error::MediaError;
use symple::media::source::Location;
use symple::media::source::gst::{MediaEvent, Pipeline, Settings, Streams};
use symple::media::{Frame, StreamId, VIDEO_H264};

pub const H264: Streams = Streams { h264: true, vp8: false, audio: false };
pub const ALL: Streams = Streams { h264: true, vp8: true, audio: true };

/// Far more than anything takes: it only ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Watched {
    pub pipeline: Pipeline,
    events: Receiver<MediaEvent>,
}

/// Small pictures, so that tests leave the processor to the others.
pub fn settings(source: &str) -> Settings {
    let source: Location = source.parse().expect("a source");
    Settings { source, width: 320, height: 180, bitrate: 300_000, ..Settings::default() }
}

pub fn open(settings: Settings) -> Result<Watched, MediaError> {
    let (sender, events) = mpsc::channel();
    let pipeline = Pipeline::new(settings, move |event| _ = sender.send(event))?;
    Ok(Watched { pipeline, events })
}

impl Watched {
    /// The next event that `wanted` takes; those before it are gone.
    pub fn until<T>(&self, what: &str, mut wanted: impl FnMut(&MediaEvent) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let event = match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(_) => panic!("waited in vain for {what}; there came {others:?}"),
            };
            if let Some(found) = wanted(&event) {
                return found;
            }
            if !matches!(event, MediaEvent::Frame(_)) {
                others.push(event);
            }
        }
    }

    pub fn frame(&self, stream: StreamId) -> Frame {
        self.frame_where(stream, "a frame", |_| true)
    }

    pub fn key_frame(&self, stream: StreamId) -> Frame {
        self.frame_where(stream, "a key frame", |frame| frame.key)
    }

    pub fn frame_where(&self, stream: StreamId, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        self.until(what, |event| match event {
            MediaEvent::Frame(frame) if frame.stream == stream && wanted(frame) => Some(frame.clone()),
            _ => None,
        })
    }

    pub fn frames(&self, stream: StreamId, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.frame(stream)).collect()
    }

    /// So many H.264 frames in a row; trouble of the source ends the test.
    pub fn frames_in_a_row(&self, what: &str, count: usize) -> Vec<Frame> {
        let next = || {
            self.until(what, |event| match event {
                MediaEvent::Frame(frame) if frame.stream == VIDEO_H264 => Some(frame.clone()),
                MediaEvent::Failed(error) | MediaEvent::Stalled(error) => panic!("{what}: {error}"),
                _ => None,
            })
        };
        (0..count).map(|_| next()).collect()
    }

    pub fn failure(&self) -> MediaError {
        self.until("a failure", |event| match event {
            MediaEvent::Failed(error) => Some(error.clone()),
            _ => None,
        })
    }

    pub fn event(&self, what: &str, wanted: impl Fn(&MediaEvent) -> bool) {
        self.until(what, |event| wanted(event).then_some(()))
    }

    /// What came and was not looked at yet.
    pub fn rest(&self) -> Vec<MediaEvent> {
        self.events.try_iter().collect()
    }
}
