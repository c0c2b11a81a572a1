//! The estimator on simulated paths.

mod beside;
mod changes;
mod cost;
mod hostile;
mod limited;
mod link;
mod random;
mod receiver;
mod rough;
mod sender;
mod steady;
mod world;

/// A second, in µs.
const S: i64 = 1_000_000;
