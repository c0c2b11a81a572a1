//! A microphone beside the source of the video: a pipeline of its own, so that neither waits for the other, and a
//! microphone that fails does not stop the video.
//!
//! ```text
//! microphone ─ 48 kHz ─ (canceller) ─ Opus
//! ```
//!
//! It is opened and closed on threads of their own, since that may block; one control thread does the rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::branch::Timing;
use super::echo::cancel;
use super::microphone_settings::{Microphone, from_gstreamer, none_works, stalled};
use super::parts::{launch, lock, part};
use crate::media::echo::EchoReference;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::lifecycle::{self, Lifecycle, Reopening};
use crate::media::source::{Listener, SourceEvent};
use crate::media::{Codec, StreamId};

/// What is captured.
#[derive(Clone)]
pub(super) struct Job {
    pub microphone: Microphone,
    /// Of the speaker that it hears, too.
    pub echo: Option<EchoReference>,
    pub stream: StreamId,
    /// In bit/s.
    pub bitrate: u32,
    /// The zero of all presentation times.
    pub epoch: Instant,
    pub on: Listener,
}

enum Order {
    Want(bool),
    Bitrate(u32),
    /// The pipeline of this number is open, or cannot be opened.
    Opened(u64, Result<Ear, MediaError>),
    FirstFrame(u64),
    Failed(u64, MediaError),
    Quit,
}

/// A handle. Dropping it closes the microphone.
pub(super) struct Capture {
    orders: Sender<Order>,
    /// Whether frames may pass. Locked while one does.
    gate: Arc<Mutex<bool>>,
}

impl Capture {
    pub(super) fn start(job: Job) -> Result<Capture, MediaError> {
        let (orders, inbox) = mpsc::channel();
        let gate = Arc::<Mutex<bool>>::default();
        let life = Lifecycle::new(lifecycle::Config {
            reopening: Reopening::AfterWait,
            // Opening an absent device may be slow, so it is not tried all the time.
            pluggable: false,
            stalled: stalled(&job.microphone),
        });
        let (told, gated) = (orders.clone(), gate.clone());
        let control = Control { job, life, orders: told, gate: gated, ear: None, number: 0, said: None };
        let thread = std::thread::Builder::new().name("symple-microphone".into());
        thread.spawn(move || control.run(&inbox)).map_err(|error| {
            MediaError::new(ErrorKind::Other, format!("cannot start the microphone's thread: {error}"))
        })?;
        Ok(Capture { orders, gate })
    }

    /// Opens or closes it. No frames follow once it is not wanted.
    pub(super) fn want(&self, wanted: bool) {
        *lock(&self.gate) = wanted;
        _ = self.orders.send(Order::Want(wanted));
    }

    /// Sets the bitrate in bit/s, now and from then on.
    pub(super) fn set_bitrate(&self, bps: u32) {
        _ = self.orders.send(Order::Bitrate(bps));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        *lock(&self.gate) = false;
        _ = self.orders.send(Order::Quit);
    }
}

struct Control {
    job: Job,
    life: Lifecycle,
    orders: Sender<Order>,
    gate: Arc<Mutex<bool>>,
    ear: Option<Ear>,
    /// Numbers the pipelines.
    number: u64,
    /// The problem that was announced last, until it works again.
    said: Option<MediaError>,
}

impl Control {
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let order = match self.perform() {
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            match order {
                Ok(Order::Quit) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => self.handle(order),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(at) = self.ear.as_ref().and_then(Ear::alive) {
                self.life(lifecycle::Input::Alive(at));
            }
            self.life(lifecycle::Input::Timeout);
        }
        self.close();
    }

    fn life(&mut self, input: lifecycle::Input) {
        self.life.handle_input(input, Instant::now());
    }

