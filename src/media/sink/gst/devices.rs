//! Lists speakers and microphones, by the names that settings accept.

use std::sync::mpsc;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use crate::media::error::{ErrorKind, MediaError};

/// Longer than any sound server takes to answer. One that hangs must not hang the program.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which way the sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Direction {
    /// An output: a speaker, headphones.
    Speaker,
    /// An input: a microphone.
    Microphone,
}

/// A speaker or microphone of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioDevice {
    /// The name that settings accept, such as `alsa:hw:0,0`.
    pub name: String,
    /// The name for people.
    pub label: String,
    /// Speaker or microphone.
    pub direction: Direction,
}

/// Lists the speakers and microphones that GStreamer finds. Blocks, for 5 s at most. Without a sound system the list is
/// empty.
///
/// Errors: GStreamer does not start, or a sound server does not answer.
pub fn audio_devices() -> Result<Vec<AudioDevice>, MediaError> {
    gst::init().map_err(|error| {
        MediaError::new(ErrorKind::MissingPlugin, format!("GStreamer does not start: {error}"))
    })?;
    let (sender, found) = mpsc::channel();
    let thread = std::thread::Builder::new().name("symple-devices".into());
    let thread = thread.spawn(move || _ = sender.send(list()));
    thread.map_err(|error| MediaError::new(ErrorKind::Other, format!("cannot start a thread: {error}")))?;
    found.recv_timeout(PATIENCE).map_err(|_| {
        let words = format!("the sound server did not answer within {} s: restart it", PATIENCE.as_secs());
        MediaError::new(ErrorKind::Stalled, words)
    })
}

fn list() -> Vec<AudioDevice> {
    let kinds = [("Audio/Sink", Direction::Speaker), ("Audio/Source", Direction::Microphone)];
    let of_kind = |(class, direction): (&str, Direction)| {
        let monitor = gst::DeviceMonitor::new();
        monitor.add_filter(Some(class), None);
        // Without any provider of such devices it does not start, and lists nothing.
        let started = monitor.start().is_ok();
        let found = monitor.devices();
        if started {
            monitor.stop();
        }
        found.into_iter().filter_map(move |device| {
            Some(AudioDevice { name: name(&device)?, label: device.display_name().into(), direction })
        })
    };
    let mut all: Vec<AudioDevice> = kinds.into_iter().flat_map(of_kind).collect();
    all.dedup();
    all
}

/// The element that plays a device, or records from it, knows both its system and its name there.
fn name(device: &gst::Device) -> Option<String> {
    let element = device.create_element(None).ok()?;
    let factory = element.factory()?.name();
    let system = factory.strip_suffix("sink").or(factory.strip_suffix("src"))?;
    let property = ["device", "target-object", "path"].into_iter().find(|name| element.has_property(name))?;
    let value = element.property_value(property).get::<Option<String>>().ok()??;
    Some(format!("{system}:{value}"))
}
