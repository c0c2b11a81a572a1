//! The best way from a camera to H.264: which format, size and frame rate, and how to process it. Pure.
//!
//! - **Visible quality first**: sharpness (the edge length within the requested size) times motion (the frame rate,
//!   up to the requested one). So 640x480 at 30 fps beats 1280x720 at 10 fps, but not at 25 fps.
//! - **At equal quality, the cheaper way**: the camera's own H.264; raw frames that the encoder takes without
//!   conversion; other raw frames; JPEG, which must be decoded. Over USB, large raw frames arrive at only a few
//!   per second: then JPEG has more motion and wins by the first rule.
//! - **At equal cost, the requested size**, then one that is scaled down. Never more than four times its area,
//!   unless there is nothing else.

use std::cmp::Reverse;
use std::fmt;

use serde::Serialize;

use super::device::{Device, Format, FourCc, FrameRate, Rates, Size, Sizes};

/// The requested video, and what can be processed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraRequest {
    /// Frame size in pixels.
    pub size: Size,
    /// Frames per second.
    pub fps: u32,
    /// Whether the camera's own H.264 may be sent to viewers unchanged.
    pub pass_through: bool,
    /// Whether JPEG can be decoded here.
    pub jpeg: bool,
    /// The encoder, and the raw formats it takes without conversion.
    pub encoder: Encoder,
}

/// An encoder's input formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoder {
    /// Its GStreamer name.
    pub name: String,
    /// Raw formats by their GStreamer names (`I420`, `NV12`, `YUY2`).
    pub formats: Vec<String>,
}

/// How the camera's video is processed for viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Way {
    /// The camera's own H.264, unchanged.
    PassThrough,
    /// Raw frames, encoded.
    Encode,
    /// JPEG, decoded and encoded.
    Decode,
}

/// How frames get from the driver into the pipeline: `io-mode` of v4l2src.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Io {
    /// Mapped driver memory, which every driver supports.
    Mmap,
    /// The same memory, passed to the encoder as DMA buffers without a copy.
    DmaBuf,
}

/// The choice, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Choice {
    /// The camera's format.
    pub fourcc: FourCc,
    /// Frame size in pixels.
    pub size: Size,
    /// Frame rate; `None` if the driver does not report its rates.
    pub rate: Option<FrameRate>,
    /// How the video is processed.
    pub way: Way,
    /// How frames get into the pipeline.
    pub io: Io,
    /// The reason, as text.
    pub why: String,
}

/// The raw formats that can be converted, with their GStreamer names and bits per pixel, which is the cost of a frame.
/// Bayer and depth formats are missing: they need an ISP.
const RAW: [(&[u8; 4], &str, u32); 22] = [
    (b"YU12", "I420", 12),
    (b"YM12", "I420", 12),
    (b"NV12", "NV12", 12),
    (b"NM12", "NV12", 12),
    (b"NV21", "NV21", 12),
    (b"NM21", "NV21", 12),
    (b"YV12", "YV12", 12),
    (b"YUYV", "YUY2", 16),
    (b"UYVY", "UYVY", 16),
    (b"YVYU", "YVYU", 16),
    (b"VYUY", "VYUY", 16),
    (b"NV16", "NV16", 16),
    (b"422P", "Y42B", 16),
    (b"RGB3", "RGB", 24),
    (b"BGR3", "BGR", 24),
    (b"NV24", "NV24", 24),
    (b"XR24", "BGRx", 32),
    (b"BX24", "xRGB", 32),
    (b"AR24", "BGRA", 32),
    (b"BA24", "ARGB", 32),
    (b"RGBP", "RGB16", 16),
    (b"GREY", "GRAY8", 1000), // without colour: what comes last
];

/// Camera drivers and encoders that share DMA buffers. Others copy: a USB camera's buffers are scattered memory, which
/// codecs that require contiguous memory reject only once they run.
///
/// The makers of both pairs show them in pipelines with `io-mode=dmabuf` and `output-io-mode=dmabuf-import`; neither
/// was tested on hardware.
const ZERO_COPY: [(&str, &str); 3] =
    [("bm2835 mmal", "v4l2h264enc"), ("unicam", "v4l2h264enc"), ("mxc-isi-cap", "v4l2h264enc")];

