//! A GStreamer pipeline as a [`Source`].

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{EncoderInfo, MediaEvent, Pipeline, Settings, Streams};
use crate::media::adapt::heat::{Limits, Reading};
use crate::media::board::{BoardInfo, Thermometer};
use crate::media::error::MediaError;
use crate::media::source::controls::Control;
use crate::media::source::v4l2::choose::Way;
use crate::media::source::{Command, Listener, Produce, Source, SourceEvent};
use crate::media::{AUDIO_OPUS, Codec, Format, StreamInfo, VIDEO_H264, VIDEO_VP8, VideoFormat};

impl Source {
    /// A source by GStreamer. Checks what can be known at once (plugins, the file or device) and chooses the encoder
    /// by trying, which may take seconds and blocks; no device stays open until streams are wanted.
    ///
    /// Errors: a setting, source or encoder that does not work, with cause and cure in words.
    pub fn gstreamer(settings: Settings) -> Result<Source, MediaError> {
        let (live, height) = (settings.source.is_live(), settings.height);
        let format = VideoFormat { width: settings.width, height, fps: settings.fps, profile_level_id: None };
        let listener: Arc<OnceLock<Listener>> = Arc::default();
        let streams: Arc<Mutex<Vec<StreamInfo>>> = Arc::default();
        let pipeline = Pipeline::new(settings, {
            let (listener, streams) = (listener.clone(), streams.clone());
            move |event| {
                if let Some(listener) = listener.get() {
                    translate(event, &streams).into_iter().for_each(|event| listener(event));
                }
            }
        })?;
        let video = |id, codec| StreamInfo::new(id, codec).with_format(Format::Video(format));
        let found = [
            Some(video(VIDEO_H264, Codec::H264)),
            pipeline.has_vp8().then(|| video(VIDEO_VP8, Codec::Vp8)),
            pipeline.has_audio().then(|| StreamInfo::new(AUDIO_OPUS, Codec::Opus)),
        ];
        *streams.lock().unwrap_or_else(PoisonError::into_inner) = found.into_iter().flatten().collect();
        Ok(Source::new(Producer { pipeline, live, streams, listener }))
    }
}

struct Producer {
    pipeline: Pipeline,
    live: bool,
    streams: Arc<Mutex<Vec<StreamInfo>>>,
    listener: Arc<OnceLock<Listener>>,
}

impl Produce for Producer {
    fn streams(&self) -> Vec<StreamInfo> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&self, listener: Listener) {
        _ = self.listener.set(listener);
    }

    fn command(&self, command: Command) {
        let pipeline = &self.pipeline;
        match command {
            Command::Want(streams) => pipeline.start(Streams {
                h264: streams.contains(&VIDEO_H264),
                vp8: streams.contains(&VIDEO_VP8),
                audio: streams.contains(&AUDIO_OPUS),
            }),
            Command::KeyFrame(stream) => pipeline.request_key_frame(stream),
            Command::Bitrate { stream, bps } => pipeline.set_bitrate(stream, bps),
            Command::Quality { stream, quality } => pipeline.set_quality(stream, quality),
            Command::SetControl { request, name, value } => pipeline.set_control(request, &name, value),
            Command::ReadControls { request } => pipeline.read_controls(request),
        }
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn encoder(&self) -> Option<String> {
        Some(self.pipeline.encoder().name.clone())
    }

    fn encoder_info(&self) -> Option<&EncoderInfo> {
        Some(self.pipeline.encoder())
    }

    fn controls(&self) -> Vec<Control> {
        self.pipeline.controls().to_vec()
    }

    fn heat_limits(&self) -> Option<Limits> {
        self.pipeline.thermometer().map(|thermometer| thermometer.limits)
    }

    fn read_heat(&self) -> Reading {
        self.pipeline.thermometer().map(Thermometer::read).unwrap_or_default()
    }

    fn board(&self) -> Option<&BoardInfo> {
        Some(self.pipeline.board())
    }
}

fn translate(event: MediaEvent, streams: &Mutex<Vec<StreamInfo>>) -> Vec<SourceEvent> {
    vec![match event {
        MediaEvent::Format { stream, width, height, fps, profile_level_id } => {
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = streams.iter_mut().find(|known| known.id == stream) {
                known.change_format(Format::Video(VideoFormat { width, height, fps, profile_level_id }));
            }
            SourceEvent::Streams(streams.clone())
        }
        MediaEvent::Capture(info) => {
            let (bitrate, quality) = (info.steers_bitrate, info.choice.way != Way::PassThrough);
            let adjustable = SourceEvent::Adjustable { stream: VIDEO_H264, bitrate, quality };
            return vec![adjustable, SourceEvent::Capture(info)];
        }
        MediaEvent::Started => SourceEvent::Started,
        MediaEvent::Frame(frame) => SourceEvent::Frame(frame),
        MediaEvent::Ended => SourceEvent::Ended,
        MediaEvent::Stalled(error) => SourceEvent::Stalled(error),
        MediaEvent::Failed(error) => SourceEvent::Failed(error),
        MediaEvent::State(status) => SourceEvent::State(status),
        MediaEvent::Trouble(error) => SourceEvent::Trouble(error),
        MediaEvent::Control { request, name, result } => SourceEvent::Control { request, name, result },
        MediaEvent::Controls { request, result } => SourceEvent::Controls { request, result },
        MediaEvent::Stopped => SourceEvent::Stopped,
        MediaEvent::GaveUp => SourceEvent::GaveUp,
    }]
}
