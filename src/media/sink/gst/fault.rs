//! Translates errors of outputs: what is wrong with this one, and how to fix it.

use std::io;
use std::path::Path;

use gstreamer as gst;
use gstreamer::glib;

use super::settings::{Audio, Video};
use crate::media::error::{ErrorKind, MediaError};

/// Where frames of one kind go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Video(Video),
    Audio(Audio),
}

impl Target {
    fn words(&self) -> String {
        match self {
            Target::Video(Video::Device { path }) => format!("video output {}", path.display()),
            Target::Video(Video::Window) => "window".into(),
            Target::Video(_) => "video output".into(),
            Target::Audio(Audio::Device { name }) => format!("audio device {name}"),
            Target::Audio(Audio::Default) => "default audio device".into(),
            Target::Audio(_) => "audio output".into(),
        }
    }
}

/// The user closed the window: GStreamer's sinks have no other word for it.
pub(super) fn is_closed(error: &glib::Error) -> bool {
    error.message().contains("window was closed")
}

/// An error from the bus, or at opening.
pub(super) fn from_gstreamer(target: &Target, error: &glib::Error, debug: &str) -> MediaError {
    use gst::ResourceError as R;
    let has = |text: &str| debug.contains(text) || error.message().contains(text);
    let what = target.words();
    let resource = error.kind::<R>();
    let (kind, words) = match target {
        _ if resource == Some(R::Busy) || has("resource busy") => return busy(target),
        _ if has("Permission denied") => return not_allowed(target),
        Target::Video(Video::Window) if resource.is_some() => {
            return no_window(error.message());
        }
        Target::Video(Video::Device { path })
            if has("not a output device") || has("not an output device") || has("Inappropriate ioctl") =>
        {
            return not_an_output(path);
        }
        Target::Video(Video::Device { path }) if has("No such device") => return gone(path),
        // The kernel gives the buffers of an output to one program at a time; GStreamer does not pass on its reason.
        Target::Video(Video::Device { path }) if has("Buffer pool activation failed") => (
            ErrorKind::OutputBusy,
            format!(
                "{what} has no buffers: it may be in use by another program (`fuser {}` shows which)",
                path.display()
            ),
        ),
        Target::Video(Video::Device { .. }) if resource.is_some() => (
            ErrorKind::NoOutput,
            format!(
                "{what} cannot be opened: {} (`v4l2-ctl --list-devices` lists the devices)",
                error.message()
            ),
        ),
        // All that GStreamer 1.22 reports of an output in use, whose format cannot be changed.
        Target::Video(Video::Device { path }) if has("not-negotiated") => (
            ErrorKind::OutputBusy,
            format!(
                "{what} accepts no format: it may be in use by another program (`fuser {}` shows which)",
                path.display()
            ),
        ),
        Target::Audio(_) if resource.is_some() => (
            ErrorKind::NoOutput,
            format!("{what} cannot be opened: {} (`symple devices` lists the devices)", error.message()),
        ),
        // What PulseAudio's sink says of a device that is not there.
        Target::Audio(Audio::Device { .. }) if has("not-negotiated") || has("wrong format") => (
            ErrorKind::NoOutput,
            format!("{what} cannot be opened: there is no such device (`symple devices` lists the devices)"),
        ),
        _ => (ErrorKind::Other, format!("{what}: {}", error.message())),
    };
    MediaError::new(kind, words)
}

/// Checks that a V4L2 output is there and may be opened. GStreamer's own words for it depend on the user's language.
///
/// Errors: no such device, permission denied, in use, unplugged, or not a device.
pub(super) fn check_device(path: &Path) -> Result<(), MediaError> {
    use std::os::unix::fs::FileTypeExt;
    let failed = |error: io::Error| from_io(path, &error);
    if !std::fs::metadata(path).map_err(failed)?.file_type().is_char_device() {
        return Err(not_an_output(path));
    }
    open(path).map_err(failed)
}

fn open(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().read(true).write(true).open(path).map(drop)
}

