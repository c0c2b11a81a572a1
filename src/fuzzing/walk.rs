//! The loop of targets with state: the bytes decide on each step, and all properties must hold after it.

use super::bytes::Bytes;

/// A system under test that bytes control.
pub(super) trait World {
    /// Executes the step that the next bytes describe.
    fn step(&mut self, bytes: &mut Bytes<'_>);

    /// Asserts the invariants.
    fn check(&self);

    /// Ends everything, and asserts the final state.
    fn end(self);
}

/// Runs steps until the bytes are used up, up to a maximum number.
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
