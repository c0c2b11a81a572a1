//! Translates GStreamer errors: what is wrong with this source, and how to fix it.

use gstreamer as gst;
use gstreamer::glib;

use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

/// The package with the decoders that most machines lack.
const DECODERS: &str = "gstreamer1.0-libav";

/// An error from the bus. The debug text is searched for causes but never shown, because it is full of addresses.
pub(super) fn from_gstreamer(source: &Location, error: &glib::Error, debug: &str) -> MediaError {
    use gst::{ResourceError as R, StreamError as S};
    let has = |text: &str| debug.contains(text) || error.message().contains(text);
    let resource = error.kind::<R>();
    let (kind, words) = match (source, resource, error.kind::<S>()) {
        (_, _, Some(S::CodecNotFound)) => (
            ErrorKind::MissingPlugin,
            format!("no decoder installed for {source} (try `apt install {DECODERS}`)"),
        ),
        (Location::V4l2 { path }, ..) if has("Device or resource busy") || resource == Some(R::Busy) => {
            let path = path.display();
            let words = format!("camera {path} is in use by another program (`fuser {path}` shows which)");
            (ErrorKind::CameraBusy, words)
        }
        (Location::V4l2 { .. }, ..) if has("Permission denied") => (
            ErrorKind::NotAllowed,
            format!("no permission to open {source}: run `sudo usermod -aG video $USER`, then log in again"),
        ),
        (Location::V4l2 { .. }, ..)
            if has("is not a capture device") || has("not a device") || has("Inappropriate ioctl") =>
        {
            (
                ErrorKind::NotACamera,
                format!("{source} is not a camera (`v4l2-ctl --list-devices` lists the cameras)"),
            )
        }
        (Location::V4l2 { .. }, Some(R::NotFound | R::Read | R::OpenRead | R::OpenReadWrite), _) => (
            ErrorKind::NoCamera,
            format!("camera {source} is not responding (unplugged?): {}", error.message()),
        ),
        (Location::Csi { .. }, Some(R::Busy), _) => {
            let words = format!("camera {source} is in use by another program, or opened twice by this one");
            (ErrorKind::CameraBusy, words)
        }
        (Location::Csi { .. }, Some(R::NotFound), _) if has("named") => {
            (ErrorKind::NoCamera, format!("camera {source} not found: {}", error.message()))
        }
        // NVIDIA's element reports every error as "failed".
        (Location::Csi { .. }, Some(_), _) => (
            ErrorKind::NoCamera,
            format!("no camera responds at the board's camera port: {}", error.message()),
        ),
        (Location::Csi { .. }, ..) if has("not-negotiated") => (
            ErrorKind::WrongFormat,
            format!(
                "{source} does not support this size and frame rate: try others, such as 1280x720 at 30 fps"
            ),
        ),
        (Location::Rtsp { .. }, Some(R::NotAuthorized), _) => (
            ErrorKind::Unauthorized,
            format!(
                "{source} requires a valid user and password: use rtsp://user:password@…{}",
                spelling(source)
            ),
        ),
        (Location::Rtsp { .. }, Some(R::NotFound), _) => {
            let words =
                format!("the camera at {source} has no such path: check the address{}", spelling(source));
            (ErrorKind::NotFound, words)
        }
        (Location::Rtsp { .. }, Some(_), _) => return unreachable(source),
        // GStreamer's message may contain the address, and with it a password.
        (Location::Rtsp { .. }, ..) => (ErrorKind::Other, format!("cannot play what {source} sends")),
        (Location::File { .. }, Some(R::NotFound), _) => {
            (ErrorKind::NoFile, format!("file {source} not found"))
        }
        (Location::File { .. }, Some(R::OpenRead | R::Read), _) => {
            (ErrorKind::NotAllowed, format!("cannot read {source}"))
        }
        (Location::File { .. }, _, Some(_)) => {
            (ErrorKind::NotMedia, format!("{source} is not a playable video ({})", error.message()))
        }
        _ => (ErrorKind::Other, format!("{source}: {}", error.message())),
    };
    MediaError::new(kind, words)
}

