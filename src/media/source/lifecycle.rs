//! The life of a source: when it is opened, closed and reopened, and what is announced about that. Pure.
//!
//! ```text
//!            wanted            first frame
//!  closed ───────────▶ opening ───────────▶ playing ◀────────────┐
//!    ▲                    │                    │                 │ first frame
//!    │                    │ failed, stalled,   │                 │
//!    │ not wanted,        ▼ or came to its end ▼                 │
//!    │ from anywhere   waiting to try again ── timeout ──▶ lost, being opened
//!    │                    ▲                                      │
//!    │                    └────── failed, stalled, ended ────────┘
//!    │
//!    └── ended │ gave up: not retried; opened again when it is next wanted
//! ```
//!
//! # The policy
//!
//! - **Waits.** 1, 2, 4, 8, 16, and then 30 s between attempts; they start over after a run of [`GOOD_RUN`], and when
//!   nobody wants the source any more.
//! - **Errors that waiting cannot fix**, such as a missing plugin or a wrong password, end the attempts at once.
//! - **What is not there**, a camera that is not plugged in or a host that does not answer, is announced once, and then
//!   looked for silently twice a second.
//! - **A file** restarts at its end, or has ended; one that fails is given up.
//! - **Nothing for [`STALL`]**, or [`FIRST`] before the first frame, is a stall, and the source is opened again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{SourceEvent, SourceState, SourceStatus};
use crate::media::error::{ErrorKind, MediaError};

/// A source that gives nothing for so long has stalled. Cameras give frames ten times a second and more, and a
/// network that loses its connection for longer will not continue it.
pub(crate) const STALL: Duration = Duration::from_secs(5);
/// The first frame may take longer: RTSP may try UDP before TCP, a camera adjusts its exposure.
pub(crate) const FIRST: Duration = Duration::from_secs(10);
/// How often it is looked whether a camera is plugged in again, or answers at its address, which costs next to nothing:
/// a viewer is to see it within two seconds, and it takes most of them to open.
pub(crate) const ABSENT: Duration = Duration::from_millis(500);
/// A run that gave frames for so long was good: the next failure's wait begins small again.
pub(crate) const GOOD_RUN: Duration = Duration::from_secs(10);
/// A file that is shorter is not repeated more often.
pub(crate) const SHORTEST_REPEAT: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Who reopens a lost source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reopening {
    /// This core, after a wait: live sources such as cameras.
    AfterWait,
    /// This core, at the source's end, which is not a loss; if it fails it is given up: repeated files.
    AtEnd,
    /// Nobody: files that are played once.
    Never,
    /// The source itself: an application that pushes frames. It is neither closed when it fails nor considered stalled when
    /// it is silent.
    ByItself,
}

/// The properties of a source.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Who reopens it.
    pub reopening: Reopening,
    /// It can be unplugged, and checking for it costs nothing: opening it fails at once with [`ErrorKind::NoCamera`], or
    /// with [`ErrorKind::Unreachable`].
    pub pluggable: bool,
    /// The error of a stall.
    pub stalled: MediaError,
}

/// What happens to a source.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A stream of it is wanted.
    Wanted,
    /// No stream of it is wanted any more.
    Unwanted,
    /// It is open, and may still turn out to give nothing.
    Opened,
    /// Something came of it, at this time.
    Alive(Instant),
    /// The first frame since it was opened came.
    FirstFrame,
    /// It turned out to be another thing than it was taken for: it is opened in another way, at once.
    Reopen,
    /// It cannot be used.
    Failed(MediaError),
    /// It came to its end.
    Ended,
    /// Time has passed.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// Open it. [`Input::Opened`] or [`Input::Failed`] follows.
    Open,
    /// Close it, if it is open.
    Close,
    /// Announce this.
    Event(SourceEvent),
    /// Nothing until this time.
    Timeout(Option<Instant>),
}

/// From its opening to its closing.
#[derive(Clone, Copy, Debug)]
struct Run {
    opened: Instant,
    /// Opening it succeeded.
    is_open: bool,
    /// When something last came of it.
    alive: Option<Instant>,
}

impl Run {
    /// What came of the run before this one is no sign of it.
    fn alive(self, at: Instant) -> Run {
        Run { alive: Some(at).filter(|at| *at >= self.opened).or(self.alive), ..self }
    }