    /// Executes the outputs of the microphone's lifecycle. Returns when to wake.
    fn perform(&mut self) -> Option<Instant> {
        loop {
            match self.life.poll_output() {
                lifecycle::Output::Open => self.open(),
                lifecycle::Output::Close => self.close(),
                lifecycle::Output::Event(SourceEvent::Failed(error) | SourceEvent::Stalled(error)) => {
                    self.announce(error);
                }
                lifecycle::Output::Event(_) => {}
                lifecycle::Output::Timeout(at) => return at,
            }
        }
    }

    /// Says each problem once: it is tried again all the time.
    fn announce(&mut self, error: MediaError) {
        if self.said.as_ref() != Some(&error) {
            self.said = Some(error.clone());
            (self.job.on)(SourceEvent::Trouble(error));
        }
    }

    fn handle(&mut self, order: Order) {
        match order {
            Order::Want(true) => self.life(lifecycle::Input::Wanted),
            Order::Want(false) => self.life(lifecycle::Input::Unwanted),
            Order::Bitrate(bps) => {
                self.job.bitrate = bps;
                if let Some(ear) = &self.ear {
                    ear.set_bitrate(bps);
                }
            }
            Order::Opened(number, ear) if number == self.number => match ear {
                Ok(ear) => {
                    ear.set_bitrate(self.job.bitrate);
                    self.ear = Some(ear);
                    self.life(lifecycle::Input::Opened);
                }
                Err(error) => self.life(lifecycle::Input::Failed(error)),
            },
            // It took so long that it is no longer waited for.
            Order::Opened(_, ear) => discard(ear.ok()),
            Order::FirstFrame(number) if number == self.number => {
                if self.said.take().is_some() {
                    log::info!("{} works", self.job.microphone.words());
                }
                self.life(lifecycle::Input::FirstFrame);
            }
            Order::Failed(number, error) if number == self.number => {
                self.life(lifecycle::Input::Failed(error));
            }
            Order::FirstFrame(_) | Order::Failed(..) | Order::Quit => {}
        }
    }

    fn open(&mut self) {
        self.close();
        let (number, job, orders) = (self.number, self.job.clone(), self.orders.clone());
        let gate = self.gate.clone();
        let thread = std::thread::Builder::new().name("symple-microphone-open".into());
        let opens = thread.spawn({
            let orders = orders.clone();
            move || {
                let ear = Ear::open(&job, number, &orders, gate);
                _ = orders.send(Order::Opened(number, ear));
            }
        });
        if let Err(error) = opens {
            let words = format!("cannot start a thread: {error}");
            _ = orders.send(Order::Opened(number, Err(MediaError::new(ErrorKind::Other, words))));
        }
    }

    /// Closes it, or forgets that it is being opened.
    fn close(&mut self) {
        self.number += 1;
        discard(self.ear.take());
    }
}

/// Closes a pipeline on a thread of its own, as devices may block.
fn discard(ear: Option<Ear>) {
    if let Some(ear) = ear {
        _ = std::thread::Builder::new().name("symple-microphone-end".into()).spawn(move || drop(ear));
    }
}

