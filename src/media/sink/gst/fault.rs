//! Translates errors of outputs: what is wrong with this one, and how to fix it.

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
        _ if resource == Some(R::Busy) || has("resource busy") => {
            let cure = match target {
                Target::Video(Video::Device { path }) => format!(" (`fuser {}` shows which)", path.display()),
                Target::Audio(_) => " (`fuser -v /dev/snd/*` shows which)".into(),
                Target::Video(_) => String::new(),
            };
            (ErrorKind::OutputBusy, format!("{what} is in use by another program{cure}"))
        }
        _ if has("Permission denied") => {
            let group = if matches!(target, Target::Audio(_)) { "audio" } else { "video" };
            (ErrorKind::NotAllowed, format!("permission denied: {what} (add the user to the group {group})"))
        }
        Target::Video(Video::Window) if resource.is_some() => {
            return no_window(error.message());
        }
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

/// The output has stopped taking frames.
pub(super) fn stuck(target: &Target) -> MediaError {
    MediaError::new(ErrorKind::Stalled, format!("{} does not take frames any more", target.words()))
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
        let error = |code: R| glib::Error::new(code, "Could not open");
        let stream = || glib::Error::new(S::Failed, "Internal data stream error.");
        let table = [
            (device(), error(R::Busy), "", "output-busy", "fuser /dev/video10"),
            (device(), error(R::OpenWrite), "Device or resource busy", "output-busy", "another program"),
            (device(), error(R::OpenWrite), "Permission denied", "not-allowed", "group video"),
            (device(), error(R::NotFound), "", "no-output", "v4l2-ctl"),
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
}
