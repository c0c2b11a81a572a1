//! One run of the source: a GStreamer pipeline from its opening to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::branch::{Branch, Callback, Room, Timing};
use super::camera::{Camera, CaptureInfo, Steering, Target};
use super::capture::{self, Capture, Found, Known};
use super::control::{Command, News};
use super::csi::Csi;
use super::encoders::{Chosen, Picture};
use super::{ErrorKind, MediaError, Settings, Streams};
use crate::media::adapt::ladder::Quality;
use crate::media::board::{Knob, Place, Unit};
use crate::media::source::Location;
use crate::media::source::v4l2::choose::Io;
use crate::media::{AUDIO_OPUS, StreamId, VIDEO_H264, VIDEO_VP8};

/// In bit/s, transparent for speech and good for music (RFC 7587, 3.1.1).
const AUDIO_BITRATE: u32 = 64_000;

/// What all runs of a pipeline have in common.
pub(super) struct Plan {
    pub settings: Settings,
    pub encoder: Chosen,
    pub on: Callback,
    pub commands: Sender<Command>,
    /// Zero of all presentation times.
    pub epoch: Instant,
    /// The test pattern's picture counter, which goes on over restarts.
    pub counter: Arc<AtomicU32>,
    /// The bitrates that were asked for.
    pub bitrates: BTreeMap<StreamId, u32>,
    /// What a V4L2 source is.
    pub camera: Option<Camera>,
    /// How a CSI source is opened.
    pub csi: Option<Csi>,
    /// What pictures a stream gets, where that is not all.
    pub qualities: BTreeMap<StreamId, Quality>,
    /// The file turned out to hold one picture only.
    pub still: bool,
}

impl Plan {
    fn bitrate(&self, stream: StreamId) -> u32 {
        let default = if stream == AUDIO_OPUS { AUDIO_BITRATE } else { self.settings.bitrate };
        self.bitrates.get(&stream).copied().unwrap_or(default)
    }

    /// How a stream is made of raw pictures (of this size) or sound, or of pictures that came `coded`.
    fn chain(&self, stream: StreamId, (width, height): (u32, u32), coded: bool, dmabuf: bool) -> String {
        let bps = self.bitrate(stream);
        let all = Picture { width, height, fps: self.settings.fps };
        let quality = self.qualities.get(&stream);
        let picture = quality.map_or(all, |quality| Picture {
            width: quality.of(width),
            height: quality.of(height),
            fps: self.fps(stream),
        });
        let fewer = if picture == all {
            String::new()
        } else {
            let Picture { width, height, .. } = picture;
            format!(
                "identity name=thin ! videoscale ! \
                 video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 ! "
            )
        };
        match stream {
            VIDEO_H264 if coded => "identity".into(),
            _ if coded && stream != AUDIO_OPUS => {
                format!(
                    "decodebin ! identity name=decoded ! {}",
                    self.chain(stream, (width, height), false, dmabuf)
                )
            }
            VIDEO_H264 => fewer + &self.encoder.chain(picture, self.settings.key_interval, bps, dmabuf),
            AUDIO_OPUS => format!("opusenc name=enc bitrate={bps} frame-size=20"),
            // A second of rate control memory in place of six, and a picture dropped when that is not
            // enough: the network has no more patience.
            _ => format!(
                "{fewer}videoconvert ! vp8enc name=enc deadline=1 cpu-used=8 threads=2 end-usage=cbr \
                 error-resilient=default lag-in-frames=0 keyframe-max-dist={} target-bitrate={bps} \
                 buffer-size=1000 buffer-initial-size=500 buffer-optimal-size=600 dropframe-threshold=30",
                picture.gop(self.settings.key_interval)
            ),
        }
    }

    /// Pictures between two key frames of H.264.
    fn gop(&self) -> u32 {
        Picture { fps: self.fps(VIDEO_H264), ..Picture::of(&self.settings) }.gop(self.settings.key_interval)
    }

    /// Frames a second of a video stream, at most.
    fn fps(&self, stream: StreamId) -> u32 {
        self.qualities.get(&stream).map_or(self.settings.fps, |quality| quality.fps)
    }

    fn bitrate_knob(&self, stream: StreamId) -> Knob {
        let bits = |name: &str| Knob { place: Place::Property(name.into()), unit: Unit::Bits };
        match stream {
            VIDEO_H264 => self.encoder.element.bitrate.clone(),
            AUDIO_OPUS => bits("bitrate"),
            _ => bits("target-bitrate"),
        }
    }
}

/// A pipeline that plays. Dropping it closes the source.
pub(super) struct Run {
    pub number: u64,
    began: Instant,
    capture: Capture,
    timing: Arc<Timing>,
    branches: BTreeMap<StreamId, Branch>,
    /// Those whose encoder is on its way out: one piece of hardware may be all that there is, so the next one
    /// waits for it.
    leaving: BTreeSet<StreamId>,
    has_video: bool,
    has_audio: bool,
    /// When a buffer last came: milliseconds after `began`, and 0 before the first.
    pulse: Arc<AtomicU64>,
    /// What GStreamer said it has no plugin for.
    pub missing: Option<String>,
    target: Option<Target>,
    /// The encoder in the camera, where that is the one.
    steering: Option<Steering>,
    file: bool,
}

