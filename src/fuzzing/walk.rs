//! The loop of targets with a state: the bytes say what is done next, and after each step all must hold.

use super::bytes::Bytes;

/// What bytes steer.
pub(super) trait World {
    /// Does what the next bytes say.
    fn step(&mut self, bytes: &mut Bytes<'_>);

    /// Asserts what always holds.
    fn check(&self);

    /// Brings all to its end, and asserts what must have come of it.
    fn end(self);
}

/// Steps until the bytes are over, so many times at most.
pub(super) fn walk(mut world: impl World, mut bytes: Bytes<'_>, most: usize) {
    for _ in 0..most {
        if bytes.is_empty() {
            break;
        }
        world.step(&mut bytes);
        world.check();
    }
    world.end();
}