    fn stalls_at(self) -> Instant {
        self.alive.map_or(self.opened + FIRST, |alive| alive + STALL)
    }
}

/// What follows a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another try.
    Try,
    /// A look whether it is plugged in; that it is not was announced.
    Look,
    /// The file from its beginning.
    Round,
}

#[derive(Clone, Debug)]
enum State {
    /// Nobody wants it.
    Closed,
    /// Opened for somebody new, or for the next round of a file: nothing is wrong.
    Opening(Run),
    /// Frames flow.
    Playing(Run),
    /// Opened again after a loss.
    Lost {
        run: Run,
        /// That it is not plugged in was announced.
        absent: bool,
    },
    /// Closed until it is opened again.
    Waiting { until: Instant, next: Next },
    /// It came to its end and is not opened again.
    Ended,
    /// It failed and is not opened again.
    GaveUp,
}

/// The core. Feed it, then drain [`poll_output`](Self::poll_output) until it says when to wake.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    config: Config,
    state: State,
    status: Option<SourceStatus>,
    /// Losses in a row.
    failures: u32,
    out: VecDeque<Output>,
}

impl Lifecycle {
    /// A source that nobody wants yet.
    pub(crate) fn new(config: Config) -> Self {
        Lifecycle { config, state: State::Closed, status: None, failures: 0, out: VecDeque::new() }
    }

