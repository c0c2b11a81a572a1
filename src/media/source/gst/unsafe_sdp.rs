//! What an RTSP server describes, mended in place: `rtspsrc` hands its own description out to be changed, for which
//! the bindings have no safe way.
#![allow(unsafe_code)]

use gst::glib;
use gstreamer as gst;
use gstreamer_sdp::SDPMessageRef;

/// Lets `mend` change the description that `rtspsrc` gives with its signal `on-sdp`.
pub(super) fn mend(values: &[glib::Value], mend: impl FnOnce(&mut SDPMessageRef)) {
    let Some(value) = values.get(1).filter(|value| value.is::<gstreamer_sdp::SDPMessage>()) else { return };
    // SAFETY: the value was just found to hold a description. The signal hands out the source's own one, to be
    // "inspected and modified" as its documentation says, and waits for us, so nobody else looks at it meanwhile.
    // `SDPMessageRef` has the layout of what the pointer points to.
    let message = unsafe {
        let pointer = glib::gobject_ffi::g_value_get_boxed(glib::translate::ToGlibPtr::to_glib_none(value).0);
        pointer.cast::<SDPMessageRef>().as_mut()
    };
    if let Some(message) = message {
        mend(message);
    }
}
