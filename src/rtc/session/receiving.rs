//! What a session receives, and the directions of its sections.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::credentials::random_ssrc;
use super::negotiate::Lane;
use super::payload::Choice;
use super::simulcast::Layers;
use super::supply::Supply;
use super::{Note, Session};
use crate::media::{AUDIO_OPUS, Codec, StreamId, VIDEO_H264_LAYERS, VIDEO_VP8_LAYERS};
use crate::rtc::crypto::keys::Keys;
use crate::rtc::recv::lane::{Format, Layer};
use crate::rtc::recv::receiver::Receiver;
use crate::rtc::rid::Rid;
use crate::rtc::{Directions, Received};

pub(super) struct Receiving {
    directions: Directions,
    receiver: Receiver,
}

impl Receiving {
    pub(super) fn new(cname: &str, now: Instant) -> Receiving {
        Receiving { directions: Directions::default(), receiver: Receiver::new(random_ssrc(), cname, now) }
    }

    pub(super) fn stats(&self) -> Received {
        self.receiver.stats()
    }

    pub(super) fn set_lanes(&mut self, lanes: &[Lane]) {
        let has = |lane: &Lane, what| lane.feedback.contains(&what);
        let format = |lane: &Lane, choice: &Choice, (number, layer): (usize, Option<Layer>)| Format {
            stream: stream(choice.codec, number),
            layer,
            codec: choice.codec,
            pt: choice.pt,
            rtx: choice.rtx,
            nack: has(lane, "nack"),
            pli: has(lane, "nack pli"),
            remb: has(lane, "goog-remb"),
            transport: lane.extensions.transport,
        };
        let formats: Vec<Format> = lanes
            .iter()
            .filter(|lane| lane.receives)
            .flat_map(|lane| {
                let choices = lane.also.iter().chain([&lane.choice]);
                choices.flat_map(move |choice| {
                    layers(lane).into_iter().map(move |one| format(lane, choice, one))
                })
            })
            .collect();
        self.receiver.set_lanes(&formats);
    }

    pub(super) fn connect(&mut self, keys: &Keys) {
        self.receiver.connect(keys);
    }

    pub(super) fn disconnect(&mut self, now: Instant) {
        self.receiver.disconnect(now);
    }

    /// Handles SRTP. Returns whether it is authentic.
    pub(super) fn handle_rtp(&mut self, packet: &[u8], now: Instant, notes: &mut Vec<Note>) -> bool {
        let authentic = self.receiver.handle_rtp(packet, now);
        self.hand_over(notes);
        authentic
    }

    pub(super) fn handle_sender_report(&mut self, ssrc: u32, ntp: u64, rtp: u32, now: Instant) {
        self.receiver.handle_sender_report(ssrc, ntp, rtp, now);
    }

    pub(super) fn handle_timeout(&mut self, rtt: Option<Duration>, now: Instant, notes: &mut Vec<Note>) {
        self.receiver.set_rtt(rtt);
        self.receiver.handle_timeout(now);
        self.hand_over(notes);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.receiver.deadline()
    }

    pub(super) fn has_report(&self, now: Instant) -> bool {
        self.receiver.has_report(now)
    }

    pub(super) fn poll_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.receiver.poll_report(now)
    }

    fn hand_over(&mut self, notes: &mut Vec<Note>) {
        notes.extend(std::iter::from_fn(|| self.receiver.poll_frame()).map(Note::Frame));
    }
}

impl Session {
    /// Returns what this session wants to send and receive.
    pub(super) fn own<'a>(&self, supply: &'a Supply) -> Cow<'a, Supply> {
        Cow::Owned(supply.directed(&self.receiving.directions).with_data(self.data()))
    }

    /// Sets the direction of each lane, from the next description on.
    pub(in crate::rtc) fn set_directions(&mut self, directions: Directions) {
        self.receiving.directions = directions;
    }

    /// Asks the other side for a key frame.
    pub(in crate::rtc) fn request_key_frame(&mut self, stream: StreamId, now: Instant) {
        self.receiving.receiver.request_key_frame(stream, now);
    }

    /// Asks the other side to send at most this much, in bit/s.
    pub(in crate::rtc) fn limit_received(&mut self, bps: Option<u32>, now: Instant) {
        self.receiving.receiver.set_limit(bps, now);
    }
}

/// Returns the received encodings, each with its number.
fn layers(lane: &Lane) -> Vec<(usize, Option<Layer>)> {
    let Some(Layers { rids, name, repeated }) = &lane.layers else { return vec![(0, None)] };
    let layer = |rid: &Rid| Some(Layer { rid: *rid, name: *name, repeated: *repeated });
    rids.iter().map(layer).enumerate().collect()
}

/// Returns the stream of an encoding. A session receives at most one stream of each codec, video in several encodings.
fn stream(codec: Codec, layer: usize) -> StreamId {
    match codec {
        Codec::H264 | Codec::Jpeg => VIDEO_H264_LAYERS[layer],
        Codec::Vp8 => VIDEO_VP8_LAYERS[layer],
        Codec::Opus => AUDIO_OPUS,
    }
}
