//! The output of a session, one system call at a time.
//!
//! str0m queues its own packets, and frames wait in their tracks, shared by all viewers. So only one datagram is queued
//! here. While the socket is not writable, whole frames are dropped, before they get sequence numbers.

use std::time::Instant;

use super::state::State;
use super::{Note, Session, Sink, TICK};
use crate::media::StreamId;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::rtc::crypto::keys;
use crate::rtc::demux::{self, Class};
use crate::rtc::send::track::Cut;
use crate::rtc::send_order::Turn;
use crate::rtc::{Path, Transmit};

/// Datagrams that a session accepts while its own cannot be sent: one second of a browser's checks. Otherwise str0m
/// would queue an unbounded number of answers.
const MAX_UNANSWERED: u32 = 64;

impl Session {
    /// Returns what it has to send.
    pub(in crate::rtc) fn turn(&mut self, now: Instant) -> Option<Turn> {
        if let Some((_, datagram)) = &self.ready {
            // Data of channels waits for its turn, as frames do.
            return Some(if demux::is_data(datagram) { Turn::Frame } else { Turn::Control });
        }
        if !self.state.is_connected() || self.route.path().is_none() {
            return None;
        }
        let packets = self.sender.has_packets(now);
        if self.sender.has_report(now) || self.receiving.has_report(now) {
            Some(Turn::Control)
        } else {
            packets.then_some(Turn::Frame)
        }
    }

    /// Whether a datagram of str0m's waits for the socket.
    pub(super) fn has_datagram(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether it accepts no datagram until one of its own was sent.
    pub(in crate::rtc) fn is_clogged(&self) -> bool {
        self.unanswered >= MAX_UNANSWERED
    }

    /// Returns the number of frames and datagrams that wait for the socket.
    #[cfg(test)]
    pub(in crate::rtc) fn waiting(&mut self) -> (usize, usize) {
        let datagrams = usize::from(self.ready.is_some());
        (self.sender.tracks().iter().map(|track| track.waiting()).sum(), datagrams)
    }

    /// Handles str0m's output after an input, up to its first datagram.
    pub(super) fn advance(&mut self, now: Instant, sink: &mut Sink<'_>) {
        if self.ready.is_some() {
            self.unanswered += 1;
            return;
        }
        self.unanswered = 0;
        self.ready = self.next_datagram(now, sink);
    }

    /// Queues a frame for this viewer, if it is connected and follows the stream.
    pub(in crate::rtc) fn handle_frame(
        &mut self,
        stream: StreamId,
        cut: &Cut,
        now: Instant,
        sink: &mut Sink<'_>,
    ) {
        let Some(pushed) = self.sender.handle_frame(stream, cut, now) else { return };
        sink.notes.extend(pushed.wanted.map(|reason| Note::KeyFrameWanted(stream, reason)));
        if let Some((reason, frames)) = pushed.skipped {
            self.stats.skipped.add(reason, frames);
            sink.skipped.add(reason, frames);
        }
    }

    /// Returns datagrams for one system call, if there are any for this turn.
    pub(in crate::rtc) fn poll_transmit(
        &mut self,
        turn: Turn,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> Option<Transmit> {
        self.tick(now);
        if let Some((path, data)) = self.ready.take() {
            self.unanswered = 0;
            self.ready = self.next_datagram(now, sink);
            return Some(Transmit { path, segment: None, data });
        }
        let path = self.route.path()?;
        if turn == Turn::Control {
            let sent =
                if self.sender.has_report(now) { self.sender.poll_report(&self.wall, now) } else { None };
            let data = sent.or_else(|| self.sender.seal_report(&self.receiving.poll_report(now)?))?;
            return Some(Transmit { path, segment: None, data });
        }
        if !self.sender.has_packets(now) {
            return None;
        }
        let (segment, data) = self.sender.poll_packets(&self.wall, now)?;
        Some(Transmit { path, segment, data })
    }

    /// Closes the session; returns the datagrams of its goodbye.
    pub(in crate::rtc) fn close(&mut self, now: Instant, sink: &mut Sink<'_>) -> Vec<Transmit> {
        self.tick(now);
        self.turn_to(State::close);
        // Before DTLS ends, since nobody can decrypt it after that.
        let goodbye = self.route.path().zip(self.sender.poll_goodbye(&self.wall, now));
        self.link.leave();
        let result = self.rtc.close();
        self.check(result);
        let mut out: Vec<(Path, Vec<u8>)> = self.ready.take().into_iter().chain(goodbye).collect();
        while let Some(next) = self.next_datagram(now, sink) {
            out.push(next);
        }
        out.into_iter().map(|(path, data)| Transmit { path, segment: None, data }).collect()
    }

    /// Returns str0m's next datagram; `None` once it reported its next deadline.
    fn next_datagram(&mut self, now: Instant, sink: &mut Sink<'_>) -> Option<(Path, Vec<u8>)> {
        let next = self.poll_stack(now, sink);
        // The viewer cannot ask for it: it goes on sending to the address that is gone for some seconds.
        if self.route.take_gap() {
            let wanted = |stream| Note::KeyFrameWanted(stream, KeyFrameReason::Loss);
            sink.notes.extend(self.sender.video().map(wanted));
        }
        self.settle_channels(sink.notes);
        next
    }

    fn poll_stack(&mut self, now: Instant, sink: &mut Sink<'_>) -> Option<(Path, Vec<u8>)> {
        loop {
            let polled = self.rtc.poll_output();
            self.keys = keys::take().or(self.keys.take());
            match polled {
                Ok(str0m::Output::Transmit(t)) => {
                    let data: Vec<u8> = t.contents.into();
                    // All our candidates are UDP.
                    let mut path = Path::udp(t.source, t.destination);
                    if let Some(check) = demux::check_sent(&data)
                        && !sink.paths.handle_check(self.id, path, check, now)
                    {
                        continue;
                    }
                    // A response goes back to the sender of the request.
                    if demux::classify(&data) != Some(Class::Stun) {
                        path = self.route.direct(path, || sink.paths.answered(self.id, path), now);
                    }
                    return Some((path, data));
                }
                Ok(str0m::Output::Event(e)) => self.handle_event(e, now, sink),
                Ok(str0m::Output::Timeout(at)) => {
                    self.rtc_deadline = at.max(now + TICK);
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
