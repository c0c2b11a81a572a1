//! Why a key frame is wanted.

/// Why a key frame is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A viewer joined and can't begin without one.
    Join,
    /// A viewer lost what it can't go on without.
    Loss,
}
