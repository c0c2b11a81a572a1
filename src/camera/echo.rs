//! Whether viewers who talk and listen at once would hear themselves by the camera's microphone, and what prevents it.

use super::{CameraSource, Config, Controllers, Duplex};
use crate::media::EchoReference;
use crate::media::error::MediaError;
use crate::media::source::gst::{CaptureSettings, Microphone, check_canceller};

impl Config {
    /// Whether the camera removes what viewers say from what its microphone hears. `None` where that cannot matter:
    /// nobody may talk, talk-back is half-duplex, or the camera has no
    /// [microphone](crate::media::source::gst::CaptureSettings::microphone) of its own.
    ///
    /// Errors: GStreamer's element for that is not installed; the message names its Debian package. Viewers who talk hear
    /// themselves then, unless they wear headphones or the microphone cancels echo itself.
    pub fn echo_cancellation(&self) -> Option<Result<(), MediaError>> {
        let CameraSource::Capture(capture) = &self.source else { return None };
        (is_possible(self) && has_microphone(capture)).then(check_canceller)
    }
}

fn is_possible(config: &Config) -> bool {
    config.talk.duplex == Duplex::Full && !matches!(config.talk.who, Controllers::Nobody)
}

fn has_microphone(capture: &CaptureSettings) -> bool {
    capture.audio && capture.microphone != Microphone::None
}

/// What connects the speaker with microphones, if both may be open at once.
pub(super) fn reference(config: &Config) -> Option<EchoReference> {
    is_possible(config).then(EchoReference::new)
}

/// Connects the source's microphone with the speaker, unless the program connected it with another.
pub(super) fn connect(config: &mut Config, speaker: Option<&EchoReference>) {
    if let CameraSource::Capture(capture) = &mut config.source
        && has_microphone(capture)
        && capture.echo.is_none()
    {
        capture.echo = speaker.cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl Fn(&mut Config, &mut CaptureSettings)) -> Config {
        let mut capture = CaptureSettings { microphone: Microphone::Default, ..CaptureSettings::default() };
        let mut config = Config::default();
        (config.talk.who, config.talk.duplex) = (Controllers::Everybody, Duplex::Full);
        change(&mut config, &mut capture);
        config.source = capture.into();
        config
    }

    #[test]
    fn a_microphone_of_ours_is_connected_with_the_speaker_where_both_are_open_at_once() {
        type Change = fn(&mut Config, &mut CaptureSettings);
        let table: [(Change, bool, bool); 5] = [
            (|_, _| (), true, true),
            (|config, _| config.talk.duplex = Duplex::Half, false, false),
            (|config, _| config.talk.who = Controllers::Nobody, false, false),
            (|_, capture| capture.microphone = Microphone::None, true, false),
            (|_, capture| capture.audio = false, true, false),
        ];
        for (row, (change, plays, cancels)) in table.into_iter().enumerate() {
            let mut config = config(change);
            assert_eq!(config.echo_cancellation().is_some(), cancels, "row {row}");
            let speaker = reference(&config);
            assert_eq!(speaker.is_some(), plays, "row {row}");
            connect(&mut config, speaker.as_ref());
            let CameraSource::Capture(capture) = &config.source else { unreachable!() };
            assert_eq!(capture.echo, speaker.filter(|_| cancels), "row {row}");
        }
        let own = EchoReference::new();
        let mut config = config(|_, capture| capture.echo = Some(own.clone()));
        connect(&mut config, Some(&EchoReference::new()));
        let CameraSource::Capture(capture) = &config.source else { unreachable!() };
        assert_eq!(capture.echo, Some(own));
    }
}
