//! A V4L2 camera before a run: its current path, the format to request, and the controls that were set.
//!
//! It is probed again for each run, because it may have come back under another number or been replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gstreamer as gst;

use super::encoders::EncoderInfo;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use super::target::{CaptureInfo, Target};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::controls::{Control, ControlKind, Value, codec};
use crate::media::source::v4l2;
use crate::media::source::v4l2::choose::{CameraRequest, Choice, Encoder, Io, Way, choose};
use crate::media::source::v4l2::device::{Device, Identity, Role};

/// The formats from which every encoder produces constrained baseline; from others, some produce other profiles.
const PLAIN: [&str; 3] = ["I420", "NV12", "YV12"];

pub(super) struct Camera {
    /// As configured.
    path: PathBuf,
    /// The identity of the device that was found there first.
    identity: Option<Identity>,
    request: CameraRequest,
    /// For a camera that encodes: frames between key frames, and bit/s.
    gop: u32,
    bitrate: u32,
    /// The encoder accepts DMA buffers.
    dmabuf: bool,
    /// The formats that it reports are not reliable.
    distrusted: bool,
    /// Controls that were set, to be restored: cameras lose them with their power.
    set: BTreeMap<String, Value>,
}

impl Camera {
    /// GStreamer must be initialized.
    pub(super) fn new(path: &Path, settings: &CaptureSettings, encoder: &EncoderInfo, dmabuf: bool) -> Self {
        let takes = formats(&encoder.name).into_iter();
        let request = CameraRequest {
            size: (settings.width, settings.height),
            fps: settings.fps,
            pass_through: settings.pass_through,
            jpeg: gst::ElementFactory::find("jpegdec").is_some(),
            encoder: Encoder {
                name: encoder.name.clone(),
                formats: takes.filter(|f| encoder.hardware || PLAIN.contains(&f.as_str())).collect(),
            },
        };
        Camera {
            path: path.into(),
            identity: None,
            request,
            gop: RawVideo::of(settings).gop(settings.key_interval),
            bitrate: settings.bitrate,
            dmabuf,
            distrusted: false,
            set: BTreeMap::new(),
        }
    }

    /// Browsers cannot decode its H.264.
    pub(super) fn refuse_h264(&mut self) {
        self.request.pass_through = false;
    }

    /// It did not deliver what it reported: GStreamer must negotiate. False if that is the case already.
    pub(super) fn distrust(&mut self) -> bool {
        !std::mem::replace(&mut self.distrusted, true)
    }

    /// Where it is now, and what to request.
    ///
    /// Errors: it is missing, or permission is denied.
    pub(super) fn find(&mut self) -> Result<Target, MediaError> {
        let device = match self.device() {
            Ok(device) => device,
            // This build cannot probe it, but GStreamer can.
            Err(error) if error.kind() == ErrorKind::Other => {
                log::debug!("{error}");
                return Ok(guess(self.path.clone(), &self.request));
            }
            Err(error) => return Err(error),
        };
        self.restore(&device);
        let choice = if self.distrusted { None } else { choose(&device, &self.request) };
        let Some(mut choice) = choice else { return Ok(guess(device.path, &self.request)) };
        if !self.dmabuf {
            choice.io = Io::Mmap;
        }
        let passed = choice.way == Way::PassThrough;
        if passed {
            self.prepare_encoder(&device);
        }
        let has = |id| device.controls.iter().any(|control| control.id == id);
        let info = CaptureInfo {
            card: device.card,
            path: device.path.clone(),
            steers_bitrate: !passed || has(codec::BITRATE),
            gives_key_frames: !passed || has(codec::FORCE_KEY_FRAME),
            choice,
        };
        Ok(Target { head: head(&info.choice), path: device.path, info: Some(info) })
    }

    /// Its controls and their current values.
    pub(super) fn controls(&mut self) -> Result<Vec<Control>, MediaError> {
        self.device().map(|device| device.controls)
    }

    /// Sets a control, now and whenever the camera returns.
    pub(super) fn set(&mut self, name: &str, value: Value) -> Result<Control, MediaError> {
        let device = self.device()?;
        let control = v4l2::Camera::open(&device.path)?.set(name, &value)?;
        if control.kind != ControlKind::Button {
            self.set.insert(control.name.clone(), value);
        }
        Ok(control)
    }

