//! The control thread: it alone opens, changes and closes runs, and opens them again when they fail.
//!
//! ```text
//! stopped ── start ─▶ opening ── first frame ─▶ giving
//!    ▲                 │   ▲                      │
//!    │                 │   └── after a wait ──┐   │ error, stall, end
//!    │                 └──── error ────────▶ waiting ◀┘
//!    └── stop, from anywhere; or an error that waiting does not mend
//! ```

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
use crate::media::source::Location;
use crate::media::source::controls::Value;
use crate::media::source::pace::Verdict;
use crate::media::source::v4l2::device::Rate;

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
    Ended,
}

/// A file that is shorter is not repeated more often.
const SHORTEST_REPEAT: Duration = Duration::from_secs(1);
/// How often it is looked whether a camera is plugged in again.
const ABSENT: Duration = Duration::from_secs(2);
/// A run that gave so long was good: the next failure's wait begins small again.
const GOOD_RUN: Duration = Duration::from_secs(10);

pub(super) struct Control {
    plan: Plan,
    /// What was asked for; `None` while stopped.
    wanted: Option<Streams>,
    run: Option<Run>,
    runs: u64,
    failures: u32,
    reopen_at: Option<Instant>,
    /// The camera is not plugged in, and that was told.
    absent: bool,
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
        Control { plan, wanted: None, run: None, runs: 0, failures: 0, reopen_at: None, absent: false }
    }

    pub(super) fn run(mut self, inbox: Receiver<Command>) {
        loop {
            let command = match self.wakes_at() {
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
            self.handle_time(Instant::now());
        }
    }

    fn wakes_at(&self) -> Option<Instant> {
        self.run.as_ref().map(Run::stalls_at).or(self.reopen_at)
    }

    fn handle(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Start(streams) if streams.is_empty() => self.stop(),
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
        let Some(streams) = self.wanted else { return };
        if let Err(error) = run.produce(&self.plan, streams) {
            self.fail(error);
        }
    }

    fn handle_time(&mut self, now: Instant) {
        if self.run.as_ref().is_some_and(|run| run.stalls_at() <= now) {
            let error = fault::stalled(&self.plan.settings.source);
            self.close();
            self.tell(MediaEvent::Stalled(error));
            self.reopen_later();
        }
        if self.reopen_at.is_some_and(|at| at <= now) {
            self.open();
        }
    }

    fn start(&mut self, streams: Streams) {
        let before = self.wanted.replace(streams);
        match &mut self.run {
            Some(run) => {
                if let Err(error) = run.produce(&self.plan, streams) {
                    self.fail(error);
                }
            }
            None if before.is_none() => {
                // It may be another file by now.
                self.plan.still = false;
                self.open();
            }
            None => {} // waits to be opened again
        }
    }

    fn stop(&mut self) {
        if self.wanted.take().is_some() {
            self.close();
            self.failures = 0;
            // The next start tells anew.
            self.absent = false;
            self.tell(MediaEvent::Stopped);
        }
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
        self.reopen_at = None;
        self.runs += 1;
        let target = self.plan.camera.as_mut().map(Camera::find).transpose();
        match target.and_then(|target| Run::open(&self.plan, self.runs, target)) {
            Err(error) => self.fail(error),
            Ok(run) => {
                self.absent = false;
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
        let Some((run, streams)) = self.run.as_mut().zip(self.wanted) else { return };
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
                self.close();
                self.open();
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
                self.close();
                self.open();
            }
            News::Found(Found::SoundEnded) => self.end(),
            News::Found(found) => {
                if let Err(error) = run.handle_found(found, &self.plan, streams) {
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
                    self.close();
                    return self.open();
                }
                self.fail(error);
            }
            News::Ended => self.end(),
        }
    }

    fn give_up(&mut self) {
        self.wanted = None;
        self.failures = 0;
        self.tell(MediaEvent::GaveUp);
    }

    fn end(&mut self) {
        let began = self.run.as_ref().map_or_else(Instant::now, |run| run.began);
        self.close();
        self.tell(MediaEvent::Ended);
        match self.plan.settings.source {
            Location::File(_) if self.plan.settings.repeat => {
                self.reopen_at = Some(Instant::now().max(began + SHORTEST_REPEAT))
            }
            Location::File(_) => self.give_up(),
            _ => self.reopen_later(),
        }
    }

    fn fail(&mut self, error: MediaError) {
        self.close();
        let source = &self.plan.settings.source;
        let again = source.is_live() && error.may_pass();
        // A CSI camera is looked for by opening all that opens it, which is not done every other second.
        let absent = matches!(source, Location::V4l2(_)) && error.kind() == ErrorKind::NoCamera;
        if absent && self.absent {
            // It was told, and to look again costs nothing.
            self.reopen_at = Some(Instant::now() + ABSENT);
            return;
        }
        self.absent = absent;
        self.tell(MediaEvent::Failed(error));
        if again {
            self.reopen_later();
        } else {
            self.give_up();
        }
    }

    fn reopen_later(&mut self) {
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        log::debug!("the source is opened again in {} s", wait.as_secs());
        self.reopen_at = Some(Instant::now() + wait);
    }

    /// Closes the source.
    fn close(&mut self) {
        if self.run.take().is_some_and(|run| run.lasted() >= GOOD_RUN) {
            self.failures = 0;
        }
        self.reopen_at = None;
    }

    fn tell(&self, event: MediaEvent) {
        (self.plan.on)(event);
    }
}

fn no_cause(error: &MediaError) -> glib::Error {
    glib::Error::new(gstreamer::CoreError::StateChange, &error.to_string())
}

/// The wait before a source is opened again: 1, 2, 4, 8, 16, and then 30 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs((1 << failures.min(5)).min(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_half_a_minute() {
        let waits: Vec<u64> = (0..8).map(|failures| backoff(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff(u32::MAX).as_secs(), 30);
    }
}
