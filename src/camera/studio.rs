//! The camera's core, sans-IO: calls meet viewers, and what viewers need reaches the encoder.
//!
//! A call becomes a viewer when its descriptions agree. The streams that any viewer takes are produced,
//! from then on and `linger` longer than the last one stays. Key-frame requests are merged, bandwidth
//! estimates go through one rate controller for each stream.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::audience::Audience;
use super::callers::Caller;
use super::config::Answer;
use super::event::{Event, Viewer, ViewerId};
use super::offers::Offers;
use super::source::{Follower, SourceState, SourceStatus};
use crate::call::body::{End, EndReason};
use crate::call::{self, CallError, CallId, Calls, RateLimit};
use crate::media::adapt::heat::{self, Heat};
use crate::media::adapt::keyframes::{KeyFrameReason, KeyFrames};
use crate::media::adapt::ladder::{Ladder, Quality, Step};
use crate::media::adapt::rate::{Limits, Rate};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps::{self, Agreement};
use crate::media::source::gst::{MediaEvent, Streams};
use crate::media::source::v4l2::choose::Way;
use crate::media::{
    AUDIO_OPUS, Codec, Format, Frame, Kind, StreamId, StreamInfo, VIDEO_H264, VIDEO_VP8, VideoFormat,
};
use crate::proto::Address;
use crate::rtc::{self, Fanout, SessionId, SessionStats, Transmit};

/// What a studio is told at its start.
pub(crate) struct Config {
    pub rtc: rtc::Config,
    /// The streams that there are to send, by preference.
    pub media: Vec<StreamInfo>,
    pub bitrate: Limits,
    /// All that is asked of an encoder: width, height and pictures a second.
    pub pictures: (u32, u32, u32),
    /// Whether less may be asked of it.
    pub adapt: bool,
    /// From which temperatures on less is asked; `None` where nothing is read.
    pub heat: Option<heat::Limits>,
    pub answer: Answer,
    pub max_viewers: usize,
    /// Calls without media that each host, or user, may have.
    pub max_unconnected: usize,
    /// Offers of each host, or user.
    pub offer_rate: RateLimit,
    pub linger: Duration,
    /// The source is a camera, and no file that comes to an end.
    pub live: bool,
}

/// What happened outside. Frames and datagrams are borrowed.
pub(crate) enum Input<'a> {
    /// The server knows us under this address.
    Online {
        address: &'a str,
    },
    Offline,
    PeerGone {
        address: &'a str,
    },
    /// A `call:…` message.
    Call {
        from: &'a str,
        whence: Whence,
        subtype: &'a str,
        data: Option<&'a str>,
        call: Option<&'a str>,
    },
    Frame(&'a Frame),
    /// Frames of a stream were lost before they came here.
    Torn(StreamId),
    Media(MediaEvent),
    Datagram {
        path: rtc::Path,
        data: &'a [u8],
    },
    /// What the board said, as [`Output::ReadHeat`] wanted.
    Heat(heat::Reading),
    /// All calls are hung up.
    Shutdown,
    Timeout,
}

/// What is to be done outside.
#[derive(Debug)]
pub(crate) enum Output {
    /// A message of a call, by the signalling.
    Send {
        to: String,
        subtype: &'static str,
        call: Option<String>,
        data: String,
    },
    /// Produce these from now on; none is stop.
    Produce(Streams),
    KeyFrame(StreamId),
    Bitrate(StreamId, u32),
    Quality(StreamId, Quality),
    /// [`Input::Heat`] is wanted.
    ReadHeat,
    /// What the source does now, for everybody who comes and, at once, for these; `None` while nobody watches.
    Source(Option<SourceStatus>, Vec<String>),
    /// So many watch now, for everybody.
    Viewers(usize),
    Event(Event),
    Timeout(Option<Instant>),
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    At(IpAddr),
    /// From this machine or a trusted proxy: others may be behind that address, so it is not counted.
    Exempt,
    /// The server is elsewhere and does not tell.
    Unknown,
}

/// A call that is not over.
pub(crate) struct Seat {
    pub session: SessionId,
    /// Whose share it is taken from; `None` for those that we called.
    pub caller: Option<Caller>,
    pub viewer: Viewer,
    video: Option<StreamId>,
    pub joined: bool,
}