/// An open pipeline. Dropping it closes the device, which may block.
struct Ear {
    pipeline: gst::Pipeline,
    opened: Instant,
    /// When the last frame came, in milliseconds after `opened`; 0 before the first.
    pulse: Arc<AtomicU64>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Ear {
    /// Opens the device. May block.
    fn open(
        job: &Job,
        number: u64,
        orders: &Sender<Order>,
        gate: Arc<Mutex<bool>>,
    ) -> Result<Ear, MediaError> {
        let (line, property) = line(job);
        let pipeline = launch(&line)?;
        if let Some((name, value)) = property {
            part(&pipeline, "microphone")?.set_property(name, value);
        }
        // Presentation times are compared with `Instant`s, so no device clock may be used.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let first = listen(&pipeline, &job.microphone, number, orders.clone());
        if let Some(echo) = &job.echo {
            let blocks = part(&pipeline, "blocks")?.static_pad("src");
            let blocks = blocks
                .ok_or_else(|| MediaError::new(ErrorKind::BadSettings, "`blocks` is a reserved name"))?;
            cancel(&blocks, echo.listen(Instant::now()))?;
        }
        let (opened, pulse) = (Instant::now(), Arc::<AtomicU64>::default());
        let timing = Timing::new(job.epoch, &pipeline, None, job.stream, || ());
        let (stream, on, beats) = (job.stream, job.on.clone(), pulse.clone());
        let told = orders.clone();
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let Some((frame, _)) = timing.frame(&sample, stream, Codec::Opus) else {
                return Ok(gst::FlowSuccess::Ok);
            };
            let millis = (opened.elapsed().as_millis() as u64).max(1);
            if beats.swap(millis, Ordering::Relaxed) == 0 {
                _ = told.send(Order::FirstFrame(number));
            }
            let open = lock(&gate);
            if *open {
                on(SourceEvent::Frame(frame));
            }
            Ok(gst::FlowSuccess::Ok)
        });
        let sink = part(&pipeline, "out")?.downcast::<gst_app::AppSink>();
        let sink = sink.map_err(|_| MediaError::new(ErrorKind::BadSettings, "`out` is a reserved name"))?;
        sink.set_callbacks(callbacks.build());
        let ear = Ear { pipeline, opened, pulse };
        let cause = |_| {
            let known = lock(&first).take();
            known.unwrap_or_else(|| MediaError::new(ErrorKind::Other, "the microphone failed to start"))
        };
        // The automatic source chooses the actual one here.
        ear.pipeline.set_state(gst::State::Ready).map_err(cause)?;
        if job.microphone == Microphone::Default && is_made_up(&ear.pipeline) {
            return Err(none_works());
        }
        ear.pipeline.set_state(gst::State::Playing).map_err(cause)?;
        Ok(ear)
    }

    fn set_bitrate(&self, bps: u32) {
        if let Some(encoder) = self.pipeline.by_name("enc") {
            encoder.set_property_from_str("bitrate", &bps.to_string());
        }
    }

    /// When the last frame came.
    fn alive(&self) -> Option<Instant> {
        match self.pulse.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.opened + Duration::from_millis(millis)),
        }
    }
}

/// The pipeline in launch syntax, and a property for its element `microphone`.
fn line(job: &Job) -> (String, Option<(&'static str, String)>) {
    let (head, property) = job.microphone.head();
    let queue = "queue leaky=downstream max-size-buffers=0 max-size-bytes=0 max-size-time=1000000000";
    let encoder = format!(
        "opusenc name=enc bitrate={} frame-size=20 ! appsink name=out sync=false async=false",
        job.bitrate
    );
    let raw = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000";
    let format = match &job.echo {
        None => format!("{raw},channels=[1,2]"),
        Some(_) => format!("{raw},channels=1 ! audiobuffersplit name=blocks output-buffer-duration=1/100"),
    };
    (format!("{head} ! {queue} ! audioconvert ! audioresample ! {format} ! {encoder}"), property)
}

/// Whether the automatic source found none, and makes silence.
fn is_made_up(pipeline: &gst::Pipeline) -> bool {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    let mut names = elements.filter_map(|element| element.factory()).map(|factory| factory.name());
    names.any(|name| name == "audiotestsrc" || name == "fakesrc")
}

/// Forwards errors to the control thread, and keeps the first for whoever opens the pipeline.
fn listen(
    pipeline: &gst::Pipeline,
    microphone: &Microphone,
    number: u64,
    orders: Sender<Order>,
) -> Arc<Mutex<Option<MediaError>>> {
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    let first = Arc::<Mutex<Option<MediaError>>>::default();
    let (kept, microphone) = (first.clone(), microphone.clone());
    bus.set_sync_handler(move |_, message| {
        let error = match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                Some(from_gstreamer(&microphone, &error.error(), &debug))
            }
            gst::MessageView::Eos(_) => Some(stalled(&microphone)),
            _ => None,
        };
        if let Some(error) = error {
            lock(&kept).get_or_insert_with(|| error.clone());
            _ = orders.send(Order::Failed(number, error));
        }
        gst::BusSyncReply::Drop
    });
    first
}
