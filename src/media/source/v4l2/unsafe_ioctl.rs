//! V4L2 calls whose safe form in `v4l` panics at values that a driver may return: a control of a kind newer than the
//! crate (`vivid` and every stateless codec have some), or a name cut within a character.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;

use v4l::Device;
use v4l::v4l_sys as sys;
use v4l::v4l2::{self, vidioc};

/// A kernel structure that consists of numbers, so that all zeros are a valid value.
///
/// # Safety
/// `REQUEST` reads and writes one of these, and nothing behind a pointer.
unsafe trait Argument: Copy {
    const REQUEST: vidioc::_IOC_TYPE;
}

// SAFETY: each request is defined with this structure (linux/videodev2.h), and none of them has pointers.
unsafe impl Argument for sys::v4l2_capability {
    const REQUEST: vidioc::_IOC_TYPE = vidioc::VIDIOC_QUERYCAP;
}
// SAFETY: as above.
unsafe impl Argument for sys::v4l2_fmtdesc {
    const REQUEST: vidioc::_IOC_TYPE = vidioc::VIDIOC_ENUM_FMT;
}
// SAFETY: as above.
unsafe impl Argument for sys::v4l2_query_ext_ctrl {
    const REQUEST: vidioc::_IOC_TYPE = vidioc::VIDIOC_QUERY_EXT_CTRL;
}
// SAFETY: as above.
unsafe impl Argument for sys::v4l2_querymenu {
    const REQUEST: vidioc::_IOC_TYPE = vidioc::VIDIOC_QUERYMENU;
}
// SAFETY: as above.
unsafe impl Argument for sys::v4l2_control {
    const REQUEST: vidioc::_IOC_TYPE = vidioc::VIDIOC_G_CTRL;
}

fn ask<T: Argument>(device: &Device, fill: impl FnOnce(&mut T)) -> io::Result<T> {
    // SAFETY: `Argument` guarantees that all zeros are a valid value.
    let mut argument: T = unsafe { std::mem::zeroed() };
    fill(&mut argument);
    let pointer = (&raw mut argument).cast::<c_void>();
    // SAFETY: the descriptor is open as long as `device` lives, and `Argument` guarantees that the kernel writes one
    // `T`, at the pointer, and nothing else.
    unsafe { v4l2::ioctl(device.handle().fd(), T::REQUEST, pointer)? };
    Ok(argument)
}

/// The identity of the device.
pub(super) fn capability(device: &Device) -> io::Result<sys::v4l2_capability> {
    ask(device, |_| {})
}

/// The format with this index on a queue (`V4L2_BUF_TYPE_…`).
pub(super) fn format(device: &Device, queue: u32, index: u32) -> io::Result<sys::v4l2_fmtdesc> {
    ask(device, |format: &mut sys::v4l2_fmtdesc| (format.type_, format.index) = (queue, index))
}

/// A control by its id, or the next one with `V4L2_CTRL_FLAG_NEXT_CTRL`.
pub(super) fn control(device: &Device, id: u32) -> io::Result<sys::v4l2_query_ext_ctrl> {
    ask(device, |control: &mut sys::v4l2_query_ext_ctrl| control.id = id)
}

/// An item of a menu: its name.
pub(super) fn menu_name(device: &Device, id: u32, index: u32) -> io::Result<[u8; 32]> {
    let item = menu_item(device, id, index)?;
    // SAFETY: any bytes are a valid value of both members of the union.
    Ok(unsafe { item.__bindgen_anon_1.name })
}

/// An item of a menu of numbers.
pub(super) fn menu_number(device: &Device, id: u32, index: u32) -> io::Result<i64> {
    let item = menu_item(device, id, index)?;
    // SAFETY: any bytes are a valid value of both members of the union.
    Ok(unsafe { item.__bindgen_anon_1.value })
}

fn menu_item(device: &Device, id: u32, index: u32) -> io::Result<sys::v4l2_querymenu> {
    ask(device, |item: &mut sys::v4l2_querymenu| (item.id, item.index) = (id, index))
}

/// The value of a 32-bit control.
pub(super) fn value(device: &Device, id: u32) -> io::Result<i32> {
    ask(device, |control: &mut sys::v4l2_control| control.id = id).map(|control| control.value)
}
