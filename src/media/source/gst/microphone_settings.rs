//! Which microphone to capture, and what is wrong with one that does not work.

use std::fmt;
use std::str::FromStr;

use gstreamer as gst;
use gstreamer::glib;

use super::parts::need;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::sound_system::system;

const GOOD: &str = "gstreamer1.0-plugins-good";

/// Where audio comes from, if not from the source of the video.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Microphone {
    /// The source of the video, if it has audio.
    #[default]
    None,
    /// The system's default microphone.
    Default,
    /// A microphone by the name that [`audio_devices`](crate::media::playback::audio_devices) lists.
    Device {
        /// Such as `alsa:hw:1,0` or `pulse:alsa_input.usb-…`.
        name: String,
    },
    /// Elements of GStreamer, beginning with a source, in the syntax of `gst-launch-1.0`. They produce raw audio.
    Element {
        /// Such as `alsasrc device=hw:1 buffer-time=100000`.
        launch: String,
    },
}

impl FromStr for Microphone {
    type Err = MediaError;

    /// Parses `none`, `default`, a device name with its prefix, or elements.
    fn from_str(text: &str) -> Result<Microphone, MediaError> {
        match text.trim() {
            "none" => Ok(Microphone::None),
            "default" => Ok(Microphone::Default),
            "" => Err(MediaError::new(ErrorKind::BadSettings, "the microphone is empty")),
            name if system(name).is_some() => Ok(Microphone::Device { name: name.into() }),
            launch => Ok(Microphone::Element { launch: launch.into() }),
        }
    }
}

impl fmt::Display for Microphone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Microphone::None => "none",
            Microphone::Default => "default",
            Microphone::Device { name } => name,
            Microphone::Element { launch } => launch,
        })
    }
}

