//! The viewer page.
