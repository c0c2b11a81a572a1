//! Sequence numbers that are used up between two of our own: SRTP's rollover counter goes on in both.

use super::pair::{BOTH, Pair, directions};
use super::world::ms;
use crate::media::{Codec, Kind};

const NUMBERS: u64 = 1 << 16;
/// Packets that are sent at once, and between two looks.
const BURST: u64 = 50;
const ROUND: u64 = 10_000;

#[test]
fn what_comes_after_all_numbers_were_used_is_opened() {
    let mut pair = Pair::call(directions(&[], &BOTH), directions(&[Kind::Audio], &[])).expect("agreed");
    pair.run(ms(1000));
    // Some are lost everywhere, before and after the numbers begin anew.
    pair.lose = 101;
    let before = (pair.peers[0].stats().received, pair.peers[1].stats().packets);
    let mut rounds = vec![];
    // Twice around: the counter goes from 0 to 2.
    while pair.peers[1].stats().packets - before.1 < 2 * NUMBERS {
        let sent = pair.peers[1].stats().packets;
        for _ in 0..ROUND / BURST {
            for count in 0..BURST {
                // 20 ms of CELT, in one frame.
                let frame = [&[31 << 3][..], &count.to_be_bytes()].concat();
                pair.push(1, Codec::Opus, true, frame.into());
            }
            pair.run(ms(20));
        }
        let frames = std::mem::take(&mut pair.peers[0].frames).len() as u64;
        rounds.push((pair.peers[1].stats().packets - sent, frames));
        pair.peers[1].sent.clear();
    }
    for (sent, frames) in &rounds {
        assert!(*sent >= ROUND && frames * 100 > sent * 96, "{rounds:?}");
    }
    let (watcher, camera) = (pair.peers[0].stats().received, pair.peers[1].stats().packets);
    let (sent, came) = (camera - before.1, watcher.packets - before.0.packets);
    assert!(came * 100 > sent * 98 && came < sent, "{came} of {sent}");
    assert!((watcher.lost - before.0.lost).abs_diff(sent - came) < BURST, "{watcher:?}: {came} of {sent}");
}
