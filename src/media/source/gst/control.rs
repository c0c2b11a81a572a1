//! The control thread: it alone opens, changes and closes runs, as [`Lifecycle`] decides.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gstreamer::glib;

use super::branch::Branch;
use super::camera::Camera;
use super::fault;
use super::findings::Found;
use super::inbox::{News, Order};
use super::microphone;
use super::plan::Plan;
use super::rtsp;
use super::run::Run;
use super::settings::CaptureSettings;
use super::streams::Maker;
use super::target::Target;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::frame_rate_check::FrameRateVerdict;
use crate::media::source::lifecycle::{self, Input, Lifecycle, Reopening};
use crate::media::source::v4l2::device::FrameRate;
use crate::media::source::{Command, Location, SourceEvent};
use crate::media::{AUDIO_OPUS, StreamId, VIDEO_H264_SMALL};

pub(super) struct Control {
    plan: Plan,
    life: Lifecycle,
    /// Of the streams that exist.
    wanted: BTreeSet<StreamId>,
    run: Option<Run>,
    runs: u64,
    microphone: Option<microphone::Capture>,
}

impl Control {
    pub(super) fn new(plan: Plan, microphone: Option<microphone::Capture>) -> Self {
        let life = Lifecycle::new(lifecycle::Config {
            reopening: reopening(&plan.settings),
            // Finding a CSI camera requires opening it, which is too much to do twice a second.
            pluggable: matches!(plan.settings.source, Location::V4l2 { .. } | Location::Rtsp { .. }),
            stalled: fault::stalled(&plan.settings.source),
        });
        Control { plan, life, wanted: BTreeSet::new(), run: None, runs: 0, microphone }
    }

