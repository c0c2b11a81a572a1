//! Judges a certificate by its dates and a clock that may be wrong.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::logger::Date;

/// Automated renewal happens earlier than this; certificates valid for six days must not cause a warning at once.
const SOON: Duration = Duration::from_secs(3 * 86_400);

/// When this was written: 2026-11-25.
const WRITTEN: u64 = 1_795_564_800;

/// A clock before this is wrong. A package build sets it to the time of the package's sources.
pub(super) fn earliest() -> SystemTime {
    let built = option_env!("SOURCE_DATE_EPOCH").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(WRITTEN.max(built))
}

/// The validity of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dates {
    Good,
    NotYet(SystemTime),
    Soon(SystemTime),
    Ended(SystemTime),
}

/// Judges by the dates, if known. A board's clock starts in 1970 or where it last stopped, and is correct only once it
/// got the time from the network. So a certificate that expired before `earliest` has expired, and one that starts
/// later is not rejected by a clock that is still before `earliest`.
pub(super) fn judge(
    validity: Option<RangeInclusive<SystemTime>>,
    now: SystemTime,
    earliest: SystemTime,
) -> Dates {
    let Some((start, end)) = validity.map(RangeInclusive::into_inner) else { return Dates::Good };
    let at = now.max(earliest);
    if end < at {
        Dates::Ended(end)
    } else if now >= earliest && now < start {
        Dates::NotYet(start)
    } else if end.duration_since(at).is_ok_and(|left| left < SOON) {
        Dates::Soon(end)
    } else {
        Dates::Good
    }
}

impl Dates {
    /// What is wrong with the dates, as text.
    pub(super) fn fault(self) -> Option<String> {
        match self {
            Dates::Good => None,
            Dates::NotYet(start) => Some(format!(
                "the certificate is not valid before {} (is this machine's clock correct?)",
                Date(start)
            )),
            Dates::Soon(end) => Some(format!("the certificate expires on {}", Date(end))),
            Dates::Ended(end) => Some(format!("the certificate expired on {}", Date(end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn day(n: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(n * DAY)
    }

    #[test]
    fn a_certificate_is_judged_by_no_clock_before_the_program_was_made() {
        let (earliest, forever) = (day(20_000), day(2_932_896));
        for (what, start, end, now, expected) in [
            ("of now", 20_000, 23_650, 20_100, Dates::Good),
            ("three days left", 20_000, 20_103, 20_100, Dates::Good),
            ("less", 20_000, 20_102, 20_100, Dates::Soon(day(20_102))),
            ("ended", 10_000, 20_099, 20_100, Dates::Ended(day(20_099))),
            ("not yet", 20_101, 30_000, 20_100, Dates::NotYet(day(20_101))),
            ("made in 1970 for ten years, at the right time", 0, 3_650, 20_100, Dates::Ended(day(3_650))),
            ("the same, and it is 1970 again", 0, 3_650, 1, Dates::Ended(day(3_650))),
            ("made at the right time, and it is 1970", 20_100, 23_650, 1, Dates::Good),
            (
                "made by a clock far ahead, which was set right",
                40_000,
                43_650,
                20_100,
                Dates::NotYet(day(40_000)),
            ),
            ("ours, in 1970", 0, 2_932_896, 0, Dates::Good),
            ("ours, now", 0, 2_932_896, 20_100, Dates::Good),
            ("ours, by a clock in 2106", 0, 2_932_896, 49_710, Dates::Good),
        ] {
            assert_eq!(judge(Some(day(start)..=day(end)), day(now), earliest), expected, "{what}");
        }
        assert_eq!(judge(Some(day(0)..=forever), day(20_000), earliest), Dates::Good);
        assert_eq!(judge(None, day(1), earliest), Dates::Good);
    }

    #[test]
    fn this_program_was_not_made_in_the_future() {
        assert!(earliest() >= UNIX_EPOCH + Duration::from_secs(WRITTEN));
        assert_eq!(Date(UNIX_EPOCH + Duration::from_secs(WRITTEN)).to_string(), "2026-11-25T00:00:00Z");
    }
}
