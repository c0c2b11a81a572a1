//! The driver: reads devices and sets controls through the crate `v4l`. Every call may block on the hardware.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use v4l::control::{Control as Setting, Value as Raw};
use v4l::format::FourCC;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::v4l_sys as sys;
use v4l::video::Capture;

use super::device::{Device, Format, FourCc, FrameRate, Rates, Role, Size, Sizes};
use super::unsafe_ioctl;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::controls::{self, Control, ControlKind, Value};

/// More formats, sizes, controls or items than any device has, so that a driver whose list never ends cannot block us.
const MANY: u32 = 1024;

/// The sizes of a range at which rates are queried, besides its largest.
const COMMON: [Size; 5] = [(320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160)];

/// Lists all video devices, sorted by number, with an error for each that cannot be opened.
pub fn devices() -> Vec<(PathBuf, Result<Device, MediaError>)> {
    let names = fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u32> =
        names.filter_map(|name| name.to_str()?.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    let paths = numbers.into_iter().map(|number| PathBuf::from(format!("/dev/video{number}")));
    paths.map(|path| (path.clone(), probe(&path))).collect()
}

/// Reads what a device is and everything it offers. The device is open only during the call.
///
/// Errors: no such device (unplugged), permission denied, or not a V4L2 device.
pub fn probe(path: &Path) -> Result<Device, MediaError> {
    // The current number, if the path is a link.
    let path = fs::canonicalize(path).map_err(|error| fault(path, &error))?;
    let camera = Camera::open(&path)?;
    let capability = unsafe_ioctl::capability(&camera.device).map_err(|error| fault(&path, &error))?;
    let caps = match capability.device_caps {
        0 => capability.capabilities, // drivers before Linux 3.4
        caps => caps,
    };
    let queue = |flags, queues| if caps & flags != 0 { camera.formats(queues) } else { Vec::new() };
    let formats = queue(
        GIVES,
        [
            sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        ],
    );
    let taken = queue(
        TAKES,
        [sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT, sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE],
    );
    Ok(Device {
        link: link(&path),
        card: text(&capability.card),
        driver: text(&capability.driver),
        bus: text(&capability.bus_info),
        role: role(caps, &formats, &taken),
        formats,
        takes: taken,
        controls: camera.controls()?,
        path,
    })
}

const M2M: u32 = sys::V4L2_CAP_VIDEO_M2M | sys::V4L2_CAP_VIDEO_M2M_MPLANE;
const GIVES: u32 = sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE | M2M;
const TAKES: u32 = sys::V4L2_CAP_VIDEO_OUTPUT | sys::V4L2_CAP_VIDEO_OUTPUT_MPLANE | M2M;

/// The role of a device with these capabilities and formats.
fn role(caps: u32, formats: &[Format], taken: &[Format]) -> Role {
    let coded = |formats: &[Format]| formats.iter().any(|format| format.compressed);
    match (caps & GIVES != 0, caps & TAKES != 0) {
        (true, true) if coded(taken) => Role::Decoder,
        (true, true) if coded(formats) => Role::Encoder,
        (true, true) => Role::Converter,
        (true, false) => Role::Camera,
        (false, true) => Role::Output,
        _ if caps & (sys::V4L2_CAP_META_CAPTURE | sys::V4L2_CAP_META_OUTPUT) != 0 => Role::Metadata,
        _ => Role::Other,
    }
}

/// A device opened for its controls. Other programs and a pipeline may use it at the same time.
pub struct Camera {
    device: v4l::Device,
    path: PathBuf,
}

impl Camera {
    /// Opens a device.
    ///
    /// Errors: no such device (unplugged), or permission denied.
    pub fn open(path: &Path) -> Result<Camera, MediaError> {
        if path.as_os_str().as_bytes().contains(&0) {
            // `v4l` would panic at such a path.
            return Err(fault(path, &io::Error::from(io::ErrorKind::NotFound)));
        }
        let device = v4l::Device::with_path(path).map_err(|error| fault(path, &error))?;
        Ok(Camera { device, path: path.into() })
    }

    /// Lists all controls with their current values.
    ///
    /// Errors: the device is gone.
    pub fn controls(&self) -> Result<Vec<Control>, MediaError> {
        let mut controls: Vec<Control> = Vec::new();
        let mut last = 0;
        for _ in 0..MANY {
            let next = match unsafe_ioctl::control(&self.device, last | sys::V4L2_CTRL_FLAG_NEXT_CTRL) {
                Ok(next) if next.id > last => next,
                Err(error) if is_gone(&error) => return Err(fault(&self.path, &error)),
                // The end of the list; a driver without controls has no such call either.
                _ => break,
            };
            last = next.id;
            controls.extend(self.described(&next));
        }
        Ok(controls)
    }

    /// Sets a control and returns its new state, because a driver may round the value.
    ///
    /// Errors: no such control, an invalid value (the message has the valid range), or the device is gone.
    pub fn set(&self, name: &str, value: &Value) -> Result<Control, MediaError> {
        let controls = self.controls()?;
        let control = Control::find(&controls, name).ok_or_else(|| controls::unknown(&controls, name))?;
        let number = control.number(value)?;
        let value = (control.kind != ControlKind::Button).then_some(number);
        self.write(control.id, value).map_err(|error| self.not_set(control, number, &error))?;
        let now = unsafe_ioctl::control(&self.device, control.id).ok().and_then(|now| self.described(&now));
        Ok(now.unwrap_or_else(|| control.clone()))
    }

    /// Sets a control by its kernel ID without checking the range; `None` presses a button.
    ///
    /// Errors: no such control, value out of range, or the device is gone.
    pub fn set_id(&self, id: u32, value: Option<i64>) -> Result<(), MediaError> {
        self.write(id, value).map_err(|error| fault(&self.path, &error))
    }

    fn write(&self, id: u32, value: Option<i64>) -> io::Result<()> {
        self.device.set_control(Setting { id, value: value.map_or(Raw::None, Raw::Integer) })
    }

    fn not_set(&self, control: &Control, number: i64, error: &io::Error) -> MediaError {
        if is_gone(error) {
            return fault(&self.path, error);
        }
        let name = &control.name;
        let words = if control.inactive {
            format!("{name} is inactive: another control overrides it (turn off its automatic mode first)")
        } else if error.kind() == io::ErrorKind::ResourceBusy {
            format!("{name} cannot be set while the camera is streaming")
        } else {
            format!("the camera rejected {number} for {name}, which takes {}: {error}", control.kind)
        };
        MediaError::new(ErrorKind::BadValue, words)
    }

    /// `None` for controls without a single value: headings, texts, matrices.
    fn described(&self, raw: &sys::v4l2_query_ext_ctrl) -> Option<Control> {
        let flag = |flag: u32| raw.flags & flag != 0;
        if flag(sys::V4L2_CTRL_FLAG_DISABLED) || flag(sys::V4L2_CTRL_FLAG_HAS_PAYLOAD) {
            return None;
        }
        let label = text(&raw.name.map(|byte| byte.to_ne_bytes()[0]));
        let items = |name: &dyn Fn(u32) -> io::Result<String>| {
            let numbers = (raw.minimum.max(0)..=raw.maximum).take(MANY as usize);
            let items = numbers.filter_map(|n| Some((n, name(u32::try_from(n).ok()?).ok()?)));
            ControlKind::Menu { items: items.collect() }
        };
        let kind = match raw.type_ {
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 => {
                ControlKind::Integer { min: raw.minimum, max: raw.maximum, step: raw.step.max(1) }
            }
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN => ControlKind::Switch,
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON => ControlKind::Button,
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK => {
                ControlKind::Bits { mask: raw.maximum & 0xffff_ffff }
            }
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU => {
                items(&|n| unsafe_ioctl::menu_name(&self.device, raw.id, n).map(|name| text(&name)))
            }
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => items(&|n| {
                unsafe_ioctl::menu_number(&self.device, raw.id, n).map(|number| number.to_string())
            }),
            _ => return None,
        };
        let unreadable = kind == ControlKind::Button || flag(sys::V4L2_CTRL_FLAG_WRITE_ONLY);
        let value = if unreadable {
            None
        } else if raw.type_ == sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 {
            // Certainly of this kind, and with a valid name: `v4l` queries both again, and would panic.
            match std::str::from_utf8(&raw.name.map(|byte| byte.to_ne_bytes()[0])) {
                Ok(_) => match self.device.control(raw.id).map(|control| control.value) {
                    Ok(Raw::Integer(value)) => Some(value),
                    _ => None,
                },
                Err(_) => None,
            }
        } else {
            let value = unsafe_ioctl::value(&self.device, raw.id).ok().map(i64::from);
            // A bitmask is an unsigned number.
            let bits = matches!(kind, ControlKind::Bits { .. });
            value.map(|value| if bits { value & 0xffff_ffff } else { value })
        };
        Some(Control {
            value,
            default: raw.default_value,
            read_only: flag(sys::V4L2_CTRL_FLAG_READ_ONLY),
            inactive: flag(sys::V4L2_CTRL_FLAG_INACTIVE),
            ..Control::new(raw.id, &label, kind)
        })
    }

    fn formats(&self, queues: [u32; 2]) -> Vec<Format> {
        let of =
            |queue| (0..MANY).map_while(move |index| unsafe_ioctl::format(&self.device, queue, index).ok());
        let raw = queues.into_iter().flat_map(of);
        raw.map(|raw| {
            let fourcc = FourCc(raw.pixelformat.to_le_bytes());
            let compressed = raw.flags & sys::V4L2_FMT_FLAG_COMPRESSED != 0;
            let sizes = self.device.enum_framesizes(FourCC::new(&fourcc.0)).unwrap_or_default();
            let sizes = sizes.into_iter().map(|size| self.sizes(fourcc, size.size)).collect();
            Format { sizes, ..Format::new(fourcc, text(&raw.description), compressed) }
        })
        .collect()
    }

    fn sizes(&self, fourcc: FourCc, sizes: FrameSizeEnum) -> Sizes {
        match sizes {
            FrameSizeEnum::Discrete(one) => {
                let size = (one.width, one.height);
                Sizes::One { size, rates: self.rates(fourcc, size) }
            }
            FrameSizeEnum::Stepwise(range) => {
                let min = (range.min_width, range.min_height);
                let max = (range.max_width, range.max_height);
                // A continuous range has steps of 1, which some drivers report as 0.
                let step = (range.step_width.max(1), range.step_height.max(1));
                let within = |size: &Size| {
                    (min.0..max.0).contains(&size.0)
                        && (min.1..max.1).contains(&size.1)
                        && (size.0 - min.0).is_multiple_of(step.0)
                        && (size.1 - min.1).is_multiple_of(step.1)
                };
                let asked = COMMON.into_iter().filter(within).chain([max]);
                let rates = asked.map(|size| (size, self.rates(fourcc, size))).collect();
                Sizes::Range { min, max, step, rates }
            }
        }
    }

    fn rates(&self, fourcc: FourCc, (width, height): Size) -> Rates {
        let fourcc = FourCC::new(&fourcc.0);
        let intervals = self.device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
        let rate = |interval: v4l::Fraction| FrameRate::new(interval.denominator, interval.numerator);
        let mut some = Vec::new();
        for interval in intervals {
            match interval.interval {
                FrameIntervalEnum::Discrete(interval) => some.extend(rate(interval)),
                // The shortest interval is the fastest rate.
                FrameIntervalEnum::Stepwise(range) => {
                    if let (Some(min), Some(max)) = (rate(range.max), rate(range.min)) {
                        return Rates::Range { min, max };
                    }
                }
            }
        }
        if some.is_empty() { Rates::Unknown } else { Rates::Some(some) }
    }
}

/// A link to the node that stays valid when its number changes: by serial number, otherwise by bus location.
fn link(path: &Path) -> Option<PathBuf> {
    ["/dev/v4l/by-id", "/dev/v4l/by-path"].into_iter().find_map(|folder| {
        let links = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let mut links: Vec<PathBuf> =
            links.filter(|link| fs::canonicalize(link).is_ok_and(|node| node == path)).collect();
        links.sort_unstable();
        links.into_iter().next()
    })
}

/// The text up to the first zero. Invalid text (a name cut within a character) is repaired.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.trim().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// ENXIO and ENODEV: the device was unplugged.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(6 | 19))
}

