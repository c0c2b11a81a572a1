//! The watching side: calls, and a WebRTC peer that reassembles frames with another implementation.

use std::sync::Arc;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};
use symple::call::body::SdpType;
use symple::call::{CallId, Event};
use symple::rtc::{Path, Transmit};

use super::side::{Came, Side};

// str0m has no cryptography of its own, and none of its types are in our API.
#[allow(dead_code, unused_imports, reason = "some of it is only for the sender")]
#[path = "../../src/rtc/crypto/mod.rs"]
mod crypto;

/// The number of frames before it requests a key frame.
pub(crate) const ASKS_AFTER: usize = 20;

/// What arrived, and how the call went.
pub(crate) struct Watched {
    pub pictures: Vec<Arc<[u8]>>,
    pub sounds: Vec<Arc<[u8]>>,
    pub reason: String,
}

struct Viewer {
    side: Side,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    call: Option<CallId>,
    video: Option<Mid>,
    enough: Box<dyn FnMut(&Watched) -> bool + Send>,
    hung_up: bool,
    watched: Watched,
}

/// When it has seen enough.
#[derive(Clone, Copy)]
pub(crate) struct Enough {
    pub pictures: usize,
    pub sounds: usize,
}

/// Watches until everything has arrived, and hangs up.
pub(crate) async fn watch(side: Side, calls: bool, enough: Enough) -> Watched {
    let Enough { pictures, sounds } = enough;
    let all = move |came: &Watched| came.pictures.len() >= pictures && came.sounds.len() >= sounds;
    watch_until(side, calls, all).await
}

/// Watches until `enough` is true, and hangs up. It is asked after each frame.
pub(crate) async fn watch_until(
    side: Side,
    calls: bool,
    enough: impl FnMut(&Watched) -> bool + Send + 'static,
) -> Watched {
    let enough = Box::new(enough);
    let mut rtc = Rtc::builder()
        .set_crypto_provider(Arc::new(crypto::provider()))
        .clear_codecs()
        .enable_h264(true)
        .enable_opus(true, false)
        .build(Instant::now());
    rtc.add_local_candidate(Candidate::host(side.address(), "udp").expect("an address"));
    let watched = Watched { pictures: vec![], sounds: vec![], reason: String::new() };
    let mut viewer =
        Viewer { side, rtc, pending: None, call: None, video: None, enough, hung_up: false, watched };
    loop {
        let due = viewer.drain().await;
        match viewer.side.next(due).await {
            Came::Peer(who) if calls && who.split('|').next() == Some(viewer.side.camera) => {
                viewer.side.invite(&who)
            }
            Came::Peer(_) => {}
            Came::Call(Event::Ended { end, .. }) => {
                viewer.watched.reason = end.reason.code().to_owned();
                // The hangup is still to be sent.
                let now = Instant::now();
                while let Came::Call(_) = viewer.side.next(now).await {}
                return viewer.watched;
            }
            Came::Call(event) => viewer.call_event(event),
            Came::Datagram { path, data } => {
                let receive = Receive::new(Protocol::Udp, path.remote, path.local, &data)
                    .expect("a datagram of WebRTC");
                viewer.rtc.handle_input(Input::Receive(Instant::now(), receive)).expect("no error");
            }
            Came::Due => viewer.rtc.handle_input(Input::Timeout(Instant::now())).expect("no error"),
        }
    }
}

impl Viewer {
    fn call_event(&mut self, event: Event) {
        match event {
            Event::Incoming { id, .. } => {
                self.call = Some(id);
                self.side.calls.accept(id, Instant::now()).expect("it rings");
            }
            Event::Accepted { id } => {
                self.call = Some(id);
                let mut api = self.rtc.sdp_api();
                for kind in [MediaKind::Video, MediaKind::Audio] {
                    let mid = api.add_media(kind, Direction::RecvOnly, None, None, None);
                    if kind == MediaKind::Video {
                        self.video = Some(mid);
                    }
                }
                let (offer, pending) = api.apply().expect("there is something to offer");
                self.pending = Some(pending);
                self.side.describe(id, SdpType::Offer, &offer.to_sdp_string());
            }
            Event::RemoteAnswer { sdp, .. } => {
                let answer = SdpAnswer::from_sdp_string(&sdp).expect("an answer");
                let pending = self.pending.take().expect("an offer went before");
                self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
            }
            Event::RemoteOffer { id, sdp } => {
                let offer = SdpOffer::from_sdp_string(&sdp).expect("an offer");
                let answer = self.rtc.sdp_api().accept_offer(offer).expect("an offer that fits");
                self.side.describe(id, SdpType::Answer, &answer.to_sdp_string());
            }
            Event::RemoteCandidate { candidate, .. } => {
                let candidate = Candidate::from_sdp_string(&candidate.candidate).expect("a candidate");
                self.rtc.add_remote_candidate(candidate);
            }
            _ => {}
        }
    }

    /// Sends all outputs, stores what arrived, and returns when to wake.
    async fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().expect("no error") {
                Output::Timeout(at) => return at,
                Output::Transmit(t) => {
                    let transmit = Transmit {
                        path: Path::udp(t.source, t.destination),
                        segment: None,
                        data: t.contents.into(),
                    };
                    self.side.send(transmit).await;
                }
                Output::Event(event) => self.rtc_event(event),
            }
        }
    }

    fn rtc_event(&mut self, event: str0m::Event) {
        let now = Instant::now();
        match event {
            str0m::Event::Connected => {
                let call = self.call.expect("descriptions went over it");
                self.side.calls.media_connected(call, now).expect("descriptions agree");
            }
            str0m::Event::MediaAdded(media) if media.kind == MediaKind::Video => self.video = Some(media.mid),
            str0m::Event::MediaData(data) if Some(data.mid) == self.video => {
                self.watched.pictures.push(data.data.clone());
                if self.watched.pictures.len() == ASKS_AFTER {
                    let mut writer = self.rtc.writer(data.mid).expect("agreed upon");
                    writer.request_keyframe(None, KeyframeRequestKind::Pli).expect("PLI was negotiated");
                }
                self.count();
            }
            str0m::Event::MediaData(data) => {
                self.watched.sounds.push(data.data.clone());
                self.count();
            }
            _ => {}
        }
    }

    fn count(&mut self) {
        if !self.hung_up && (self.enough)(&self.watched) {
            self.hung_up = true;
            let call = self.call.expect("it is connected");
            self.side.calls.hangup(call, "seen enough", Instant::now()).expect("it is active");
        }
    }
}
