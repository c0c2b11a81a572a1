//! The controls of a stateful encoder, turned while it runs.
//!
//! A memory-to-memory device has one set of controls for each opening of its file, so they must be turned on
//! the very file that GStreamer's element has open: to open the device once more would turn another set.

use std::io;
use std::os::fd::RawFd;

use super::unsafe_control;

/// Sets a control, and reads it back: the driver may take a value that is near in place of this one.
///
/// Errors: `EINVAL` where the encoder has no such control, `EBUSY` where it takes none while it runs.
pub(crate) fn set(file: RawFd, control: u32, value: i32) -> io::Result<i32> {
    unsafe_control::set_control(file, control, value)
}

/// What a device that is opened once more has for a control.
#[cfg(test)]
pub(crate) fn of_another_opening(path: &str, control: u32) -> i64 {
    let device = v4l::Device::with_path(path).expect("it opens");
    match device.control(control).expect("it has it").value {
        v4l::control::Value::Integer(value) => value,
        other => panic!("{other:?} is no number"),
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
    fn what_is_no_encoder_is_an_error_and_nothing_worse() {
        // ENOTTY: the request reaches the file, which knows none of that kind.
        let null = std::fs::File::open("/dev/null").expect("it is everywhere");
        let bitrate = sys::V4L2_CID_MPEG_VIDEO_BITRATE;
        let error = set(null.as_raw_fd(), bitrate, 500_000).expect_err("no encoder");
        assert_eq!(error.raw_os_error(), Some(25), "{error}");
        // EBADF: the element is closed.
        assert_eq!(set(-1, bitrate, 1).expect_err("no file").raw_os_error(), Some(9));
    }
}