/// ENOTTY: no such call, so it is not a V4L2 device.
fn is_foreign(error: &io::Error) -> bool {
    error.raw_os_error() == Some(25)
}

fn fault(path: &Path, error: &io::Error) -> MediaError {
    let path = path.display();
    let (kind, words) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NoCamera, format!("camera {path} not found")),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::NotAllowed,
            format!("no permission to open {path}: run `sudo usermod -aG video $USER`, then log in again"),
        ),
        io::ErrorKind::ResourceBusy => (
            ErrorKind::CameraBusy,
            format!("camera {path} is in use by another program (`fuser {path}` shows which)"),
        ),
        _ if is_gone(error) => (ErrorKind::NoCamera, format!("camera {path} is gone (unplugged?)")),
        _ if is_foreign(error) => (ErrorKind::NotACamera, format!("{path} is not a video device")),
        _ => (ErrorKind::Other, format!("{path}: {error}")),
    };
    MediaError::new(kind, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_a_camera_has_its_error_code() {
        let table =
            [("/dev/null", "not-a-camera"), ("/dev/video9999", "no-camera"), ("/dev/nul\0l", "no-camera")];
        for (path, code) in table {
            let path = Path::new(path);
            let error = Camera::open(path).and_then(|camera| {
                unsafe_ioctl::capability(&camera.device).map_err(|error| fault(path, &error))
            });
            assert_eq!(error.expect_err("no camera").code(), code, "{path:?}");
        }
        assert_eq!(probe(Path::new("/dev/null")).expect_err("no camera").code(), "not-a-camera");
        assert_eq!(
            probe(Path::new("/dev/nul\0l")).map_err(|error| error.kind()).expect_err("none"),
            ErrorKind::Other
        );
    }

    #[test]
    fn the_role_of_a_device_follows_from_capabilities_and_formats() {
        let raw = Format::new(FourCc(*b"NV12"), "", false);
        let coded = Format::new(FourCc(*b"H264"), "", true);
        let streams = sys::V4L2_CAP_STREAMING | sys::V4L2_CAP_EXT_PIX_FORMAT;
        let old = sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_VIDEO_OUTPUT;
        let table: [(u32, &[&Format], &[&Format], Role); 9] = [
            (sys::V4L2_CAP_VIDEO_CAPTURE, &[&raw, &coded], &[], Role::Camera),
            (sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE, &[&raw], &[], Role::Camera),
            (sys::V4L2_CAP_VIDEO_M2M_MPLANE, &[&coded], &[&raw], Role::Encoder),
            (sys::V4L2_CAP_VIDEO_M2M_MPLANE, &[&raw], &[&coded], Role::Decoder),
            (sys::V4L2_CAP_VIDEO_M2M, &[&raw], &[&raw], Role::Converter),
            (old, &[&coded], &[&raw], Role::Encoder),
            (sys::V4L2_CAP_VIDEO_OUTPUT, &[], &[&raw], Role::Output),
            (sys::V4L2_CAP_META_CAPTURE, &[], &[], Role::Metadata),
            (sys::V4L2_CAP_VBI_CAPTURE, &[], &[], Role::Other),
        ];
        for (caps, formats, taken, expected) in table {
            let own = |formats: &[&Format]| formats.iter().map(|&format| format.clone()).collect::<Vec<_>>();
            assert_eq!(role(caps | streams, &own(formats), &own(taken)), expected, "{caps:#x}");
        }
    }

    #[test]
    fn errors_give_cause_and_cure() {
        let table = [
            (13, "not-allowed", "usermod -aG video"),
            (16, "camera-busy", "fuser /dev/video0"),
            (19, "no-camera", "unplugged?"),
            (6, "no-camera", "unplugged?"),
            (2, "no-camera", "camera /dev/video0 not found"),
            (25, "not-a-camera", "is not a video device"),
        ];
        for (errno, code, words) in table {
            let error = fault(Path::new("/dev/video0"), &io::Error::from_raw_os_error(errno));
            assert_eq!(error.code(), code, "{errno}");
            assert!(error.to_string().contains(words), "{errno}: {error}");
        }
    }

    #[test]
    fn any_name_from_a_driver_becomes_text() {
        assert_eq!(text(b"UVC Camera (046d:0825)\0\xff\xff"), "UVC Camera (046d:0825)");
        assert_eq!(text(b"\xe6\x91\x84\xe5\x83"), "摄\u{fffd}", "cut within a character");
        assert_eq!(text(b"a\nb\0"), "a\u{fffd}b");
    }
}
