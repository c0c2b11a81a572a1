//! Divides the viewers of a stream among its renditions, by what their networks carry.
//!
//! Each viewer is compared with what it would have if it were alone: the bitrate that its network carries, at most the
//! maximum. The division is the one in which the worst-off viewer loses least:
//!
//! | the viewer gets | its value |
//! |---|---|
//! | the main rendition at bitrate b | b / what it would have alone |
//! | the small one at bitrate s | [`SMALL`] of s / what it would have alone |
//! | key frames | [`KEY_FRAMES`] |
//!
//! - b is what the network of one of them carries: it gets the main rendition, and so does everybody above.
//! - s is what the slowest of the others carries, down to the floor of the small rendition. A viewer far below the others
//!   gets key frames, and so does everybody below b if there is no small rendition.
//! - A viewer whose network carries less than the lowest bitrate of any rendition does not count.
//! - Of equal divisions, the one with the higher b is chosen. The bitrate drops below the current one only if somebody
//!   gains more than [`WORTH`].
//!
//! So where networks fall into two groups, both are served as if they were alone. A viewer whose network carries a tenth
//! less than the others' lowers the bitrate for all; below that it gets the small rendition.

/// Half the size counts as a tenth lost: nobody is moved to it for the sake of others if giving up a tenth of the
/// bitrate would do.
const SMALL: f64 = 0.9;
/// Key frames alone count as a tenth of moving video.
const KEY_FRAMES: f64 = 0.1;
/// A lower bitrate for all must improve the value of the worst-off viewer by this much.
const WORTH: f64 = 1.1;
/// Divisions that differ by less than this are equal.
const EQUAL: f64 = 0.999;

/// What encoders can do, in bit/s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The lowest bitrate of the main rendition.
    pub min: u32,
    /// The lowest bitrate of the small rendition; `None` if there is none.
    pub small: Option<u32>,
}

/// A division.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Division {
    /// The bitrate of the main rendition; `None` if nobody gets it.
    pub main: Option<u32>,
    /// A viewer that can't have the main rendition gets the small one if its network carries this, otherwise key frames.
    pub small: Option<u32>,
    /// The value of the worst-off viewer, 0 to 1.
    worst: f64,
}

/// Divides viewers by the bit/s that each would have alone, in ascending order. The main rendition now has the bitrate
/// `current`.
pub(super) fn best(alone: &[u32], bounds: Bounds, current: u32) -> Division {
    let alone = served(alone, bounds);
    let mut best = divide(alone, bounds, None);
    let mut last = None;
    for bps in alone.iter().copied().filter(|bps| *bps >= bounds.min) {
        if last.replace(bps) == Some(bps) {
            continue;
        }
        let other = divide(alone, bounds, Some(bps));
        if best.main.is_none() || other.worst >= best.worst * EQUAL {
            best = other;
        }
    }
    let carried = alone.last().is_some_and(|most| *most >= current);
    if carried && best.main.is_some_and(|bps| bps < current) {
        let present = divide(alone, bounds, Some(current));
        if best.worst < present.worst * WORTH {
            return present;
        }
    }
    best
}

/// The division with the main rendition at the bitrate that everybody carries.
pub(super) fn slowest(alone: &[u32], bounds: Bounds) -> Division {
    let alone = served(alone, bounds);
    divide(alone, bounds, alone.iter().copied().find(|bps| *bps >= bounds.min))
}

/// The division with the main rendition at this bitrate, or at the lowest.
pub(super) fn following(alone: &[u32], bounds: Bounds, bps: u32) -> Division {
    divide(served(alone, bounds), bounds, Some(bps.max(bounds.min)))
}

/// The viewers that some rendition can serve.
fn served(alone: &[u32], bounds: Bounds) -> &[u32] {
    let least = bounds.small.map_or(bounds.min, |small| small.min(bounds.min));
    &alone[alone.partition_point(|bps| *bps < least)..]
}

