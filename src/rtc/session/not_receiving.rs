//! Stands in for `receiving` without the feature `recv`: receives nothing, at no cost.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::negotiate::Lane;
use super::supply::Supply;
use super::{Note, Session};
use crate::rtc::crypto::keys::Keys;

pub(super) struct Receiving;

impl Receiving {
    pub(super) fn new(_: &str, _: Instant) -> Receiving {
        Receiving
    }

    pub(super) fn set_lanes(&mut self, _: &[Lane]) {}

    pub(super) fn connect(&mut self, _: &Keys) {}

    pub(super) fn disconnect(&mut self, _: Instant) {}

    pub(super) fn handle_rtp(&mut self, _: &[u8], _: Instant, _: &mut Vec<Note>) -> bool {
        false
    }

    pub(super) fn handle_sender_report(&mut self, _: u32, _: u64, _: u32, _: Instant) {}

    pub(super) fn handle_timeout(&mut self, _: Option<Duration>, _: Instant, _: &mut Vec<Note>) {}

    pub(super) fn deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) fn has_report(&self, _: Instant) -> bool {
        false
    }

    pub(super) fn poll_report(&mut self, _: Instant) -> Option<Vec<u8>> {
        None
    }
}

impl Session {
    pub(super) fn own<'a>(&self, supply: &'a Supply) -> Cow<'a, Supply> {
        match self.data() == supply.data() {
            true => Cow::Borrowed(supply),
            false => Cow::Owned(supply.clone().with_data(self.data())),
        }
    }
}
