//! GStreamer's errors in our words: what is wrong with this source, and what to do.

use gstreamer as gst;
use gstreamer::glib;

use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

/// The package with the decoders that most machines lack.
const DECODERS: &str = "gstreamer1.0-libav";

/// An error from the bus. The debug text is searched for causes and never shown: it is full of addresses.
pub(super) fn from_gstreamer(source: &Location, error: &glib::Error, debug: &str) -> MediaError {
    use gst::{ResourceError as R, StreamError as S};
    let has = |text: &str| debug.contains(text) || error.message().contains(text);
    let resource = error.kind::<R>();
    let (kind, words) = match (source, resource, error.kind::<S>()) {
        (_, _, Some(S::CodecNotFound)) => (
            ErrorKind::MissingPlugin,
            format!("no decoder for {source} is installed: try `apt install {DECODERS}`"),
        ),
        (Location::V4l2 { path }, ..) if has("Device or resource busy") || resource == Some(R::Busy) => {
            let path = path.display();
            let words = format!("the camera {path} is in use by another program: `fuser {path}` names it");
            (ErrorKind::CameraBusy, words)
        }
        (Location::V4l2 { .. }, ..) if has("Permission denied") => (
            ErrorKind::NotAllowed,
            format!("this user may not open {source}: `sudo usermod -aG video $USER`, then log in again"),
        ),
        (Location::V4l2 { .. }, ..)
            if has("is not a capture device") || has("not a device") || has("Inappropriate ioctl") =>
        {
            (
                ErrorKind::NotACamera,
                format!("{source} is not a camera: `v4l2-ctl --list-devices` shows those there are"),
            )
        }
        (Location::V4l2 { .. }, Some(R::NotFound | R::Read | R::OpenRead | R::OpenReadWrite), _) => (
            ErrorKind::NoCamera,
            format!("the camera {source} does not answer (unplugged?): {}", error.message()),
        ),
        (Location::Csi { .. }, Some(R::Busy), _) => {
            let words = format!("the camera {source} is in use by another program, or by this one twice");
            (ErrorKind::CameraBusy, words)
        }
        (Location::Csi { .. }, Some(R::NotFound), _) if has("named") => {
            (ErrorKind::NoCamera, format!("there is no camera {source}: {}", error.message()))
        }
        // NVIDIA's element says of all that it failed.
        (Location::Csi { .. }, Some(_), _) => (
            ErrorKind::NoCamera,
            format!("no camera answers at the board's camera port: {}", error.message()),
        ),
        (Location::Csi { .. }, ..) if has("not-negotiated") => (
            ErrorKind::WrongPictures,
            format!("{source} does not give pictures of this size and rate: try others, as 1280x720 and 30"),
        ),
        (Location::Rtsp { .. }, Some(R::NotAuthorized), _) => (
            ErrorKind::Unauthorized,
            format!(
                "{source} wants a user and password, or others: write rtsp://user:password@…{}",
                spelling(source)
            ),
        ),
        (Location::Rtsp { .. }, Some(R::NotFound), _) => {
            let words = format!(
                "the camera at {source} answers, and knows no such path: check it{}",
                spelling(source)
            );
            (ErrorKind::NotFound, words)
        }
        (Location::Rtsp { .. }, Some(_), _) => (
            ErrorKind::Unreachable,
            format!("{source} cannot be reached: check address, network and camera{}", spelling(source)),
        ),
        // GStreamer's words may hold the address, and with it a password.
        (Location::Rtsp { .. }, ..) => (ErrorKind::Other, format!("what {source} sends cannot be played")),
        (Location::File { .. }, Some(R::NotFound), _) => {
            (ErrorKind::NoFile, format!("there is no file {source}"))
        }
        (Location::File { .. }, Some(R::OpenRead | R::Read), _) => {
            (ErrorKind::NotAllowed, format!("{source} cannot be read"))
        }
        (Location::File { .. }, _, Some(_)) => {
            (ErrorKind::NotMedia, format!("{source} is no video that can be played ({})", error.message()))
        }
        _ => (ErrorKind::Other, format!("{source}: {}", error.message())),
    };
    MediaError::new(kind, words)
}

