//! How much is sent before others go on.

use crate::rtc::Transmit;

/// Datagrams of a burst: signalling, HTTP and handshakes wait no longer than for a millisecond of a server's CPU, or ten of
/// a small board's, and not until a frame has gone to all viewers.
const DATAGRAMS: usize = 256;

/// What is sent before others go on.
pub(super) struct Burst {
    left: usize,
    over: bool,
}

impl Burst {
    pub(super) fn new() -> Burst {
        Burst { left: DATAGRAMS, over: false }
    }

    /// What is to be sent next, until it has been enough.
    pub(super) fn next(&mut self, next: impl FnOnce() -> Option<Transmit>) -> Option<Transmit> {
        if self.left == 0 {
            self.over = true;
            return None;
        }
        let transmit = next()?;
        self.left = self.left.saturating_sub(transmit.datagrams().count());
        Some(transmit)
    }

    /// Whether it has been enough, and there may be more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::Path;

    fn datagrams(count: usize) -> Transmit {
        let address = "192.0.2.1:4000".parse().expect("literal");
        Transmit { path: Path::udp(address, address), segment: Some(10), data: vec![0; 10 * count] }
    }

    #[test]
    fn a_burst_ends_with_its_datagrams_or_when_there_is_no_more() {
        let mut burst = Burst::new();
        let calls = std::iter::from_fn(|| burst.next(|| Some(datagrams(50)))).count();
        assert_eq!((calls, burst.is_over()), (DATAGRAMS.div_ceil(50), true));
        let (mut burst, mut left) = (Burst::new(), 3);
        let calls = std::iter::from_fn(|| {
            burst.next(|| {
                left -= 1;
                (left > 0).then(|| datagrams(1))
            })
        });
        assert_eq!((calls.count(), burst.is_over()), (2, false));
    }
}
