//! The control thread: it alone opens, changes and closes runs, when [`Life`] says so.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gstreamer::glib;

use super::branch::{Branch, Callback};
use super::camera::Camera;
use super::capture::Found;
use super::csi::Csi;
use super::encoders::Chosen;
use super::run::{Plan, Run};
use super::{ErrorKind, MediaError, MediaEvent, RequestId, Settings, Streams, fault};
use crate::media::StreamId;
use crate::media::adapt::ladder::Quality;
use crate::media::source::controls::Value;
use crate::media::source::life::{self, Input, Life, Reopening};
use crate::media::source::pace::Verdict;
use crate::media::source::v4l2::device::Rate;
use crate::media::source::{Location, SourceEvent};

/// What the control thread is told.
pub(super) enum Command {
    /// Produce these; none at all is to stop.
    Start(Streams),
    KeyFrame(StreamId),
    Bitrate(StreamId, u32),
    /// A control of the camera, for the event that bears the number.
    SetControl(RequestId, String, Value),
    ReadControls(RequestId),
    Quality(StreamId, Quality),
    KeyInterval(Duration),
    /// From the run of this number.
    News(u64, News),
    /// A branch that can be removed now.
    Detached {
        run: u64,
        stream: StreamId,
        branch: Branch,
    },
    /// The last handle is gone.
    Quit,
}

/// What happens in a run.
pub(super) enum News {
    Found(Found),
    Missing(String),
    /// GStreamer's error and its debug text.
    Error(glib::Error, String),
    FirstFrame,
    Ended,
}

pub(super) struct Control {
    plan: Plan,
    life: Life,
    /// What was asked for.
    wanted: Streams,
    run: Option<Run>,
    runs: u64,
}

impl Control {
    pub(super) fn new(
        settings: Settings,
        encoder: Chosen,
        camera: Option<Camera>,
        csi: Option<Csi>,
        on: Callback,
        commands: Sender<Command>,
    ) -> Self {
        let reopening = match &settings.source {
            Location::File(_) if settings.repeat => Reopening::AtEnd,
            Location::File(_) => Reopening::Never,
            _ => Reopening::AfterWait,
        };
        let life = Life::new(life::Config {
            reopening,
            // A CSI camera is looked for by opening all that opens it, which is not done every other second.
            pluggable: matches!(settings.source, Location::V4l2(_)),
            stalled: fault::stalled(&settings.source),
        });
        let plan = Plan {
            settings,
            encoder,
            on,
            commands,
            epoch: Instant::now(),
            counter: Arc::new(AtomicU32::new(0)),
            bitrates: BTreeMap::new(),
            camera,
            csi,
            qualities: BTreeMap::new(),
            still: false,
        };
        Control { plan, life, wanted: Streams::default(), run: None, runs: 0 }
    }

