//! The control thread: feeds the playout, and the pipelines from it; opens them again after failures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use gstreamer as gst;

use super::decoders::decoders;
use super::fault::{self, Target};
use super::lane::{Lane, Meter, Plan, Tap, Time};
use super::settings::Settings;
use super::{Event, Shared, Stats};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::sink::playout::{self, Limits, Output, Playout};
use crate::media::{Codec, Frame, Kind};

/// The first wait after a failure. It doubles with each failure in a row.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait: somebody who plugs a speaker back in should not wait longer.
const MOST_RETRY: Duration = Duration::from_secs(16);
/// An output that has played for this long works, so the next wait is short again.
const WORKS: Duration = Duration::from_secs(10);
/// The maximum number of frames that wait while an output opens, which can take a sound server seconds.
const MOST_PENDING: usize = 200;
/// The timeout for closing an output, which normally takes as long as a buffer. One that hangs is abandoned.
const CLOSING: Duration = Duration::from_millis(700);

/// An input of the control thread.
pub(super) enum Order {
    Frame(Frame),
    Volume(f64),
    Muted(bool),
    /// An output opened, or why it did not.
    Opened(Kind, u64, Result<Lane, MediaError>),
    News(Kind, u64, News),
    /// The last handle was dropped.
    Quit,
}

/// A message from a pipeline.
pub(super) enum News {
    Playing,
    Failed(MediaError),
    DecoderFailed(MediaError),
    Closed,
}

/// The output of one kind.
enum State {
    /// Nothing has arrived yet, or it is time to try again.
    Idle,
    Opening {
        number: u64,
        /// What the playout has released meanwhile.
        pending: VecDeque<Output>,
    },
    Open {
        lane: Lane,
        since: Instant,
    },
    Waiting {
        until: Instant,
    },
    /// It is not tried again.
    Over,
}

struct Port {
    target: Target,
    state: State,
    failures: u32,
    /// Which decoder to try, if those before it failed.
    decoder: usize,
    /// Frames that were dropped because it was not open.
    dropped: u64,
    /// The totals of earlier lanes.
    shown: u64,
}

pub(super) struct Control {
    settings: Settings,
    time: Time,
    playout: Playout,
    video: Port,
    audio: Port,
    shared: Arc<Shared>,
    orders: Sender<Order>,
    lanes: u64,
    tap: Option<Tap>,
}

impl Control {
    pub(super) fn new(
        settings: Settings,
        tap: Option<Tap>,
        shared: Arc<Shared>,
        orders: Sender<Order>,
    ) -> Control {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
        let limits = Limits {
            start: micros(settings.delay),
            least: micros(settings.min_delay),
            most: micros(settings.max_delay),
            most_bytes: settings.max_bytes,
        };
        let port =
            |target| Port { target, state: State::Idle, failures: 0, decoder: 0, dropped: 0, shown: 0 };
        Control {
            time: Time::new(),
            playout: Playout::new(limits, Instant::now()),
            video: port(Target::Video(settings.video.clone())),
            audio: port(Target::Audio(settings.audio.clone())),
            settings,
            shared,
            orders,
            lanes: 0,
            tap,
        }
    }

