//! Other systems have no V4L2, and not every build wants it.

use std::path::{Path, PathBuf};

use super::device::Device;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::controls::{Control, Value};

/// All video devices: none.
pub fn devices() -> Vec<(PathBuf, Result<Device, MediaError>)> {
    Vec::new()
}

/// What a device is. Errors: always, as this system has none.
pub fn probe(_: &Path) -> Result<Device, MediaError> {
    Err(none())
}

/// A device that is open for its controls; there is none on this system.
pub struct Camera(std::convert::Infallible);

impl Camera {
    /// Opens a device. Errors: always, as this system has none.
    pub fn open(_: &Path) -> Result<Camera, MediaError> {
        Err(none())
    }

    /// All controls.
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
    MediaError::new(ErrorKind::Other, "this build has no V4L2: it takes Linux and the feature `v4l2`")
}
