//! What all runs of a pipeline have in common: its settings, its streams, and the launch line of each.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::camera::Camera;
use super::candidates::{Candidates, Chosen};
use super::csi::Csi;
use super::inbox::Order;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use super::small_rendition;
use super::streams::{Announced, Maker, Stream};
use crate::media::StreamId;
use crate::media::board::{self, Knob, Setting, Unit};
use crate::media::source::Listener;

/// In bit/s, transparent for speech and good for music (RFC 7587, 3.1.1).
pub(super) const AUDIO_BITRATE: u32 = 64_000;
/// The maximum rate of snapshots: motion needs video.
pub(super) const JPEG_FPS: u32 = 1;
/// In percent; the element's default, where blocks are hardly visible.
const JPEG_QUALITY: u32 = 85;

/// What all runs of a pipeline have in common.
pub(super) struct Plan {
    pub settings: CaptureSettings,
    pub encoder: Candidates,
    /// The name of the one in use, for all readers.
    pub in_use: Arc<Mutex<String>>,
    pub small: Candidates,
    /// The H.264 level that viewers are promised, as in an SPS.
    pub level: u8,
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
        let default = match stream.maker {
            Maker::Opus | Maker::Microphone => AUDIO_BITRATE,
            Maker::Small => self.settings.bitrate / small_rendition::BITRATE_PART,
            _ => self.settings.bitrate,
        };
        stream.bitrate.unwrap_or(default)
    }

    /// The maximum frame rate of a video stream.
    pub(super) fn fps(&self, stream: &Stream) -> u32 {
        self.raw(stream, (self.settings.width, self.settings.height)).fps
    }

    /// Frames between two key frames of H.264.
    pub(super) fn gop(&self, stream: &Stream) -> u32 {
        let raw = RawVideo { fps: self.fps(stream), ..RawVideo::of(&self.settings) };
        raw.gop(self.settings.key_interval)
    }

    /// The size and rate that a video stream's encoder gets if captured frames have this size.
    pub(super) fn raw(&self, stream: &Stream, size: (u32, u32)) -> RawVideo {
        let (width, height) = size;
        let full = full(stream.maker, RawVideo { width, height, fps: self.settings.fps });
        let Some(quality) = stream.quality else { return full };
        RawVideo {
            width: quality.of(full.width),
            height: quality.of(full.height),
            fps: full.fps.min(quality.fps),
        }
    }

    /// The encoders of an H.264 stream, unless the camera encodes it.
    pub(super) fn candidates_mut(&mut self, stream: StreamId) -> Option<&mut Candidates> {
        match self.stream(stream)?.maker {
            Maker::Encoder => Some(&mut self.encoder),
            Maker::Small => Some(&mut self.small),
            _ => None,
        }
    }

    /// The encoder of an H.264 stream, unless the camera encodes it.
    pub(super) fn h264(&self, stream: &Stream) -> Option<&Chosen> {
        match stream.maker {
            Maker::Encoder => self.encoder.encoder(),
            Maker::Small => self.small.encoder(),
            _ => None,
        }
    }

    fn element(&self, stream: &Stream) -> Option<&board::Encoder> {
        self.h264(stream).map(|chosen| &chosen.element)
    }

    /// How to produce a stream, in launch syntax.
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
        let raw = self.raw(stream, input.size);
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
                // Without an encoder, an empty chain, which cannot be built.
                _ => self.h264(stream).map_or_else(String::new, |e| e.chain(raw, interval, bps, dmabuf)),
            }
    }

    /// Where to set a stream's bitrate while it runs; `None` if that is impossible.
    pub(super) fn bitrate_knob(&self, stream: &Stream) -> Option<Knob> {
        let bits = |name: &str| Knob { setting: Setting::Property(name.into()), unit: Unit::Bits };
        match stream.maker {
            Maker::Encoder | Maker::Small => self.element(stream).map(|element| element.bitrate.clone()),
            Maker::Opus => Some(bits("bitrate")),
            Maker::Vp8 => Some(bits("target-bitrate")),
            Maker::Jpeg | Maker::PassThrough | Maker::Microphone => None,
        }
    }
}

/// Size and rate of a video stream of these frames in full quality.
pub(super) fn full(maker: Maker, captured: RawVideo) -> RawVideo {
    match maker {
        Maker::Small => small_rendition::of(captured),
        Maker::Jpeg => RawVideo { fps: captured.fps.min(JPEG_FPS), ..captured },
        _ => captured,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::media::adapt::ladder::Quality;
    use crate::media::{VIDEO_H264, VIDEO_H264_SMALL};

    /// With this encoder for both renditions.
    fn plan(encoder: &str) -> Plan {
        let elements = board::elements();
        let encoder = Chosen { name: encoder.into(), element: elements.encoder[encoder].clone() };
        let made = [(VIDEO_H264, Maker::Encoder), (VIDEO_H264_SMALL, Maker::Small)];
        Plan {
            settings: CaptureSettings::default(),
            small: Candidates::new(vec![encoder.clone()]),
            encoder: Candidates::new(vec![encoder]),
            in_use: Arc::default(),
            level: 31,
            streams: made.into_iter().map(|(id, maker)| Stream::new(id, maker)).collect(),
            announced: Arc::new(Announced::new(Vec::new())),
            on: Arc::new(|_| ()),
            orders: channel().0,
            epoch: Instant::now(),
            counter: Arc::default(),
            camera: None,
            csi: None,
            still: false,
        }
    }

    fn chain(plan: &Plan, id: StreamId, dmabuf: bool) -> String {
        plan.chain(plan.stream(id).expect("it is there"), Input { size: (1280, 720), coded: false, dmabuf })
    }

    #[test]
    fn only_frames_that_are_not_scaled_are_imported_as_dma_buffers() {
        let mut plan = plan("v4l2h264enc");
        assert!(chain(&plan, VIDEO_H264, true).contains("dmabuf-import"));
        assert!(!chain(&plan, VIDEO_H264, false).contains("dmabuf-import"));
        assert!(!chain(&plan, VIDEO_H264_SMALL, true).contains("dmabuf-import"));
        plan.streams[0].quality = Some(Quality { percent: 50, fps: 30 });
        let scaled = chain(&plan, VIDEO_H264, true);
        assert!(scaled.contains("videoscale") && !scaled.contains("dmabuf-import"), "{scaled}");
    }

    #[test]
    fn the_small_rendition_has_its_own_size_rate_and_bitrate() {
        let mut plan = plan("x264enc");
        let line = chain(&plan, VIDEO_H264_SMALL, false);
        assert!(
            line.starts_with("identity name=thin ! videoscale ! video/x-raw,width=640,height=360,"),
            "{line}"
        );
        // In kbit/s, and 10 s at 15 fps.
        assert!(line.contains(" bitrate=250 ") && line.contains(" key-int-max=150 "), "{line}");
        plan.streams[1].bitrate = Some(100_000);
        plan.streams[1].quality = Some(Quality { percent: 50, fps: 30 });
        let line = chain(&plan, VIDEO_H264_SMALL, false);
        assert!(line.contains("width=320,height=180,") && line.contains(" bitrate=100 "), "{line}");
        assert!(line.contains(" key-int-max=150 "), "never faster than 15 fps: {line}");
        let main = chain(&plan, VIDEO_H264, false);
        assert!(!main.contains("videoscale") && main.contains(" bitrate=1000 "), "{main}");
    }
}