/// What an encoder is asked for.
struct Encoding {
    stream: StreamId,
    rate: Rate,
    ladder: Ladder,
    /// The bitrate that it was told last.
    told: u32,
}

pub(crate) struct Studio {
    pub calls: Calls,
    pub fanout: Fanout,
    streams: Vec<StreamInfo>,
    limits: Limits,
    encodings: [Encoding; 2],
    heat: Option<Heat>,
    key_frames: KeyFrames,
    source: Follower,
    audience: Audience,
    pub seats: BTreeMap<CallId, Seat>,
    sessions: HashMap<SessionId, CallId>,
    next_session: u64,
    pub offers: Offers,
    /// Of the message at hand.
    pub whence: Whence,
    pub answer: Answer,
    pub max_viewers: usize,
    pub max_unconnected: usize,
    linger: Duration,
    producing: Streams,
    /// What can be turned at the encoder of H.264.
    h264: Turns,
    /// What the H.264 encoder says that it makes.
    made: Option<[u8; 3]>,
    /// When to stop producing, if nobody comes.
    stop_at: Option<Instant>,
    pub out: VecDeque<Output>,
    calls_at: Option<Instant>,
    offers_at: Option<Instant>,
    fanout_at: Option<Instant>,
}

impl Studio {
    pub fn new(config: Config, now: Instant) -> Self {
        let mut fanout = Fanout::new(config.rtc, now);
        let (width, height, fps) = config.pictures;
        let mut streams = config.media;
        for stream in streams.iter_mut().filter(|stream| stream.kind() == Kind::Video) {
            stream.format = Format::Video(VideoFormat { width, height, fps, profile_level_id: None });
        }
        fanout.set_streams(&streams);
        let ladder = || match config.adapt {
            true => Ladder::new(width, height, fps),
            false => Ladder::fixed(width, height, fps),
        };
        let encoding = |stream| {
            let rate = Rate::new(config.bitrate.clone());
            Encoding { stream, told: rate.current(), rate, ladder: ladder() }
        };
        let depth = ladder().depth();
        Studio {
            // The limit of viewers is ours, and told in the same word.
            calls: Calls::new(call::Config { max_calls: config.max_viewers + 64, ..call::Config::default() }),
            fanout,
            streams,
            encodings: [encoding(VIDEO_H264), encoding(VIDEO_VP8)],
            heat: config.heat.map(|limits| Heat::new(limits, depth)),
            limits: config.bitrate,
            key_frames: KeyFrames::new(),
            source: Follower::new(config.live),
            audience: Audience::default(),
            seats: BTreeMap::new(),
            sessions: HashMap::new(),
            next_session: 0,
            offers: Offers::new(config.offer_rate, now),
            whence: Whence::Unknown,
            answer: config.answer,
            max_viewers: config.max_viewers,
            max_unconnected: config.max_unconnected.max(1),
            linger: config.linger,
            producing: Streams::default(),
            h264: Turns::ALL,
            made: None,
            stop_at: None,
            out: VecDeque::new(),
            calls_at: None,
            offers_at: None,
            fanout_at: None,
        }
    }

    /// Calls a peer, to show it the pictures.
    pub fn invite(&mut self, to: &str, wire_id: &str, now: Instant) -> Result<ViewerId, CallError> {
        if !self.make_room(None, now) {
            return Err(CallError::Full(self.max_viewers));
        }
        let id = self.calls.invite(to, wire_id, "{}", now)?;
        self.seat(id, to, None);
        self.calling(id);
        self.settle(now);
        Ok(ViewerId(id))
    }