    pub(super) fn run(mut self, inbox: Receiver<Order>) {
        loop {
            let order = match self.perform() {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            let flow = match order {
                Ok(order) => self.handle(order),
                Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
            };
            if flow.is_break() {
                return;
            }
            if let Some(at) = self.run.as_ref().and_then(Run::alive) {
                self.life(Input::Alive(at));
            }
            self.life(Input::Timeout);
        }
    }

    fn life(&mut self, input: Input) {
        self.life.handle_input(input, Instant::now());
    }

    /// Executes the outputs of the source's lifecycle. Returns when to wake.
    fn perform(&mut self) -> Option<Instant> {
        loop {
            match self.life.poll_output() {
                lifecycle::Output::Open => self.open(),
                lifecycle::Output::Close => self.run = None,
                lifecycle::Output::Event(event) => self.announce(event),
                lifecycle::Output::Timeout(at) => return at,
            }
        }
    }

    fn handle(&mut self, order: Order) -> ControlFlow<()> {
        match order {
            Order::Ask(command) => self.ask(command),
            Order::News(number, news) => {
                if self.run.as_ref().is_some_and(|run| run.number == number) {
                    self.handle_news(news);
                }
            }
            Order::Detached { run, stream, branch } => {
                branch.into_iter().for_each(Branch::remove);
                self.detached(run, stream);
            }
            Order::Abandoned { run, stream, encoder, stuck } => {
                if self.run.as_ref().is_some_and(|current| current.number == run) && stuck {
                    self.encoder_stuck(stream, &encoder);
                }
                self.detached(run, stream);
            }
            Order::Quit => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn ask(&mut self, command: Command) {
        match command {
            Command::Want(streams) => self.want(streams),
            Command::KeyFrame(stream) => {
                if let Some(run) = &self.run {
                    run.request_key_frame(&self.plan, stream);
                }
            }
            Command::Bitrate { stream, bps } => {
                let Some(asked) = self.plan.stream_mut(stream) else { return };
                asked.bitrate = Some(bps);
                if asked.maker == Maker::Microphone {
                    self.microphone.iter().for_each(|microphone| microphone.set_bitrate(bps));
                } else if let Some(run) = &self.run {
                    run.set_bitrate(&self.plan, stream);
                }
            }
            Command::Quality { stream, quality } => {
                let Some(asked) = self.plan.stream_mut(stream).filter(|stream| stream.is_video()) else {
                    return;
                };
                let before = asked.quality.replace(quality);
                if let Some(run) = self.run.as_mut().filter(|_| before != Some(quality)) {
                    run.rebuild(&self.plan, stream);
                }
            }
            Command::KeyFrameInterval { interval } => {
                self.plan.settings.key_interval = interval;
                if let Some(run) = &mut self.run {
                    run.set_key_interval(&self.plan);
                }
            }
            Command::SetControl { request, name, value } => {
                let result = self.camera().and_then(|camera| camera.set(&name, value));
                self.announce(SourceEvent::ControlSet { request, name, result });
            }
            Command::ReadControls { request } => {
                let result = self.camera().and_then(Camera::controls);
                self.announce(SourceEvent::ControlsRead { request, result });
            }
        }
    }

    /// An encoder was released; another one may use the hardware, perhaps for the same stream.
    fn detached(&mut self, number: u64, stream: StreamId) {
        let Some(run) = self.run.as_mut().filter(|run| run.number == number) else { return };
        run.handle_detached(stream);
        self.produce();
    }

    fn want(&mut self, streams: BTreeSet<StreamId>) {
        let known = |id: &StreamId| self.plan.stream(*id).is_some();
        self.wanted = streams.into_iter().filter(known).collect();
        if let Some(microphone) = &self.microphone {
            microphone.want(self.wanted.contains(&AUDIO_OPUS));
        }
        if self.wanted.is_empty() {
            return self.life(Input::Unwanted);
        }
        if let Some(run) = &mut self.run
            && let Err(error) = run.produce(&self.plan, &self.wanted)
        {
            return self.fail(error);
        }
        if self.life.is_closed() {
            // The file may have been replaced meanwhile.
            self.plan.still = false;
        }
        self.life(Input::Wanted);
    }

    fn camera(&mut self) -> Result<&mut Camera, MediaError> {
        let none = "this source has no controls; only V4L2 cameras do";
        self.plan.camera.as_mut().ok_or_else(|| MediaError::new(ErrorKind::NoControl, none))
    }

    fn open(&mut self) {
        self.runs += 1;
        let target = self.plan.camera.as_mut().map(Camera::find).transpose();
        let target = target.and_then(|target| self.reach().map(|()| target));
        let run = target.and_then(|target| {
            let passes = target.as_ref().is_some_and(Target::passes_through);
            self.plan.set_pass_through(passes);
            let small = !passes && self.plan.small.encoder().is_some();
            self.plan.announced.set_available(VIDEO_H264_SMALL, small, &self.plan.on);
            Run::open(&self.plan, self.runs, target)
        });
        match run {
            Err(error) => self.fail(error),
            Ok(run) => {
                self.life(Input::Opened);
                let playing = run.play();
                self.run = Some(run);
                if let Err(error) = playing {
                    // GStreamer has already posted the cause, which arrives as news before this.
                    let late = News::Error(no_cause(&error), String::new());
                    _ = self.plan.orders.send(Order::News(self.runs, late));
                }
            }
        }
    }

    /// Whether a network camera that was lost answers again.
    fn reach(&self) -> Result<(), MediaError> {
        match &self.plan.settings.source {
            Location::Rtsp { url, .. } if self.life.is_lost() && !rtsp::answers(url) => {
                Err(fault::unreachable(&self.plan.settings.source))
            }
            _ => Ok(()),
        }
    }

    fn handle_news(&mut self, news: News) {
        let Some(run) = &mut self.run else { return };
        match news {
            News::Found(Found::Foreign([profile, constraints, _])) => {
                let words = format!(
                    "the camera's H.264 is of profile {profile:02x}{constraints:02x}, which browsers are not \
                     promised: its pictures are encoded here"
                );
                self.announce(SourceEvent::Trouble(MediaError::new(ErrorKind::WrongFormat, words)));
                if let Some(camera) = &mut self.plan.camera {
                    camera.refuse_h264();
                }
                self.life(Input::Reopen);
            }
            News::Found(Found::Size(width, height)) => {
                let agreed = run.info().map_or((0, 0), |info| info.choice.size);
                let error = fault::wrong_size(&self.plan.settings.source, agreed, (width, height));
                self.announce(SourceEvent::Trouble(error));
            }
            News::Found(Found::Pace(verdict)) => {
                let agreed = run.info().and_then(|info| info.choice.rate).map_or(0.0, FrameRate::per_second);
                match verdict {
                    FrameRateVerdict::TooSlow { per_second: rate } => {
                        let error = fault::too_slow(&self.plan.settings.source, agreed, rate);
                        self.announce(SourceEvent::Trouble(error));
                    }
                    FrameRateVerdict::Kept => log::info!("the camera delivers {agreed} fps again"),
                }
            }
            News::Found(Found::Still) => {
                log::debug!("the file has a single picture, which is repeated");
                self.plan.still = true;
                self.life(Input::Reopen);
            }
            News::Found(Found::SoundEnded) => self.life(Input::Ended),
            News::Found(found) => {
                if let Err(error) = run.handle_found(found, &self.plan, &self.wanted) {
                    let error = fault::with_missing(error, run.missing.as_deref());
                    self.fail(error);
                }
            }
            News::Missing(what) => run.missing = Some(what),
            News::Error(error, debug) => {
                let error = fault::from_gstreamer(&self.plan.settings.source, &error, &debug);
                let error = fault::with_missing(error, run.missing.as_deref());
                let error = fault::with_advice(error, self.plan.csi.as_ref().map(|csi| csi.advice.as_str()));
                let early =
                    !run.has_started() && run.info().is_some() && fault::is_disagreement(&error, &debug);
                if early && self.plan.camera.as_mut().is_some_and(Camera::distrust) {
                    log::warn!(
                        "the camera does not support the format it reported ({error}); accepting any format"
                    );
                    return self.life(Input::Reopen);
                }
                self.fail(error);
            }
            News::BranchFailed { name, words } => {
                if let Some((stream, ran)) = run.remove_failed(&self.plan, &name) {
                    self.encoder_failed(stream, ran, &words);
                }
            }
            News::Ended => self.life(Input::Ended),
            News::FirstFrame => self.life(Input::FirstFrame),
        }
    }

    /// The encoder of a rendition failed. The source and other renditions continue.
    fn encoder_failed(&mut self, stream: StreamId, ran: Option<Duration>, words: &str) {
        let Some(candidates) = self.plan.candidates_mut(stream) else { return };
        let failed = candidates.name().to_owned();
        candidates.handle_failure(ran);
        self.encoder_replaced(stream, &failed, words);
        // A branch that can be removed is replaced once it is gone; one that could not be added is replaced now.
        self.produce();
    }

    /// An encoder that failed earlier does not return from its last frame, so its hardware is not free.
    fn encoder_stuck(&mut self, stream: StreamId, encoder: &str) {
        let Some(candidates) = self.plan.candidates_mut(stream) else { return };
        if candidates.handle_stuck(encoder) {
            self.encoder_replaced(stream, encoder, "it does not return from its last frame");
        }
    }

    /// Announces what replaces an encoder that failed.
    fn encoder_replaced(&mut self, stream: StreamId, failed: &str, words: &str) {
        let small = self.plan.stream(stream).is_some_and(|stream| stream.maker == Maker::Small);
        let Some(candidates) = self.plan.candidates_mut(stream) else { return };
        let then = match candidates.name() {
            "" if small => "there is no other, so this rendition is no longer offered".to_owned(),
            "" => "there is no other".to_owned(),
            same if same == failed => "restarting it".to_owned(),
            next => format!("continuing with {next}"),
        };
        let none_left = candidates.encoder().is_none();
        let of = if small { " for the small rendition" } else { "" };
        let error = MediaError::new(ErrorKind::NoEncoder, format!("{failed} failed{of}: {words}; {then}"));
        if none_left && !small {
            // When the source is reopened, it starts again with the first one.
            candidates.restore();
            return self.fail(error);
        }
        if none_left {
            self.plan.announced.set_available(stream, false, &self.plan.on);
        }
        let name = self.plan.encoder.name().to_owned();
        *self.plan.in_use.lock().unwrap_or_else(PoisonError::into_inner) = name;
        self.announce(SourceEvent::Trouble(error));
    }

    fn produce(&mut self) {
        let Some(run) = &mut self.run else { return };
        if let Err(error) = run.produce(&self.plan, &self.wanted) {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: MediaError) {
        self.life(Input::Failed(error));
    }

    fn announce(&self, event: SourceEvent) {
        (self.plan.on)(event);
    }
}

fn no_cause(error: &MediaError) -> glib::Error {
    glib::Error::new(gstreamer::CoreError::StateChange, &error.to_string())
}

/// Which sources are reopened. The test pattern fails only for permanent reasons, and does not end.
fn reopening(settings: &CaptureSettings) -> Reopening {
    match &settings.source {
        source if source.is_live() => Reopening::AfterWait,
        Location::File { .. } if settings.repeat => Reopening::AtEnd,
        _ => Reopening::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_that_may_return_are_reopened() {
        for (source, repeat, expected) in [
            ("/dev/video0", false, Reopening::AfterWait),
            ("csi", true, Reopening::AfterWait),
            ("rtsp://192.0.2.7/", false, Reopening::AfterWait),
            ("clip.mp4", true, Reopening::AtEnd),
            ("clip.mp4", false, Reopening::Never),
            ("test", true, Reopening::Never),
        ] {
            let source = source.parse().expect("a source");
            let settings = CaptureSettings { source, repeat, ..CaptureSettings::default() };
            assert_eq!(reopening(&settings), expected, "{}, repeated: {repeat}", settings.source);
        }
    }
}
