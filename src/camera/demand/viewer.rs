//! One viewer: what its network carries, what it asks for, and which tier follows from both.
//!
//! Down at once, but to less than a rendition only after a second ([`STARVED`]). Up after a while: a better tier must have
//! been possible for half a second, and for twice as long after each time that it had to be taken back ([`Patience`]).

use std::time::{Duration, Instant};

use super::key_frame_requests::Requests;
use super::network::Network;
use super::share::{Share, ShareReason, Wish};
use crate::media::StreamId;
use crate::media::adapt::backoff::Patience;
use crate::media::adapt::rate::BitrateLimits;

/// How long something better must have been possible. Probes take up to four seconds to find a network that is back, and
/// the viewer should see full video again within five.
const UP_HOLD: Duration = Duration::from_millis(500);
/// How long a network must have carried no rendition. While a queue drains, the estimate is low for less than this, and a
/// key frame of the main rendition would fill the queue again.
const STARVED: Duration = Duration::from_secs(1);
/// This percentage of a bitrate with headroom is enough for a better tier: estimates vary by a few percent, and at the
/// maximum only downwards.
const ENTERS: u64 = 105;
/// A viewer that would wait longer than this for a key frame gets none: snapshots are as good.
const MOST_APART: Duration = Duration::from_secs(10);

/// What a viewer gets, from the least to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Nothing,
    KeyFrames,
    /// A smaller rendition: of several the one with this number, the lowest first.
    Small(u8),
    Main,
}

/// So many renditions are smaller than the main one.
pub(super) const SMALLS: usize = 2;

/// What a video offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// The bitrate of the main rendition, in bit/s; 0 if it isn't known.
    pub main: u32,
    /// The same for those who have it already: it may be about to be lowered for them.
    pub kept: u32,
    /// The bitrates that a network must carry for the small renditions, the lowest first; `None` where there is none.
    pub smalls: [Option<u32>; SMALLS],
    /// The bits of a key frame.
    pub key_bits: u64,
}

impl Offer {
    /// The best that a network of so many bit/s carries, with the main rendition at `main`.
    fn best(&self, bps: u32, main: u32) -> Tier {
        // Nothing comes of one that nobody carries.
        let bps = bps.min(u32::MAX - 1);
        if bps >= main {
            return Tier::Main;
        }
        let carried = |least: &Option<u32>| least.is_some_and(|least| bps >= least);
        if let Some(number) = self.smalls.iter().rposition(carried) {
            return Tier::Small(number as u8);
        }
        match u64::from(bps) * MOST_APART.as_secs() >= self.key_bits {
            true => Tier::KeyFrames,
            false => Tier::Nothing,
        }
    }
}

pub(super) struct Viewer {
    /// The rendition that was negotiated; `None` for audio alone.
    pub main: Option<StreamId>,
    pub link: Network,
    pub wish: Wish,
    /// What it wishes for again, and has not got yet.
    pub wished: Option<Wish>,
    pub requests: Requests,
    /// The share it was last given.
    pub served: Option<(Share, ShareReason)>,
    tier: Option<Tier>,
    /// Since when its network has carried no rendition.
    starved: Option<Instant>,
    /// Since when something better has been possible, and the least of that time.
    room: Option<(Instant, Tier)>,
    patience: Patience,
}

impl Viewer {
    pub(super) fn new(main: Option<StreamId>) -> Viewer {
        Viewer {
            main,
            link: Network::default(),
            wish: Wish::default(),
            wished: None,
            requests: Requests::default(),
            served: None,
            tier: None,
            starved: None,
            room: None,
            patience: Patience::new(UP_HOLD),
        }
    }

    /// It negotiated another stream. The network is the same.
    pub(super) fn handle_main(&mut self, main: Option<StreamId>) {
        if self.main != main {
            let link = std::mem::take(&mut self.link);
            *self = Viewer { link, wish: self.wish, wished: self.wished, ..Viewer::new(main) };
        }
    }

    /// It asks for less, which it gets at once; or for more again, which has to be granted.
    pub(super) fn handle_wish(&mut self, wish: Wish) {
        if wish >= self.wish {
            (self.wish, self.wished) = (wish, None);
        } else {
            self.wished = Some(wish);
        }
    }

    /// Gives it what it wishes for again, if that costs nobody anything (`alone`) or it has not asked for much of late.
    pub(super) fn grant(&mut self, alone: bool, now: Instant) {
        let Some(wish) = self.wished else { return };
        if alone || self.requests.handle_change(now) {
            (self.wish, self.wished) = (wish, None);
        }
    }

    /// Follows its network to what is offered.
    pub(super) fn follow(&mut self, offer: &Offer, limits: &BitrateLimits, now: Instant) {
        let carries = self.link.video(now);
        // What isn't known yet may carry everything: waiting for it would cost every joiner its first second.
        let best = |bps: Option<u32>, main| offer.best(bps.unwrap_or(u32::MAX), main);
        let has = self.tier == Some(Tier::Main);
        let stays = best(carries, if has { offer.kept } else { offer.main });
        let stays = self.endure(stays, offer, now);
        let usable = self.link.usable(limits, u32::MAX, now).map(|bps| u64::from(bps) * ENTERS / 100);
        let enters = best(usable.map(|bps| u32::try_from(bps).unwrap_or(u32::MAX)), offer.main);
        let tier = self.tier.unwrap_or(enters);
        self.tier = Some(tier.min(stays));
        if stays < tier {
            self.patience.handle_fall(now);
        }
        if stays < tier || enters <= tier {
            self.room = None;
            return;
        }
        let (since, least) = *self.room.get_or_insert((now, enters));
        let least = least.min(enters);
        self.room = Some((since, least));
        if now >= since + self.patience.wait(since) {
            (self.tier, self.room) = (Some(least), None);
            self.patience.handle_rise(now);
        }
    }

    /// The lowest rendition for a while, if its network carries none.
    fn endure(&mut self, stays: Tier, offer: &Offer, now: Instant) -> Tier {
        let lowest = offer.smalls.iter().position(Option::is_some).map(|number| Tier::Small(number as u8));
        let Some(lowest) = lowest.filter(|lowest| stays < *lowest && self.tier >= Some(*lowest)) else {
            self.starved = None;
            return stays;
        };
        let since = *self.starved.get_or_insert(now);
        if now < since + STARVED { lowest } else { stays }
    }

    /// The best tier that its network carries, reduced by what it asks for and by its requests for key frames; `small` is
    /// the lowest rendition, if there are several.
    pub(super) fn tier(&self, small: Option<u8>, now: Instant) -> (Tier, Option<ShareReason>) {
        let by_link = self.tier.unwrap_or(Tier::Main);
        let small = small.map_or(Tier::Main, Tier::Small);
        let wish = match self.wish {
            Wish::Full => Tier::Main,
            Wish::Small => small,
            Wish::KeyFrames => Tier::KeyFrames,
        };
        let strained = if self.requests.is_strained(now) { small } else { Tier::Main };
        if wish < by_link && wish <= strained {
            return (wish, Some(ShareReason::Wish));
        }
        if strained < by_link {
            return (strained, Some(ShareReason::Loss));
        }
        (by_link, None)
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let up = self.room.map(|(since, _)| since + self.patience.wait(since));
        let wished = self.wished.and(self.requests.next()).filter(|at| *at > now);
        let down = self.starved.map(|since| since + STARVED).filter(|at| *at > now);
        up.into_iter()
            .chain(down)
            .chain(wished)
            .chain(self.link.poll_timeout(now))
            .chain(self.requests.poll_timeout(now))
            .min()
    }
}
