//! Channels between tasks, for code that knows no runtime.

pub(crate) use smol::channel::{Receiver, Sender, bounded};