impl FourCc {
    /// GStreamer's name for this raw format; `None` for compressed formats and those that cannot be converted.
    pub fn gst_name(self) -> Option<&'static str> {
        RAW.iter().find(|(letters, ..)| **letters == self.0).map(|(_, name, _)| *name)
    }

    fn bits(self) -> u32 {
        RAW.iter().find(|(letters, ..)| **letters == self.0).map_or(0, |(.., bits)| *bits)
    }

    fn is_jpeg(self) -> bool {
        matches!(&self.0, b"MJPG" | b"JPEG")
    }

    /// Annex B; `AVC1` has no start codes.
    fn is_h264(self) -> bool {
        self.0 == *b"H264"
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "{} {width}x{height}", self.fourcc)?;
        if let Some(rate) = self.rate {
            write!(f, " at {rate} fps")?;
        }
        f.write_str(match self.way {
            Way::PassThrough => ", passed through",
            Way::Encode => ", encoded",
            Way::Decode => ", decoded and encoded",
        })
    }
}

/// A format, size and rate that the camera offers.
#[derive(Clone, Copy)]
struct Candidate {
    fourcc: FourCc,
    way: Way,
    size: Size,
    rate: Option<FrameRate>,
}

/// Chooses from what a camera offers; `None` if it offers or reports nothing usable.
pub fn choose(device: &Device, request: &CameraRequest) -> Option<Choice> {
    let candidates: Vec<Candidate> =
        device.formats.iter().flat_map(|format| candidates(format, request)).collect();
    let best = *candidates.iter().min_by_key(|candidate| rank(candidate, request))?;
    let shared = ZERO_COPY.contains(&(device.driver.as_str(), request.encoder.name.as_str()));
    let zero_copy = shared && best.way == Way::Encode && taken(best.fourcc, request);
    Some(Choice {
        fourcc: best.fourcc,
        size: best.size,
        rate: best.rate,
        way: best.way,
        io: if zero_copy { Io::DmaBuf } else { Io::Mmap },
        why: why(&best, &candidates, device, request),
    })
}

/// The candidates of a format: the best rate for each of its sizes.
fn candidates(format: &Format, request: &CameraRequest) -> Vec<Candidate> {
    let fourcc = format.fourcc;
    let way = match fourcc {
        _ if fourcc.is_h264() && request.pass_through => Way::PassThrough,
        _ if fourcc.is_jpeg() && request.jpeg => Way::Decode,
        _ if fourcc.gst_name().is_some() => Way::Encode,
        _ => return Vec::new(),
    };
    let sizes = format.sizes.iter().map(|sizes| match sizes {
        Sizes::One { size, rates } => (*size, best_rate(rates, request.fps)),
        Sizes::Range { min, max, step, rates } => {
            let size =
                (snap(request.size.0, min.0, max.0, step.0), snap(request.size.1, min.1, max.1, step.1));
            // A larger size is never faster, so the next larger requested size is on the safe side.
            let large_enough = |(of, _): &&(Size, Rates)| of.0 >= size.0 && of.1 >= size.1;
            let rates = rates.iter().find(large_enough).or(rates.last());
            (size, rates.and_then(|(_, rates)| best_rate(rates, request.fps)))
        }
    });
    let usable = |(size, _): &(Size, _)| {
        // Passed-through video is not scaled.
        size.0 > 0 && size.1 > 0 && (way != Way::PassThrough || fits(*size, request.size))
    };
    sizes.filter(usable).map(|(size, rate)| Candidate { fourcc, way, size, rate }).collect()
}

/// The largest length of a range that is not over the requested one, or else the smallest.
fn snap(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let length = wanted.clamp(min, max.max(min));
    length - (length - min) % step.max(1)
}

/// The slowest rate that is fast enough, or else the fastest.
fn best_rate(rates: &Rates, fps: u32) -> Option<FrameRate> {
    match rates {
        Rates::Unknown => None,
        Rates::Some(rates) => {
            let by_speed = |a: &&FrameRate, b: &&FrameRate| a.per_second().total_cmp(&b.per_second());
            let enough = rates.iter().filter(|rate| keeps(rate.per_second(), fps)).min_by(by_speed);
            enough.or_else(|| rates.iter().max_by(by_speed)).copied()
        }
        Rates::Range { min, max } => {
            let wanted = FrameRate { frames: fps.max(1), seconds: 1 };
            Some(match wanted.per_second() {
                rate if rate < min.per_second() => *min,
                rate if rate > max.per_second() => *max,
                _ => wanted,
            })
        }
    }
}