    pub(super) fn run(mut self, inbox: Receiver<Order>) {
        loop {
            let wake = self.drain();
            self.publish();
            let order = match wake {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            match order {
                Ok(Order::Quit) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => self.handle(order),
                Err(RecvTimeoutError::Timeout) => self.input(playout::Input::Timeout),
            }
        }
        self.close();
    }

    fn input(&mut self, input: playout::Input) {
        self.playout.handle_input(input, Instant::now());
    }

    fn handle(&mut self, order: Order) {
        match order {
            Order::Frame(frame) => self.handle_frame(frame),
            Order::Volume(volume) => {
                self.settings.volume = volume;
                self.set_volume();
            }
            Order::Muted(muted) => {
                self.settings.muted = muted;
                self.set_volume();
            }
            Order::Opened(kind, number, lane) => self.handle_opened(kind, number, lane),
            Order::News(kind, number, news) => self.handle_news(kind, number, news),
            Order::Quit => {}
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        let mut state = self.shared.lock();
        state.frames = state.frames.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(frame.data.len());
        let broken = std::mem::take(&mut state.broken);
        drop(state);
        if broken {
            self.input(playout::Input::Broken(Kind::Video));
        }
        self.input(playout::Input::Frame(frame));
    }

    fn set_volume(&self) {
        if let State::Open { lane, .. } = &self.audio.state {
            lane.set_volume(self.settings.volume, self.settings.muted);
        }
    }

    fn handle_opened(&mut self, kind: Kind, number: u64, lane: Result<Lane, MediaError>) {
        let State::Opening { number: current, pending } = &mut self.port(kind).state else {
            return discard(lane.ok());
        };
        if *current != number {
            return discard(lane.ok());
        }
        let pending = std::mem::take(pending);
        // If it failed at once, its error arrived before this, when it was not known to be open.
        let lane = lane.and_then(|lane| match lane.failure() {
            Some(error) => {
                discard(Some(lane));
                Err(error)
            }
            None => Ok(lane),
        });
        match lane {
            Err(error) => self.fail(kind, error),
            Ok(lane) => {
                lane.set_volume(self.settings.volume, self.settings.muted);
                self.port(kind).state = State::Open { lane, since: Instant::now() };
                self.catch_up(kind, pending);
            }
        }
    }

    /// Plays what became due while the output opened: all video is decoded, but only its newest frame is shown.
    fn catch_up(&mut self, kind: Kind, pending: VecDeque<Output>) {
        let (now, count) = (Instant::now(), pending.len());
        for (index, output) in pending.into_iter().enumerate() {
            match output {
                Output::Video { frame, at, show } => {
                    let show = show && (at > now || index + 1 == count);
                    self.give(kind, Output::Video { frame, at, show });
                }
                Output::Audio { at, .. } | Output::Conceal { at, .. } if at < now => {
                    self.port(kind).dropped += 1
                }
                output => self.give(kind, output),
            }
        }
    }

    fn handle_news(&mut self, kind: Kind, number: u64, news: News) {
        match (&self.port(kind).state, &news) {
            (State::Open { lane, .. }, _) if lane.number == number => {}
            // The first frame may overtake the report that the output is open; a failure to open is that report.
            (State::Opening { number: current, .. }, News::Playing) if *current == number => {}
            _ => return,
        }
        match news {
            News::Playing => self.announce(Event::Playing { kind }),
            News::Failed(error) => self.fail(kind, error),
            News::Closed => {
                self.set_state(kind, State::Over);
                self.announce(Event::Closed { kind });
            }
            News::DecoderFailed(error) => self.handle_decoder_failed(kind, error),
        }
    }

    /// A decoder that never made a frame is not tried again, if there is another.
    fn handle_decoder_failed(&mut self, kind: Kind, error: MediaError) {
        let first = self.settings.decoder.clone();
        let port = self.port(kind);
        if let State::Open { lane, .. } = &port.state
            && kind == Kind::Video
            && lane.meter.buffers.load(Ordering::Relaxed) == 0
            && decoders(lane.codec, first.as_deref()).is_ok_and(|all| port.decoder + 1 < all.len())
        {
            log::info!("the decoder fails ({error}); trying the next one");
            port.decoder += 1;
            self.set_state(kind, State::Idle);
            self.input(playout::Input::Broken(kind));
            return;
        }
        self.fail(kind, error);
    }

    fn fail(&mut self, kind: Kind, error: MediaError) {
        let now = Instant::now();
        let port = self.port(kind);
        if let State::Open { since, .. } = port.state
            && now >= since + WORKS
        {
            port.failures = 0;
        }
        let wait = RETRY.saturating_mul(1 << port.failures.min(8)).min(MOST_RETRY);
        (port.failures, port.decoder) = (port.failures + 1, 0);
        let retry = error.may_pass().then_some(wait);
        let state = retry.map_or(State::Over, |wait| State::Waiting { until: now + wait });
        self.set_state(kind, state);
        self.input(playout::Input::Broken(kind));
        self.announce(Event::Failed { kind, error, retry });
    }

    /// Closes what was open on a thread of its own.
    fn set_state(&mut self, kind: Kind, state: State) {
        let port = self.port(kind);
        if let State::Open { lane, .. } = std::mem::replace(&mut port.state, state) {
            port.shown += lane.meter.buffers.load(Ordering::Relaxed);
            discard(Some(lane));
        }
    }

    fn port(&mut self, kind: Kind) -> &mut Port {
        if kind == Kind::Video { &mut self.video } else { &mut self.audio }
    }

    /// Passes what is due to the pipelines, and returns when to wake up.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.playout.poll_output() {
                output @ Output::Video { .. } => self.give(Kind::Video, output),
                output @ (Output::Audio { .. } | Output::Conceal { .. }) => self.give(Kind::Audio, output),
                Output::NeedKeyFrame(stream) => self.announce(Event::NeedKeyFrame { stream }),
                Output::Stalled(kind) => self.announce(Event::Stalled { kind }),
                Output::Resumed(kind) => self.announce(Event::Resumed { kind }),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn give(&mut self, kind: Kind, output: Output) {
        let codec = match &output {
            Output::Video { frame, .. } => frame.codec,
            _ => Codec::Opus,
        };
        let port = self.port(kind);
        // A new stream may have another codec; its first frame is a key frame.
        if let State::Open { lane, .. } = &port.state
            && lane.codec != codec
        {
            port.decoder = 0;
            self.set_state(kind, State::Idle);
        }
        let port = self.port(kind);
        if let State::Waiting { until } = port.state
            && Instant::now() >= until
        {
            port.state = State::Idle;
        }
        match &mut port.state {
            State::Idle => match output {
                // It starts where something can be decoded.
                Output::Video { frame: Frame { key: false, .. }, .. } => {
                    port.dropped += 1;
                    self.input(playout::Input::Broken(kind));
                }
                output => self.open(kind, codec, output),
            },
            State::Opening { pending, .. } => {
                pending.push_back(output);
                if pending.len() > MOST_PENDING {
                    port.dropped += pending.len() as u64;
                    pending.clear();
                    self.input(playout::Input::Broken(kind));
                }
            }
            State::Open { lane, .. } => {
                let taken = match output {
                    Output::Video { frame, at, show } => {
                        let hidden =
                            if show { gst::BufferFlags::empty() } else { gst::BufferFlags::DECODE_ONLY };
                        let delta =
                            if frame.key { gst::BufferFlags::empty() } else { gst::BufferFlags::DELTA_UNIT };
                        lane.push(frame.data, at, None, hidden | delta)
                    }
                    Output::Audio { frame, at, duration, resume } => {
                        let flags =
                            if resume { gst::BufferFlags::DISCONT } else { gst::BufferFlags::empty() };
                        lane.push(frame.data, at, Some(duration), flags)
                    }
                    Output::Conceal { at, duration } => {
                        lane.conceal(at, duration);
                        true
                    }
                    _ => true,
                };
                if !taken {
                    let shown = lane.meter.buffers.load(Ordering::Relaxed);
                    let error = fault::stuck(&port.target, shown);
                    self.fail(kind, error);
                }
            }
            State::Waiting { .. } | State::Over => port.dropped += 1,
        }
    }

    fn open(&mut self, kind: Kind, codec: Codec, first: Output) {
        self.lanes += 1;
        let number = self.lanes;
        let port = self.port(kind);
        port.state = State::Opening { number, pending: VecDeque::from([first]) };
        let (target, index) = (port.target.clone(), port.decoder);
        let decoder = match kind {
            Kind::Video => match decoders(codec, self.settings.decoder.as_deref()) {
                Ok(all) => all.into_iter().nth(index),
                Err(error) => return self.fail(kind, error),
            },
            Kind::Audio => None,
        };
        let plan = Plan {
            number,
            codec,
            decoder,
            target,
            time: self.time.clone(),
            volume: self.settings.volume,
            muted: self.settings.muted,
            orders: self.orders.clone(),
            tap: self.tap.clone(),
            shared: self.shared.clone(),
            echo: self.settings.echo.clone().filter(|_| kind == Kind::Audio),
        };
        let orders = self.orders.clone();
        let thread = std::thread::Builder::new().name("symple-play-open".into());
        // If the control thread is gone, the order is dropped, and the lane in it closed, here.
        let thread = thread.spawn(move || _ = orders.send(Order::Opened(kind, number, Lane::open(&plan))));
        if let Err(error) = thread {
            let words = format!("cannot start a thread: {error}");
            self.fail(kind, MediaError::new(ErrorKind::Other, words));
        }
    }

    fn announce(&self, event: Event) {
        log::debug!("playback: {event:?}");
        let listener = self.shared.lock().listener.clone();
        if let Some(listener) = listener {
            listener(event);
        }
    }

    fn publish(&mut self) {
        let counts = self.playout.counts();
        let meter = |port: &Port| match &port.state {
            State::Open { lane, .. } => Some(lane.meter.clone()),
            _ => None,
        };
        let (video, audio) = (meter(&self.video), meter(&self.audio));
        let late = |meter: Option<Arc<Meter>>| {
            let meter = meter.filter(|meter| meter.buffers.load(Ordering::Relaxed) > 0)?;
            Some(meter.late.load(Ordering::Relaxed) / 1_000)
        };
        let shown = video.as_ref().map_or(0, |meter| meter.buffers.load(Ordering::Relaxed));
        let skew = late(video).zip(late(audio)).map(|(video, audio)| video - audio);
        let mut state = self.shared.lock();
        state.stats = Stats {
            shown: self.video.shown + shown,
            late: counts.video_late,
            undecodable: counts.video_undecodable,
            heard: counts.audio,
            audio_late: counts.audio_late,
            audio_undecodable: counts.audio_undecodable,
            skipped: counts.audio_skipped,
            concealed: counts.concealed,
            overflow: counts.overflow + self.video.dropped + self.audio.dropped + state.dropped,
            other: counts.other + state.ignored,
            delay: self.playout.delay(),
            skew,
        };
    }

    /// Closes the outputs, both at once, and waits for them a limited time.
    fn close(mut self) {
        let (closed, all) = mpsc::channel();
        for port in [&mut self.video, &mut self.audio] {
            if let State::Open { lane, .. } = std::mem::replace(&mut port.state, State::Over) {
                let closed = closed.clone();
                _ = std::thread::Builder::new().name("symple-play-close".into()).spawn(move || {
                    drop(lane);
                    _ = closed.send(());
                });
            }
        }
        drop(closed);
        let end = Instant::now() + CLOSING;
        while all.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    }
}

/// Closes a pipeline on a thread of its own, as devices may block.
fn discard(lane: Option<Lane>) {
    if let Some(lane) = lane {
        _ = std::thread::Builder::new().name("symple-play-close".into()).spawn(move || drop(lane));
    }
}
