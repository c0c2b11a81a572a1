//! Restarts the transport of a session.
//!
//! When the section that carries the bundle is stopped, or is no longer the first, Chromium closes ICE and DTLS and
//! starts both again for the remaining sections: with the same ICE credentials and the same certificate, from another
//! port. Other stacks keep their transport, and the description does not show which will happen. So the old transport
//! stays until the other side closes it or starts a new handshake.

use std::time::{Duration, Instant};

use str0m::IceCreds;

use super::agree::stack;
use super::state::Moved;
use super::{Session, Shared};
use crate::rtc::refusal::Refusal;
use crate::rtc::session::known::Known;
use crate::rtc::session::negotiate::Plan;
use crate::rtc::session::route::Route;
use crate::rtc::session::sdp::Remote;
use crate::rtc::session::supply::Supply;

/// How long the other side may take to restart; Chromium ends the old transport when it gets our answer.
const MOVES_WITHIN: Duration = Duration::from_secs(15);

impl Session {
    /// Remembers which section carries the transport of a description.
    pub(super) fn note_transport(&mut self, remote: &Remote) {
        if self.state.is_connected() && remote.tag != self.tag || self.state.may_move(self.time) {
            // Later agreements also apply to the new transport.
            let until = self.time + MOVES_WITHIN;
            let moved = (!remote.tag.is_empty()).then(|| Moved { until, remote: Box::new(remote.clone()) });
            self.turn_to(|state| state.expect(moved));
        }
        self.tag.clone_from(&remote.tag);
    }

    /// Whether the other side may restart DTLS and this is a new handshake.
    pub(in crate::rtc) fn may_begin_anew(&self, client: [u8; 32]) -> bool {
        self.state.may_move(self.time) && self.client != Some(client)
    }

    /// Restarts ICE and DTLS with the agreed parameters.
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
        let Some(remote) = expected else { return Ok(()) };
        self.restart_channels();
        let supply = &*self.own(supply);
        log::debug!("session {}: restarting the transport", self.id.0);
        let plan = Plan::of_offer(&remote, supply, Some(&self.settled))?;
        let own = IceCreds { ufrag: self.names.ours.clone(), pass: self.names.our_password.clone() };
        (self.rtc, self.link, self.own) = stack(shared, own, now);
        self.addresses = self.own.addresses();
        self.time = self.time.max(now);
        self.candidates.restart();
        self.known = Known::default();
        // In the role of our answer.
        if let Some(role) = self.role {
            self.begin(&remote.transport, role)?;
        }
        self.check_candidates(&remote.transport);
        self.sender.disconnect();
        self.receiving.disconnect(now);
        (self.keys, self.ready) = (None, None);
        self.client = None;
        (self.made, self.heard) = (now, now);
        self.route = Route::new(now);
        // Our pending offer no longer matches the sections.
        self.open = None;
        self.settle(shared, &remote, remote.transport.clone(), &plan);
        self.keep_agreed(&remote, plan);
        Ok(())
    }
}
