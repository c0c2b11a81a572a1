//! Which elements playing needs, and which decoders there are.

use gst::prelude::*;
use gstreamer as gst;

use super::fault;
use super::settings::{Audio, Settings, Video};
use crate::media::Codec;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::sound_system::system;

const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const LIBAV: &str = "gstreamer1.0-libav";

/// Checks that the elements for these settings are installed. Video decoders are looked up once the codec is known.
pub(super) fn check(settings: &Settings) -> Result<(), MediaError> {
    let video: &[_] = match settings.video {
        Video::None => &[],
        Video::Device { .. } => {
            &[("appsrc", BASE), ("videoconvert", BASE), ("videoscale", BASE), ("v4l2sink", GOOD)]
        }
        Video::Pictures => &[("appsrc", BASE), ("videoconvert", BASE), ("appsink", BASE)],
        Video::Window | Video::Element { .. } => &[("appsrc", BASE), ("videoconvert", BASE)],
    };
    let audio: &[_] = match settings.audio {
        Audio::None => &[],
        _ => &[
            ("appsrc", BASE),
            ("opusdec", BASE),
            ("audioconvert", BASE),
            ("audioresample", BASE),
            ("volume", BASE),
        ],
    };
    let output = match &settings.audio {
        Audio::Default => Some(("autoaudiosink", GOOD)),
        Audio::Device { name } => system(name).map(|(system, _)| (system.sink, system.package)),
        _ => None,
    };
    for (element, package) in video.iter().chain(audio).copied().chain(output) {
        need(element, package)?;
    }
    Ok(())
}

fn need(element: &str, package: &str) -> Result<(), MediaError> {
    match gst::ElementFactory::find(element) {
        Some(_) => Ok(()),
        None => Err(MediaError::missing_plugin(element, package)),
    }
}

/// The sink for a window. Not `autovideosink`, which also tries DirectFB, and that crashes where it finds no display.
pub(super) fn window() -> Result<&'static str, MediaError> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let installed = |element: &&str| gst::ElementFactory::find(element).is_some();
    if set("WAYLAND_DISPLAY") && installed(&"waylandsink") {
        return Ok("waylandsink");
    }
    if !set("DISPLAY") {
        return Err(fault::no_window("there is no display"));
    }
    // The basic one first: xvimagesink fails on displays without the XVideo extension.
    let sinks = ["ximagesink", "xvimagesink", "glimagesink"];
    let found = sinks.into_iter().find(installed);
    found.ok_or_else(|| MediaError::missing_plugin("ximagesink", "gstreamer1.0-x"))
}

/// The caps of encoded frames.
pub(super) fn caps(codec: Codec) -> gst::Caps {
    match codec {
        Codec::H264 => gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build(),
        Codec::Opus => gst::Caps::builder("audio/x-opus")
            .field("rate", 48_000)
            .field("channels", 2)
            .field("channel-mapping-family", 0)
            .build(),
        // Otherwise decoders for frames with transparency would match as well.
        _ => gst::Caps::builder("video/x-vp8").field("codec-alpha", false).build(),
    }
}

/// The decoders of a video codec: the `first` one if it is installed, then hardware, then software, each by its rank.
pub(super) fn decoders(codec: Codec, first: Option<&str>) -> Result<Vec<String>, MediaError> {
    if codec == Codec::H264 {
        need("h264parse", BAD)?;
    }
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let found = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let caps = caps(codec);
    let mut found: Vec<_> = found.into_iter().filter(|factory| factory.can_sink_any_caps(&caps)).collect();
    let hardware = |factory: &gst::ElementFactory| factory.klass().contains("Hardware");
    // The list is sorted by rank already, and this sort is stable.
    found.sort_by_key(|factory| !hardware(factory));
    let mut names: Vec<String> = found.iter().map(|factory| factory.name().into()).collect();
    if let Some(first) =
        first.filter(|name| codec == Codec::H264 && gst::ElementFactory::find(name).is_some())
    {
        names.retain(|name| name != first);
        names.insert(0, first.into());
    }
    if names.is_empty() {
        let package = if codec == Codec::H264 { LIBAV } else { GOOD };
        let words = format!("no decoder for {} is installed (try `apt install {package}`)", codec.name());
        return Err(MediaError::new(ErrorKind::MissingPlugin, words));
    }
    Ok(names)
}
