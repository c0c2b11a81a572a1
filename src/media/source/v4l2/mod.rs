//! V4L2 devices: what there is, what each can do, the best of it for us, and its controls.
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
//! What a device says is plain values ([`device`], [`control`](super::controls)), and what is made of them is functions of
//! these ([`choose`]): both are tested with real cameras' lists. The driver below reads the values from the
//! kernel; it exists on Linux with the feature `v4l2`, elsewhere it answers in words.
//!
//! Out of scope: pictures. They come by the `gst` layer, which asks here what to ask a camera for.

pub mod choose;

pub mod device;

#[cfg(all(target_os = "linux", feature = "v4l2", feature = "gst"))]
pub(crate) mod encoder;
#[cfg(all(target_os = "linux", feature = "v4l2"))]
mod linux;
#[cfg(not(all(target_os = "linux", feature = "v4l2")))]
#[path = "elsewhere.rs"]
mod linux;
#[cfg(all(target_os = "linux", feature = "v4l2", feature = "gst"))]
mod unsafe_control;
#[cfg(all(target_os = "linux", feature = "v4l2"))]
mod unsafe_ioctl;

pub use linux::{Camera, devices, probe};