/// How a password is to be written, where the address can be read in two ways.
fn spelling(source: &Location) -> &'static str {
    match source {
        Location::Rtsp { url, .. } if url.is_ambiguous() => {
            "; an @ stands in the path: if it belongs to a password with /, ? or # in it, write these as %2F, %3F, %23"
        }
        _ => "",
    }
}

/// When GStreamer said what it lacks, that is the cause.
pub(super) fn with_missing(error: MediaError, missing: Option<&str>) -> MediaError {
    match missing {
        Some(missing)
            if matches!(
                error.kind(),
                ErrorKind::MissingPlugin | ErrorKind::NoPictures | ErrorKind::NotMedia
            ) =>
        {
            let words = format!("no {missing} is installed: try `apt install {DECODERS}`");
            MediaError::new(ErrorKind::MissingPlugin, words)
        }
        _ => error,
    }
}

/// Of a camera that is not there: what to do.
pub(super) fn with_advice(error: MediaError, advice: Option<&str>) -> MediaError {
    match advice {
        Some(advice) if matches!(error.kind(), ErrorKind::NoCamera | ErrorKind::Stalled) => {
            let words = error.to_string();
            MediaError::new(error.kind(), format!("{}; {advice}", words.trim_end_matches(['.', ' '])))
        }
        _ => error,
    }
}

/// Whether nobody agreed on caps: what was enumerated is not what is given. One that is busy or gone says so
/// at the same calls, and that tells nothing of what it has.
pub(super) fn is_disagreement(error: &MediaError, debug: &str) -> bool {
    error.kind() == ErrorKind::Other && (debug.contains("not-negotiated") || debug.contains("S_FMT"))
}

/// Pictures of another size than the camera agreed to.
pub(super) fn wrong_size(source: &Location, agreed: (u32, u32), given: (u32, u32)) -> MediaError {
    let words = format!(
        "{source} agreed to pictures of {} x {} and gives {} x {}: they are taken as they come",
        agreed.0, agreed.1, given.0, given.1
    );
    MediaError::new(ErrorKind::WrongPictures, words)
}

/// Far fewer pictures than the camera agreed to.
pub(super) fn too_slow(source: &Location, agreed: f64, rate: f64) -> MediaError {
    let words = format!(
        "{source} agreed to {agreed:.0} pictures a second and gives {rate:.1}: in the dark many cameras expose \
         longer (their control exposure_auto_priority, off, keeps the rate), and a USB hub may be too slow"
    );
    MediaError::new(ErrorKind::TooSlow, words)
}

/// Nothing came for too long.
pub(super) fn stalled(source: &Location) -> MediaError {
    let cure = match source {
        Location::V4l2 { .. } => "unplug the camera and plug it in again if this goes on",
        Location::Csi { .. } => "is the sensor of another kind than the board's configuration says?",
        Location::Rtsp { .. } => "check the camera and the network",
        _ => "is the machine overloaded?",
    };
    MediaError::new(ErrorKind::Stalled, format!("{source} gives no pictures: {cure}"))
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
            (&csi, stream(S::Failed), "reason not-negotiated (-4)", "wrong-pictures"),
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
    fn what_a_camera_cannot_give_is_told_from_what_it_does_not_give_now() {
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
        let error = MediaError::new(ErrorKind::NoPictures, "no pictures");
        let named = with_missing(error.clone(), Some("H.265 (Main Profile) decoder"));
        assert_eq!(named.code(), "missing-plugin");
        assert!(named.to_string().contains("H.265 (Main Profile) decoder"), "{named}");
        assert_eq!(with_missing(error.clone(), None), error);
    }
}
