//! Browsers that call, are called, and renegotiate.

use std::net::SocketAddr;
use std::sync::Arc;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind};
#[cfg(feature = "recv")]
use str0m::media::{Simulcast, SimulcastLayer};
use str0m::{Candidate, Rtc, RtcConfig};

use super::{Browser, World};
use crate::rtc::{Answer, Refusal, SessionId};

impl World {
    /// A browser that has not called yet.
    pub(in crate::rtc::tests) fn browser(&mut self, id: u64, codecs: impl FnOnce(RtcConfig) -> RtcConfig) {
        self.browser_at(id, SocketAddr::from(([198, 51, 100, id as u8], 5000)), codecs);
    }

    pub(in crate::rtc::tests) fn browser_at(
        &mut self,
        id: u64,
        address: SocketAddr,
        codecs: impl FnOnce(RtcConfig) -> RtcConfig,
    ) {
        let provider = Arc::new(crate::rtc::crypto::provider());
        let mut rtc =
            codecs(Rtc::builder().set_crypto_provider(provider).clear_codecs().enable_opus(true, false))
                .build(self.now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("an address"));
        let browser = Browser {
            rtc,
            address,
            media: vec![],
            connected: false,
            closed: false,
            gone: false,
            mids: vec![],
            raw: vec![],
            pending: None,
            deadline: self.now,
        };
        self.browsers.insert(id, browser);
    }

    /// The browser's offer, as a page makes it with transceivers of this direction.
    pub(in crate::rtc::tests) fn offer(
        &mut self,
        id: u64,
        kinds: &[MediaKind],
        direction: Direction,
    ) -> String {
        let b = self.browsers.get_mut(&id).expect("made");
        let mut api = b.rtc.sdp_api();
        for kind in kinds {
            b.mids.push((*kind, api.add_media(*kind, direction, None, None, None)));
        }
        let (offer, pending) = api.apply().expect("changes");
        b.pending = Some(pending);
        b.deadline = self.now;
        offer.to_sdp_string()
    }

    /// The browser's offer of a video in several encodings.
    #[cfg(feature = "recv")]
    pub(in crate::rtc::tests) fn offer_layers(&mut self, id: u64, names: &[&str]) -> String {
        let b = self.browsers.get_mut(&id).expect("made");
        let mut api = b.rtc.sdp_api();
        let send = names.iter().map(|name| SimulcastLayer::new(name)).collect();
        let layers = Some(Simulcast { send, recv: vec![] });
        b.mids.push((
            MediaKind::Video,
            api.add_media(MediaKind::Video, Direction::SendOnly, None, None, layers),
        ));
        let (offer, pending) = api.apply().expect("changes");
        b.pending = Some(pending);
        b.deadline = self.now;
        offer.to_sdp_string()
    }

    pub(in crate::rtc::tests) fn take_answer(&mut self, id: u64, answer: &str) {
        let b = self.browsers.get_mut(&id).expect("made");
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer that can be read");
        let pending = b.pending.take().expect("an offer");
        b.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        b.deadline = self.now;
    }

    pub(in crate::rtc::tests) fn call(&mut self, id: u64, direction: Direction) -> Result<Answer, Refusal> {
        self.call_for(id, &[MediaKind::Audio, MediaKind::Video], direction)
    }

    pub(in crate::rtc::tests) fn call_for(
        &mut self,
        id: u64,
        kinds: &[MediaKind],
        direction: Direction,
    ) -> Result<Answer, Refusal> {
        let offer = self.offer(id, kinds, direction);
        let answer = self.fanout.accept(SessionId(id), &offer, self.now)?;
        self.drain_camera();
        self.take_answer(id, &answer.sdp);
        Ok(answer)
    }

    /// A browser with the codecs of Chromium, watching.
    pub(in crate::rtc::tests) fn viewer(&mut self, id: u64) -> Answer {
        self.browser(id, |c| c.enable_vp8(true).enable_h264(true).enable_vp9(true));
        self.call(id, Direction::RecvOnly).expect("accepted")
    }

    /// The camera calls; the browser answers.
    pub(in crate::rtc::tests) fn call_browser(&mut self, id: u64) -> String {
        let offer = self.fanout.offer(SessionId(id), self.now).expect("an offer");
        self.drain_camera();
        let b = self.browsers.get_mut(&id).expect("made");
        let parsed = SdpOffer::from_sdp_string(&offer.sdp).expect("an offer that can be read");
        b.deadline = self.now;
        b.rtc.sdp_api().accept_offer(parsed).expect("an offer that fits").to_sdp_string()
    }

    pub(in crate::rtc::tests) fn ask_key_frame(&mut self, id: u64) {
        let now = self.now;
        let b = self.browsers.get_mut(&id).expect("made");
        let mid = b.mid(MediaKind::Video);
        b.rtc
            .writer(mid)
            .expect("media")
            .request_keyframe(None, KeyframeRequestKind::Pli)
            .expect("PLI is agreed");
        b.deadline = now;
    }

    /// Changes what the other side of the negotiation wants, by a new offer of the browser.
    pub(in crate::rtc::tests) fn reoffer(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut Browser) -> (String, SdpPendingOffer),
    ) -> Answer {
        self.reoffer_as(id, change, str::to_owned)
    }

    /// The same, with an offer that is rewritten on its way. Sections of the offer that are lost by that are rejected
    /// in the answer that the browser gets.
    pub(in crate::rtc::tests) fn reoffer_as(
        &mut self,
        id: u64,
        change: impl FnOnce(&mut Browser) -> (String, SdpPendingOffer),
        rewrite: impl FnOnce(&str) -> String,
    ) -> Answer {
        let b = self.browsers.get_mut(&id).expect("made");
        let (offer, pending) = change(b);
        b.pending = Some(pending);
        let answer = self.fanout.accept(SessionId(id), &rewrite(&offer), self.now).expect("renegotiated");
        self.drain_camera();
        let mut parts = answer.sdp.split("m=");
        let mut whole = parts.next().expect("a head").to_owned();
        let parts: Vec<&str> = parts.collect();
        for section in offer.split("m=").skip(1) {
            let mid = section.lines().find(|l| l.starts_with("a=mid:")).expect("each has a name");
            match parts.iter().find(|part| part.lines().any(|l| l == mid)) {
                Some(part) => whole += &format!("m={part}"),
                None => {
                    whole += &format!(
                        "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n{mid}\r\na=inactive\r\n"
                    )
                }
            }
        }
        self.take_answer(id, &whole);
        answer
    }
}
