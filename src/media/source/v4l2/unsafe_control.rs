//! A control of a V4L2 file that another library has open: the crate `v4l` only supports files that it opened itself,
//! but an encoder's belongs to GStreamer.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

use v4l::v4l_sys::v4l2_control;
use v4l::v4l2;
use v4l::v4l2::vidioc::VIDIOC_S_CTRL;

/// `VIDIOC_S_CTRL`; returns the value that the driver set.
pub(super) fn set_control(file: RawFd, id: u32, value: i32) -> io::Result<i32> {
    let mut control = v4l2_control { id, value };
    // SAFETY: the request reads and writes one v4l2_control (its number contains the size), and `control` is one that
    // lives until the call returns. A number that is not an open file, or not a V4L2 device, causes an error.
    unsafe { v4l2::ioctl(file, VIDIOC_S_CTRL, (&raw mut control).cast()) }?;
    Ok(control.value)
}
