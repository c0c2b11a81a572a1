//! Gives memory that nobody uses back to the system.
#![allow(unsafe_code)]

unsafe extern "C" {
    fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// glibc keeps what was freed below a block that is still in use, and raises its own thresholds whenever a
/// large block is freed: after three floods of 1,000 frames of 511 KiB, with a peer that stayed among every 40,
/// 595 MB stayed for good. Fixed thresholds (`mallopt`) cured that of large blocks, not of those of 16 KiB, and
/// make a system call of every frame of raw video.
pub(crate) fn give_back() {
    // SAFETY: malloc_trim takes any number, locks what it looks at, and touches no block that is in use.
    unsafe { malloc_trim(0) };
}