    pub fn hang_up(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calls.hangup(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Where the viewers of later calls can reach us.
    pub fn set_candidates(&mut self, candidates: Vec<rtc::LocalCandidate>) {
        self.fanout.set_candidates(candidates);
    }

    pub fn viewers(&self) -> impl Iterator<Item = (&Viewer, Option<SessionStats>)> {
        self.seats.values().filter(|s| s.joined).map(|s| (&s.viewer, self.fanout.stats(s.session)))
    }

    /// Sessions that a panic ended.
    pub fn panics(&self) -> u64 {
        self.fanout.totals().panics
    }

    pub fn producing(&self) -> Streams {
        self.producing
    }

    pub fn bitrate(&self, stream: StreamId) -> Option<u32> {
        self.encodings.iter().find(|encoding| encoding.stream == stream).map(|encoding| encoding.told)
    }

    /// What pictures the H.264 encoder is asked for.
    pub fn quality(&self) -> Quality {
        self.encodings[0].ladder.quality()
    }

    /// What the source does; `None` while nobody watches.
    pub fn source(&self) -> Option<SourceStatus> {
        self.source.status()
    }

    pub fn is_idle(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Online { address } => self.calls.handle_input(call::Input::Own { address }, now),
            Input::Offline => self.calls.handle_input(call::Input::SignallingLost, now),
            Input::PeerGone { address } => self.calls.handle_input(call::Input::PeerOffline { address }, now),
            Input::Call { from, whence, subtype, data, call } => {
                self.whence = whence;
                let host = match whence {
                    Whence::At(host) => Some(host),
                    Whence::Exempt | Whence::Unknown => None,
                };
                self.calls.handle_input(call::Input::Message { from, host, subtype, data, call }, now);
            }
            Input::Frame(frame) => {
                if frame.codec.is_video() {
                    self.source.handle_frame();
                }
                if frame.key && frame.codec.is_video() {
                    self.key_frames.handle_key_frame(frame.stream, now);
                }
                self.fanout.handle_input(rtc::Input::Frame(frame), now);
            }
            Input::Torn(stream) => self.key_frames.request(stream, KeyFrameReason::Loss, now),
            Input::Media(event) => self.media_event(event, now),
            Input::Datagram { path, data } => {
                self.fanout.handle_input(rtc::Input::Datagram { path, data }, now);
            }
            Input::Shutdown => {
                for id in self.seats.keys().copied().collect::<Vec<_>>() {
                    _ = self.calls.hangup(id, EndReason::Shutdown, now);
                }
                // Whoever left before is not lingered for either.
                (self.linger, self.stop_at) = (Duration::ZERO, None);
            }
            Input::Heat(reading) => {
                if let Some(heat) = &mut self.heat {
                    heat.handle_reading(reading, now);
                }
            }
            Input::Timeout => {
                self.fanout.handle_input(rtc::Input::Timeout, now);
                // One at a time: between two of them the driver sees to frames and datagrams.
                self.take_offer(now);
            }
        }
        self.settle(now);
    }

    pub fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| {
            let flows = self.source.flows();
            let adapted = self.encodings.iter().filter(|_| flows);
            let rates = adapted.filter_map(|encoding| encoding.rate.poll_timeout());
            let ladders = self.encodings.iter().filter_map(|encoding| encoding.ladder.poll_timeout());
            let heat = self.heat.as_ref().and_then(Heat::poll_timeout);
            let fixed = [
                self.calls_at,
                self.offers_at,
                self.fanout_at,
                self.stop_at,
                self.key_frames.poll_timeout(),
                self.audience.poll_timeout(),
                heat,
            ];
            Output::Timeout(fixed.into_iter().flatten().chain(rates).chain(ladders).min())
        })
    }

    /// What to send next to viewers; to be called while the socket takes it, and followed by
    /// [`poll_output`](Self::poll_output).
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some(transmit) = self.fanout.poll_transmit(now) {
            return Some(transmit);
        }
        self.settle(now);
        self.fanout.poll_transmit(now)
    }

    /// Lets calls and viewers talk to each other until both are quiet.
    pub fn settle(&mut self, now: Instant) {
        loop {
            let mut quiet = true;
            loop {
                match self.calls.poll_output(now) {
                    call::Output::Timeout(at) => break self.calls_at = at,
                    call::Output::Send { to, subtype, call, data } => {
                        self.out.push_back(Output::Send { to, subtype, call, data });
                    }
                    call::Output::Event(event) => self.call_event(event, now),
                }
                quiet = false;
            }
            loop {
                match self.fanout.poll_output() {
                    rtc::Output::Timeout(at) => break self.fanout_at = Some(at),
                    rtc::Output::Event(event) => {
                        self.rtc_event(event, now);
                        quiet = false;
                    }
                }
            }
            if quiet {
                break;
            }
        }
        self.offers_at = self.offers.poll_timeout(now);
        self.tend(now);
    }

    fn call_event(&mut self, event: call::Event, now: Instant) {
        match event {
            call::Event::Incoming { id, from, data, .. } => self.incoming(id, &from, data, now),
            call::Event::Accepted { id } => {
                let Some(seat) = self.seats.get(&id) else { return };
                match self.fanout.offer(seat.session, now) {
                    Ok(offer) => self.describe(id, &offer.sdp, Calls::local_offer, now),
                    Err(refusal) => self.refuse(id, &refusal, now),
                }
            }
            call::Event::RemoteOffer { id, sdp } => {
                if let (true, Some(origin)) = (self.seats.contains_key(&id), self.calls.origin(id)) {
                    self.offers.push(id, origin.clone(), sdp);
                }
            }
            call::Event::RemoteAnswer { id, sdp } => {
                let Some(seat) = self.seats.get(&id) else { return };
                match self.fanout.answer(seat.session, &sdp, now) {
                    Ok(answered) => self.agree(id, &answered.streams),
                    Err(refusal) => self.refuse(id, &refusal, now),
                }
            }
            call::Event::RemoteCandidate { id, candidate } => {
                if let Some(candidate) = self.offers.hold(id, candidate) {
                    self.add_candidate(id, &candidate);
                }
            }
            call::Event::Ended { id, remote, end } => self.leave(id, &remote, end, now),
            _ => {}
        }
    }

    fn rtc_event(&mut self, event: rtc::Event, now: Instant) {
        match event {
            rtc::Event::Connected { session } => {
                let Some(id) = self.sessions.get(&session) else { return };
                _ = self.calls.media_connected(*id, now);
                let seat = self.seats.get_mut(id).expect("sessions and seats are kept together");
                seat.joined = true;
                self.out.push_back(Output::Event(Event::ViewerJoined(seat.viewer.clone())));
            }
            rtc::Event::KeyFrameWanted { stream, reason } => self.key_frames.request(stream, reason, now),
            // What is estimated while nothing is sent says nothing of the network.
            rtc::Event::Estimate { .. } if !self.source.flows() => {}
            rtc::Event::Estimate { session, bps } => {
                let seat = self.sessions.get(&session).and_then(|id| self.seats.get(id));
                let Some(stream) = seat.and_then(|s| s.video) else { return };
                if let Some(encoding) = self.encodings.iter_mut().find(|e| e.stream == stream) {
                    encoding.rate.handle_estimate(session.0, bps.into(), now);
                }
            }
            rtc::Event::Closed { session, end } => {
                if let Some(id) = self.sessions.get(&session) {
                    _ = self.calls.media_failed(*id, end, now);
                }
            }
            #[allow(unreachable_patterns, reason = "the enum grows")]
            _ => {}
        }
    }

    fn media_event(&mut self, event: MediaEvent, now: Instant) {
        if self.source.handle_media(&event) {
            self.tell_source();
        }
        let event = match event {
            MediaEvent::Format { stream, width, height, fps, profile_level_id } => {
                if let Some(made) = profile_level_id {
                    self.made = Some(made);
                    // What comes as it is, from a camera that encodes, may be larger than was asked for.
                    if let Some(info) = self.streams.iter_mut().find(|info| info.id == stream) {
                        info.change_format(Format::Video(VideoFormat {
                            width,
                            height,
                            fps,
                            profile_level_id,
                        }));
                        self.fanout.set_streams(&self.streams);
                    }
                    let all: Vec<CallId> = self.seats.keys().copied().collect();
                    self.hold_to_agreement(&all);
                }
                if let Some(encoding) = self.encodings.iter_mut().find(|e| e.stream == stream) {
                    encoding.ladder.handle_size(width, height);
                }
                Event::Format { stream, width, height, fps }
            }
            MediaEvent::Ended => Event::SourceEnded,
            MediaEvent::GaveUp => {
                // Whoever calls next makes it try again.
                self.producing = Streams::default();
                self.stop_at = None;
                let ended = self.source.end() == Some(SourceState::Ended);
                let reason = if ended { EndReason::SourceEnded } else { EndReason::SourceFailed };
                for id in self.seats.keys().copied().collect::<Vec<_>>() {
                    _ = self.calls.hangup(id, reason.clone(), now);
                }
                Event::Streaming(Streams::default())
            }
            MediaEvent::Stalled(e) | MediaEvent::Failed(e) | MediaEvent::Trouble(e) => Event::Media(e),
            MediaEvent::Capture(info) => {
                let pictures = info.choice.way != Way::PassThrough;
                self.h264 = Turns { bitrate: info.steers_bitrate, pictures };
                Event::Capture(info)
            }
            MediaEvent::Control { request, name, result } => Event::Control { request, name, result },
            MediaEvent::Controls { request, result } => Event::Controls { request, result },
            _ => return,
        };
        self.out.push_back(Output::Event(event));
    }

    pub fn seat(&mut self, id: CallId, remote: &str, caller: Option<Caller>) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let address = Address::from(remote);
        let viewer = Viewer { id: ViewerId(id), address, video: None, audio: false };
        self.seats.insert(id, Seat { session, caller, viewer, video: None, joined: false });
        self.sessions.insert(session, id);
    }

    pub fn agree(&mut self, id: CallId, taken: &BTreeSet<StreamId>) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let of = |kind| self.streams.iter().find(|s| s.kind() == kind && taken.contains(&s.id));
        seat.video = of(Kind::Video).map(|stream| stream.id);
        seat.viewer.video = of(Kind::Video).map(|stream| stream.codec);
        seat.viewer.audio = of(Kind::Audio).is_some();
        self.hold_to_agreement(&[id]);
    }

    /// Whether the encoder makes what was negotiated with these viewers; told once for all of them.
    fn hold_to_agreement(&mut self, calls: &[CallId]) {
        let Some(made) = self.made else { return };
        let seats = calls.iter().filter_map(|id| self.seats.get(id));
        let agreed = seats.filter_map(|seat| self.fanout.stats(seat.session)?.profile_level_id);
        let (mut higher, mut other) = (0, 0);
        for negotiated in agreed {
            match sps::agreement(made, negotiated) {
                Agreement::Kept => {}
                Agreement::HigherLevel => higher += 1,
                Agreement::OtherProfile => other += 1,
            }
        }
        let [profile, constraints, level] = made;
        if higher > 0 {
            log::info!(
                "H.264 of level {level} goes to {higher} who agreed to a lower one: browsers decode it"
            );
        }
        if other > 0 {
            let words = format!(
                "the encoder makes H.264 {profile:02x}{constraints:02x}{level:02x}, which is not the profile \
                 that was agreed with viewers ({other}): some may see nothing. Choose another encoder"
            );
            log::warn!("{words}");
            self.out.push_back(Output::Event(Event::Media(MediaError::new(ErrorKind::OtherProfile, words))));
        }
    }

    /// Hands our description over; all our candidates are in it.
    pub fn describe(
        &mut self,
        id: CallId,
        sdp: &str,
        hand_over: impl FnOnce(&mut Calls, CallId, &str, Instant) -> Result<(), CallError>,
        now: Instant,
    ) {
        let done =
            hand_over(&mut self.calls, id, sdp, now).and_then(|()| self.calls.local_candidates_done(id, now));
        if let Err(e) = done {
            log::debug!("call {id}: {e}");
        }
    }

    pub fn refuse(&mut self, id: CallId, refusal: &rtc::Refusal, now: Instant) {
        log::info!("call {id} is refused: {}", refusal.code());
        _ = self.calls.hangup(id, refusal.end(), now);
    }

    pub fn leave(&mut self, id: CallId, remote: &str, end: End, now: Instant) {
        let Some(seat) = self.seats.remove(&id) else { return };
        self.sessions.remove(&seat.session);
        self.offers.remove(id);
        self.fanout.close(seat.session, now);
        self.encodings.iter_mut().for_each(|encoding| encoding.rate.remove(seat.session.0));
        self.out.push_back(Output::Event(if seat.joined {
            Event::ViewerLeft(seat.viewer, end)
        } else {
            Event::CallFailed(seat.viewer.id, remote.into(), end)
        }));
    }

    /// Brings the source into step with what viewers take.
    fn tend(&mut self, now: Instant) {
        let joined = self.seats.values().filter(|seat| seat.joined).count();
        self.out.extend(self.audience.handle_count(joined, now).map(Output::Viewers));
        let takes = |stream| self.seats.values().any(|s| s.video == Some(stream));
        let sound = self.seats.values().any(|s| s.viewer.audio);
        let wanted = Streams { h264: takes(VIDEO_H264), vp8: takes(VIDEO_VP8), audio: sound };
        if !wanted.is_empty() {
            self.stop_at = None;
            self.produce(wanted);
        } else if !self.producing.is_empty() {
            let at = *self.stop_at.get_or_insert(now + self.linger);
            if now >= at {
                self.stop_at = None;
                self.produce(wanted);
                // The next viewer's network is another one.
                for encoding in &mut self.encodings {
                    encoding.rate = Rate::new(self.limits.clone());
                    encoding.ladder.forget_rate();
                    encoding.told = encoding.rate.current();
                    self.out.push_back(Output::Bitrate(encoding.stream, encoding.told));
                }
            }
        }
        while let Some(stream) = self.key_frames.poll(now) {
            self.out.push_back(Output::KeyFrame(stream));
        }
        self.tend_heat(now);
        let flows = self.source.flows();
        for encoding in &mut self.encodings {
            let (runs, turns) = match encoding.stream {
                VIDEO_H264 => (self.producing.h264, self.h264),
                _ => (self.producing.vp8, Turns::ALL),
            };
            encoding.tend(runs, flows, turns, now, &mut self.out);
        }
    }

    /// Has the board looked at while pictures are made, and heeds what it says.
    fn tend_heat(&mut self, now: Instant) {
        let Some(heat) = &mut self.heat else { return };
        heat.handle_watched(self.producing.h264 || self.producing.vp8, now);
        while let Some(output) = heat.poll_output(now) {
            match output {
                heat::Output::Read => self.out.push_back(Output::ReadHeat),
                heat::Output::Say(words) => self.out.push_back(Output::Event(Event::Board(words))),
                heat::Output::Steps(steps, why) => {
                    self.encodings.iter_mut().for_each(|encoding| encoding.ladder.handle_heat(steps, &why));
                }
            }
        }
    }

    fn produce(&mut self, streams: Streams) {
        if streams != self.producing {
            self.producing = streams;
            self.out.push_back(Output::Produce(streams));
            self.out.push_back(Output::Event(Event::Streaming(streams)));
            if self.source.handle_produce(!streams.is_empty()) {
                self.tell_source();
            }
        }
    }

    /// Tells the program, and all who watch or are about to.
    fn tell_source(&mut self) {
        let status = self.source.status();
        let to = self.seats.values().map(|seat| seat.viewer.address.as_str().to_owned());
        self.out.push_back(Output::Source(status, to.collect()));
        self.out.extend(status.map(|status| Output::Event(Event::Source(status))));
    }
}

