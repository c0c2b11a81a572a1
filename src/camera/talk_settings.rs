//! The settings of talk-back: who may talk, and where it is played.

use super::controllers::Controllers;
use crate::media::playback::Audio;

/// Viewers who talk: who may, and where it is played.
///
/// One viewer talks at a time. A page asks for it by command, and is told `busy` while somebody else talks. The camera's
/// presence has `"talk":{"mode":"half"}` where anybody may, with the address of who talks (`by`) and of an output that does
/// not work a `problem`: `{"code":"output-busy","message":"…"}`. A caller that sends audio without asking is played while
/// nobody asks. Video of callers is not taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Talk {
    /// Who may talk. Default: nobody.
    pub who: Controllers,
    /// The output, by the names that `symple devices` lists. It is opened when somebody talks, and closed 10 s after the
    /// last one. Default: the system's.
    pub output: Audio,
    /// Whether the camera's audio goes on meanwhile. Default: no.
    pub duplex: Duplex,
}

impl Default for Talk {
    fn default() -> Talk {
        Talk { who: Controllers::Nobody, output: Audio::default(), duplex: Duplex::default() }
    }
}

/// Whether a viewer hears the camera while it talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duplex {
    /// The camera sends no audio to who talks, so that nobody hears themselves from the camera's microphone. Others hear
    /// the camera as ever.
    #[default]
    Half,
    /// Both at once, for headphones or a source that cancels the echo of the speaker.
    Full,
}

impl Duplex {
    /// As messages have it.
    pub fn code(self) -> &'static str {
        match self {
            Duplex::Half => "half",
            Duplex::Full => "full",
        }
    }
}
