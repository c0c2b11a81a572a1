//! What a session puts out, one call to the system at a time.
//!
//! str0m keeps packets in its own queues until they are taken, and frames wait in their [`Track`]s, shared by all
//! viewers. So nothing is queued here but the datagrams of one call: when the socket takes nothing, a frame is dropped
//! whole, before it has numbers.

use std::time::Instant;

use str0m::{PacerReason, Reason};

use super::state::State;
use super::{BURST, Note, PACED_SLACK, PADDING_SLACK, SLACK, STEP, Session, Sink};
use crate::media::StreamId;
use crate::rtc::crypto::reports;
use crate::rtc::demux::{self, Class};
use crate::rtc::send::batch::Batch;
use crate::rtc::send::track::{Cut, Track};
use crate::rtc::turns::Turn;
use crate::rtc::{Path, Transmit};

/// Datagrams that a session takes while what it has to say itself is not taken: a second of the reports that browsers
/// send. What str0m would answer to more has no bound.
const MAX_UNANSWERED: u32 = 64;

/// Whether str0m has something to send that was not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// It has said when to wake it.
    Empty,
    /// It was asked last at this time.
    Full(Turn, Instant),
}

impl Session {
    /// What it has to send.
    pub(in crate::rtc) fn turn(&self) -> Option<Turn> {
        match self.hand {
            Hand::Full(turn, _) => Some(turn),
            Hand::Empty => self.tracks.iter().any(Track::has_frames).then_some(Turn::Frame),
        }
    }

    /// Whether it can take no datagram until something of its own was sent.
    pub(in crate::rtc) fn is_clogged(&self) -> bool {
        self.unanswered >= MAX_UNANSWERED
    }

    /// Frames and datagrams that wait for the socket.
    #[cfg(test)]
    pub(in crate::rtc) fn waiting(&self) -> (usize, usize) {
        (self.tracks.iter().map(Track::waiting).sum(), self.batch.len())
    }

    /// Hears what str0m has to say after an input, up to its first datagram.
    pub(super) fn advance(&mut self, now: Instant, sink: &mut Sink<'_>) {
        if let Hand::Full(_, since) = self.hand {
            self.hand = Hand::Full(Turn::Control, since);
            self.unanswered += 1;
            return;
        }
        self.unanswered = 0;
        if let Some((path, data)) = self.next_datagram(now, sink) {
            self.batch.push(path, data);
            self.hand = Hand::Full(Turn::Control, now);
        }
    }

    /// A frame for this viewer, if it follows the stream and is ready for it.
    pub(in crate::rtc) fn handle_frame(
        &mut self,
        stream: StreamId,
        cut: &Cut,
        now: Instant,
        sink: &mut Sink<'_>,
    ) {
        let Some(track) = self.tracks.iter_mut().find(|t| t.stream == stream) else { return };
        let mut api = self.rtc.direct_api();
        let Some(tx) = api.stream_tx_by_mid(track.mid, None) else { return };
        let held = match self.hand {
            Hand::Empty => None,
            Hand::Full(_, since) => Some(since),
        };
        let pushed = track.push(cut, tx, held, now);
        sink.notes.extend(pushed.wanted.map(|reason| Note::KeyFrameWanted(stream, reason)));
        if let Some((reason, frames)) = pushed.skipped {
            self.stats.skipped.add(reason, frames);
            sink.skipped.add(reason, frames);
        }
    }