/// What can be turned at an encoder. One within a camera has its own size, and perhaps no control for bits; what
/// cannot follow is neither told to nor told of.
#[derive(Clone, Copy, Debug)]
struct Turns {
    bitrate: bool,
    pictures: bool,
}

impl Turns {
    const ALL: Turns = Turns { bitrate: true, pictures: true };
}

impl Encoding {
    /// Brings the encoder into step with network and board; with the network only while frames flow.
    fn tend(&mut self, runs: bool, flows: bool, turns: Turns, now: Instant, out: &mut VecDeque<Output>) {
        let stream = self.stream;
        let changed = flows && self.rate.poll(now).is_some();
        if runs && flows {
            self.ladder.handle_rate(self.rate.current());
        }
        // Asked in any case, for its time has come.
        let step = self.ladder.poll(now).filter(|_| turns.pictures);
        if let Some(Step { quality, why }) = step {
            out.push_back(Output::Quality(stream, quality));
            if runs {
                let Quality { percent, fps } = quality;
                out.push_back(Output::Event(Event::Quality { stream, percent, fps, why }));
            }
        }
        let ceiling = self.ladder.ceiling().filter(|_| turns.pictures);
        let bps = ceiling.map_or(self.rate.current(), |most| most.min(self.rate.current()));
        if !turns.bitrate {
            return;
        }
        if bps != self.told {
            self.told = bps;
            out.push_back(Output::Bitrate(stream, bps));
        }
        if changed {
            out.push_back(Output::Event(Event::Bitrate { stream, bps }));
        }
    }
}

/// What a source with these abilities can send.
pub(crate) fn streams(vp8: bool, audio: bool) -> Vec<StreamInfo> {
    let mut streams = vec![StreamInfo::new(VIDEO_H264, Codec::H264)];
    streams.extend(vp8.then(|| StreamInfo::new(VIDEO_VP8, Codec::Vp8)));
    streams.extend(audio.then(|| StreamInfo::new(AUDIO_OPUS, Codec::Opus)));
    streams
}