    /// The device, wherever it is connected.
    fn device(&mut self) -> Result<Device, MediaError> {
        let named = v4l2::probe(&self.path);
        let Some(identity) = &self.identity else {
            let device = named?;
            if device.role != Role::Camera {
                let words = format!("{} is not a camera (its type is {})", self.path.display(), device.role);
                return Err(MediaError::new(ErrorKind::NotACamera, words));
            }
            self.identity = Some(device.identity());
            return Ok(device);
        };
        if let Ok(device) = &named
            && identity.find(std::slice::from_ref(device)).is_some()
        {
            return named;
        }
        let devices: Vec<Device> =
            v4l2::devices().into_iter().filter_map(|(_, device)| device.ok()).collect();
        match (identity.find(&devices), named) {
            (Some(found), _) => {
                log::info!("camera {} is now {}", self.path.display(), found.path.display());
                Ok(found.clone())
            }
            (None, Err(error)) => Err(error),
            (None, Ok(stranger)) => {
                let words = format!(
                    "the camera is gone, and {} is now a different one ({}): plug it in again",
                    self.path.display(),
                    stranger.card
                );
                Err(MediaError::new(ErrorKind::NoCamera, words))
            }
        }
    }

    fn restore(&self, device: &Device) {
        if self.set.is_empty() {
            return;
        }
        let restored = v4l2::Camera::open(&device.path).map(|camera| {
            let mut left: Vec<_> = self.set.iter().collect();
            // One may depend on another (gain on gain_auto), so those that failed are tried again after the others.
            for last in [false, true] {
                left.retain(|(name, value)| match camera.set(name, value) {
                    Ok(_) => false,
                    Err(error) => {
                        if last {
                            log::debug!("cannot restore the control {name}: {error}");
                        }
                        true
                    }
                });
            }
        });
        if let Err(error) = restored {
            log::debug!("cannot restore the controls: {error}");
        }
    }

    /// Configures the encoder in the camera for browsers.
    fn prepare_encoder(&self, device: &Device) {
        let Ok(camera) = v4l2::Camera::open(&device.path) else { return };
        for control in &device.controls {
            let value = match (control.id, &control.kind) {
                (codec::PROFILE, ControlKind::Menu { items }) => {
                    let known = [codec::CONSTRAINED_BASELINE, codec::BASELINE];
                    known.into_iter().find(|profile| items.iter().any(|(item, _)| item == profile))
                }
                (codec::REPEAT_HEADERS, _) => Some(1),
                (codec::KEY_INTERVAL, ControlKind::Integer { min, max, .. }) => {
                    Some(i64::from(self.gop).clamp(*min, *max))
                }
                (codec::BITRATE, kind) => Some(bitrate(kind, self.bitrate)),
                _ => None,
            };
            if let Some(value) = value
                && let Err(error) = camera.set_id(control.id, Some(value))
            {
                log::debug!("cannot set the control {}: {error}", control.name);
            }
        }
    }
}

/// The encoder in a camera while it runs.
pub(super) struct Steering {
    camera: v4l2::Camera,
    bitrate: Option<ControlKind>,
    key_frames: bool,
}

impl Steering {
    /// `None` if nothing can be controlled.
    pub(super) fn of(target: &Target) -> Option<Steering> {
        let info = target.info.as_ref().filter(|_| target.passes_through())?;
        let camera = v4l2::Camera::open(&info.path).ok()?;
        let controls = camera.controls().ok()?;
        let bitrate = controls.into_iter().find(|control| control.id == codec::BITRATE).map(|c| c.kind);
        Some(Steering { camera, bitrate, key_frames: info.gives_key_frames })
    }

    pub(super) fn request_key_frame(&self) {
        if self.key_frames
            && let Err(error) = self.camera.set_id(codec::FORCE_KEY_FRAME, None)
        {
            log::debug!("cannot force a key frame: {error}");
        }
    }

    pub(super) fn set_bitrate(&self, bps: u32) {
        if let Some(kind) = &self.bitrate
            && let Err(error) = self.camera.set_id(codec::BITRATE, Some(bitrate(kind, bps)))
        {
            log::debug!("cannot change the bitrate: {error}");
        }
    }
}

/// The nearest lower value that the control accepts.
fn bitrate(kind: &ControlKind, bps: u32) -> i64 {
    let bps = i64::from(bps);
    match kind {
        ControlKind::Integer { min, max, step } => {
            let bps = bps.clamp(*min, (*max).max(*min));
            let over = (bps.abs_diff(*min) % (*step).max(1)).cast_signed();
            bps.saturating_sub(over)
        }
        _ => bps,
    }
}

