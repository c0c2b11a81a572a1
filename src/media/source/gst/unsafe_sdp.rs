//! Changes the description of an RTSP server in place: `rtspsrc` passes its own copy for this purpose, and the bindings
//! offer no safe way.
#![allow(unsafe_code)]

use gst::glib;
use gstreamer as gst;
use gstreamer_sdp::SDPMessageRef;

/// Calls `mend` with the description that `rtspsrc` passes with its signal `on-sdp`.
pub(super) fn mend(values: &[glib::Value], mend: impl FnOnce(&mut SDPMessageRef)) {
    let Some(value) = values.get(1).filter(|value| value.is::<gstreamer_sdp::SDPMessage>()) else { return };
    // SAFETY: the value was just checked to be a description. The signal passes the source's own one, to be "inspected
    // and modified" according to its documentation, and waits for us, so nobody else accesses it meanwhile.
    // `SDPMessageRef` has the layout of the pointer's target.
    let message = unsafe {
        let pointer = glib::gobject_ffi::g_value_get_boxed(glib::translate::ToGlibPtr::to_glib_none(value).0);
        pointer.cast::<SDPMessageRef>().as_mut()
    };
    if let Some(message) = message {
        mend(message);
    }
}
