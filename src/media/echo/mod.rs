//! What a speaker plays, for a microphone of the same program that must not send it back.
//!
//! An echo canceller needs both signals aligned to some 10 ms, but the time between a speaker's buffer and its echo is
//! neither reported by sound servers, nor constant. So it is measured from the signals themselves:
//!
//! ```text
//! speaker ──── tape of what was played ─┬─ correlation with what is heard ─ lag
//!                                       ▼                                    │
//! microphone ─ block of 10 ms ─ what was played before it, by that lag ◄─────┘
//!                     └──────────────────┴─ canceller
//! ```
//!
//! No clock is read here, and nothing is cancelled: that is the work of GStreamer's `webrtcdsp`.

mod alignment;
mod correlation;
mod tape;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::alignment::Alignment;

/// Samples per second.
pub(in crate::media) const RATE: u32 = 48_000;
/// Samples of 10 ms, which cancellers process at once.
pub(in crate::media) const BLOCK: usize = 480;

/// Connects a speaker to the echo canceller of a microphone: give clones of one to
/// [`playback::Settings::echo`](crate::media::playback::Settings::echo) and to
/// [`CaptureSettings::echo`](crate::media::source::gst::CaptureSettings::echo). The newest microphone gets the audio.
#[derive(Clone, Default)]
pub struct EchoReference {
    listener: Arc<Mutex<Listener>>,
}

/// What is played, until the microphone takes it. Aligning takes longer than the speaker can wait.
#[derive(Default)]
struct Listener {
    number: u64,
    listens: bool,
    /// With the times at which they are due.
    packets: VecDeque<(Vec<i16>, Instant)>,
}

/// Packets that wait at most: the microphone takes them every 10 ms.
const MOST: usize = 100;

impl EchoReference {
    /// Creates one for a speaker and a microphone.
    pub fn new() -> EchoReference {
        EchoReference::default()
    }

    fn lock(&self) -> MutexGuard<'_, Listener> {
        // No code under the lock can panic.
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes mono audio that goes to the speaker, and when it is due there. Nothing is kept while no microphone listens.
    pub(in crate::media) fn play(&self, samples: impl Iterator<Item = i16>, due: Instant) {
        let mut listener = self.lock();
        if listener.listens {
            if listener.packets.len() >= MOST {
                listener.packets.pop_front();
            }
            listener.packets.push_back((samples.collect(), due));
        }
    }

    /// Listens until the result is dropped. `now` is the zero of its times.
    pub(in crate::media) fn listen(&self, now: Instant) -> Listening {
        let mut listener = self.lock();
        listener.number += 1;
        listener.listens = true;
        listener.packets.clear();
        Listening { reference: self.clone(), number: listener.number, alignment: Alignment::new(now) }
    }
}

impl PartialEq for EchoReference {
    /// Whether both are clones of one.
    fn eq(&self, other: &EchoReference) -> bool {
        Arc::ptr_eq(&self.listener, &other.listener)
    }
}

impl fmt::Debug for EchoReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EchoReference")
    }
}

/// A microphone that listens to the speaker. Dropping it ends that.
pub(in crate::media) struct Listening {
    reference: EchoReference,
    number: u64,
    alignment: Alignment,
}

impl Listening {
    /// Takes the next block of the microphone, which arrives now, and returns what the speaker played before it, to be
    /// cancelled. `None` if nobody was heard from the speaker recently, or this microphone is not the newest.
    pub(in crate::media) fn hear(&mut self, block: &[i16; BLOCK], now: Instant) -> Option<[i16; BLOCK]> {
        let packets = {
            let mut listener = self.reference.lock();
            if listener.number != self.number {
                return None;
            }
            std::mem::take(&mut listener.packets)
        };
        for (samples, due) in packets {
            self.alignment.play(samples.into_iter(), due);
        }
        self.alignment.hear(block, now)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listener = self.reference.lock();
        if listener.number == self.number {
            listener.listens = false;
            listener.packets = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_microphone_listens_until_it_is_dropped_and_little_waits_for_it() {
        let (reference, now) = (EchoReference::new(), Instant::now());
        let play = |count: u64| {
            (0..count).for_each(|at| {
                reference.clone().play([7; 960].into_iter(), now + Duration::from_millis(at * 20))
            });
            reference.lock().packets.len()
        };
        assert_eq!(play(3), 0);
        let mut old = reference.listen(now);
        assert_eq!(play(3), 3);
        let mut new = reference.listen(now);
        assert_eq!(play(10_000), MOST);
        // As when a microphone is opened again before the old one is closed.
        assert_eq!(old.hear(&[0; BLOCK], now), None);
        drop(old);
        assert_eq!(play(0), MOST);
        new.hear(&[0; BLOCK], now);
        assert_eq!(play(1), 1);
        drop(new);
        assert_eq!(play(3), 0);
        assert_ne!(reference, EchoReference::new());
    }
}
