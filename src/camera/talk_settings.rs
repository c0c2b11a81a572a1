//! The settings of talk-back: who may talk, and the output device.

use super::controllers::Controllers;
use crate::media::playback::Audio;

/// Talk-back: who may talk to the camera, and the output device.
///
/// One viewer talks at a time. A page sends a command to start, and gets `busy` while somebody else talks. If anybody
/// may talk, the camera's presence has `"talk":{"mode":"half"}`, with `by`, the address of the viewer who talks, and
/// `problem` if the output does not work: `{"code":"output-busy","message":"…"}`. A caller that sends audio without a
/// command is played while nobody else talks by command. Callers' video is not received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Talk {
    /// Who may talk. Default: nobody.
    pub who: Controllers,
    /// The output, with a name from `symple devices`. It is opened when somebody talks, and closed after 10 s without
    /// anybody. Default: the system's output.
    pub output: Audio,
    /// Whether viewers who talk hear the camera's audio meanwhile. Default: no.
    pub duplex: Duplex,
}

impl Default for Talk {
    fn default() -> Talk {
        Talk { who: Controllers::Nobody, output: Audio::default(), duplex: Duplex::default() }
    }
}

/// Whether a viewer hears the camera while talking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duplex {
    /// The camera sends no audio to the viewer who talks, so that nobody hears themselves through the camera's
    /// microphone. Others hear the camera as usual.
    #[default]
    Half,
    /// The viewer talks and listens at the same time. What the speaker plays is removed from what the camera's own
    /// [microphone](crate::media::source::gst::CaptureSettings::microphone) hears, where GStreamer's `webrtcdsp` is
    /// installed; other sources need headphones, or echo cancellation of their own.
    Full,
}

impl Duplex {
    /// Returns the name used in messages.
    pub fn code(self) -> &'static str {
        match self {
            Duplex::Half => "half",
            Duplex::Full => "full",
        }
    }
}