/// 29.97 fps count as 30.
fn keeps(rate: f64, fps: u32) -> bool {
    rate >= f64::from(fps) * 0.95
}

fn fits(size: Size, wanted: Size) -> bool {
    size.0 <= wanted.0 && size.1 <= wanted.1
}

fn area(size: Size) -> u64 {
    u64::from(size.0) * u64::from(size.1)
}

fn taken(fourcc: FourCc, request: &CameraRequest) -> bool {
    fourcc.gst_name().is_some_and(|name| request.encoder.formats.iter().any(|format| format == name))
}

/// In percent: 100 is everything requested. An unknown rate counts as reached.
fn quality(candidate: &Candidate, request: &CameraRequest) -> u32 {
    let [width, height, wanted_width, wanted_height] =
        [candidate.size.0, candidate.size.1, request.size.0.max(1), request.size.1.max(1)].map(f64::from);
    // Scaled to fit the requested size with its aspect ratio, never enlarged.
    let scale = (wanted_width / width).min(wanted_height / height).min(1.0);
    let sharpness = (width * scale * height * scale / (wanted_width * wanted_height)).sqrt();
    let motion = match candidate.rate.map(FrameRate::per_second) {
        Some(rate) if !keeps(rate, request.fps) => rate / f64::from(request.fps.max(1)),
        _ => 1.0,
    };
    (sharpness * motion * 100.0).round() as u32
}

/// The smallest is the best.
fn rank(candidate: &Candidate, request: &CameraRequest) -> impl Ord + use<> {
    let huge = area(candidate.size) / 4 > area(request.size);
    let way = match candidate.way {
        Way::PassThrough => 0,
        Way::Encode if taken(candidate.fourcc, request) => 1,
        Way::Encode => 2,
        Way::Decode => 3,
    };
    let fast = candidate.rate.map_or(0, |rate| (rate.per_second() * 100.0) as u64);
    (
        huge,
        Reverse(quality(candidate, request)),
        !fits(candidate.size, request.size), // scaling costs more than a conversion
        way,
        candidate.rate.is_none(),
        Reverse(area(candidate.size).min(area(request.size))),
        area(candidate.size),
        fast,
        candidate.fourcc.bits(),
    )
}

fn why(best: &Candidate, all: &[Candidate], device: &Device, request: &CameraRequest) -> String {
    let mut words = Vec::new();
    words.push(match best.way {
        Way::PassThrough => "the camera encodes H.264 itself".to_owned(),
        Way::Encode if taken(best.fourcc, request) => {
            "raw frames that the encoder takes without conversion".into()
        }
        Way::Encode => "raw frames, converted for the encoder".into(),
        Way::Decode => "JPEG, which must be decoded".into(),
    });
    if best.way == Way::Decode {
        let raw = all.iter().filter(|c| c.way == Way::Encode && c.size == best.size);
        let fastest = raw.max_by(|a, b| speed(a).total_cmp(&speed(b)));
        words.push(match fastest {
            Some(raw) if raw.rate.is_some() => {
                format!("raw frames of this size come at only {} fps", raw.rate.expect("asked in the guard"))
            }
            _ => "there are no raw frames of this size".into(),
        });
    }
    if best.way != Way::PassThrough && device.formats.iter().any(|format| format.fourcc.is_h264()) {
        let fitting = all.iter().any(|c| c.way == Way::PassThrough);
        words.push(if !request.pass_through {
            "its H.264 is not passed through".into()
        } else if fitting {
            "its H.264 is smaller or slower".into()
        } else {
            "its H.264 has no size that fits".to_owned()
        });
    }
    let wanted = all.iter().filter(|c| c.size == request.size).max_by(|a, b| speed(a).total_cmp(&speed(b)));
    let (width, height) = request.size;
    if best.size != request.size {
        words.push(match wanted.and_then(|c| c.rate) {
            Some(rate) => format!("{width}x{height} comes at only {rate} fps"),
            None => format!("it has no {width}x{height}"),
        });
    } else if let Some(rate) = best.rate.filter(|rate| !keeps(rate.per_second(), request.fps)) {
        words.push(format!("{} fps requested, but this size has at most {rate}", request.fps));
    }
    words.join("; ")
}

fn speed(candidate: &Candidate) -> f64 {
    candidate.rate.map_or(f64::INFINITY, FrameRate::per_second)
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
