//! A camera at the board's CSI port: which of the profile's elements opens it, and with which settings.

use super::settings::CaptureSettings;
use crate::media::board::{Asked, Elements, Profile};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

/// How the camera is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Csi {
    /// The pipeline's first elements, in launch syntax; the source is named `camera`.
    pub head: String,
    /// What to do when no camera is found.
    pub advice: String,
}

/// The first of the profile's elements that is installed; `None` if the source is not a CSI camera.
///
/// Errors: the board has no such element, none is installed, or the element does not accept the camera's name.
pub(super) fn find(
    settings: &CaptureSettings,
    profile: &Profile,
    elements: &Elements,
    installed: impl Fn(&str) -> bool,
) -> Result<Option<Csi>, MediaError> {
    let Location::Csi { camera } = &settings.source else { return Ok(None) };
    let mut missing = None;
    for element in profile.csi(elements) {
        let names = std::iter::once(element.name).chain(element.csi.needs.iter().map(String::as_str));
        if let Some(name) = names.into_iter().find(|name| !installed(name)) {
            log::debug!("skipping {}: {name} is not installed", element.name);
            missing = missing.or_else(|| Some(MediaError::missing_plugin(name, element.package)));
            continue;
        }
        let CaptureSettings { width, height, fps, .. } = *settings;
        let asked = Asked { width, height, fps };
        let head = element
            .csi
            .head(element.name, &element.properties, camera.as_deref(), asked)
            .map_err(|words| MediaError::new(ErrorKind::BadSettings, words))?;
        log::info!("CSI camera: {head}");
        return Ok(Some(Csi { head, advice: element.csi.advice.clone() }));
    }
    Err(missing.unwrap_or_else(|| none(&settings.source, profile)))
}

fn none(source: &Location, profile: &Profile) -> MediaError {
    let has: Vec<String> =
        profile.capture.iter().map(|capture| format!("{} ({})", capture.element, capture.sensors)).collect();
    let has = if has.is_empty() { "nothing".into() } else { has.join(", ") };
    let words = format!(
        "the board \"{}\" does not support the source {source}: its profile captures with {has}. Use a device such \
         as /dev/video0 (`symple devices` lists them), or select the right board",
        profile.name
    );
    MediaError::new(ErrorKind::BadSettings, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board;

    fn found(board: &str, source: &str, installed: &[&str]) -> Result<Option<Csi>, MediaError> {
        let elements = board::elements();
        let (profile, _) = board::named(board, &elements).expect("a name of the list");
        let source = source.parse().expect("a source");
        let settings = CaptureSettings { source, ..CaptureSettings::default() };
        find(&settings, &profile, &elements, |name| installed.contains(&name))
    }

    const PI: &str = "libcamerasrc name=camera";
    const PI_CAPS: &str = "video/x-raw,format=NV12,width=1280,height=720,framerate=30/1";
    const JETSON: &str = "nvarguscamerasrc name=camera";
    const JETSON_CAPS: &str = "video/x-raw(memory:NVMM),format=NV12,width=1280,height=720,framerate=30/1 ! \
                               nvvidconv ! video/x-raw,format=NV12";

    #[test]
    fn each_board_opens_its_sensor_with_its_own_element() {
        let pi = |names: &str| format!("{PI}{names} ! {PI_CAPS}");
        let jetson = |names: &str| format!("{JETSON}{names} ! {JETSON_CAPS}");
        let all = ["libcamerasrc", "nvarguscamerasrc", "nvvidconv", "v4l2src"];
        let table = [
            ("raspberry-pi-zero-2w", "csi", pi("")),
            ("raspberry-pi-3b-plus", "csi", pi("")),
            ("raspberry-pi-4", "csi", pi("")),
            ("raspberry-pi-5", "csi", pi("")),
            ("generic-arm64", "csi", pi("")),
            ("raspberry-pi-5", "csi:/base/i2c@1/imx219@10", pi(" camera-name=\"/base/i2c@1/imx219@10\"")),
            ("raspberry-pi-5", "csi:a\" ! filesink \\", pi(" camera-name=\"a\\\" ! filesink \\\\\"")),
            ("jetson-orin-nano", "csi", jetson("")),
            ("jetson-orin-nx", "csi:1", jetson(" sensor-id=1")),
        ];
        for (board, source, head) in table {
            let csi = found(board, source, &all).expect(board).expect("it is asked for");
            assert_eq!(csi.head, head, "{board} {source}");
        }
        assert_eq!(found("raspberry-pi-5", "test", &all), Ok(None), "another source needs none");
    }

    #[test]
    fn a_camera_that_cannot_be_opened_is_refused_with_a_reason() {
        let argus = ["nvarguscamerasrc", "nvvidconv"];
        let table: [(&str, &str, &[&str], &str, &str); 6] = [
            (
                "raspberry-pi-5",
                "csi",
                &["v4l2src"],
                "missing-plugin",
                "apt install gstreamer1.0-libcamera libcamera-ipa",
            ),
            ("jetson-orin-nx", "csi", &["libcamerasrc"], "missing-plugin", "nvidia-l4t-gstreamer"),
            ("jetson-orin-nx", "csi", &["nvarguscamerasrc"], "missing-plugin", "element nvvidconv"),
            ("jetson-orin-nx", "csi:imx219", &argus, "bad-settings", "csi:0"),
            ("imx8mp", "csi", &["v4l2src", "libcamerasrc"], "bad-settings", "v4l2src (csi), v4l2src (usb)"),
            ("generic", "csi:x", &["v4l2src", "libcamerasrc"], "bad-settings", "captures with v4l2src (usb)"),
        ];
        for (board, source, installed, code, part) in table {
            let error = found(board, source, installed).expect_err(board);
            assert_eq!(error.code(), code, "{board}: {error}");
            assert!(error.to_string().contains(part), "{board}: {error}");
        }
    }
}

#[cfg(test)]
#[path = "csi_tests.rs"]
mod at_work;
