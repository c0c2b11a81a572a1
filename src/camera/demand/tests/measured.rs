//! What viewers get of encodings that are somebody else's, with bitrates that are measured.

use super::*;
use crate::camera::demand::{Rate, Wish};

const MIDDLE: StreamId = StreamId(14);
const SMALL: StreamId = StreamId(15);
const CAROL: Sink = Sink::Call(CallId(3));

fn encodings() -> Vec<StreamInfo> {
    let rendition = |id, rendition| {
        let mut info = StreamInfo::new(id, Codec::H264);
        info.rendition = rendition;
        info
    };
    vec![rendition(VIDEO, 0), rendition(MIDDLE, 1), rendition(SMALL, 2), StreamInfo::new(AUDIO, Codec::Opus)]
}

impl World {
    fn rates(&mut self, rates: [Rate; 3]) {
        for (stream, rate) in [VIDEO, MIDDLE, SMALL].into_iter().zip(rates) {
            self.input(Input::Rate { stream, rate });
        }
    }

    /// Three viewers of encodings with 2000, 500 and 150 kbit/s.
    fn measured() -> World {
        let mut w = World::of(&encodings());
        w.rates([2_000_000, 500_000, 150_000].map(Rate::Measured));
        for sink in [ALICE, BOB, CAROL] {
            w.wants(sink, &[VIDEO]);
        }
        w.flows();
        w
    }

    /// The last shares of Alice, Bob and Carol.
    fn shares(&self) -> [String; 3] {
        ["serve 1 ", "serve 2 ", "serve 3 "].map(|start| {
            let mut served = self.log.iter().rev().filter_map(|(_, line)| line.strip_prefix(start));
            served.next().unwrap_or("").to_owned()
        })
    }
}

#[test]
fn each_viewer_gets_the_best_that_its_network_carries() {
    // What three networks carry in kbit/s, and what is sent there.
    let table = [
        ([5000, 800, 200], ["full 10", "small 14", "small 15"]),
        ([2200, 2000, 1900], ["full 10", "full 10", "small 14"]),
        ([499, 100, 5], ["small 15", "key frames 15", "nothing"]),
    ];
    for (carry, expected) in table {
        let mut w = World::measured();
        let [a, b, c] = carry.map(|kbps| kbps * 1000);
        w.pass(3 * SECOND, &[(ALICE, a), (BOB, b), (CAROL, c)]);
        let shares = w.shares().map(|share| share.split(':').next().unwrap_or("").to_owned());
        assert_eq!(shares, expected, "{carry:?}");
        assert_eq!(w.taken("rate"), Vec::<String>::new(), "nobody is asked for another bitrate");
    }
}

#[test]
fn viewers_rise_and_fall_with_their_networks_and_with_what_comes() {
    let mut w = World::measured();
    let carry = |bps| [(ALICE, 5_000_000), (BOB, bps), (CAROL, 200_000)];
    w.pass(3 * SECOND, &carry(200_000));
    assert_eq!(w.shares()[1], "small 15: network");
    w.pass(3 * SECOND, &carry(800_000));
    assert_eq!(w.shares()[1], "small 14: network");
    w.pass(6 * SECOND, &carry(4_000_000));
    assert_eq!(w.shares(), ["full 10: full", "full 10: full", "small 15: network"]);
    // The publisher's network does not carry the best one any more.
    w.rates([Rate::Silent, Rate::Measured(500_000), Rate::Measured(150_000)]);
    assert_eq!(w.shares(), ["small 14: source", "small 14: source", "small 15: network"]);
    w.rates([Rate::Silent, Rate::Silent, Rate::Measured(150_000)]);
    assert_eq!(w.shares(), ["small 15: source"; 3]);
    w.rates([2_000_000, 500_000, 150_000].map(Rate::Measured));
    w.pass(9 * SECOND, &carry(4_000_000));
    assert_eq!(w.shares(), ["full 10: full", "full 10: full", "small 15: network"]);
    // It takes more than before.
    w.rates([Rate::Measured(4_500_000), Rate::Measured(500_000), Rate::Measured(150_000)]);
    assert_eq!(w.shares(), ["full 10: full", "small 14: network", "small 15: network"]);
}

#[test]
fn whoever_asks_for_less_gets_the_smallest_that_comes() {
    let mut w = World::measured();
    let carry = [ALICE, BOB, CAROL].map(|sink| (sink, 5_000_000));
    w.pass(3 * SECOND, &carry);
    w.input(Input::Wish { sink: BOB, wish: Wish::Small });
    assert_eq!(w.shares()[1], "small 15: wish");
    w.rates([Rate::Measured(2_000_000), Rate::Measured(500_000), Rate::Silent]);
    assert_eq!(w.shares()[1], "small 14: wish");
    assert_eq!(w.shares()[0], "full 10: full");
}

#[test]
fn a_joiner_gets_the_best_that_comes() {
    let mut w = World::of(&encodings());
    w.rates([Rate::Silent, Rate::Measured(500_000), Rate::Measured(150_000)]);
    // Before anything flows, too.
    w.wants(ALICE, &[VIDEO]);
    assert_eq!(w.shares()[0], "small 14: full");
    assert_eq!(w.taken("want"), ["want 14"]);
    // With one encoding all is as with an encoder of ours.
    let mut w = World::of(&encodings());
    w.rates([Rate::Own, Rate::Silent, Rate::Silent]);
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 400_000)]);
    assert_eq!(w.taken("rate"), ["rate 10 1000000", "rate 10 340000"]);
}