/// The error of a V4L2 output that is missing by the time of an error, whatever that was: as it is unplugged, GStreamer
/// 1.22 reports that it could not read, or only that the stream failed, as an error of the first element.
pub(super) fn unplugged(target: &Target) -> Option<MediaError> {
    match target {
        Target::Video(Video::Device { path }) => {
            let missing = |error: io::Error| is_gone(&error) || error.kind() == io::ErrorKind::NotFound;
            open(path).is_err_and(missing).then(|| gone(path))
        }
        _ => None,
    }
}

/// ENXIO and ENODEV.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(6 | 19))
}

fn from_io(path: &Path, error: &io::Error) -> MediaError {
    let target = Target::Video(Video::Device { path: path.into() });
    match error.kind() {
        io::ErrorKind::NotFound => {
            let words = format!("{} not found (`v4l2-ctl --list-devices` lists the devices)", target.words());
            MediaError::new(ErrorKind::NoOutput, words)
        }
        io::ErrorKind::PermissionDenied => not_allowed(&target),
        io::ErrorKind::ResourceBusy => busy(&target),
        _ if is_gone(error) => gone(path),
        _ => MediaError::new(ErrorKind::NoOutput, format!("{} cannot be opened: {error}", target.words())),
    }
}

fn busy(target: &Target) -> MediaError {
    let cure = match target {
        Target::Video(Video::Device { path }) => format!(" (`fuser {}` shows which)", path.display()),
        Target::Audio(_) => " (`fuser -v /dev/snd/*` shows which)".into(),
        Target::Video(_) => String::new(),
    };
    let words = format!("{} is in use by another program{cure}", target.words());
    MediaError::new(ErrorKind::OutputBusy, words)
}

fn not_allowed(target: &Target) -> MediaError {
    let group = if matches!(target, Target::Audio(_)) { "audio" } else { "video" };
    let words = format!("permission denied: {} (add the user to the group {group})", target.words());
    MediaError::new(ErrorKind::NotAllowed, words)
}

fn gone(path: &Path) -> MediaError {
    MediaError::new(ErrorKind::NoOutput, format!("video output {} is gone (unplugged?)", path.display()))
}

fn not_an_output(path: &Path) -> MediaError {
    let words =
        format!("{} is not a video output (`v4l2-ctl --list-devices` lists the devices)", path.display());
    MediaError::new(ErrorKind::NotAnOutput, words)
}

/// No sink for a window works here.
pub(super) fn no_window(why: &str) -> MediaError {
    let words = format!(
        "no window can be opened: {why} (check DISPLAY or WAYLAND_DISPLAY; for X11 try `apt install gstreamer1.0-x`)"
    );
    MediaError::new(ErrorKind::NoOutput, words)
}

/// No sink for the default device works here.
pub(super) fn no_speaker() -> MediaError {
    let words = "no audio device works (`symple devices` lists them; try `apt install gstreamer1.0-alsa`)";
    MediaError::new(ErrorKind::NoOutput, words)
}

/// GStreamer gave no reason.
pub(super) fn unopened(target: &Target) -> MediaError {
    MediaError::new(ErrorKind::NoOutput, format!("{} cannot be opened", target.words()))
}

