//! What all runs of a pipeline have in common: its settings, its streams, and the launch line of each.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::camera::Camera;
use super::csi::Csi;
use super::encoders::Chosen;
use super::orders::Order;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use super::streams::{Announced, Maker, Stream};
use crate::media::StreamId;
use crate::media::board::{Knob, Setting, Unit};
use crate::media::source::Listener;

/// In bit/s, transparent for speech and good for music (RFC 7587, 3.1.1).
const AUDIO_BITRATE: u32 = 64_000;
/// The maximum rate of snapshots: motion needs video.
pub(super) const JPEG_FPS: u32 = 1;
/// In percent; the element's default, at which blocks are hardly visible.
const JPEG_QUALITY: u32 = 85;

/// What all runs of a pipeline have in common.
pub(super) struct Plan {
    pub settings: CaptureSettings,
    pub encoder: Chosen,
    /// The possible streams, video first.
    pub streams: Vec<Stream>,
    pub announced: Arc<Announced>,
    pub on: Listener,
    pub orders: Sender<Order>,
    /// The zero of all presentation times.
    pub epoch: Instant,
    /// The test pattern's frame counter, which continues across restarts.
    pub counter: Arc<AtomicU32>,
    /// The details of a V4L2 source.
    pub camera: Option<Camera>,
    /// How to open a CSI source.
    pub csi: Option<Csi>,
    /// The file contains a single picture.
    pub still: bool,
}

/// How video reaches an encoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    /// The size of the frames, raw or encoded.
    pub size: (u32, u32),
    /// H.264 from the camera.
    pub coded: bool,
    /// In DMA buffers.
    pub dmabuf: bool,
}

impl Plan {
    pub(super) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    pub(super) fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// What provides H.264 in this run: the camera, or the encoder.
    pub(super) fn set_pass_through(&mut self, passes: bool) {
        for stream in &mut self.streams {
            match stream.maker {
                Maker::Encoder if passes => stream.maker = Maker::PassThrough,
                Maker::PassThrough if !passes => stream.maker = Maker::Encoder,
                _ => {}
            }
        }
    }

    /// In bit/s.
    pub(super) fn bitrate(&self, stream: &Stream) -> u32 {
        let default = if stream.is_video() { self.settings.bitrate } else { AUDIO_BITRATE };
        stream.bitrate.unwrap_or(default)
    }

    /// The maximum frame rate of a video stream.
    pub(super) fn fps(&self, stream: &Stream) -> u32 {
        let fps = stream.quality.map_or(self.settings.fps, |quality| quality.fps);
        if stream.maker == Maker::Jpeg { fps.min(JPEG_FPS) } else { fps }
    }

    /// Frames between two key frames of H.264.
    pub(super) fn gop(&self, stream: &Stream) -> u32 {
        let raw = RawVideo { fps: self.fps(stream), ..RawVideo::of(&self.settings) };
        raw.gop(self.settings.key_interval)
    }

    /// How to make a stream, in launch syntax.
    pub(super) fn chain(&self, stream: &Stream, input: Input) -> String {
        match stream.maker {
            Maker::PassThrough => "identity".into(),
            Maker::Opus => format!("opusenc name=enc bitrate={} frame-size=20", self.bitrate(stream)),
            _ if input.coded => {
                format!("decodebin ! identity name=decoded ! {}", self.encoding(stream, input))
            }
            _ => self.encoding(stream, input),
        }
    }

    /// The part after raw video.
    fn encoding(&self, stream: &Stream, input: Input) -> String {
        let (width, height) = input.size;
        let all = RawVideo { width, height, fps: self.settings.fps };
        let raw = RawVideo {
            width: stream.quality.map_or(width, |quality| quality.of(width)),
            height: stream.quality.map_or(height, |quality| quality.of(height)),
            fps: self.fps(stream),
        };
        let fewer = if raw == all {
            String::new()
        } else {
            let RawVideo { width, height, .. } = raw;
            format!(
                "identity name=thin ! videoscale ! \
                 video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 ! "
            )
        };
        // Scaled frames are in ordinary memory.
        let dmabuf = input.dmabuf && fewer.is_empty();
        let (interval, bps) = (self.settings.key_interval, self.bitrate(stream));
        fewer
            + &match stream.maker {
                Maker::Jpeg => format!("videoconvert ! jpegenc name=enc quality={JPEG_QUALITY}"),
                // Rate control averages over one second instead of six, and drops a frame if that is not enough: the
                // network tolerates no more.
                Maker::Vp8 => format!(
                    "videoconvert ! vp8enc name=enc deadline=1 cpu-used=8 threads=2 end-usage=cbr \
                     error-resilient=default lag-in-frames=0 keyframe-max-dist={} target-bitrate={bps} \
                     buffer-size=1000 buffer-initial-size=500 buffer-optimal-size=600 dropframe-threshold=30",
                    raw.gop(interval)
                ),
                _ => self.encoder.chain(raw, interval, bps, dmabuf),
            }
    }

    /// Where to set a stream's bitrate while it runs; `None` if that is impossible.
    pub(super) fn bitrate_knob(&self, stream: &Stream) -> Option<Knob> {
        let bits = |name: &str| Knob { setting: Setting::Property(name.into()), unit: Unit::Bits };
        match stream.maker {
            Maker::Encoder => Some(self.encoder.element.bitrate.clone()),
            Maker::Opus => Some(bits("bitrate")),
            Maker::Vp8 => Some(bits("target-bitrate")),
            Maker::Jpeg | Maker::PassThrough => None,
        }
    }
}
