//! One run of the source: a GStreamer pipeline from its opening to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::branch::{Branch, Job, Outlet, QueueLimit, Spare, Timing};
use super::camera::Steering;
use super::capture::{self, Capture, Known};
use super::findings::Found;
use super::inbox::{News, Order};
use super::plan::{Input, Plan};
use super::settings::CaptureSettings;
use super::streams::{Maker, Stream};
use super::target::{CaptureInfo, Target};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;
use crate::media::source::v4l2::choose::Io;
use crate::media::{Codec, StreamId};

/// The prefix of the names of branches whose errors are not errors of the source.
const SPARE: &str = "spare-";
/// How many seconds of frames such a branch may take without producing one: as long as a source may be silent.
const SILENCE: u32 = 5;
/// The same for the main rendition, which everybody waits for. Loading firmware takes a second on some boards.
const MAIN_SILENCE: u32 = 3;
/// How long an encoder may take to return from its last frame before it is given up.
const RETURNS: Duration = Duration::from_secs(2);

/// A playing pipeline. Dropping it closes the source.
pub(super) struct Run {
    pub number: u64,
    began: Instant,
    capture: Capture,
    timing: Arc<Timing>,
    branches: BTreeMap<StreamId, Branch>,
    /// Streams whose encoder is being removed. There may be only one hardware encoder, so the next one waits.
    leaving: BTreeSet<StreamId>,
    /// Branches that could not be added; [`News::BranchFailed`] is on its way.
    broken: BTreeMap<StreamId, String>,
    /// Numbers the branches.
    attached: u32,
    has_video: bool,
    has_audio: bool,
    /// When the last buffer arrived, in milliseconds after `began`; 0 before the first.
    pulse: Arc<AtomicU64>,
    /// What GStreamer lacks a plugin for, in its words.
    pub missing: Option<String>,
    target: Option<Target>,
    /// The encoder in the camera, if it is in use.
    steering: Option<Steering>,
    file: bool,
}

