//! Restarts the transport of a session.
//!
//! When the section that carries the bundle is stopped, or no longer the first, Chromium closes ICE and DTLS, and starts
//! both again for the remaining sections: with the same ICE credentials and the same certificate, from another port.
//! Other stacks keep their transport, and the description does not say which will happen. So the old transport stays until
//! the other side closes it, or starts a new handshake.

use std::time::{Duration, Instant};

use str0m::IceCreds;
use str0m::change::SdpOffer;

use super::agree::{choices, stack, unusable};
use super::state::Moved;
use super::{Session, Shared};
use crate::rtc::refusal::Refusal;
use crate::rtc::session::negotiate::{Plan, Settled};
use crate::rtc::session::route::Route;
use crate::rtc::session::sdp::Remote;
use crate::rtc::session::supply::Supply;

/// Chromium ends the old transport when it has our answer.
const MOVES_WITHIN: Duration = Duration::from_secs(15);

impl Session {
    /// Takes notice of which section a description's transport is named after.
    pub(super) fn note_transport(&mut self, remote: &Remote) {
        if self.state.is_connected() && remote.tag != self.tag || self.state.may_move(self.time) {
            // What is agreed after that holds for the new one, too.
            let until = self.time + MOVES_WITHIN;
            let moved = (!remote.tag.is_empty()).then(|| Moved { until, remote: Box::new(remote.clone()) });
            self.turn_to(|state| state.expect(moved));
        }
        self.tag.clone_from(&remote.tag);
    }

    /// Whether the other side may begin DTLS anew, and this handshake is not the one that we know.
    pub(in crate::rtc) fn may_begin_anew(&self, client: [u8; 32]) -> bool {
        self.state.may_move(self.time) && self.client != Some(client)
    }

    /// Begins ICE and DTLS again, with what was agreed and said before.
    pub(in crate::rtc) fn begin_anew(
        &mut self,
        shared: &Shared,
        supply: &Supply,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut expected = None;
        self.turn_to(|state| {
            let (next, remote) = state.begin_anew(now);
            expected = remote;
            next
        });
        let Some(mut remote) = expected else { return Ok(()) };
        let supply = &*self.directed(supply);
        log::debug!("session {}: restarting the transport", self.id.0);
        let known = Settled { video: self.settled.video, audio: self.settled.audio, ..Settled::default() };
        let plan = Plan::of_offer(&remote, supply, Some(&known))?;
        // The roles that we answered with.
        let theirs = if self.setup == "active" { "passive" } else { "active" };
        remote.transport.setup = Some(theirs.to_owned());
        let own = IceCreds { ufrag: self.names.ours.clone(), pass: self.names.our_password.clone() };
        let (rtc, _) = stack(shared, &choices(&known, supply), own, now);
        self.rtc = rtc;
        self.time = self.time.max(now);
        self.candidates.restart();
        let fresh = self.fresh_candidates(&remote.transport);
        let offer = plan.for_str0m(&remote, &remote.transport, &fresh);
        let offer = SdpOffer::from_sdp_string(&offer).map_err(unusable)?;
        self.rtc.sdp_api().accept_offer(offer).map_err(unusable)?;
        // The SSRCs were announced, and keep their numbers, whatever str0m calls the sections now.
        for lane in plan.lanes(&remote) {
            let video = lane.choice.codec.is_video();
            if let Some(known) = self.announced.iter_mut().find(|known| known.video == video) {
                known.section = lane.section;
            }
        }
        self.sender.disconnect();
        self.receiving.disconnect(now);
        (self.keys, self.ready) = (None, None);
        self.client = None;
        (self.made, self.heard) = (now, now);
        self.route = Route::new(now);
        // An offer of ours that is open names sections that are others now.
        self.open = None;
        self.settle(shared, &remote, remote.transport.clone(), &plan);
        self.keep_agreed(&remote, plan);
        Ok(())
    }
}
