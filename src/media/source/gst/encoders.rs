//! Chooses an H.264 encoder by trying those that the board's profile lists.
//!
//! An installed element says nothing about the hardware, so each candidate encodes a few frames of the requested size,
//! and its stream must be constrained baseline. The first one that succeeds is used. One that does not work on this
//! machine only becomes an entry among the [`Rejected`].

use std::fmt;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::candidates::{Candidates, Chosen};
use super::parts;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use crate::media::board::{Elements, Profile};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps::Sps;

/// The timeout of a candidate. Loading firmware takes a second on some boards.
const TRIAL: gst::ClockTime = gst::ClockTime::from_seconds(5);
const TRIAL_PICTURES: u32 = 5;

/// The chosen encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// Its GStreamer name.
    pub name: String,
    /// Whether it encodes in hardware rather than on the CPU.
    pub hardware: bool,
    /// The `profile-level-id` of its stream, as in SDP.
    pub profile_level_id: [u8; 3],
    /// The preferred encoders that were rejected, in the order they were tried.
    pub tried: Vec<Rejected>,
    /// The encoder for the small rendition, by its GStreamer name; `None` if there is no such rendition. It is not tried
    /// before the rendition is wanted: see [`CaptureSettings::small`].
    pub small: Option<String>,
}

/// A rejected encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its GStreamer name.
    pub name: String,
    /// The reason, as text.
    pub reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl Chosen {
    /// Encodes a few frames; returns profile and level of the result.
    fn try_out(&self, settings: &CaptureSettings) -> Result<[u8; 3], String> {
        if gst::ElementFactory::find(&self.name).is_none() {
            return Err(format!("not installed (package {})", self.element.package));
        }
        let raw = RawVideo::of(settings);
        let RawVideo { width, height, fps } = raw;
        let launch = format!(
            "videotestsrc num-buffers={TRIAL_PICTURES} ! \
             video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {} ! \
             appsink name=out sync=false wait-on-eos=false",
            self.chain(raw, settings.key_interval, settings.bitrate, false)
        );
        let pipeline = gst::parse::launch(&launch).map_err(|error| error.message().to_string())?;
        let pipeline =
            pipeline.downcast::<gst::Pipeline>().map_err(|_| "GStreamer did not create a pipeline")?;
        let result = encode_a_little(&pipeline);
        _ = pipeline.set_state(gst::State::Null);
        result
    }
}

fn encode_a_little(pipeline: &gst::Pipeline) -> Result<[u8; 3], String> {
    let out = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().ok_or("it has no output")?;
    match parts::end_of(pipeline, TRIAL).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(error)) => return Err(error.error().message().to_string()),
        _ => return Err(format!("it did not start, or produced no output within {} s", TRIAL.seconds())),
    }
    let sample = out.try_pull_sample(gst::ClockTime::ZERO).ok_or("it produced no output")?;
    let map =
        sample.buffer().and_then(|buffer| buffer.map_readable().ok()).ok_or("its output cannot be read")?;
    let sps = Sps::find(&map).ok_or("its first frame has no parameter sets")?;
    if !sps.is_baseline() {
        return Err(format!(
            "it produces H.264 profile {}, not constrained baseline",
            sps.profile_level_id[0]
        ));
    }
    Ok(sps.profile_level_id)
}

/// Tries the candidates. Returns the first that works, followed by those that were not tried, in case it fails later.
pub(super) fn choose(
    settings: &CaptureSettings,
    profile: &Profile,
    elements: &Elements,
) -> Result<(Candidates, EncoderInfo), MediaError> {
    let mut tried = Vec::new();
    let mut candidates = profile.candidates(&settings.encoders, elements).into_iter();
    while let Some((name, described)) = candidates.next() {
        let tested = described.and_then(|element| {
            let chosen = Chosen { name: name.clone(), element };
            chosen.try_out(settings).map(|profile_level_id| (chosen, profile_level_id))
        });
        match tested {
            Ok((chosen, profile_level_id)) => {
                let hardware = chosen.element.hardware;
                let others = candidates.filter_map(|(name, element)| {
                    let known = element.ok().filter(|_| gst::ElementFactory::find(&name).is_some());
                    Some(Chosen { name, element: known? })
                });
                let all = Candidates::new(std::iter::once(chosen).chain(others).collect());
                log::info!("encoder: {name} ({})", if hardware { "hardware" } else { "software" });
                return Ok((all, EncoderInfo { name, hardware, profile_level_id, tried, small: None }));
            }
            Err(reason) => {
                log::debug!("skipping encoder {name}: {reason}");
                tried.push(Rejected { name, reason });
            }
        }
    }
    let reasons: Vec<String> = tried.iter().map(Rejected::to_string).collect();
    let words = format!(
        "no working H.264 encoder found (try `apt install gstreamer1.0-plugins-ugly`). Tried: {}",
        reasons.join("; ")
    );
    Err(MediaError::new(ErrorKind::NoEncoder, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board;

    #[test]
    fn every_listed_property_exists_on_its_element() {
        gst::init().expect("GStreamer");
        let elements = board::elements();
        let encoders = elements.encoder.iter().map(|(name, encoder)| (name, &encoder.documented));
        let captures = elements.capture.iter().map(|(name, capture)| (name, &capture.documented));
        let mut seen = 0;
        for (name, documented) in encoders.chain(captures) {
            let Some(factory) = gst::ElementFactory::find(name) else {
                println!("SKIPPED: {name} is not installed here");
                continue;
            };
            let element = factory.create().build().expect("an element of it");
            for property in documented {
                assert!(element.has_property(property), "{name} has no {property}");
            }
            seen += 1;
        }
        assert!(seen >= 2, "the two software encoders are needed for all other tests");
    }
}
