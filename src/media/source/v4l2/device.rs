//! What a V4L2 device reports: its identity, and the formats, sizes and frame rates it offers. Plain values, no I/O.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::media::source::controls::Control;

/// One `/dev/video…` node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// Its node, such as `/dev/video0`. The number may change when the device is plugged in again.
    pub path: PathBuf,
    /// A stable link to it under `/dev/v4l/by-id` (USB devices, by name and serial number) or
    /// `/dev/v4l/by-path`.
    pub link: Option<PathBuf>,
    /// Human-readable name.
    pub card: String,
    /// The kernel's driver, such as `uvcvideo`.
    pub driver: String,
    /// Bus location, such as `usb-0000:01:00.0-1.2`.
    pub bus: String,
    /// What kind of device it is.
    pub role: Role,
    /// Output formats: what a camera captures or an encoder produces.
    pub formats: Vec<Format>,
    /// Input formats: an encoder's raw formats. Empty for a camera.
    pub takes: Vec<Format>,
    /// Its controls.
    pub controls: Vec<Control>,
}

impl Device {
    /// Finds a control by our name or the name that `v4l2-ctl` prints.
    pub fn control(&self, name: &str) -> Option<&Control> {
        Control::find(&self.controls, name)
    }

    /// The identity by which to find it again wherever it is plugged in.
    pub fn identity(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            link: self.link.clone(),
            card: self.card.clone(),
            driver: self.driver.clone(),
            bus: self.bus.clone(),
        }
    }
}

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Captures video.
    Camera,
    /// Encodes raw frames.
    Encoder,
    /// Decodes to raw frames.
    Decoder,
    /// Converts raw frames to raw frames: a scaler, an ISP.
    Converter,
    /// Displays video.
    Output,
    /// Delivers metadata for another node's frames.
    Metadata,
    /// None of these.
    Other,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Camera => "camera",
            Role::Encoder => "encoder",
            Role::Decoder => "decoder",
            Role::Converter => "converter",
            Role::Output => "output",
            Role::Metadata => "metadata",
            Role::Other => "other",
        })
    }
}

/// A four-character format code from `linux/videodev2.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The highest bit of the last letter marks a big-endian variant.
        let letters = self.0.map(|byte| byte & 0x7f);
        let text = String::from_utf8_lossy(&letters);
        let text = text.trim_end().replace(|c: char| c.is_control(), "?");
        f.write_str(&text)?;
        if self.0[3] & 0x80 != 0 { f.write_str("-BE") } else { Ok(()) }
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FourCc {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A pixel or compressed format, with its sizes and frame rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Format {
    /// Format code.
    pub fourcc: FourCc,
    /// Human-readable name.
    pub description: String,
    /// Compressed (JPEG, H.264) rather than raw.
    pub compressed: bool,
    /// Sizes in the device's order. Empty if the driver does not report any.
    pub sizes: Vec<Sizes>,
}

impl Format {
    /// A format without sizes.
    pub fn new(fourcc: FourCc, description: impl Into<String>, compressed: bool) -> Self {
        Format { fourcc, description: description.into(), compressed, sizes: Vec::new() }
    }
}

/// Width and height in pixels.
pub type Size = (u32, u32);

/// One size, or a range of sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sizes {
    /// Exactly this one.
    One {
        /// In pixels.
        size: Size,
        /// Frame rates.
        rates: Rates,
    },
    /// Any from `min` to `max` in steps of `step`.
    Range {
        /// The smallest.
        min: Size,
        /// The largest.
        max: Size,
        /// Step size; never 0.
        step: Size,
        /// Frame rates at some sizes of the range, the smallest first.
        rates: Vec<(Size, Rates)>,
    },
}

/// A frame rate as a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Frames …
    pub frames: u32,
    /// … per this many seconds; never 0.
    pub seconds: u32,
}

impl FrameRate {
    /// `frames` frames per `seconds`; `None` if either is 0.
    pub fn new(frames: u32, seconds: u32) -> Option<FrameRate> {
        (frames > 0 && seconds > 0).then_some(FrameRate { frames, seconds })
    }

    /// Frames per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds.max(1))
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = (self.per_second() * 100.0).round() / 100.0;
        rate.fmt(f)
    }
}

impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.frames, self.seconds)
    }
}

impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}/{}", self.frames, self.seconds))
    }
}

/// The frame rates of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rates {
    /// The driver does not report its rates.
    Unknown,
    /// A list of rates.
    Some(Vec<FrameRate>),
    /// Any rate between the two.
    Range {
        /// The slowest.
        min: FrameRate,
        /// The fastest.
        max: FrameRate,
    },
}

/// A device's identity, to find it again under another number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    path: PathBuf,
    link: Option<PathBuf>,
    card: String,
    driver: String,
    bus: String,
}