impl Microphone {
    /// The first elements of a pipeline in launch syntax, and a property for the one named `microphone`.
    pub(super) fn head(&self) -> (String, Option<(&'static str, String)>) {
        match self {
            Microphone::Device { name } => match system(name) {
                Some((system, device)) => {
                    (format!("{} name=microphone", system.source), Some((system.property, device.to_owned())))
                }
                None => (String::new(), None),
            },
            Microphone::Element { launch } => (launch.clone(), None),
            Microphone::Default | Microphone::None => ("autoaudiosrc name=microphone".into(), None),
        }
    }

    /// Checks the name, and that its element is installed. The device is not opened.
    ///
    /// Errors: an unknown name, or a missing element, with its package.
    pub(super) fn check(&self) -> Result<(), MediaError> {
        let (element, package) = match self {
            Microphone::None => return Ok(()),
            Microphone::Default => ("autoaudiosrc", GOOD),
            Microphone::Device { name } => {
                let unknown = || {
                    let words = format!(
                        "unknown microphone \"{name}\": use a name that `symple devices` lists, such as alsa:hw:1,0"
                    );
                    MediaError::new(ErrorKind::BadSettings, words)
                };
                system(name).map(|(system, _)| (system.source, system.package)).ok_or_else(unknown)?
            }
            Microphone::Element { launch } => {
                let built = gst::parse::bin_from_description(launch, true);
                return built.map(drop).map_err(|error| {
                    let words = format!(
                        "the microphone \"{launch}\" cannot be built: {} (`symple devices` lists the microphones)",
                        error.message()
                    );
                    MediaError::new(ErrorKind::BadSettings, words)
                });
            }
        };
        need(element, package)
    }

    /// Its name for people.
    pub(super) fn words(&self) -> String {
        match self {
            Microphone::Device { name } => format!("microphone {name}"),
            Microphone::Default | Microphone::None => "the default microphone".into(),
            Microphone::Element { launch } => format!("microphone \"{launch}\""),
        }
    }
}

/// An error from the bus, or at opening.
pub(super) fn from_gstreamer(microphone: &Microphone, error: &glib::Error, debug: &str) -> MediaError {
    use gst::ResourceError as R;
    let has = |text: &str| debug.contains(text) || error.message().contains(text);
    let (what, resource) = (microphone.words(), error.kind::<R>());
    let (kind, words) = if resource == Some(R::Busy) || has("resource busy") {
        let cure = "`fuser -v /dev/snd/*` shows which";
        (ErrorKind::MicrophoneBusy, format!("{what} is in use by another program ({cure})"))
    } else if has("Permission denied") || has("Access denied") {
        (ErrorKind::NotAllowed, format!("permission denied: {what} (add the user to the group audio)"))
    } else if resource.is_some() || has("No such entity") {
        let cure = "`symple devices` lists the microphones";
        (ErrorKind::NoMicrophone, format!("{what} cannot be used: {} ({cure})", error.message()))
    } else if matches!(microphone, Microphone::Device { .. }) && has("not-negotiated") {
        // What PulseAudio's source says of a device that is not there.
        let cure = "`symple devices` lists the microphones";
        (ErrorKind::NoMicrophone, format!("{what} cannot be used: there is no such device ({cure})"))
    } else if *microphone == Microphone::Default {
        // The automatic source tries OpenAL last, whose errors say nothing.
        return none_works();
    } else {
        (ErrorKind::Other, format!("{what}: {}", error.message()))
    };
    MediaError::new(kind, words)
}

/// No source works as the default one.
pub(super) fn none_works() -> MediaError {
    let words = "no microphone works (`symple devices` lists them; try `apt install gstreamer1.0-alsa`)";
    MediaError::new(ErrorKind::NoMicrophone, words)
}

/// It is open, and nothing comes.
pub(super) fn stalled(microphone: &Microphone) -> MediaError {
    let words = format!("no audio from {}: unplug it and plug it in again", microphone.words());
    MediaError::new(ErrorKind::Stalled, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::ResourceError as R;

    #[test]
    fn microphones_are_written_as_speakers_are() {
        let device = |name: &str| Microphone::Device { name: name.into() };
        let launch = |launch: &str| Microphone::Element { launch: launch.into() };
        let table = [
            ("none", Microphone::None),
            (" default ", Microphone::Default),
            ("alsa:hw:1,0", device("alsa:hw:1,0")),
            ("pulse:loop.monitor", device("pulse:loop.monitor")),
            ("pulse:", launch("pulse:")),
            ("audiotestsrc is-live=true", launch("audiotestsrc is-live=true")),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert!(" ".parse::<Microphone>().is_err());
        gst::init().expect("GStreamer starts");
        let refused = |microphone: Microphone| microphone.check().expect_err("it cannot work");
        assert_eq!(refused(device("mouse")).code(), "bad-settings");
        let error = refused(launch("pulse:"));
        assert_eq!(error.code(), "bad-settings");
        assert!(error.to_string().contains("pulse:"), "{error}");
    }

    #[test]
    fn errors_name_the_microphone_and_the_cure() {
        let microphone = "alsa:hw:9".parse().expect("a device");
        let error = |code: R| glib::Error::new(code, "Could not open");
        let table = [
            (error(R::Busy), "", "microphone-busy", "another program"),
            (error(R::OpenRead), "Device or resource busy", "microphone-busy", "/dev/snd"),
            (error(R::OpenRead), "Permission denied", "not-allowed", "group audio"),
            (error(R::OpenRead), "No such device", "no-microphone", "symple devices"),
            (error(R::Read), "", "no-microphone", "symple devices"),
            (glib::Error::new(gst::StreamError::Failed, "no"), "", "media", "alsa:hw:9"),
        ];
        for (error, debug, code, words) in table {
            let found = from_gstreamer(&microphone, &error, debug);
            assert_eq!(found.code(), code, "{error:?} {debug}");
            let text = found.to_string();
            assert!(text.contains(words) && text.contains("alsa:hw:9"), "{text}");
        }
        let entity = glib::Error::new(R::Failed, "Failed to connect stream: No such entity");
        assert_eq!(from_gstreamer(&microphone, &entity, "").code(), "no-microphone");
        let missing = glib::Error::new(gst::StreamError::Failed, "Internal data stream error.");
        let found = from_gstreamer(&microphone, &missing, "streaming stopped, reason not-negotiated (-4)");
        assert_eq!(found.code(), "no-microphone");
        let openal = glib::Error::new(gst::StreamError::Failed, "Internal data stream error.");
        let found = from_gstreamer(&Microphone::Default, &openal, "streaming stopped, reason error (-5)");
        assert_eq!(found, none_works());
    }
}