/// The error if nobody answers at the address.
pub(super) fn unreachable(source: &Location) -> MediaError {
    let words = format!(
        "{source} cannot be reached: check the address, the network and the camera{}",
        spelling(source)
    );
    MediaError::new(ErrorKind::Unreachable, words)
}

/// How to write a password, where the address is ambiguous.
fn spelling(source: &Location) -> &'static str {
    match source {
        Location::Rtsp { url, .. } if url.is_ambiguous() => {
            "; the path contains an @: if it belongs to a password that contains /, ? or #, write those as %2F, %3F, %23"
        }
        _ => "",
    }
}

/// If GStreamer named a missing plugin, that is the cause.
pub(super) fn with_missing(error: MediaError, missing: Option<&str>) -> MediaError {
    match missing {
        Some(missing)
            if matches!(
                error.kind(),
                ErrorKind::MissingPlugin | ErrorKind::NoVideo | ErrorKind::NotMedia
            ) =>
        {
            let words = format!("{missing} not installed (try `apt install {DECODERS}`)");
            MediaError::new(ErrorKind::MissingPlugin, words)
        }
        _ => error,
    }
}

/// Adds what to do when a camera is missing.
pub(super) fn with_advice(error: MediaError, advice: Option<&str>) -> MediaError {
    match advice {
        Some(advice) if matches!(error.kind(), ErrorKind::NoCamera | ErrorKind::Stalled) => {
            let words = error.to_string();
            MediaError::new(error.kind(), format!("{}; {advice}", words.trim_end_matches(['.', ' '])))
        }
        _ => error,
    }
}

/// Whether caps negotiation failed: the camera does not deliver what it enumerated. A busy or unplugged camera fails at
/// the same calls, which says nothing about its formats.
pub(super) fn is_disagreement(error: &MediaError, debug: &str) -> bool {
    error.kind() == ErrorKind::Other && (debug.contains("not-negotiated") || debug.contains("S_FMT"))
}

/// The error if frames have a different size than negotiated.
pub(super) fn wrong_size(source: &Location, agreed: (u32, u32), given: (u32, u32)) -> MediaError {
    let words = format!(
        "{source} negotiated {}x{} but delivers {}x{}; using the frames as delivered",
        agreed.0, agreed.1, given.0, given.1
    );
    MediaError::new(ErrorKind::WrongFormat, words)
}

/// The error if the frame rate is far lower than negotiated.
pub(super) fn too_slow(source: &Location, agreed: f64, rate: f64) -> MediaError {
    let words = format!(
        "{source} negotiated {agreed:.0} fps but delivers {rate:.1}: many cameras expose longer in the dark \
         (turn off the control exposure_auto_priority to keep the rate), or a USB hub may be too slow"
    );
    MediaError::new(ErrorKind::TooSlow, words)
}

