//! The pipeline as it was asked before there was a seam, for who has not moved to [`Source`](crate::media::source::Source).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{CaptureInfo, CaptureSettings, Pipeline};
use crate::media::adapt::ladder::Quality;
use crate::media::board::Thermometer;
use crate::media::error::MediaError;
use crate::media::source::controls::{Control, Value};
use crate::media::source::{Command, Produce, RequestId, SourceEvent, SourceStatus};
use crate::media::{AUDIO_OPUS, Format, Frame, StreamId, StreamInfo, VIDEO_H264, VIDEO_VP8, VideoFormat};

/// Which streams are to be produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// H.264 video.
    pub h264: bool,
    /// VP8 video.
    pub vp8: bool,
    /// Opus audio, where the source has any.
    pub audio: bool,
}

impl Streams {
    /// No stream at all: the same as stopping.
    pub fn is_empty(self) -> bool {
        self == Streams::default()
    }
}

/// What a [`Pipeline`] tells: see [`SourceEvent`].
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "as of the events of a source")]
pub enum MediaEvent {
    Started,
    Format { stream: StreamId, width: u32, height: u32, fps: u32, profile_level_id: Option<[u8; 3]> },
    Frame(Frame),
    Ended,
    Stalled(MediaError),
    Failed(MediaError),
    Capture(CaptureInfo),
    State(SourceStatus),
    Trouble(MediaError),
    Control { request: RequestId, name: String, result: Result<Control, MediaError> },
    Controls { request: RequestId, result: Result<Vec<Control>, MediaError> },
    Stopped,
    GaveUp,
}

#[allow(missing_docs, reason = "as of the commands of a source")]
impl Pipeline {
    pub fn new(
        settings: CaptureSettings,
        on: impl Fn(MediaEvent) + Send + Sync + 'static,
    ) -> Result<Pipeline, MediaError> {
        let pipeline = Pipeline::build(settings)?;
        let known = Mutex::new(Vec::new());
        pipeline.listen(Arc::new(move |event| translate(event, &known).into_iter().for_each(&on)));
        Ok(pipeline)
    }

    pub fn start(&self, streams: Streams) {
        let all = [(VIDEO_H264, streams.h264), (VIDEO_VP8, streams.vp8), (AUDIO_OPUS, streams.audio)];
        self.command(Command::Want(all.into_iter().filter(|(_, on)| *on).map(|(id, _)| id).collect()));
    }

    pub fn stop(&self) {
        self.command(Command::Want(BTreeSet::new()));
    }

    pub fn request_key_frame(&self, stream: StreamId) {
        self.command(Command::KeyFrame(stream));
    }

    pub fn set_bitrate(&self, stream: StreamId, bps: u32) {
        self.command(Command::Bitrate { stream, bps });
    }

    pub fn set_control(&self, request: RequestId, name: &str, value: impl Into<Value>) {
        self.command(Command::SetControl { request, name: name.into(), value: value.into() });
    }

    pub fn read_controls(&self, request: RequestId) {
        self.command(Command::ReadControls { request });
    }

    pub fn controls(&self) -> &[Control] {
        &self.inner.controls
    }

    pub fn set_quality(&self, stream: StreamId, quality: Quality) {
        self.command(Command::Quality { stream, quality });
    }

    pub fn thermometer(&self) -> Option<&Thermometer> {
        self.inner.thermometer.as_ref()
    }

    pub fn has_audio(&self) -> bool {
        self.streams().iter().any(|stream| stream.id == AUDIO_OPUS)
    }

    pub fn has_vp8(&self) -> bool {
        self.streams().iter().any(|stream| stream.id == VIDEO_VP8)
    }
}

fn translate(event: SourceEvent, known: &Mutex<Vec<StreamInfo>>) -> Vec<MediaEvent> {
    vec![match event {
        SourceEvent::Streams(streams) => {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = streams.iter().filter(|stream| stream.generation > 0 && !known.contains(stream));
            let told = fresh.filter_map(|info| match (info.id, info.format) {
                (stream @ (VIDEO_H264 | VIDEO_VP8), Format::Video(format)) => {
                    let VideoFormat { width, height, fps, profile_level_id } = format;
                    Some(MediaEvent::Format { stream, width, height, fps, profile_level_id })
                }
                _ => None,
            });
            let told = told.collect();
            *known = streams;
            return told;
        }
        SourceEvent::Capture(info) => MediaEvent::Capture(info),
        SourceEvent::Started => MediaEvent::Started,
        SourceEvent::Frame(frame) => MediaEvent::Frame(frame),
        SourceEvent::Ended => MediaEvent::Ended,
        SourceEvent::Stalled(error) => MediaEvent::Stalled(error),
        SourceEvent::Failed(error) => MediaEvent::Failed(error),
        SourceEvent::State(status) => MediaEvent::State(status),
        SourceEvent::Trouble(error) => MediaEvent::Trouble(error),
        SourceEvent::Control { request, name, result } => MediaEvent::Control { request, name, result },
        SourceEvent::Controls { request, result } => MediaEvent::Controls { request, result },
        SourceEvent::Stopped => MediaEvent::Stopped,
        SourceEvent::GaveUp => MediaEvent::GaveUp,
        SourceEvent::Adjustable { .. } => return Vec::new(),
    }]
}