    /// Whether it is neither open nor to be opened again.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed | State::Ended | State::GaveUp)
    }

    /// Whether frames flow.
    pub(crate) fn is_playing(&self) -> bool {
        matches!(self.state, State::Playing(_))
    }

    /// Whether it was lost, and is being opened again.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }

    /// What is to be done next; [`Output::Timeout`] when there is nothing.
    pub(crate) fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Timeout(self.wakes_at()))
    }

    fn wakes_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed | State::Ended | State::GaveUp => None,
            State::Waiting { until, .. } => Some(until),
            State::Opening(run) | State::Playing(run) | State::Lost { run, .. } => {
                (self.config.reopening != Reopening::ByItself).then(|| run.stalls_at())
            }
        }
    }

    /// Takes what happened. See the table of transitions in the tests.
    pub(crate) fn handle_input(&mut self, input: Input, now: Instant) {
        use State::{Closed, Ended, GaveUp, Lost, Opening, Playing, Waiting};
        let state = std::mem::replace(&mut self.state, Closed);
        self.state = match (state, input) {
            (Closed | Ended | GaveUp, Input::Wanted) => {
                self.set_status(SourceStatus::of(SourceState::Starting));
                Opening(self.open(now))
            }
            (Closed | Ended | GaveUp, Input::Unwanted) => {
                self.status = None;
                Closed
            }
            (state @ (Closed | Ended | GaveUp), _) => state,
            (state, Input::Unwanted) => self.stop(&state),
            (state, Input::Wanted) => state,

            (Waiting { until, next }, Input::Timeout) if until <= now => {
                let run = self.open(now);
                match next {
                    Next::Try => Lost { run, absent: false },
                    Next::Look => Lost { run, absent: true },
                    Next::Round => Opening(run),
                }
            }
            // What was on its way when it was closed.
            (state @ Waiting { .. }, _) => state,

            (Lost { run, absent }, Input::Opened) => {
                // What is there again need not be ready yet.
                self.failures = if absent { 0 } else { self.failures };
                Lost { run: Run { is_open: true, ..run }, absent: false }
            }
            (Opening(run), Input::Opened) => Opening(Run { is_open: true, ..run }),
            (state, Input::Opened) => state,
            (Opening(run), Input::Alive(at)) => Opening(run.alive(at)),
            (Playing(run), Input::Alive(at)) => Playing(run.alive(at)),
            (Lost { run, absent }, Input::Alive(at)) => Lost { run: run.alive(at), absent },
            (Opening(run) | Playing(run) | Lost { run, .. }, Input::FirstFrame) => {
                self.set_status(SourceStatus::of(SourceState::Playing));
                Playing(run)
            }
            (state, Input::Reopen) => {
                self.close(&state, now);
                let run = self.open(now);
                match state {
                    Lost { absent, .. } => Lost { run, absent },
                    _ => Opening(run),
                }
            }
            (state, Input::Failed(error)) => self.fail(state, error, now),
            (state @ (Opening(run) | Playing(run) | Lost { run, .. }), Input::Ended) => {
                self.end(&state, run, now)
            }
            (state, Input::Timeout) if self.stalled(&state, now) => {
                let error = self.config.stalled.clone();
                self.close(&state, now);
                self.event(SourceEvent::Stalled(error.clone()));
                self.set_status(SourceStatus::because(SourceState::Lost, &error));
                self.wait(Next::Try, now)
            }
            (state, Input::Timeout) => state,
        };
    }

    fn stalled(&self, state: &State, now: Instant) -> bool {
        let (State::Opening(run) | State::Playing(run) | State::Lost { run, .. }) = state else {
            return false;
        };
        self.config.reopening != Reopening::ByItself && run.stalls_at() <= now
    }

    fn stop(&mut self, state: &State) -> State {
        if !matches!(state, State::Waiting { .. }) {
            self.out.push_back(Output::Close);
        }
        self.failures = 0;
        self.status = None;
        self.event(SourceEvent::Stopped);
        State::Closed
    }

    fn fail(&mut self, state: State, error: MediaError, now: Instant) -> State {
        let is_open = match state {
            State::Opening(run) | State::Playing(run) | State::Lost { run, .. } => run.is_open,
            _ => false,
        };
        let absent = match error.kind() {
            ErrorKind::NoCamera => self.config.pluggable,
            // A connection that ends says nothing of the host.
            ErrorKind::Unreachable => self.config.pluggable && !is_open,
            _ => false,
        };
        let look = State::Waiting { until: now + ABSENT, next: Next::Look };
        if absent && matches!(state, State::Lost { absent: true, .. }) {
            self.close(&state, now);
            return look;
        }
        let lost = SourceStatus::because(SourceState::Lost, &error);
        match self.config.reopening {
            Reopening::AfterWait if error.may_pass() => {
                self.close(&state, now);
                self.event(SourceEvent::Failed(error));
                self.set_status(lost);
                if absent { look } else { self.wait(Next::Try, now) }
            }
            Reopening::ByItself if error.may_pass() => {
                self.event(SourceEvent::Failed(error));
                self.set_status(lost);
                State::Lost { run: Run { opened: now, is_open: true, alive: None }, absent: false }
            }
            _ => {
                self.close(&state, now);
                let status = SourceStatus::because(SourceState::Failed, &error);
                self.event(SourceEvent::Failed(error));
                self.give_up(status);
                State::GaveUp
            }
        }
    }

    fn end(&mut self, state: &State, run: Run, now: Instant) -> State {
        self.close(state, now);
        self.event(SourceEvent::Ended);
        match self.config.reopening {
            Reopening::AtEnd => {
                State::Waiting { until: now.max(run.opened + SHORTEST_REPEAT), next: Next::Round }
            }
            Reopening::AfterWait => {
                self.set_status(SourceStatus::of(SourceState::Lost));
                self.wait(Next::Try, now)
            }
            Reopening::Never | Reopening::ByItself => {
                self.give_up(SourceStatus::of(SourceState::Ended));
                State::Ended
            }
        }
    }

    fn give_up(&mut self, status: SourceStatus) {
        self.failures = 0;
        self.set_status(status);
        self.event(SourceEvent::GaveUp);
    }

    fn wait(&mut self, next: Next, now: Instant) -> State {
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        State::Waiting { until: now + wait, next }
    }

    fn open(&mut self, now: Instant) -> Run {
        self.out.push_back(Output::Open);
        Run { opened: now, is_open: false, alive: None }
    }

    fn close(&mut self, state: &State, now: Instant) {
        if matches!(state, State::Playing(run) if now.saturating_duration_since(run.opened) >= GOOD_RUN) {
            self.failures = 0;
        }
        self.out.push_back(Output::Close);
    }

    fn set_status(&mut self, status: SourceStatus) {
        if self.status.replace(status) != Some(status) {
            self.event(SourceEvent::State(status));
        }
    }

    fn event(&mut self, event: SourceEvent) {
        self.out.push_back(Output::Event(event));
    }
}

/// The wait before a source is opened again: 1, 2, 4, 8, 16, and then 30 s.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests;
