//! The H.264 encoders we know, and the choice among them by trying.
//!
//! An element that is installed says nothing about the hardware under it, so each candidate encodes a few
//! pictures of the wanted size, and its stream must be constrained baseline. The first that does is taken.
//!
//! x264enc and openh264enc were seen working; the hardware rows follow their elements' documentation. A row
//! that does not fit a machine costs a line among the [`Rejected`], nothing else.

use std::fmt;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{ErrorKind, MediaError, Settings, check};
use crate::media::sps::Sps;

/// How long a candidate has for its few pictures. Loading a firmware takes a second on some boards.
const TRIAL: gst::ClockTime = gst::ClockTime::from_seconds(5);
const TRIAL_PICTURES: u32 = 5;

/// What follows every H.264 encoder: parameter sets before each key frame, one access unit a buffer.
pub(super) const H264_TAIL: &str =
    "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au";

/// The encoder that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// Its GStreamer name.
    pub name: String,
    /// Whether it is hardware, not the CPU, that encodes.
    pub hardware: bool,
    /// Those that were to be preferred, in the order they were tried.
    pub tried: Vec<Rejected>,
}

/// An encoder that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its GStreamer name.
    pub name: String,
    /// Why not, in words.
    pub reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// How an encoder takes a new bitrate while it runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bitrate {
    /// A property in kbit/s.
    Kilobits(&'static str),
    /// A property in bit/s.
    Bits(&'static str),
    /// The V4L2 control, which GStreamer before 1.24 reads at the start only.
    V4l2Control,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Encoder {
    pub name: &'static str,
    hardware: bool,
    /// The chain, with `{bps}`, `{kbps}`, `{gop}` (pictures) and `{level}` to fill in; the encoder is
    /// named `enc`.
    chain: &'static str,
    pub bitrate: Bitrate,
    package: &'static str,
}

/// In the order they are tried: boards' own, then the general interfaces, then software.
static ENCODERS: [Encoder; 8] = [
    Encoder {
        name: "nvv4l2h264enc",
        hardware: true,
        chain: "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc name=enc control-rate=1 \
                bitrate={bps} iframeinterval={gop} idrinterval={gop} profile=0 preset-level=1 ! video/x-h264",
        bitrate: Bitrate::Bits("bitrate"),
        package: "nvidia-l4t-gstreamer",
    },
    Encoder {
        name: "mpph264enc",
        hardware: true,
        chain: "mpph264enc name=enc rc-mode=cbr bps={bps} gop={gop} profile=baseline ! video/x-h264",
        bitrate: Bitrate::Bits("bps"),
        package: "gstreamer1.0-rockchip1",
    },
    Encoder {
        name: "omxh264enc",
        hardware: true,
        chain: "omxh264enc name=enc control-rate=variable target-bitrate={bps} interval-intraframes={gop} ! \
                video/x-h264,profile=baseline",
        bitrate: Bitrate::Bits("target-bitrate"),
        package: "gstreamer1.0-omx",
    },
    Encoder {
        name: "v4l2h264enc",
        hardware: true,
        chain: "v4l2h264enc name=enc \
                extra-controls=controls,video_bitrate={bps},video_bitrate_mode=1,h264_i_frame_period={gop} ! \
                video/x-h264,profile=constrained-baseline,level=(string){level}",
        bitrate: Bitrate::V4l2Control,
        package: "gstreamer1.0-plugins-good",
    },
    Encoder {
        name: "vah264enc",
        hardware: true,
        chain: "vah264enc name=enc rate-control=cbr bitrate={kbps} key-int-max={gop} b-frames=0 ! \
                video/x-h264,profile=constrained-baseline",
        bitrate: Bitrate::Kilobits("bitrate"),
        package: "gstreamer1.0-plugins-bad",
    },
    Encoder {
        name: "vaapih264enc",
        hardware: true,
        chain: "vaapih264enc name=enc rate-control=cbr bitrate={kbps} keyframe-period={gop} max-bframes=0 ! \
                video/x-h264,profile=constrained-baseline",
        bitrate: Bitrate::Kilobits("bitrate"),
        package: "gstreamer1.0-vaapi",
    },
    // No scene-cut key frames: they come as bursts at the worst time, and nobody joins there.
    Encoder {
        name: "x264enc",
        hardware: false,
        chain: "x264enc name=enc tune=zerolatency speed-preset=superfast bitrate={kbps} key-int-max={gop} \
                vbv-buf-capacity=300 option-string=scenecut=0 ! \
                video/x-h264,profile=constrained-baseline,level=(string){level}",
        bitrate: Bitrate::Kilobits("bitrate"),
        package: "gstreamer1.0-plugins-ugly",
    },
    Encoder {
        name: "openh264enc",
        hardware: false,
        chain: "openh264enc name=enc usage-type=camera rate-control=bitrate complexity=low bitrate={bps} \
                enable-frame-skip=true gop-size={gop} ! video/x-h264,profile=constrained-baseline",
        bitrate: Bitrate::Bits("bitrate"),
        package: "gstreamer1.0-plugins-bad",
    },
];

impl Encoder {
    /// From raw pictures to Annex B access units, as GStreamer's launch syntax has it.
    pub(super) fn chain(&self, settings: &Settings, bps: u32) -> String {
        let chain = self
            .chain
            .replace("{bps}", &bps.to_string())
            .replace("{kbps}", &(bps / 1000).max(1).to_string())
            .replace("{gop}", &gop(settings).to_string())
            .replace("{level}", level(settings));
        format!("videoconvert ! {chain} ! {H264_TAIL}")
    }

    fn try_out(&self, settings: &Settings) -> Result<(), String> {
        if gst::ElementFactory::find(self.name).is_none() {
            return Err(format!("not installed (package {})", self.package));
        }
        let Settings { width, height, fps, bitrate, .. } = *settings;
        let launch = format!(
            "videotestsrc num-buffers={TRIAL_PICTURES} ! \
             video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {} ! \
             appsink name=out sync=false wait-on-eos=false",
            self.chain(settings, bitrate)
        );
        let pipeline = gst::parse::launch(&launch).map_err(|error| error.message().to_string())?;
        let pipeline =
            pipeline.downcast::<gst::Pipeline>().map_err(|_| "GStreamer made no pipeline of it")?;
        let result = encode_a_little(&pipeline);
        _ = pipeline.set_state(gst::State::Null);
        result
    }
}

fn encode_a_little(pipeline: &gst::Pipeline) -> Result<(), String> {
    let out = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().ok_or("it has no output")?;
    match check::end_of(pipeline, TRIAL).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(error)) => return Err(error.error().message().to_string()),
        _ => return Err(format!("it does not start, or encodes nothing within {} s", TRIAL.seconds())),
    }
    let sample = out.try_pull_sample(gst::ClockTime::ZERO).ok_or("it encoded nothing")?;
    let map =
        sample.buffer().and_then(|buffer| buffer.map_readable().ok()).ok_or("its output is not readable")?;
    let sps = Sps::find(&map).ok_or("its first picture has no parameter sets")?;
    if !sps.is_baseline() {
        return Err(format!("it makes H.264 profile {}, not constrained baseline", sps.profile_level_id[0]));
    }
    Ok(())
}