    /// Datagrams for one call to the system, if there are any for this turn.
    pub(in crate::rtc) fn poll_transmit(
        &mut self,
        turn: Turn,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Option<Transmit> {
        self.tick(now);
        self.unanswered = 0;
        loop {
            if let Hand::Full(of, _) = self.hand {
                while let Some((path, data)) = self.next_datagram(now, sink) {
                    if let Some(full) = self.batch.push(path, data) {
                        self.hand = Hand::Full(of, now);
                        return Some(full);
                    }
                }
                self.hand = Hand::Empty;
                if let Some(rest) = self.batch.take() {
                    return Some(rest);
                }
            }
            if turn == Turn::Control || !self.write_frame() {
                return None;
            }
            self.hand = Hand::Full(Turn::Frame, now);
        }
    }

    /// Hands str0m the next frame that waits.
    fn write_frame(&mut self) -> bool {
        // Audio goes before video.
        let Some((track, cut)) = self.tracks.iter_mut().find_map(|t| t.pop().map(|cut| (&*t, cut))) else {
            return false;
        };
        let mut api = self.rtc.direct_api();
        let Some(tx) = api.stream_tx_by_mid(track.mid, None) else { return false };
        self.stats.frames += 1;
        let numbering = self.numbers.of(*tx.ssrc());
        track.write(tx, numbering, &cut);
        let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
        self.check(result);
        true
    }

    /// Says goodbye: what that takes.
    pub(in crate::rtc) fn close(&mut self, now: Instant, sink: &mut Sink<'_>) -> Vec<Transmit> {
        self.tick(now);
        self.turn_to(State::close);
        let result = self.rtc.close();
        self.check(result);
        let mut out: Vec<Transmit> = self.batch.take().into_iter().collect();
        let mut batch = Batch::default();
        // Its last words are reports, which nobody could open after the end of DTLS.
        let mut last = vec![];
        while let Some((path, data)) = self.next_datagram(now, sink) {
            if demux::classify(&data) == Some(Class::Dtls) {
                last.push((path, data));
            } else {
                out.extend(batch.push(path, data));
            }
        }
        for (path, data) in last {
            out.extend(batch.push(path, data));
        }
        out.extend(batch.take());
        out
    }

    /// The next datagram of str0m's; `None` when it has said when to wake it.
    fn next_datagram(&mut self, now: Instant, sink: &mut Sink<'_>) -> Option<(Path, Vec<u8>)> {
        reports::open(std::mem::take(&mut self.ledger));
        let next = self.poll_stack(now, sink);
        self.ledger = reports::close();
        next
    }

    fn poll_stack(&mut self, now: Instant, sink: &mut Sink<'_>) -> Option<(Path, Vec<u8>)> {
        loop {
            match self.rtc.poll_output() {
                Ok(str0m::Output::Transmit(t)) => {
                    let data: Vec<u8> = t.contents.into();
                    // No other protocol was among our candidates.
                    let mut path = Path::udp(t.source, t.destination);
                    if let Some(check) = demux::check_sent(&data)
                        && !sink.paths.handle_check(self.id, path, check, now)
                    {
                        continue;
                    }
                    if is_rtp(&data) {
                        self.stats.packets += 1;
                        self.stats.bytes += data.len() as u64;
                        reports::handle_sent(&data);
                    }
                    // An answer goes to who asked.
                    if demux::classify(&data) != Some(Class::Stun) {
                        path = self.route.direct(path, || sink.paths.answered(self.id, path), now);
                    }
                    return Some((path, data));
                }
                Ok(str0m::Output::Event(e)) => self.handle_event(e, now, sink.notes),
                Ok(str0m::Output::Timeout(at)) => {
                    if at <= self.time.min(now + BURST) + 2 * STEP && self.rtc.is_alive() {
                        // The next packet of a burst. Time goes on in any case, so that this ends.
                        self.time = at.max(self.time + STEP);
                        let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
                        self.check(result);
                        continue;
                    }
                    let slack = match self.rtc.last_timeout_reason() {
                        Reason::Pacer(PacerReason::Padding) => PADDING_SLACK,
                        Reason::Pacer(PacerReason::Handle) => SLACK,
                        Reason::Pacer(_) => PACED_SLACK,
                        _ => SLACK,
                    };
                    self.rtc_deadline = at.max(now + slack);
                    return None;
                }
                Err(e) => {
                    self.check(Err(e));
                    return None;
                }
            }
        }
    }
}

/// RTP, and not STUN, DTLS or RTCP (RFC 7983, RFC 5761).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(64..96).contains(&(kind & 0x7f)))
}
