//! A call that begins while the one before with the same peer ends: what is still said of that does not end it.

use super::world::{World, both, ms};

/// Whether a call is there, and flows both ways.
fn flows(world: &mut World) -> bool {
    world.flowing().iter().all(|kinds| kinds.len() == 2)
}

/// Who calls, who hangs up and calls again, how fast media and messages are, and how long the pause is.
fn scenarios() -> impl Iterator<Item = (usize, usize, u64, u64, u64)> {
    let who = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let speeds = [(1, 40), (10, 10), (60, 2)];
    let pauses = [0, 5, 50];
    let all = move |(caller, again)| {
        speeds.into_iter().flat_map(move |(media, post)| {
            pauses.into_iter().map(move |pause| (caller, again, media, post, pause))
        })
    };
    who.into_iter().flat_map(all)
}

fn again_at_once(plain: bool) {
    for scenario in scenarios() {
        let (caller, again, media, post, pause) = scenario;
        let mut world = World::new();
        world.plain = plain;
        world.feed_every = ms(100);
        world.network.delay = ms(media);
        world.signalling.delay = ms(post);
        world.call(caller, both());
        world.run(ms(1500));
        assert!(world.peers.iter().all(|peer| peer.connected), "{scenario:?}");
        world.hang_up(again);
        world.run(ms(pause));
        world.call(again, both());
        assert!(flows(&mut world), "{scenario:?}: {:?}", world.peers[again].events);
    }
}

#[test]
fn a_peer_that_hangs_up_and_calls_again_at_once_is_answered() {
    again_at_once(false);
}

#[test]
fn a_peer_that_knows_no_ids_is_answered_too() {
    again_at_once(true);
}