/// Tries the candidates and takes the first that works.
pub(super) fn choose(settings: &Settings) -> Result<(&'static Encoder, EncoderInfo), MediaError> {
    let all: Vec<&str> = ENCODERS.iter().map(|encoder| encoder.name).collect();
    let wanted: Vec<&str> = match settings.encoders.as_slice() {
        [] => all.clone(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut tried = Vec::new();
    for name in wanted {
        let reason = match ENCODERS.iter().find(|encoder| encoder.name == name) {
            None => format!("unknown to us; known are {}", all.join(", ")),
            Some(encoder) => match encoder.try_out(settings) {
                Ok(()) => {
                    log::info!(
                        "encoder: {name} ({})",
                        if encoder.hardware { "hardware" } else { "software" }
                    );
                    let info = EncoderInfo { name: name.into(), hardware: encoder.hardware, tried };
                    return Ok((encoder, info));
                }
                Err(reason) => reason,
            },
        };
        log::debug!("encoder {name} passed over: {reason}");
        tried.push(Rejected { name: name.into(), reason });
    }
    let reasons: Vec<String> = tried.iter().map(Rejected::to_string).collect();
    let words = format!(
        "no H.264 encoder works here: install one with `apt install gstreamer1.0-plugins-ugly`. Tried: {}",
        reasons.join("; ")
    );
    Err(MediaError::new(ErrorKind::NoEncoder, words))
}

/// Pictures between two key frames.
pub(super) fn gop(settings: &Settings) -> u32 {
    let pictures = settings.key_interval.as_secs_f64() * f64::from(settings.fps);
    // As a cast saturates, any interval is a number; encoders take no more than an i32.
    (pictures as u32).clamp(1, i32::MAX as u32)
}

/// The least common H.264 level (table A-1, macroblocks a second and a frame) that the size fits: browsers
/// offer 3.1, and decode more.
fn level(settings: &Settings) -> &'static str {
    let frame = u64::from(settings.width.div_ceil(16)) * u64::from(settings.height.div_ceil(16));
    let second = frame * u64::from(settings.fps);
    match (frame, second) {
        (..=3_600, ..=108_000) => "3.1",
        (..=8_192, ..=245_760) => "4",
        (..=8_704, ..=522_240) => "4.2",
        (..=22_080, ..=589_824) => "5",
        _ => "5.2",
    }
}
