//! Removes a known signal from what a microphone hears, by GStreamer's `webrtcdsp`.
//!
//! ```text
//! played ─ pad ─ webrtcechoprobe ─ pad
//!                      ▼
//! heard ── pad ──  webrtcdsp  ──── pad ─ cleaned
//! ```
//!
//! The elements are in no pipeline: blocks are pushed through them one by one on the microphone's thread, so that each
//! meets the block it is aligned with.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer as gst;

use super::parts::{lock, need};
use crate::media::echo::{BLOCK, RATE};
use crate::media::error::{ErrorKind, MediaError};

const BAD: &str = "gstreamer1.0-plugins-bad";
const BLOCK_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(10);

/// Checks that echo can be cancelled.
///
/// Errors: GStreamer does not start, or an element is not installed, with its Debian package.
pub(crate) fn check() -> Result<(), MediaError> {
    gst::init().map_err(|error| {
        MediaError::new(ErrorKind::MissingPlugin, format!("GStreamer does not start: {error}"))
    })?;
    ["webrtcdsp", "webrtcechoprobe", "audiobuffersplit"].into_iter().try_for_each(|name| need(name, BAD))
}

/// An echo canceller. It learns the way from speaker to microphone while both have sound.
pub(super) struct Canceller {
    elements: [gst::Element; 2],
    played: gst::Pad,
    heard: gst::Pad,
    /// What the elements are linked to, as long as they exist.
    _ends: [gst::Pad; 2],
    cleaned: Arc<Mutex<Option<gst::Buffer>>>,
    blocks: u64,
}

impl Drop for Canceller {
    fn drop(&mut self) {
        for element in &self.elements {
            _ = element.set_state(gst::State::Null);
        }
    }
}

impl Canceller {
    /// Errors: an element is missing, or refuses to start.
    pub(super) fn new() -> Result<Canceller, MediaError> {
        check()?;
        let failed = |error: &dyn std::fmt::Display| {
            MediaError::new(ErrorKind::Other, format!("the echo canceller does not start: {error}"))
        };
        let probe = gst::ElementFactory::make("webrtcechoprobe").build().map_err(|error| failed(&error))?;
        let name = probe.name();
        // A camera's microphone is for more than speech: only the echo is removed, and as little else as possible.
        let mut canceller = gst::ElementFactory::make("webrtcdsp")
            .property("probe", name.as_str())
            .property_from_str("echo-suppression-level", "low");
        for name in ["gain-control", "noise-suppression", "limiter", "high-pass-filter"] {
            canceller = canceller.property(name, false);
        }
        let canceller = canceller.build().map_err(|error| failed(&error))?;
        let cleaned = Arc::<Mutex<Option<gst::Buffer>>>::default();
        let source = || gst::Pad::builder(gst::PadDirection::Src).build();
        let sink = |take: fn(&Mutex<Option<gst::Buffer>>, gst::Buffer)| {
            let cleaned = cleaned.clone();
            gst::Pad::builder(gst::PadDirection::Sink)
                .event_function(|_, _, _| true)
                .chain_function(move |_, _, buffer| {
                    take(&cleaned, buffer);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build()
        };
        let (played, heard) = (source(), source());
        let ends = [sink(|_, _| ()), sink(|cleaned, buffer| *lock(cleaned) = Some(buffer))];
        let elements = [probe, canceller];
        for ((element, source), end) in elements.iter().zip([&played, &heard]).zip(&ends) {
            let pad = |name| element.static_pad(name).expect("a filter has two pads");
            source.link(&pad("sink")).map_err(|error| failed(&error))?;
            pad("src").link(end).map_err(|error| failed(&error))?;
            for pad in [end, source] {
                pad.set_active(true).map_err(|error| failed(&error))?;
            }
        }
        let canceller = Canceller { elements, played, heard, _ends: ends, cleaned, blocks: 0 };
        for element in &canceller.elements {
            element.set_state(gst::State::Playing).map_err(|error| failed(&error))?;
        }
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", RATE as i32)
            .field("channels", 1i32)
            .build();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        for pad in [&canceller.played, &canceller.heard] {
            let events = [
                gst::event::StreamStart::new("symple-echo"),
                gst::event::Caps::new(&caps),
                gst::event::Segment::new(&segment),
            ];
            if !events.into_iter().all(|event| pad.push_event(event)) {
                return Err(failed(&"it does not take the format"));
            }
        }
        // Without one the probe ignores all it gets.
        canceller._ends[0].push_event(gst::event::Latency::new(gst::ClockTime::ZERO));
        Ok(canceller)
    }

    /// Removes from a block what was played. Returns false, and changes nothing, if that failed.
    pub(super) fn clean(&mut self, heard: &mut [i16; BLOCK], played: &[i16; BLOCK]) -> bool {
        let time = BLOCK_TIME * self.blocks;
        self.blocks += 1;
        let buffer = |samples: &[i16; BLOCK]| {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let mut buffer = gst::Buffer::from_slice(bytes);
            let fields = buffer.get_mut().expect("made in the line above");
            fields.set_pts(time);
            fields.set_duration(BLOCK_TIME);
            buffer
        };
        let pushed = self.played.push(buffer(played)).and_then(|_| self.heard.push(buffer(heard)));
        let Some(cleaned) = pushed.ok().and_then(|_| lock(&self.cleaned).take()) else { return false };
        let Ok(map) = cleaned.map_readable() else { return false };
        if map.len() != 2 * BLOCK {
            return false;
        }
        for (sample, bytes) in heard.iter_mut().zip(map.chunks_exact(2)) {
            *sample = i16::from_le_bytes([bytes[0], bytes[1]]);
        }
        true
    }
}