impl Identity {
    /// Finds the device among `devices`: by its link, else by its name and bus location, else by its name if only one
    /// has it. A different device under the old number does not match.
    pub fn find<'a>(&self, devices: &'a [Device]) -> Option<&'a Device> {
        let cameras = || devices.iter().filter(|device| device.role == Role::Camera);
        if self.link.is_some()
            && let Some(found) = cameras().find(|device| device.link == self.link)
        {
            return Some(found);
        }
        let alike = || cameras().filter(|device| device.card == self.card && device.driver == self.driver);
        // One device may have several nodes at one bus location: prefer the number it had.
        let here = || alike().filter(|device| device.bus == self.bus);
        here().find(|device| device.path == self.path).or_else(|| here().next()).or_else(|| {
            let mut all = alike();
            all.next().filter(|_| all.next().is_none())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(path: &str, link: Option<&str>, card: &str, bus: &str) -> Device {
        Device {
            path: path.into(),
            link: link.map(Into::into),
            card: card.into(),
            driver: "uvcvideo".into(),
            bus: bus.into(),
            role: Role::Camera,
            formats: vec![],
            takes: vec![],
            controls: vec![],
        }
    }

    #[test]
    fn a_camera_is_found_again_under_another_number() {
        let c920 = camera("/dev/video0", Some("/dev/v4l/by-id/usb-C920-A1-video-index0"), "C920", "usb-1");
        let cheap = camera("/dev/video0", None, "Cheap", "usb-1");
        let table = [
            (
                "another number, by its link",
                &c920,
                vec![camera("/dev/video2", c920.link.as_ref().and_then(|l| l.to_str()), "C920", "usb-2")],
                Some("/dev/video2"),
            ),
            (
                "its twin with another serial number has its old number and location",
                &c920,
                vec![
                    camera("/dev/video0", Some("/dev/v4l/by-id/usb-C920-B2-video-index0"), "C920", "usb-1"),
                    camera("/dev/video2", c920.link.as_ref().and_then(|l| l.to_str()), "C920", "usb-2"),
                ],
                Some("/dev/video2"),
            ),
            (
                "a different camera under its old number",
                &cheap,
                vec![
                    camera("/dev/video0", None, "Other", "usb-1"),
                    camera("/dev/video4", None, "Cheap", "usb-1"),
                ],
                Some("/dev/video4"),
            ),
            (
                "the only one with its name, at another location",
                &cheap,
                vec![camera("/dev/video1", None, "Cheap", "usb-9")],
                Some("/dev/video1"),
            ),
            (
                "two with its name elsewhere: ambiguous",
                &cheap,
                vec![
                    camera("/dev/video1", None, "Cheap", "usb-9"),
                    camera("/dev/video2", None, "Cheap", "usb-8"),
                ],
                None,
            ),
            (
                "two nodes of one device: its own number",
                &cheap,
                vec![
                    camera("/dev/video1", None, "Cheap", "usb-1"),
                    camera("/dev/video0", None, "Cheap", "usb-1"),
                ],
                Some("/dev/video0"),
            ),
            ("gone", &cheap, vec![camera("/dev/video0", None, "Other", "usb-1")], None),
        ];
        for (name, was, devices, expected) in table {
            let found =
                was.identity().find(&devices).map(|device| device.path.to_string_lossy().into_owned());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        let metadata = Device { role: Role::Metadata, ..camera("/dev/video1", None, "Cheap", "usb-1") };
        assert_eq!(cheap.identity().find(&[metadata]), None, "its metadata node delivers no frames");
    }

    #[test]
    fn formats_and_rates_print_in_their_usual_notation() {
        let table = [(*b"YUYV", "YUYV"), (*b"Y16 ", "Y16"), (*b"Y16\xa0", "Y16-BE"), (*b"\x01ABC", "?ABC")];
        for (letters, text) in table {
            assert_eq!(FourCc(letters).to_string(), text);
        }
        for (frames, seconds, text) in [(30, 1, "30"), (30000, 1001, "29.97"), (15, 2, "7.5")] {
            assert_eq!(FrameRate::new(frames, seconds).map(|rate| rate.to_string()).as_deref(), Some(text));
        }
        assert_eq!((FrameRate::new(0, 1), FrameRate::new(1, 0)), (None, None));
    }

    #[test]
    fn json_has_every_part_of_a_device() {
        let mut device = camera("/dev/video0", None, "C920", "usb-1");
        let mut format = Format::new(FourCc(*b"MJPG"), "Motion-JPEG", true);
        let rates = Rates::Some(FrameRate::new(30, 1).into_iter().collect());
        format.sizes.push(Sizes::One { size: (1280, 720), rates });
        format.sizes.push(Sizes::Range {
            min: (2, 2),
            max: (64, 64),
            step: (2, 2),
            rates: vec![((64, 64), Rates::Unknown)],
        });
        device.formats.push(format);
        let json = serde_json::to_value(&device).expect("plain values");
        assert_eq!(
            json,
            serde_json::json!({
                "path": "/dev/video0", "link": null, "card": "C920", "driver": "uvcvideo", "bus": "usb-1",
                "role": "camera", "takes": [], "controls": [],
                "formats": [{ "fourcc": "MJPG", "description": "Motion-JPEG", "compressed": true, "sizes": [
                    { "one": { "size": [1280, 720], "rates": { "some": ["30/1"] } } },
                    { "range": { "min": [2, 2], "max": [64, 64], "step": [2, 2], "rates": [[[64, 64], "unknown"]] } },
                ] }],
            })
        );
    }
}