fn divide(alone: &[u32], bounds: Bounds, main: Option<u32>) -> Division {
    let part = |bps: u32, of: u32| f64::from(bps) / f64::from(of.max(1));
    let below = main.map_or(alone.len(), |bps| alone.partition_point(|alone| *alone < bps));
    let (below, above) = alone.split_at(below);
    let mut worst = 1.0_f64;
    if let (Some(bps), Some(most)) = (main, above.last()) {
        worst = part(bps, *most);
    }
    let Some(most) = below.last() else { return Division { main, small: bounds.small, worst } };
    // Whoever would take more than key frames cost from the best of them gets those.
    let far = f64::from(*most) * KEY_FRAMES / SMALL;
    let small = bounds.small.map(|floor| floor.max(far as u32));
    let served = &below[small.map_or(below.len(), |least| below.partition_point(|bps| *bps < least))..];
    if let Some(bps) = served.first() {
        worst = worst.min(SMALL * part(*bps, *most));
    }
    if served.len() < below.len() {
        worst = worst.min(KEY_FRAMES);
    }
    Division { main, small, worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Bounds = Bounds { min: 150_000, small: Some(40_000) };
    const ONE: Bounds = Bounds { min: 150_000, small: None };

    fn kilo(kbits: &[u32]) -> Vec<u32> {
        kbits.iter().map(|kbits| kbits * 1000).collect()
    }

    #[test]
    fn the_one_who_is_worst_off_loses_the_least() {
        // (name, what each would have alone in kbit/s, bounds, bitrate of main, least for small)
        type Row<'a> = (&'a str, &'a [u32], Bounds, Option<u32>, Option<u32>);
        let table: &[Row] = &[
            ("nobody", &[], BOTH, None, Some(40)),
            ("alone, it caps the encoder", &[300], BOTH, Some(300), Some(40)),
            ("alone, too slow for that", &[100], BOTH, None, Some(40)),
            ("alone, without another rendition", &[100], ONE, None, None),
            ("nine fast and one slow", &[255, 4000, 4000, 4000], BOTH, Some(4000), Some(40)),
            ("nearly as fast as the others", &[3700, 4000, 4000], BOTH, Some(3700), Some(40)),
            ("a tenth less", &[3500, 4000, 4000], BOTH, Some(4000), Some(388)),
            ("a slow majority", &[255, 255, 255, 4000], BOTH, Some(4000), Some(40)),
            ("the slowest can't be served", &[30, 255, 1000, 4000], BOTH, Some(1000), Some(40)),
            ("three groups", &[85, 1700, 4000], BOTH, Some(1700), Some(40)),
            ("the slowest of three would cost too much", &[45, 1700, 1700, 4000], BOTH, Some(1700), Some(40)),
            ("one rendition: between them", &[1000, 4000], ONE, Some(1000), None),
            ("one rendition: far below", &[255, 4000, 4000], ONE, Some(4000), None),
        ];
        for (name, alone, bounds, main, small) in table {
            let found = best(&kilo(alone), *bounds, 1_000_000);
            assert_eq!(
                (found.main.map(|b| b / 1000), found.small.map(|s| s / 1000)),
                (*main, *small),
                "{name}"
            );
        }
    }

    #[test]
    fn the_bitrate_is_lowered_for_all_only_if_that_is_worth_it() {
        let main =
            |alone: &[u32], current: u32| best(&kilo(alone), BOTH, current * 1000).main.map(|b| b / 1000);
        assert_eq!(main(&[3650, 4000], 4000), Some(4000), "it gets the small one at nearly as much");
        assert_eq!(main(&[3650, 4000], 3000), Some(3650));
        assert_eq!(main(&[1000, 1200, 3000], 3000), Some(3000));
        assert_eq!(main(&[200, 2000, 3000], 3000), Some(2000));
        assert_eq!(main(&[2000, 2200], 3000), Some(2000), "nobody carries the present one");
    }

    #[test]
    fn other_policies() {
        let alone = kilo(&[30, 100, 255, 1000, 4000]);
        assert_eq!(slowest(&alone, BOTH).main, Some(255_000));
        assert_eq!(slowest(&alone, ONE).main, Some(255_000));
        assert_eq!(slowest(&alone[..2], BOTH).main, None);
        assert_eq!(following(&alone, BOTH, 1_000_000).main, Some(1_000_000));
        assert_eq!(following(&alone, BOTH, 10_000).main, Some(150_000));
    }

    #[test]
    fn no_other_division_is_better_for_the_worst() {
        // Small sets, all divisions tried by hand: every b, every lowest one on the small rendition.
        let rates = [45, 85, 255, 800, 1700, 3400, 4000];
        for bits in 1_u32..1 << rates.len() {
            let alone: Vec<u32> =
                (0..rates.len()).filter(|n| bits >> n & 1 == 1).map(|n| rates[n] * 1000).collect();
            let mut most = 0.0_f64;
            for b in alone.iter().filter(|b| **b >= BOTH.min) {
                for s in alone.iter().chain([&u32::MAX]) {
                    let worth = alone.iter().map(|a| match () {
                        () if a >= b => f64::from(*b) / f64::from(*a),
                        () if a >= s => SMALL * f64::from(*s) / f64::from(*a),
                        () => KEY_FRAMES,
                    });
                    most = most.max(worth.fold(1.0, f64::min));
                }
            }
            let found = best(&alone, BOTH, BOTH.min);
            if found.main.is_some() {
                assert!(found.worst >= most * EQUAL, "{alone:?}: {found:?}, but {most}");
            }
        }
    }
}