impl Run {
    /// Opens the source. What it has is told by [`News::Found`], its troubles by other [`News`].
    pub(super) fn open(plan: &Plan, number: u64, target: Option<Target>) -> Result<Run, MediaError> {
        let commands = plan.commands.clone();
        let found = move |found| _ = commands.send(Command::News(number, News::Found(found)));
        let known = Known { camera: target.as_ref(), csi: plan.csi.as_ref(), still: plan.still };
        let capture = capture::build(&plan.settings, &plan.counter, known, found)?;
        let began = Instant::now();
        let pulse = Arc::new(AtomicU64::new(0));
        feel_pulse(&capture.video, began, &pulse);
        let file = matches!(plan.settings.source, Location::File(_));
        if file {
            // A file may go on with sound alone. Elsewhere sound must not hide that the pictures stand still.
            feel_pulse(&capture.audio, began, &pulse);
        }
        let pipeline = &capture.pipeline;
        // Presentation times are compared with `Instant`s, so no device's own clock.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        listen(pipeline, number, plan.commands.clone());
        let commands = plan.commands.clone();
        let timing = Arc::new(Timing::new(
            plan.epoch,
            pipeline,
            target.as_ref().and_then(|target| target.info.clone()),
            move || _ = commands.send(Command::News(number, News::FirstFrame)),
        ));
        let (has_video, has_audio) = (false, false);
        Ok(Run {
            number,
            began,
            timing,
            branches: BTreeMap::new(),
            leaving: BTreeSet::new(),
            has_video,
            has_audio,
            pulse,
            missing: None,
            steering: target.as_ref().and_then(Steering::of),
            target,
            capture,
            file,
        })
    }

    /// Lets it play. The source may take its time; an error comes as [`News`] with its cause.
    ///
    /// A file waits until its streams have encoders, or the first frames of a short one would be lost.
    pub(super) fn play(&self) -> Result<(), MediaError> {
        self.set_state(if self.file { gst::State::Paused } else { gst::State::Playing })
    }

    fn set_state(&self, state: gst::State) -> Result<(), MediaError> {
        match self.capture.pipeline.set_state(state) {
            Ok(_) => Ok(()),
            Err(_) => Err(MediaError::new(ErrorKind::Other, "the source does not start")),
        }
    }

    pub(super) fn handle_found(
        &mut self,
        found: Found,
        plan: &Plan,
        streams: Streams,
    ) -> Result<(), MediaError> {
        match found {
            Found::Video => self.has_video = true,
            Found::Audio => self.has_audio = true,
            Found::Resized => {
                self.resize(plan);
                return Ok(());
            }
            Found::NoMore if self.has_video && self.file => {
                self.produce(plan, streams)?;
                return self.set_state(gst::State::Playing);
            }
            Found::NoMore if self.has_video => return Ok(()),
            Found::NoMore => {
                let words = format!("{} has no pictures that can be decoded", plan.settings.source);
                return Err(MediaError::new(ErrorKind::NoPictures, words));
            }
            _ => return Ok(()),
        }
        self.produce(plan, streams)
    }

    /// Encoders take another size by themselves; what is scaled for one would lose its shape.
    fn resize(&mut self, plan: &Plan) {
        for stream in [VIDEO_H264, VIDEO_VP8] {
            if plan.qualities.contains_key(&stream) {
                self.rebuild(plan, stream);
            }
        }
    }

