//! One control of a V4L2 file that somebody else has open: the crate `v4l` knows only those that it opened
//! itself, and an encoder's is GStreamer's.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

use v4l::v4l_sys::v4l2_control;
use v4l::v4l2;
use v4l::v4l2::vidioc::VIDIOC_S_CTRL;

/// `VIDIOC_S_CTRL`; the value that the driver left.
pub(super) fn set_control(file: RawFd, id: u32, value: i32) -> io::Result<i32> {
    let mut control = v4l2_control { id, value };
    // SAFETY: the request reads and writes one v4l2_control (its number holds the size), and `control` is one
    // that lives until the call is over. A number that is no open file, or no V4L2 device, is an error.
    unsafe { v4l2::ioctl(file, VIDIOC_S_CTRL, (&raw mut control).cast()) }?;
    Ok(control.value)
}
