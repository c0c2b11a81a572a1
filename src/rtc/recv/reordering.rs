//! Measures how late overtaken packets are, and how long a request for a missing packet waits accordingly.
//!
//! libwebrtc counts the packets by which others were overtaken, and waits for the median of those. Here each gap counts
//! with the time until it was filled, a lost packet with none: where nine of ten gaps are losses, waiting is a waste.

use std::time::Duration;

/// The gaps that count: a second of a path that reorders every tenth packet of a video.
const GAPS: usize = 64;
/// The gaps, of those that count, that a request may come too early for: a tenth.
const EARLY: usize = GAPS / 10;
/// The wait where hardly anything is late: most networks reorder less than this.
pub(super) const LEAST: Duration = Duration::from_millis(10);
/// The longest wait. Later packets count as lost, as do those of audio (RFC 3550 has no limit).
const MOST: Duration = Duration::from_millis(100);
/// Late packets vary.
const MARGIN: Duration = Duration::from_millis(2);

/// The reordering of a path.
#[derive(Clone, Debug)]
pub(super) struct Reordering {
    /// How late the packets of the last gaps were, in ms, rounded up; 0 if they were lost.
    gaps: [u8; GAPS],
    next: usize,
    wait: Duration,
}

impl Default for Reordering {
    fn default() -> Reordering {
        Reordering { gaps: [0; GAPS], next: 0, wait: LEAST }
    }
}

impl Reordering {
    /// A missing packet arrived, this long after the first one behind it.
    pub(super) fn late(&mut self, by: Duration) {
        let ms = by.as_micros().div_ceil(1000);
        self.note(if by > MOST { 0 } else { u8::try_from(ms).unwrap_or(0) });
    }

    /// A missing packet was sent again.
    pub(super) fn lost(&mut self) {
        self.note(0);
    }

    /// Returns how long the first request for a missing packet waits.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    fn note(&mut self, ms: u8) {
        self.gaps[self.next] = ms;
        self.next = (self.next + 1) % GAPS;
        let mut sorted = self.gaps;
        sorted.sort_unstable();
        let late = sorted[GAPS - 1 - EARLY];
        self.wait = (Duration::from_millis(late.into()) + MARGIN).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The wait after gaps that were filled after so many ms, or lost.
    fn after(gaps: impl IntoIterator<Item = Option<u64>>) -> Duration {
        let mut reordering = Reordering::default();
        for gap in gaps {
            match gap {
                Some(late) => reordering.late(ms(late)),
                None => reordering.lost(),
            }
        }
        reordering.wait()
    }

    #[test]
    fn the_wait_covers_nine_of_ten_gaps() {
        let table: [(&str, Vec<Option<u64>>, u64); 8] = [
            ("nothing", vec![], 10),
            ("losses", vec![None; 200], 10),
            ("a few that are late", vec![Some(30); EARLY], 10),
            ("more of them", vec![Some(30); EARLY + 1], 32),
            ("a little reordering", vec![Some(3); 200], 10),
            (
                "one of ten is later than the rest",
                [[Some(20); 15].as_slice(), &[Some(80)]].concat().repeat(8),
                22,
            ),
            ("one of twelve, beside losses", [[None; 11].as_slice(), &[Some(40)]].concat().repeat(20), 10),
            ("later than is waited for", vec![Some(101); 200], 10),
        ];
        for (name, gaps, wait) in table {
            assert_eq!(after(gaps), ms(wait), "{name}");
        }
        assert_eq!(after([Some(100); 10]), ms(102), "the longest wait");
        // A path that reorders no more.
        assert_eq!(after([Some(40); 64].into_iter().chain([None; 58])), ms(10));
    }
}