/// Requests exactly the chosen format from a camera that reports its formats.
fn head(choice: &Choice) -> String {
    let io = match choice.io {
        Io::DmaBuf => " io-mode=dmabuf",
        Io::Mmap => "",
    };
    let (width, height) = choice.size;
    let rate =
        choice.rate.map_or(String::new(), |rate| format!(",framerate={}/{}", rate.frames, rate.seconds));
    let exact = format!("width={width},height={height}{rate}");
    let asked = match (choice.way, choice.fourcc.gst_name()) {
        (Way::PassThrough, _) => format!("video/x-h264,stream-format=byte-stream,{exact}"),
        (Way::Encode, Some(format)) => raw(&format!("format={format},{exact}")),
        _ => format!("image/jpeg,{exact}"),
    };
    format!("v4l2src name=camera{io} ! {asked}")
}

/// Raw frames; or, from a camera that has nothing else, single fields, one per buffer (`V4L2_FIELD_ALTERNATE`).
fn raw(exact: &str) -> String {
    format!("video/x-raw,{exact};video/x-raw(format:Interlaced),{exact}")
}

/// Cameras offer a format for each of many sizes; GStreamer takes the first one in this list that the camera has.
/// Compressed formats come after raw ones: at the requested size, raw frames over USB often have a low frame rate,
/// which the requested rate excludes.
fn guess(path: PathBuf, request: &CameraRequest) -> Target {
    let ((width, height), fps) = (request.size, request.fps);
    let exact = format!("width={width},height={height},framerate={fps}/1");
    let smaller = format!("width=[1,{width}],height=[1,{height}]");
    let head = format!(
        "v4l2src name=camera ! capsfilter caps=\"{};image/jpeg,{exact};image/jpeg,{smaller};{};\
         image/jpeg;video/x-raw;video/x-raw(format:Interlaced);video/x-h264\"",
        raw(&exact),
        raw(&smaller)
    );
    Target { head, path, info: None }
}

/// The raw formats that an element accepts in ordinary memory.
fn formats(element: &str) -> Vec<String> {
    let Some(factory) = gst::ElementFactory::find(element) else { return Vec::new() };
    let sinks = factory.static_pad_templates().into_iter();
    let sinks = sinks.filter(|template| template.direction() == gst::PadDirection::Sink);
    let mut formats = Vec::new();
    for template in sinks {
        for structure in template.caps().iter().filter(|structure| structure.name() == "video/x-raw") {
            if let Ok(one) = structure.get::<String>("format") {
                formats.push(one);
            } else if let Ok(list) = structure.get::<gst::List>("format") {
                formats.extend(list.iter().filter_map(|format| format.get::<String>().ok()));
            }
        }
    }
    formats
}

/// Whether H.264 can be decoded here, for viewers that only support VP8.
pub(super) fn decodes_h264() -> bool {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let h264 = gst::Caps::builder("video/x-h264").build();
    let decoders = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    decoders.iter().any(|decoder| decoder.can_sink_any_caps(&h264))
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;
    use crate::media::source::v4l2::device::{FourCc, FrameRate};

    #[test]
    fn single_fields_are_requested_from_a_camera_that_has_nothing_else() {
        gst::init().expect("GStreamer");
        let choice = Choice {
            fourcc: FourCc(*b"YUYV"),
            size: (720, 576),
            rate: FrameRate::new(25, 1),
            way: Way::Encode,
            io: Io::Mmap,
            why: String::new(),
        };
        let request = CameraRequest {
            size: (720, 576),
            fps: 25,
            pass_through: false,
            jpeg: true,
            encoder: Encoder::default(),
        };
        let exact = "format=YUY2,width=720,height=576,framerate=25/1";
        for head in [head(&choice), guess("/dev/video0".into(), &request).head] {
            let launch = head.replace("v4l2src name=camera", "identity") + " ! identity";
            let front = gst::parse::bin_from_description(&launch, true).expect(&launch);
            let asked = front.static_pad("src").expect("one end").query_caps(None);
            for caps in [
                format!("video/x-raw(format:Interlaced),interlace-mode=alternate,{exact}"),
                format!("video/x-raw,interlace-mode=interleaved,{exact}"),
                format!("video/x-raw,interlace-mode=mixed,{exact}"),
                format!("video/x-raw,interlace-mode=progressive,{exact}"),
            ] {
                assert!(asked.can_intersect(&caps.parse::<gst::Caps>().expect(&caps)), "{caps}: {launch}");
            }
        }
    }
}
