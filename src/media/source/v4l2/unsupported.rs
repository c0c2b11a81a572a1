//! Stubs for other systems and for builds without V4L2.

use std::path::{Path, PathBuf};

use super::device::Device;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::controls::{Control, Value};

/// Lists the video devices. Always empty on this system.
pub fn devices() -> Vec<(PathBuf, Result<Device, MediaError>)> {
    Vec::new()
}

/// Probes a device. Errors: always, because this build has no V4L2.
pub fn probe(_: &Path) -> Result<Device, MediaError> {
    Err(none())
}

/// A device opened for its controls. Never exists on this system.
pub struct Camera(std::convert::Infallible);

impl Camera {
    /// Opens a device. Errors: always, because this build has no V4L2.
    pub fn open(_: &Path) -> Result<Camera, MediaError> {
        Err(none())
    }

    /// Lists all controls.
    pub fn controls(&self) -> Result<Vec<Control>, MediaError> {
        match self.0 {}
    }

    /// Sets a control.
    pub fn set(&self, _: &str, _: &Value) -> Result<Control, MediaError> {
        match self.0 {}
    }

    /// Sets a control by its number in the kernel, whatever its range.
    pub fn set_id(&self, _: u32, _: Option<i64>) -> Result<(), MediaError> {
        match self.0 {}
    }
}

fn none() -> MediaError {
    MediaError::new(
        ErrorKind::Other,
        "this build has no V4L2 support (requires Linux and the feature `v4l2`)",
    )
}
