//! The gate before every element that processes raw frames. After it, caps always have a frame rate, each frame has a
//! rising timestamp, and the frame rate is at most the requested one.
//!
//! GStreamer's elements depend on these: `videorate` aborts the process at a frame without a duration if the rate is
//! unknown, others divide by the rate. No value from a source reaches them unchecked.

use std::sync::Mutex;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;

use crate::media::source::frame_rate::FrameRateLimit;
use crate::media::source::timestamps::{Missing, Timestamps};

/// The frame rate of a file that has none: other players use the same, and raw H.264 does not contain one.
const FILE_FPS: u32 = 25;

/// The state of a gate.
struct Gate {
    fps: u32,
    missing: Missing,
    thin: FrameRateLimit,
    fields: Fields,
    stamp: Timestamps,
    segment: gst::FormattedSegment<gst::ClockTime>,
}

/// How the fields of an interlaced frame arrive.
#[derive(Clone, Copy)]
enum Fields {
    /// One buffer has both, or the frame is progressive.
    Together,
    /// Each has its own buffer, `interlace-mode=alternate`. The second field is kept if the first was, since a single
    /// field has half the lines. `None` before the first field of a frame.
    Alone(Option<bool>),
}

/// Puts the gate on an element's sink pad: at most `fps` frames a second.
pub(super) fn put(pad: &gst::Pad, fps: u32, missing: Missing) {
    let nominal = Duration::from_secs(1) / unknown(fps, missing);
    let gate = Mutex::new(Gate {
        fps,
        missing,
        thin: FrameRateLimit::new(fps),
        fields: Fields::Together,
        stamp: Timestamps::new(missing, nominal),
        segment: gst::FormattedSegment::new(),
    });
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(mask, move |pad, info| {
        // Only the streaming thread calls this, and it does not panic in between.
        let Ok(mut gate) = gate.lock() else { return gst::PadProbeReturn::Ok };
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data {
            gate.handle_event(event);
        }
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && !gate.passes(buffer, pad)
        {
            // Not `Drop`: with GStreamer 1.22 that logs a warning about a freed buffer.
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The assumed frame rate of a source that does not report one.
fn unknown(fps: u32, missing: Missing) -> u32 {
    match missing {
        Missing::Follows => fps.clamp(1, FILE_FPS),
        Missing::Arrived => fps.max(1),
    }
}

impl Gate {
    fn handle_event(&mut self, event: &mut gst::Event) {
        let changed = match event.view() {
            gst::EventView::Segment(segment) => {
                if let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() {
                    self.segment = segment.clone();
                }
                None
            }
            gst::EventView::Caps(caps) => {
                let reported = rate(caps.caps());
                let rate = possible(reported, self.fps, unknown(self.fps, self.missing));
                let lasts =
                    Duration::from_secs(1) * rate.denom().unsigned_abs() / rate.numer().unsigned_abs();
                let alternate = caps.caps().structure(0).is_some_and(has_fields);
                self.stamp.set_nominal(if alternate { lasts / 2 } else { lasts });
                self.fields = if alternate { Fields::Alone(None) } else { Fields::Together };
                (reported != Some(rate)).then(|| {
                    let mut caps = caps.caps_owned();
                    caps.make_mut().set("framerate", rate);
                    gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build()
                })
            }
            _ => None,
        };
        if let Some(changed) = changed {
            *event = changed;
        }
    }

    fn passes(&mut self, buffer: &mut gst::Buffer, pad: &gst::Pad) -> bool {
        let running = buffer.pts().and_then(|pts| self.segment.to_running_time(pts)).map(Duration::from);
        let arrived = pad.parent_element().and_then(|element| element.current_running_time());
        let arrived = arrived.map_or(Duration::ZERO, Duration::from);
        let time = self.stamp.stamp(running, buffer.duration().map(Duration::from), arrived);
        if running != Some(time) {
            let time = gst::ClockTime::try_from(time).ok();
            let pts = time.and_then(|time| self.segment.position_from_running_time(time));
            buffer.make_mut().set_pts(pts);
        }
        match &mut self.fields {
            Fields::Together => self.thin.keeps(time),
            Fields::Alone(first) => {
                let second = first.take();
                second.unwrap_or_else(|| *first.insert(self.thin.keeps(time)))
            }
        }
    }
}

/// Whether each buffer is a single field.
pub(super) fn has_fields(caps: &gst::StructureRef) -> bool {
    caps.get::<&str>("interlace-mode").is_ok_and(|mode| mode == "alternate")
}

fn rate(caps: &gst::CapsRef) -> Option<gst::Fraction> {
    caps.structure(0)?.get::<gst::Fraction>("framerate").ok()
}

/// A frame rate that encoders support. `reported` is zero if it varies, and some sources report 1000 if it is unknown.
fn possible(reported: Option<gst::Fraction>, most: u32, unknown: u32) -> gst::Fraction {
    let number = |n: u32| gst::Fraction::new(n.clamp(1, 1000).cast_signed(), 1);
    match reported.filter(|rate| rate.numer() > 0 && rate.denom() > 0) {
        None => number(unknown),
        Some(rate) => {
            let per_second = f64::from(rate.numer()) / f64::from(rate.denom());
            if per_second > f64::from(most) {
                number(most)
            } else if per_second < 1.0 {
                number(1)
            } else {
                rate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_get_a_possible_frame_rate() {
        let table = [
            (None, (30, 1)),
            (Some((0, 1)), (30, 1)),
            (Some((30, 1)), (30, 1)),
            (Some((30000, 1001)), (30000, 1001)),
            (Some((25, 1)), (25, 1)),
            (Some((1, 1)), (1, 1)),
            (Some((1, 60)), (1, 1)),
            (Some((60, 1)), (30, 1)),
            (Some((1000, 1)), (30, 1)),
            (Some((i32::MAX, 1)), (30, 1)),
            (Some((1, i32::MAX)), (1, 1)),
        ];
        for (reported, (numer, denom)) in table {
            let reported = reported.map(|(numer, denom)| gst::Fraction::new(numer, denom));
            assert_eq!(possible(reported, 30, 30), gst::Fraction::new(numer, denom), "{reported:?}");
        }
        assert_eq!(unknown(30, Missing::Follows), 25);
        assert_eq!(unknown(10, Missing::Follows), 10);
        assert_eq!(unknown(60, Missing::Arrived), 60);
    }
}