    pub(super) fn run(mut self, inbox: Receiver<Command>) {
        loop {
            let command = match self.perform() {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            let flow = match command {
                Ok(command) => self.handle(command),
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

    /// Does what the life of the source asks for, until it says when to wake.
    fn perform(&mut self) -> Option<Instant> {
        loop {
            match self.life.poll_output() {
                life::Output::Open => self.open(),
                life::Output::Close => self.run = None,
                life::Output::Event(event) => self.announce(event),
                life::Output::Timeout(at) => return at,
            }
        }
    }

    fn announce(&self, event: SourceEvent) {
        self.tell(match event {
            SourceEvent::Stalled(error) => MediaEvent::Stalled(error),
            SourceEvent::Failed(error) => MediaEvent::Failed(error),
            SourceEvent::Ended => MediaEvent::Ended,
            SourceEvent::GaveUp => MediaEvent::GaveUp,
            SourceEvent::Stopped => MediaEvent::Stopped,
            SourceEvent::State(status) => MediaEvent::State(status),
            _ => return,
        });
    }

    fn handle(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Start(streams) if streams.is_empty() => self.life(Input::Unwanted),
            Command::Start(streams) => self.start(streams),
            Command::KeyFrame(stream) => {
                if let Some(run) = &self.run {
                    run.request_key_frame(&self.plan, stream);
                }
            }
            Command::Bitrate(stream, bps) => {
                self.plan.bitrates.insert(stream, bps);
                if let Some(run) = &self.run {
                    run.set_bitrate(&self.plan, stream);
                }
            }
            Command::News(number, news) => {
                if self.run.as_ref().is_some_and(|run| run.number == number) {
                    self.handle_news(news);
                }
            }
            Command::SetControl(request, name, value) => self.set_control(request, name, value),
            Command::ReadControls(request) => {
                let result = self.camera().and_then(Camera::controls);
                self.tell(MediaEvent::Controls { request, result });
            }
            Command::Quality(stream, quality) => {
                let before = self.plan.qualities.insert(stream, quality);
                if let Some(run) = self.run.as_mut().filter(|_| before != Some(quality)) {
                    run.rebuild(&self.plan, stream);
                }
            }
            Command::KeyInterval(interval) => {
                self.plan.settings.key_interval = interval;
                if let Some(run) = &mut self.run {
                    run.set_key_interval(&self.plan);
                }
            }
            Command::Detached { run, stream, branch } => {
                branch.remove();
                self.detached(run, stream);
            }
            Command::Quit => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// An encoder has made room; perhaps for another of the same stream.
    fn detached(&mut self, number: u64, stream: StreamId) {
        let Some(run) = self.run.as_mut().filter(|run| run.number == number) else { return };
        run.handle_detached(stream);
        if let Err(error) = run.produce(&self.plan, self.wanted) {
            self.fail(error);
        }
    }

    fn start(&mut self, streams: Streams) {
        self.wanted = streams;
        if let Some(run) = &mut self.run
            && let Err(error) = run.produce(&self.plan, streams)
        {
            return self.fail(error);
        }
        if self.life.is_closed() {
            // It may be another file by now.
            self.plan.still = false;
        }
        self.life(Input::Wanted);
    }

    fn camera(&mut self) -> Result<&mut Camera, MediaError> {
        let none = "only a V4L2 camera has controls, and this source is none";
        self.plan.camera.as_mut().ok_or_else(|| MediaError::new(ErrorKind::NoControl, none))
    }

    fn set_control(&mut self, request: RequestId, name: String, value: Value) {
        let result = self.camera().and_then(|camera| camera.set(&name, value));
        self.tell(MediaEvent::Control { request, name, result });
    }

    fn open(&mut self) {
        self.runs += 1;
        let target = self.plan.camera.as_mut().map(Camera::find).transpose();
        match target.and_then(|target| Run::open(&self.plan, self.runs, target)) {
            Err(error) => self.fail(error),
            Ok(run) => {
                self.life(Input::Opened);
                let playing = run.play();
                self.run = Some(run);
                if let Err(error) = playing {
                    // GStreamer has posted the cause, which is news already on its way; this comes after it.
                    let late = News::Error(no_cause(&error), String::new());
                    _ = self.plan.commands.send(Command::News(self.runs, late));
                }
            }
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
                self.tell(MediaEvent::Trouble(MediaError::new(ErrorKind::WrongPictures, words)));
                if let Some(camera) = &mut self.plan.camera {
                    camera.refuse_h264();
                }
                self.life(Input::Reopen);
            }
            News::Found(Found::Size(width, height)) => {
                let agreed = run.info().map_or((0, 0), |info| info.choice.size);
                let error = fault::wrong_size(&self.plan.settings.source, agreed, (width, height));
                self.tell(MediaEvent::Trouble(error));
            }
            News::Found(Found::Pace(verdict)) => {
                let agreed = run.info().and_then(|info| info.choice.rate).map_or(0.0, Rate::per_second);
                match verdict {
                    Verdict::TooSlow(rate) => {
                        let error = fault::too_slow(&self.plan.settings.source, agreed, rate);
                        self.tell(MediaEvent::Trouble(error));
                    }
                    Verdict::Kept => log::info!("the camera gives {agreed} pictures a second again"),
                }
            }
            News::Found(Found::Still) => {
                log::debug!("the file holds one picture: it is repeated");
                self.plan.still = true;
                self.life(Input::Reopen);
            }
            News::Found(Found::SoundEnded) => self.life(Input::Ended),
            News::Found(found) => {
                if let Err(error) = run.handle_found(found, &self.plan, self.wanted) {
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
                    log::warn!("the camera does not give what it said it has ({error}): asking for anything");
                    return self.life(Input::Reopen);
                }
                self.fail(error);
            }
            News::Ended => self.life(Input::Ended),
            News::FirstFrame => self.life(Input::FirstFrame),
        }
    }

    fn fail(&mut self, error: MediaError) {
        self.life(Input::Failed(error));
    }

    fn tell(&self, event: MediaEvent) {
        (self.plan.on)(event);
    }
}

fn no_cause(error: &MediaError) -> glib::Error {
    glib::Error::new(gstreamer::CoreError::StateChange, &error.to_string())
}