/// The error if no frame has arrived for too long.
pub(super) fn stalled(source: &Location) -> MediaError {
    let cure = match source {
        Location::V4l2 { .. } => "if this continues, unplug the camera and plug it in again",
        Location::Csi { .. } => "check that the sensor matches the board's configuration",
        Location::Rtsp { .. } => "check the camera and the network",
        _ => "the machine may be overloaded",
    };
    MediaError::new(ErrorKind::Stalled, format!("no frames from {source}: {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::{ResourceError as R, StreamError as S};

    #[test]
    fn errors_name_the_cause_by_the_source() {
        let camera: Location = "/dev/video9".parse().expect("a device");
        let csi: Location = "csi".parse().expect("a camera");
        let rtsp: Location = "rtsp://admin:hunter2@cam/live".parse().expect("an address");
        let file: Location = "a.mp4".parse().expect("a file");
        let hidden: Location = "rtsp://cam/user=admin&password=hunter2".parse().expect("an address");
        let words = "Could not open rtsp://admin:hunter2@cam/user=admin&password=hunter2";
        let error = |code: R| glib::Error::new(code, words);
        let stream = |code: S| glib::Error::new(code, words);
        let table = [
            (&camera, error(R::Busy), "", "camera-busy"),
            (&camera, error(R::OpenReadWrite), "system error: Device or resource busy", "camera-busy"),
            (&camera, error(R::OpenReadWrite), "system error: Permission denied", "not-allowed"),
            (&camera, error(R::NotFound), "Device '/dev/null' is not a capture device.", "not-a-camera"),
            (&camera, error(R::NotFound), "", "no-camera"),
            (&camera, error(R::Read), "", "no-camera"),
            (&csi, error(R::NotFound), "cameras() is empty", "no-camera"),
            (&csi, error(R::Failed), "", "no-camera"),
            (&csi, error(R::Busy), "", "camera-busy"),
            (&csi, stream(S::Failed), "reason not-negotiated (-4)", "wrong-format"),
            (&csi, stream(S::Failed), "reason error (-5)", "media"),
            (&rtsp, error(R::NotAuthorized), "", "unauthorized"),
            (&rtsp, error(R::NotFound), "", "not-found"),
            (&rtsp, error(R::OpenReadWrite), "", "unreachable"),
            (&rtsp, error(R::Read), "", "unreachable"),
            (&rtsp, stream(S::CodecNotFound), "", "missing-plugin"),
            (&rtsp, stream(S::Failed), "", "media"),
            (&hidden, error(R::NotAuthorized), "", "unauthorized"),
            (&hidden, error(R::NotFound), "", "not-found"),
            (&hidden, error(R::Read), "", "unreachable"),
            (&hidden, stream(S::Demux), "", "media"),
            (&file, error(R::NotFound), "", "no-file"),
            (&file, error(R::OpenRead), "", "not-allowed"),
            (&file, stream(S::TypeNotFound), "", "not-media"),
            (&file, stream(S::Demux), "", "not-media"),
            (&Location::Test, stream(S::Failed), "", "media"),
        ];
        for (source, error, debug, code) in table {
            let found = from_gstreamer(source, &error, debug);
            assert_eq!(found.code(), code, "{source} {error:?} {debug}");
            let secret = matches!(source, Location::Rtsp { .. }) && found.to_string().contains("hunter2");
            assert!(!secret, "{found}");
        }
    }

    #[test]
    fn an_unsupported_format_differs_from_a_temporary_failure() {
        let camera: Location = "/dev/video9".parse().expect("a device");
        let settings = || glib::Error::new(R::Settings, "words");
        let table = [
            (settings(), "Call to S_FMT failed for YUYV @ 640x480: Invalid argument", true),
            (settings(), "Call to S_FMT failed for YUYV @ 640x480: Device or resource busy", false),
            (glib::Error::new(R::Busy, "words"), "Call to S_FMT failed", false),
            (glib::Error::new(S::Failed, "words"), "streaming stopped, reason not-negotiated (-4)", true),
            (glib::Error::new(S::Failed, "words"), "streaming stopped, reason error (-5)", false),
            (glib::Error::new(R::Read, "words"), "poll error 1: No such device (19)", false),
        ];
        for (error, debug, expected) in table {
            let found = is_disagreement(&from_gstreamer(&camera, &error, debug), debug);
            assert_eq!(found, expected, "{error:?} {debug}");
        }
    }

    #[test]
    fn a_missing_decoder_is_named() {
        let error = MediaError::new(ErrorKind::NoVideo, "no pictures");
        let named = with_missing(error.clone(), Some("H.265 (Main Profile) decoder"));
        assert_eq!(named.code(), "missing-plugin");
        assert!(named.to_string().contains("H.265 (Main Profile) decoder"), "{named}");
        assert_eq!(with_missing(error.clone(), None), error);
    }
}
