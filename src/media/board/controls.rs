//! The V4L2 controls of stateful H.264 encoders, under the names that `v4l2-ctl` and GStreamer use.

use super::nearest;

/// `V4L2_CID_CODEC_BASE` of the kernel's `v4l2-controls.h`.
const CODEC: u32 = 0x0099_0900;

/// Names and numbers, from the same file.
const CONTROLS: &[(&str, u32)] = &[
    ("video_b_frames", CODEC + 202),
    ("video_gop_size", CODEC + 203),
    ("video_bitrate_mode", CODEC + 206),
    ("video_bitrate", CODEC + 207),
    ("sequence_header_mode", CODEC + 216),
    ("repeat_sequence_header", CODEC + 226),
    ("force_key_frame", CODEC + 229),
    ("h264_minimum_qp_value", CODEC + 353),
    ("h264_maximum_qp_value", CODEC + 354),
    ("h264_i_frame_period", CODEC + 358),
    ("h264_level", CODEC + 359),
    ("h264_profile", CODEC + 363),
];

/// A control's number.
pub(crate) fn id(name: &str) -> Result<u32, String> {
    if let Some((_, id)) = CONTROLS.iter().find(|(known, _)| *known == name) {
        return Ok(*id);
    }
    let hint = nearest::hint(name, CONTROLS.iter().map(|(known, _)| *known));
    Err(format!("unknown encoder control \"{name}\"{hint}"))
}
