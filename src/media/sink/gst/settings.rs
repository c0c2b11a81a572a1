//! Where to play, and how long frames may wait.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use gstreamer as gst;

use super::decoders::check;
use crate::media::echo::EchoReference;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::sound_system::system;

/// Where video is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Video {
    /// A window on the display of this session.
    #[default]
    Window,
    /// A V4L2 output, such as `/dev/video10` of v4l2loopback. Frames are scaled if it does not take their size.
    Device {
        /// The device.
        path: PathBuf,
    },
    /// Elements of GStreamer, ending in a sink, in the syntax of `gst-launch-1.0`. They receive raw video.
    Element {
        /// Such as `videoscale ! kmssink`.
        launch: String,
    },
    /// To the program, which gets them from [`Playback::on_picture`](super::Playback::on_picture) and shows them itself.
    Pictures,
    /// Nowhere: video frames are ignored.
    None,
}

impl FromStr for Video {
    type Err = MediaError;

    /// Parses `window`, `none`, a device path, or elements.
    fn from_str(text: &str) -> Result<Video, MediaError> {
        match text.trim() {
            "window" => Ok(Video::Window),
            "none" => Ok(Video::None),
            "" => Err(MediaError::new(ErrorKind::BadSettings, "the video output is empty")),
            path if path.starts_with("/dev/") => Ok(Video::Device { path: path.into() }),
            launch => Ok(Video::Element { launch: launch.into() }),
        }
    }
}

/// Where audio is played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audio {
    /// The system's default output.
    #[default]
    Default,
    /// An output by the name that [`audio_devices`](super::audio_devices) lists.
    Device {
        /// Such as `alsa:hw:0,0` or `pulse:alsa_output.usb-…`.
        name: String,
    },
    /// Elements of GStreamer, ending in a sink, in the syntax of `gst-launch-1.0`. They receive raw audio.
    Element {
        /// Such as `alsasink device=hw:1 buffer-time=100000`.
        launch: String,
    },
    /// Nowhere: audio frames are ignored.
    None,
}

impl FromStr for Audio {
    type Err = MediaError;

    /// Parses `default`, `none`, a device name with its prefix, or elements.
    fn from_str(text: &str) -> Result<Audio, MediaError> {
        match text.trim() {
            "default" => Ok(Audio::Default),
            "none" => Ok(Audio::None),
            "" => Err(MediaError::new(ErrorKind::BadSettings, "the audio output is empty")),
            name if system(name).is_some() => Ok(Audio::Device { name: name.into() }),
            launch => Ok(Audio::Element { launch: launch.into() }),
        }
    }
}

/// Settings of a [`Playback`](super::Playback).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where video is shown.
    pub video: Video,
    /// Where audio is played.
    pub audio: Audio,
    /// A decoder of H.264 to try first, by the name of its element. By default hardware decoders are tried before
    /// software, each by its rank in GStreamer.
    pub decoder: Option<String>,
    /// How long the first frames wait before they are decoded, to absorb jitter. Decoding and output take 50 ms more.
    pub delay: Duration,
    /// The bounds between which the delay follows the network.
    pub min_delay: Duration,
    /// The greatest delay: frames that come even later are dropped.
    pub max_delay: Duration,
    /// The most bytes of video, and of audio, that wait for their time.
    pub max_bytes: usize,
    /// The volume: 0.0 is silent, 1.0 is unchanged, 10.0 is the most.
    pub volume: f64,
    /// Whether the audio is muted at first.
    pub muted: bool,
    /// Passes what is played to a microphone that must not send it back. Default: none.
    pub echo: Option<EchoReference>,
}

impl Default for Settings {
    /// A window and the default speaker, a delay of 60 ms that follows the network up to a second, and 8 MiB.
    fn default() -> Settings {
        Settings {
            video: Video::default(),
            audio: Audio::default(),
            decoder: None,
            delay: Duration::from_millis(60),
            min_delay: Duration::ZERO,
            max_delay: Duration::from_secs(1),
            max_bytes: 8 << 20,
            volume: 1.0,
            muted: false,
            echo: None,
        }
    }
}

impl Settings {
    /// Checks the settings, and that what they need is installed. Devices are not opened.
    ///
    /// Errors: as [`Playback::start`](super::Playback::start) has them.
    pub fn check(&self) -> Result<(), MediaError> {
        let bad = |words: String| Err(MediaError::new(ErrorKind::BadSettings, words));
        if self.min_delay > self.max_delay || self.max_delay > Duration::from_secs(10) {
            return bad("the delay must be between min_delay and max_delay, and that at most 10 s".into());
        }
        if !(0.0..=10.0).contains(&self.volume) {
            return bad(format!("the volume must be between 0 and 10, not {}", self.volume));
        }
        if let Audio::Device { name } = &self.audio
            && system(name).is_none()
        {
            let words = format!(
                "unknown audio device \"{name}\": use a name that `symple devices` lists, such as alsa:hw:0,0"
            );
            return bad(words);
        }
        gst::init().map_err(|error| {
            MediaError::new(ErrorKind::MissingPlugin, format!("GStreamer does not start: {error}"))
        })?;
        check(self)
    }
}
