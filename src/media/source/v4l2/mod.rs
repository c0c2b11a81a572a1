//! V4L2 devices: enumeration, capabilities, the choice of a format, and controls.
//!
//! ```no_run
//! for (path, device) in symple::media::source::v4l2::devices() {
//!     match device {
//!         Ok(device) => println!("{}: {} ({})", path.display(), device.card, device.role),
//!         Err(why) => println!("{}: {why}", path.display()),
//!     }
//! }
//! ```
//!
//! What a device reports is plain values ([`device`], [`control`](super::controls)), and decisions are functions of
//! these values ([`choose`]); both are tested with the lists of real cameras. The driver below reads the values from
//! the kernel. It exists on Linux with the feature `v4l2`; elsewhere every call returns an error.
//!
//! Out of scope: capturing frames. The `gst` layer does that, with the format that is chosen here.

pub mod choose;

pub mod device;

#[cfg(all(target_os = "linux", feature = "v4l2", feature = "gst"))]
pub(crate) mod encoder;
#[cfg(all(target_os = "linux", feature = "v4l2"))]
mod linux;
#[cfg(not(all(target_os = "linux", feature = "v4l2")))]
#[path = "unsupported.rs"]
mod linux;
#[cfg(all(target_os = "linux", feature = "v4l2", feature = "gst"))]
mod unsafe_control;
#[cfg(all(target_os = "linux", feature = "v4l2"))]
mod unsafe_ioctl;

pub use linux::{Camera, devices, probe};