impl Run {
    /// Opens the source. [`News::Found`] reports its streams, other [`News`] its problems.
    pub(super) fn open(plan: &Plan, number: u64, target: Option<Target>) -> Result<Run, MediaError> {
        let orders = plan.orders.clone();
        let found = move |found| _ = orders.send(Order::News(number, News::Found(found)));
        let known = Known { camera: target.as_ref(), csi: plan.csi.as_ref(), still: plan.still };
        let capture = capture::build(&plan.settings, &plan.counter, known, found)?;
        let began = Instant::now();
        let pulse = Arc::new(AtomicU64::new(0));
        feel_pulse(&capture.video, began, &pulse);
        let file = matches!(plan.settings.source, Location::File { .. });
        if file {
            // A file may continue with audio only. For other sources, audio must not hide that the video has stopped.
            feel_pulse(&capture.audio, began, &pulse);
        }
        let pipeline = &capture.pipeline;
        // Presentation times are compared with `Instant`s, so no device clock may be used.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        listen(pipeline, number, plan.orders.clone());
        let orders = plan.orders.clone();
        let best = plan.streams.iter().find(|stream| stream.codec() == Codec::H264).map(|stream| stream.id);
        let timing = Arc::new(Timing::new(
            plan.epoch,
            pipeline,
            target.as_ref().and_then(|target| target.info.clone()),
            best.unwrap_or(StreamId(0)),
            move || _ = orders.send(Order::News(number, News::FirstFrame)),
        ));
        let (has_video, has_audio) = (false, false);
        Ok(Run {
            number,
            began,
            timing,
            branches: BTreeMap::new(),
            leaving: BTreeSet::new(),
            broken: BTreeMap::new(),
            attached: 0,
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

    /// Starts playing. The source may need time; an error arrives as [`News`] with its cause.
    ///
    /// A file waits until its streams have encoders: otherwise the first frames of a short one would be lost.
    pub(super) fn play(&self) -> Result<(), MediaError> {
        self.set_state(if self.file { gst::State::Paused } else { gst::State::Playing })
    }

    fn set_state(&self, state: gst::State) -> Result<(), MediaError> {
        match self.capture.pipeline.set_state(state) {
            Ok(_) => Ok(()),
            Err(_) => Err(MediaError::new(ErrorKind::Other, "the source failed to start")),
        }
    }

    pub(super) fn handle_found(
        &mut self,
        found: Found,
        plan: &Plan,
        wanted: &BTreeSet<StreamId>,
    ) -> Result<(), MediaError> {
        match found {
            Found::Video => self.has_video = true,
            Found::Audio => self.has_audio = true,
            Found::Resized => {
                self.resize(plan);
                return Ok(());
            }
            Found::NoMore if self.has_video && self.file => {
                self.produce(plan, wanted)?;
                return self.set_state(gst::State::Playing);
            }
            Found::NoMore if self.has_video => return Ok(()),
            Found::NoMore => {
                let words = format!("{} has no video that can be decoded", plan.settings.source);
                return Err(MediaError::new(ErrorKind::NoVideo, words));
            }
            _ => return Ok(()),
        }
        self.produce(plan, wanted)
    }

    /// Encoders adapt to another size by themselves, but a scaled stream would lose its aspect ratio.
    fn resize(&mut self, plan: &Plan) {
        let scaled = |stream: &&Stream| stream.quality.is_some() || stream.maker == Maker::Small;
        for stream in plan.streams.iter().filter(scaled) {
            self.rebuild(plan, stream.id);
        }
    }

    /// Adds and removes encoders until these streams are produced, if the source has them.
    pub(super) fn produce(&mut self, plan: &Plan, wanted: &BTreeSet<StreamId>) -> Result<(), MediaError> {
        for stream in &plan.streams {
            let id = stream.id;
            match (wanted.contains(&id), self.branches.contains_key(&id)) {
                (true, false) if self.can_add(plan, stream) => self.attach(plan, stream)?,
                (false, true) => self.detach(plan, id),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the source has what the stream needs, and no other encoder is in the way.
    fn can_add(&self, plan: &Plan, stream: &Stream) -> bool {
        let possible = match stream.maker {
            Maker::Opus => self.has_audio,
            // It has a pipeline of its own.
            Maker::Microphone => false,
            Maker::Small => self.has_video && !self.capture.coded && plan.small.encoder().is_some(),
            _ => self.has_video,
        };
        possible && !self.leaving.contains(&stream.id) && !self.broken.contains_key(&stream.id)
    }

    fn attach(&mut self, plan: &Plan, stream: &Stream) -> Result<(), MediaError> {
        let (id, video) = (stream.id, stream.is_video());
        let tee = if video { &self.capture.video } else { &self.capture.audio };
        let coded = self.capture.coded && video;
        // A decoder that fails is no fault of the encoder behind it.
        let spare = stream.is_spare() && !coded;
        let dmabuf = self.info().is_some_and(|info| info.choice.io == Io::DmaBuf);
        self.attached += 1;
        let name = format!("{}{}", if spare { SPARE } else { "branch-" }, self.attached);
        let job = Job {
            name: name.clone(),
            stream: id,
            codec: stream.codec(),
            chain: plan.chain(stream, Input { size: size(tee, plan), coded, dmabuf }),
            fps: plan.fps(stream),
            limit: match stream.maker {
                _ if coded => QueueLimit::Coded,
                Maker::Opus => QueueLimit::Sound,
                _ => QueueLimit::Raw,
            },
            renegotiates: matches!(stream.maker, Maker::Encoder | Maker::PassThrough | Maker::Opus),
            spare: spare.then(|| self.spare(plan, stream, &name)),
        };
        let (timing, announced) = (self.timing.clone(), plan.announced.clone());
        let outlet = Outlet { timing, announced, on: plan.on.clone() };
        let failed = job.spare.as_ref().map(|spare| spare.failed.clone());
        let branch = match Branch::attach(&self.capture.pipeline, tee, job, outlet) {
            Ok(branch) => branch,
            Err(error) => {
                let Some(failed) = failed else { return Err(error) };
                self.broken.insert(id, name);
                failed(error.to_string());
                return Ok(());
            }
        };
        self.branches.insert(id, branch);
        if coded {
            // The new branch begins with the next key frame, which may be far away.
            if let Some(steering) = &self.steering {
                steering.request_key_frame();
            }
        }
        Ok(())
    }

    /// A branch of this name whose failure is [`News::BranchFailed`], sent once.
    fn spare(&self, plan: &Plan, stream: &Stream, name: &str) -> Spare {
        let (orders, number, name) = (plan.orders.clone(), self.number, name.to_owned());
        let once = Once::new();
        let failed = move |words| {
            once.call_once(|| {
                let name = name.clone();
                _ = orders.send(Order::News(number, News::BranchFailed { name, words }));
            });
        };
        // The main rendition's level follows from its frames.
        let (level, seconds) = match stream.maker {
            Maker::Small => (plan.level, SILENCE),
            _ => (u8::MAX, MAIN_SILENCE),
        };
        Spare { level, silence: plan.settings.fps * seconds, failed: Arc::new(failed) }
    }

    /// Removes a failed branch. Returns its stream, and how long it had produced frames; `None` if it is already gone.
    pub(super) fn remove_failed(&mut self, plan: &Plan, name: &str) -> Option<(StreamId, Option<Duration>)> {
        if let Some(id) = self.broken.iter().find(|(_, broken)| *broken == name).map(|(id, _)| *id) {
            self.broken.remove(&id);
            return Some((id, None));
        }
        let (id, branch) = self.branches.iter().find(|(_, branch)| branch.name() == name)?;
        let found = (*id, branch.ran());
        self.abandon(plan, found.0);
        Some(found)
    }

    /// Removes a stream's encoder, if it has one; [`Order::Detached`] follows.
    fn detach(&mut self, plan: &Plan, stream: StreamId) {
        let Some(branch) = self.branches.remove(&stream) else { return };
        self.leaving.insert(stream);
        let (orders, run) = (plan.orders.clone(), self.number);
        branch.detach(move |branch| _ = orders.send(Order::Detached { run, stream, branch: Some(branch) }));
    }

    /// Like [`detach`](Self::detach), for an encoder that may never return from its last frame: one thread waits for
    /// it, another reports within [`RETURNS`] whether it returned.
    fn abandon(&mut self, plan: &Plan, stream: StreamId) {
        let Some(branch) = self.branches.remove(&stream) else { return };
        self.leaving.insert(stream);
        let encoder = plan.stream(stream).and_then(|stream| plan.h264(stream));
        let encoder = encoder.map(|chosen| chosen.name.clone()).unwrap_or_default();
        let (orders, run) = (plan.orders.clone(), self.number);
        branch.detach(move |branch| {
            let (done, returned) = mpsc::channel();
            let end = move || {
                branch.abandon();
                _ = done.send(());
            };
            let wait = move || {
                let stuck = matches!(returned.recv_timeout(RETURNS), Err(RecvTimeoutError::Timeout));
                _ = orders.send(Order::Abandoned { run, stream, encoder, stuck });
            };
            for started in [spawn(end), spawn(wait)] {
                if let Err(error) = started {
                    log::warn!("cannot remove a failed encoder: {error}");
                }
            }
        });
    }

    /// A stream's encoder was removed, so another may be added.
    pub(super) fn handle_detached(&mut self, stream: StreamId) {
        self.leaving.remove(&stream);
    }

    /// Recreates a stream according to the plan. The encoder is closed and another one opened, since a stateful
    /// hardware encoder cannot change its size while it runs. The camera's own stream is not changed.
    pub(super) fn rebuild(&mut self, plan: &Plan, id: StreamId) {
        if plan.stream(id).is_some_and(|stream| stream.maker != Maker::PassThrough) {
            self.detach(plan, id);
        }
    }

    /// Sets the interval of H.264 key frames from the plan, without interruption if the encoder supports that.
    pub(super) fn set_key_interval(&mut self, plan: &Plan) {
        for stream in &plan.streams {
            let Some((branch, encoder)) = self.branches.get(&stream.id).zip(plan.h264(stream)) else {
                continue;
            };
            let knobs = &encoder.element.key_interval;
            let live = knobs.iter().all(|knob| branch.turns_live(knob));
            let turned = knobs.iter().map(|knob| live && branch.turn(knob, plan.gop(stream)));
            // There are several names for it; a driver supports at least one.
            if !turned.fold(false, |any, done| any | done) {
                self.detach(plan, stream.id);
            }
        }
    }

    pub(super) fn request_key_frame(&self, plan: &Plan, id: StreamId) {
        let (Some(stream), Some(branch)) = (plan.stream(id), self.branches.get(&id)) else { return };
        match (stream.maker, &self.steering) {
            (Maker::PassThrough, Some(steering)) => steering.request_key_frame(),
            // Viewers of a transcoded stream wait for the key frame of its own encoder.
            _ => {
                let control = plan.h264(stream).and_then(|encoder| encoder.element.key_frame.as_deref());
                branch.request_key_frame(control);
            }
        }
    }

    pub(super) fn set_bitrate(&self, plan: &Plan, id: StreamId) {
        let (Some(stream), Some(branch)) = (plan.stream(id), self.branches.get(&id)) else { return };
        match (stream.maker, &self.steering) {
            (Maker::PassThrough, Some(steering)) => steering.set_bitrate(plan.bitrate(stream)),
            _ => {
                if let Some(knob) = plan.bitrate_knob(stream) {
                    branch.turn(&knob, plan.bitrate(stream));
                }
            }
        }
    }

    /// How a probed camera delivers its video.
    pub(super) fn info(&self) -> Option<&CaptureInfo> {
        self.target.as_ref()?.info.as_ref()
    }

    /// Whether any frame has arrived.
    pub(super) fn has_started(&self) -> bool {
        self.timing.has_started()
    }

    /// When the last buffer arrived.
    pub(super) fn alive(&self) -> Option<Instant> {
        match self.pulse.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.began + Duration::from_millis(millis)),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Waits for the streaming threads, so no frame arrives afterwards.
        _ = self.capture.pipeline.set_state(gst::State::Null);
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("symple-media-end".into()).spawn(work).map(|_| ())
}

/// The frame size at a tee; the requested one before the first frame.
fn size(tee: &gst::Element, plan: &Plan) -> (u32, u32) {
    let caps = tee.static_pad("sink").and_then(|pad| pad.current_caps());
    let number = |name| {
        let number = caps.as_ref()?.structure(0)?.get::<i32>(name).ok()?;
        u32::try_from(number).ok().filter(|number| *number > 0)
    };
    let CaptureSettings { width, height, .. } = plan.settings;
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

/// Forwards the relevant messages of the pipeline.
fn listen(pipeline: &gst::Pipeline, number: u64, orders: Sender<Order>) {
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    bus.set_sync_handler(move |_, message| {
        let news = match message.view() {
            gst::MessageView::Eos(_) => Some(News::Ended),
            gst::MessageView::Error(error) => Some(match spare(message) {
                Some(name) => News::BranchFailed { name, words: error.error().message().into() },
                None => News::Error(error.error(), error.debug().map(String::from).unwrap_or_default()),
            }),
            gst::MessageView::Element(element) => element
                .structure()
                .filter(|structure| structure.name() == "missing-plugin")
                .and_then(|structure| structure.get::<String>("name").ok())
                .map(News::Missing),
            _ => None,
        };
        if let Some(news) = news {
            _ = orders.send(Order::News(number, news));
        }
        gst::BusSyncReply::Drop
    });
}

/// The branch that a message is from, if its errors are not those of the source.
fn spare(message: &gst::MessageRef) -> Option<String> {
    let from = message.src().cloned();
    let mut names = std::iter::successors(from, gst::Object::parent).map(|part| part.name());
    names.find(|name| name.starts_with(SPARE)).map(String::from)
}

#[cfg(test)]
#[path = "pass_through_tests.rs"]
mod pass_through;
