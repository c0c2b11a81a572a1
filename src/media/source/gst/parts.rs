//! Helpers for pipelines: build them from launch lines, find their parts, play them to the end.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use crate::media::error::{ErrorKind, MediaError};

/// A pipeline from a launch line, even if that is a single element.
pub(super) fn launch(description: &str) -> Result<gst::Pipeline, MediaError> {
    let element = gst::parse::launch(description)
        .map_err(|error| MediaError::new(ErrorKind::Other, format!("GStreamer: {}", error.message())))?;
    element.downcast::<gst::Pipeline>().or_else(|element| {
        let pipeline = gst::Pipeline::new();
        pipeline.add(&element).map_err(|error| MediaError::new(ErrorKind::Other, error.to_string()))?;
        Ok(pipeline)
    })
}

/// An element by its name.
pub(super) fn part(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Element, MediaError> {
    pipeline
        .by_name(name)
        .ok_or_else(|| MediaError::new(ErrorKind::Other, format!("the pipeline has no {name}")))
}

/// Checks that an element is installed; its package is named otherwise.
pub(super) fn need(element: &str, package: &str) -> Result<(), MediaError> {
    match gst::ElementFactory::find(element) {
        Some(_) => Ok(()),
        None => Err(MediaError::missing_plugin(element, package)),
    }
}

/// Locks what no code under the lock leaves half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sink pad of a filter, by the filter's name.
pub(super) fn sink_pad(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Pad, MediaError> {
    Ok(part(pipeline, name)?.static_pad("sink").expect("a filter has a sink pad"))
}

/// The URI of a file, for `uridecodebin`.
pub(super) fn file_uri(path: &Path) -> Result<String, MediaError> {
    let bad = |error: &dyn std::fmt::Display| {
        MediaError::new(ErrorKind::NoFile, format!("{} is not a valid file path: {error}", path.display()))
    };
    let path = std::path::absolute(path).map_err(|error| bad(&error))?;
    Ok(gst::glib::filename_to_uri(&path, None).map_err(|error| bad(&error.message()))?.into())
}

/// Links a pad to a sink that discards everything.
pub(super) fn discard(decoder: &gst::Element, pad: &gst::Pad) {
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build();
    let (Ok(sink), Some(bin)) = (sink, decoder.parent().and_downcast::<gst::Bin>()) else { return };
    if bin.add(&sink).is_ok() && sink.sync_state_with_parent().is_ok() {
        let target = sink.static_pad("sink").expect("a fakesink has a sink pad");
        _ = pad.link(&target);
    }
}

/// Plays until the end or an error; `None` if neither comes in time.
pub(super) fn end_of(pipeline: &gst::Pipeline, patience: gst::ClockTime) -> Option<gst::Message> {
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    match pipeline.set_state(gst::State::Playing) {
        Ok(_) => bus.timed_pop_filtered(patience, &wanted),
        // The cause of a failure has been posted already.
        Err(_) => bus.pop_filtered(&wanted),
    }
}
