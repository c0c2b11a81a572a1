//! The systems of speakers and microphones: what devices of each are called, and which elements open them.

/// A system of audio devices.
pub(in crate::media) struct SoundSystem {
    /// What device names begin with.
    prefix: &'static str,
    /// GStreamer's element that plays to a device.
    pub sink: &'static str,
    /// GStreamer's element that records from a device.
    pub source: &'static str,
    /// Their property for the device.
    pub property: &'static str,
    /// Their Debian package.
    pub package: &'static str,
}

const SYSTEMS: [SoundSystem; 3] = [
    SoundSystem {
        prefix: "alsa",
        sink: "alsasink",
        source: "alsasrc",
        property: "device",
        package: "gstreamer1.0-alsa",
    },
    SoundSystem {
        prefix: "pulse",
        sink: "pulsesink",
        source: "pulsesrc",
        property: "device",
        package: "gstreamer1.0-pulseaudio",
    },
    SoundSystem {
        prefix: "pipewire",
        sink: "pipewiresink",
        source: "pipewiresrc",
        property: "target-object",
        package: "gstreamer1.0-pipewire",
    },
];

/// The system of a device, and the device's name there.
pub(in crate::media) fn system(name: &str) -> Option<(&'static SoundSystem, &str)> {
    let (prefix, rest) = name.split_once(':')?;
    let system = SYSTEMS.iter().find(|system| system.prefix == prefix)?;
    (!rest.is_empty()).then_some((system, rest))
}