/// The output takes no frames, or has stopped taking them.
pub(super) fn stuck(target: &Target, shown: u64) -> MediaError {
    let words = if shown == 0 { "takes no frames" } else { "does not take frames any more" };
    MediaError::new(ErrorKind::Stalled, format!("{} {words}", target.words()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::{ResourceError as R, StreamError as S};

    #[test]
    fn errors_name_the_output_and_the_cure() {
        let device = || Target::Video(Video::Device { path: "/dev/video10".into() });
        let speaker = || Target::Audio(Audio::Device { name: "alsa:hw:9,0".into() });
        let window = || Target::Video(Video::Window);
        let words = |code: R, words: &str| glib::Error::new(code, words);
        let error = |code: R| words(code, "Could not open");
        let stream = || glib::Error::new(S::Failed, "Internal data stream error.");
        let table = [
            (device(), error(R::Busy), "", "output-busy", "fuser /dev/video10"),
            (device(), error(R::OpenWrite), "Device or resource busy", "output-busy", "another program"),
            (device(), error(R::OpenWrite), "Permission denied", "not-allowed", "group video"),
            (device(), error(R::NotFound), "", "no-output", "v4l2-ctl"),
            (device(), error(R::OpenReadWrite), "system error: No such device", "no-output", "unplugged?"),
            (
                device(),
                words(R::NotFound, "Device '/dev/video10' is not a output device."),
                "Capabilities: 0x1",
                "not-an-output",
                "not a video output",
            ),
            (
                device(),
                words(R::Settings, "It isn't a v4l2 driver."),
                "system error: Inappropriate ioctl for device",
                "not-an-output",
                "not a video output",
            ),
            (
                device(),
                words(R::Settings, "Failed to allocated required memory."),
                "Buffer pool activation failed",
                "output-busy",
                "fuser /dev/video10",
            ),
            (device(), stream(), "streaming stopped, reason not-negotiated (-4)", "output-busy", "no format"),
            (device(), stream(), "streaming stopped, reason error (-5)", "media", "/dev/video10"),
            (speaker(), error(R::Busy), "", "output-busy", "/dev/snd"),
            (speaker(), error(R::OpenWrite), "Permission denied", "not-allowed", "group audio"),
            (speaker(), error(R::NotFound), "", "no-output", "symple devices"),
            (
                speaker(),
                stream(),
                "streaming stopped, reason not-negotiated (-4)",
                "no-output",
                "no such device",
            ),
            (speaker(), stream(), "streaming stopped, reason error (-5)", "media", "alsa:hw:9,0"),
            (window(), error(R::OpenWrite), "", "no-output", "DISPLAY"),
            (window(), glib::Error::new(S::Failed, "Could not open"), "", "media", "Could not open"),
        ];
        for (target, error, debug, code, words) in table {
            let found = from_gstreamer(&target, &error, debug);
            assert_eq!(found.code(), code, "{target:?} {error:?} {debug}");
            assert!(found.to_string().contains(words), "{found}");
        }
        assert!(is_closed(&glib::Error::new(R::NotFound, "Output window was closed")));
        assert!(!is_closed(&error(R::NotFound)));
    }

    #[test]
    fn only_an_output_that_is_missing_was_unplugged() {
        let device = |path: &str| Target::Video(Video::Device { path: path.into() });
        let found = unplugged(&device("/dev/symple-none")).expect("it is missing");
        assert_eq!(found.code(), "no-output");
        assert!(found.to_string().contains("/dev/symple-none is gone (unplugged?)"), "{found}");
        assert_eq!(unplugged(&device("/dev/null")), None, "it is there");
        assert_eq!(unplugged(&device("/dev/shm")), None, "it is there, and no device");
        assert_eq!(unplugged(&Target::Video(Video::Window)), None);
    }

    #[test]
    fn an_output_that_cannot_be_opened_has_its_reason() {
        let table = [
            (2, "no-output", "/dev/video10 not found"),
            (13, "not-allowed", "group video"),
            (16, "output-busy", "fuser /dev/video10"),
            (6, "no-output", "unplugged?"),
            (19, "no-output", "unplugged?"),
            (24, "no-output", "Too many open files"),
        ];
        for (errno, code, words) in table {
            let error = from_io(Path::new("/dev/video10"), &io::Error::from_raw_os_error(errno));
            assert_eq!(error.code(), code, "{errno}");
            assert!(error.to_string().contains(words), "{errno}: {error}");
        }
        let table = [("/dev/symple-none", "no-output"), ("/dev/shm", "not-an-output")];
        for (path, code) in table {
            assert_eq!(check_device(Path::new(path)).expect_err("none").code(), code, "{path}");
        }
        check_device(Path::new("/dev/null")).expect("only its driver knows what it is");
    }
}