    /// Adds and takes away encoders until these streams are produced, as far as the source has them.
    pub(super) fn produce(&mut self, plan: &Plan, streams: Streams) -> Result<(), MediaError> {
        for stream in [VIDEO_H264, VIDEO_VP8, AUDIO_OPUS] {
            let audio = stream == AUDIO_OPUS;
            let possible = if audio { self.has_audio } else { self.has_video };
            match (streams.has(stream), self.branches.contains_key(&stream)) {
                (true, false) if possible && !self.leaving.contains(&stream) => {
                    let tee = if audio { &self.capture.audio } else { &self.capture.video };
                    let (timing, on) = (self.timing.clone(), plan.on.clone());
                    let coded = self.capture.coded && !audio;
                    let dmabuf = self.info().is_some_and(|info| info.choice.io == Io::DmaBuf);
                    let chain = plan.chain(stream, size(tee, plan), coded, dmabuf);
                    let room = match stream {
                        _ if coded => Room::Coded,
                        AUDIO_OPUS => Room::Sound,
                        _ => Room::Raw,
                    };
                    let pipeline = &self.capture.pipeline;
                    let fps = plan.fps(stream);
                    let branch = Branch::attach(pipeline, tee, stream, &chain, fps, room, timing, on)?;
                    self.branches.insert(stream, branch);
                    if coded {
                        // It begins with the next key frame, which may be far.
                        if let Some(steering) = &self.steering {
                            steering.request_key_frame();
                        }
                    }
                }
                (false, true) => self.detach(plan, stream),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a stream's encoder away, if it has one; [`Command::Detached`] follows.
    fn detach(&mut self, plan: &Plan, stream: StreamId) {
        let Some(branch) = self.branches.remove(&stream) else { return };
        self.leaving.insert(stream);
        let (commands, run) = (plan.commands.clone(), self.number);
        branch.detach(move |branch| _ = commands.send(Command::Detached { run, stream, branch }));
    }

    /// The encoder of a stream is gone: another may come.
    pub(super) fn handle_detached(&mut self, stream: StreamId) {
        self.leaving.remove(&stream);
    }

    /// Whether the camera itself makes a stream: nothing of ours can make it other.
    fn passes_through(&self, stream: StreamId) -> bool {
        self.capture.coded && stream == VIDEO_H264
    }

    /// Makes a stream by what the plan says now. The encoder is closed and another one opened: a stateful
    /// hardware encoder takes no other size while it runs.
    pub(super) fn rebuild(&mut self, plan: &Plan, stream: StreamId) {
        if !self.passes_through(stream) {
            self.detach(plan, stream);
        }
    }

    /// Sets the interval of H.264 key frames as the plan has it, without a break where the encoder can.
    pub(super) fn set_key_interval(&mut self, plan: &Plan) {
        if self.passes_through(VIDEO_H264) {
            return;
        }
        let Some(branch) = self.branches.get(&VIDEO_H264) else { return };
        let knobs = &plan.encoder.element.key_interval;
        let live = knobs.iter().all(|knob| branch.turns_live(knob));
        // Of several names for it a driver knows one at least.
        if !live
            || !knobs.iter().map(|knob| branch.turn(knob, plan.gop())).fold(false, |any, done| any | done)
        {
            self.rebuild(plan, VIDEO_H264);
        }
    }

    pub(super) fn request_key_frame(&self, plan: &Plan, stream: StreamId) {
        match (&self.steering, self.branches.get(&stream)) {
            // Its decoder's viewers wait for their own encoder's key frame.
            (Some(steering), Some(_)) if stream == VIDEO_H264 => steering.request_key_frame(),
            (_, Some(branch)) => {
                let control = plan.encoder.element.key_frame.as_deref().filter(|_| stream == VIDEO_H264);
                branch.request_key_frame(control);
            }
            _ => {}
        }
    }

    pub(super) fn set_bitrate(&self, plan: &Plan, stream: StreamId) {
        if self.passes_through(stream) {
            if let Some(steering) = &self.steering {
                steering.set_bitrate(plan.bitrate(stream));
            }
        } else if let Some(branch) = self.branches.get(&stream) {
            branch.turn(&plan.bitrate_knob(stream), plan.bitrate(stream));
        }
    }

    /// Of a camera that says what it has: how its pictures come.
    pub(super) fn info(&self) -> Option<&CaptureInfo> {
        self.target.as_ref()?.info.as_ref()
    }

    /// Something came of it.
    pub(super) fn has_started(&self) -> bool {
        self.timing.has_started()
    }

    /// When something last came of it.
    pub(super) fn alive(&self) -> Option<Instant> {
        match self.pulse.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.began + Duration::from_millis(millis)),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Waits for the streaming threads, so no frame comes after it.
        _ = self.capture.pipeline.set_state(gst::State::Null);
    }
}

/// The size of the pictures that a tee gives; what was asked for while it has none yet.
fn size(tee: &gst::Element, plan: &Plan) -> (u32, u32) {
    let caps = tee.static_pad("sink").and_then(|pad| pad.current_caps());
    let number = |name| {
        let number = caps.as_ref()?.structure(0)?.get::<i32>(name).ok()?;
        u32::try_from(number).ok().filter(|number| *number > 0)
    };
    let Settings { width, height, .. } = plan.settings;
    number("width").zip(number("height")).unwrap_or((width, height))
}

fn feel_pulse(tee: &gst::Element, began: Instant, pulse: &Arc<AtomicU64>) {
    let pulse = pulse.clone();
    let pad = tee.static_pad("sink").expect("a tee has a sink pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        pulse.store((began.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

/// Sends on what matters of the pipeline's messages.
fn listen(pipeline: &gst::Pipeline, number: u64, commands: Sender<Command>) {
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    bus.set_sync_handler(move |_, message| {
        let news = match message.view() {
            gst::MessageView::Eos(_) => Some(News::Ended),
            gst::MessageView::Error(error) => {
                let debug = error.debug().map(String::from).unwrap_or_default();
                Some(News::Error(error.error(), debug))
            }
            gst::MessageView::Element(element) => element
                .structure()
                .filter(|structure| structure.name() == "missing-plugin")
                .and_then(|structure| structure.get::<String>("name").ok())
                .map(News::Missing),
            _ => None,
        };
        if let Some(news) = news {
            _ = commands.send(Command::News(number, news));
        }
        gst::BusSyncReply::Drop
    });
}

#[cfg(test)]
#[path = "pass_through_tests.rs"]
mod pass_through;
