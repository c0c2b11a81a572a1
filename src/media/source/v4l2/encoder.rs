//! Controls of a stateful encoder, set while it runs.
//!
//! A memory-to-memory device has a separate set of controls for each open file, so they must be set on the file that
//! GStreamer's element has open: opening the device again would change another set.

use std::io;
use std::os::fd::RawFd;

use super::unsafe_control;

/// Sets a control, and reads it back: the driver may choose a value near this one.
///
/// Errors: `EINVAL` if the encoder has no such control, `EBUSY` if it cannot be set while it runs.
pub(crate) fn set(file: RawFd, control: u32, value: i32) -> io::Result<i32> {
    unsafe_control::set_control(file, control, value)
}

/// The value of a control in another open file of the device.
#[cfg(test)]
pub(crate) fn of_another_opening(path: &str, control: u32) -> i64 {
    let device = v4l::Device::with_path(path).expect("it opens");
    match device.control(control).expect("it has it").value {
        v4l::control::Value::Integer(value) => value,
        other => panic!("{other:?} is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use v4l::v4l_sys as sys;

    #[test]
    #[cfg(feature = "gst")]
    fn names_have_the_kernels_numbers() {
        use crate::media::board::control_id;
        for (name, number) in [
            ("video_b_frames", sys::V4L2_CID_MPEG_VIDEO_B_FRAMES),
            ("video_gop_size", sys::V4L2_CID_MPEG_VIDEO_GOP_SIZE),
            ("video_bitrate_mode", sys::V4L2_CID_MPEG_VIDEO_BITRATE_MODE),
            ("video_bitrate", sys::V4L2_CID_MPEG_VIDEO_BITRATE),
            ("sequence_header_mode", sys::V4L2_CID_MPEG_VIDEO_HEADER_MODE),
            ("repeat_sequence_header", sys::V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER),
            ("force_key_frame", sys::V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME),
            ("h264_minimum_qp_value", sys::V4L2_CID_MPEG_VIDEO_H264_MIN_QP),
            ("h264_maximum_qp_value", sys::V4L2_CID_MPEG_VIDEO_H264_MAX_QP),
            ("h264_i_frame_period", sys::V4L2_CID_MPEG_VIDEO_H264_I_PERIOD),
            ("h264_level", sys::V4L2_CID_MPEG_VIDEO_H264_LEVEL),
            ("h264_profile", sys::V4L2_CID_MPEG_VIDEO_H264_PROFILE),
        ] {
            assert_eq!(control_id(name), Ok(number), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_an_encoder_causes_an_error() {
        // ENOTTY: the request reaches the file, which does not support it.
        let null = std::fs::File::open("/dev/null").expect("it is everywhere");
        let bitrate = sys::V4L2_CID_MPEG_VIDEO_BITRATE;
        let error = set(null.as_raw_fd(), bitrate, 500_000).expect_err("no encoder");
        assert_eq!(error.raw_os_error(), Some(25), "{error}");
        // EBADF: the element is closed.
        assert_eq!(set(-1, bitrate, 1).expect_err("no file").raw_os_error(), Some(9));
    }
}
