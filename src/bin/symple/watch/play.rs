//! `symple watch --play`: plays a call, and tells what happens to window and speaker.

use std::collections::BTreeMap;

use futures_lite::future::or;
use smol::channel::{Receiver, unbounded};
use symple::calling::Conversation;
use symple::media::Kind;
use symple::media::error::{ErrorKind, MediaError};
use symple::media::playback::{Event, Playback, Settings, Video};

use super::receive::{ended, note};
use crate::exit::{self, Failure, FailureKind};

/// Plays until the call ends, the window is closed, or a signal comes.
pub(super) async fn play(
    watch: &mut Conversation,
    peer: &str,
    settings: Settings,
    stopped: &Receiver<()>,
) -> Result<(), Failure> {
    let mut player = Player::new(if settings.video == Video::None { Kind::Audio } else { Kind::Video });
    let playback = Playback::start(settings).map_err(|error| failure(&error))?;
    let (tell, told) = unbounded();
    let playing = async { Some(watch.play(&playback, move |event| _ = tell.try_send(event)).await) };
    let following = async {
        while let Ok(event) = told.recv().await {
            match player.handle(event) {
                Step::Line(words) => _ = exit::line(&words),
                Step::Note(words) => note(&words),
                Step::End(result) => return result.map(|()| None),
                Step::Nothing => {}
            }
        }
        Ok(None)
    };
    let stop = async {
        _ = stopped.recv().await;
        Ok(None)
    };
    let end = or(stop, or(following, async { Ok(playing.await) })).await?;
    let stats = playback.stats();
    exit::line(&format!(
        "{} frames shown, {} too late; {} packets of audio played, {} missing",
        stats.shown, stats.late, stats.heard, stats.concealed
    ))?;
    let received = stats.shown + stats.heard > 0;
    end.map_or(Ok(()), |end| ended(peer, &end, received))
}

fn failure(error: &MediaError) -> Failure {
    let kind = match error.kind() {
        ErrorKind::BadSettings => FailureKind::Usage,
        ErrorKind::NotAllowed => FailureKind::NoPermission,
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, error.to_string())
}

/// What follows from an event.
#[derive(Debug)]
enum Step {
    Line(String),
    Note(String),
    /// The program exits.
    End(Result<(), Failure>),
    Nothing,
}

/// Decides which events are worth a line, and which end the program.
struct Player {
    /// Without this one, at least at first, playing makes no sense.
    main: Kind,
    /// Whether it has played, and the error that was printed last.
    kinds: BTreeMap<Kind, (bool, Option<String>)>,
}

impl Player {
    fn new(main: Kind) -> Player {
        Player { main, kinds: BTreeMap::new() }
    }

    fn handle(&mut self, event: Event) -> Step {
        match event {
            Event::Playing { kind } => {
                self.kinds.insert(kind, (true, None));
                Step::Line(format!("{} plays", name(kind)))
            }
            Event::Failed { kind, error, retry } => {
                let main = self.main;
                let (played, printed) = self.kinds.entry(kind).or_default();
                // A machine that is too busy to decode is not without a window.
                if kind == main && !*played && error.kind() != ErrorKind::Stalled {
                    return Step::End(Err(failure(&error)));
                }
                let words = error.to_string();
                if printed.as_ref() == Some(&words) {
                    return Step::Nothing;
                }
                *printed = Some(words.clone());
                let again = if retry.is_some() { "; it is tried again" } else { "" };
                Step::Note(format!("{words}{again}"))
            }
            Event::Closed { .. } => Step::End(Ok(())),
            Event::Stalled { kind } => Step::Line(format!("no {} arrives", name(kind))),
            Event::Resumed { kind } => Step::Line(format!("{} arrives again", name(kind))),
            _ => Step::Nothing,
        }
    }
}

fn name(kind: Kind) -> &'static str {
    if kind == Kind::Video { "video" } else { "audio" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn failed(kind: Kind, words: &str) -> Event {
        let error = MediaError::new(ErrorKind::NoOutput, words);
        Event::Failed { kind, error, retry: Some(Duration::from_secs(1)) }
    }

    #[test]
    fn it_ends_without_a_picture_but_not_without_sound() {
        let mut player = Player::new(Kind::Video);
        assert!(
            matches!(player.handle(failed(Kind::Audio, "no speaker")), Step::Note(words) if words.contains("no speaker"))
        );
        assert!(matches!(player.handle(failed(Kind::Audio, "no speaker")), Step::Nothing), "once is enough");
        let Step::End(Err(failure)) = player.handle(failed(Kind::Video, "no window")) else {
            panic!("it goes on")
        };
        assert_eq!((failure.kind, failure.words.as_str()), (FailureKind::Unavailable, "no window"));
        let mut player = Player::new(Kind::Video);
        let error = MediaError::new(ErrorKind::Stalled, "busy");
        let stalled = Event::Failed { kind: Kind::Video, error, retry: Some(Duration::from_secs(1)) };
        assert!(matches!(player.handle(stalled), Step::Note(_)), "a busy machine");
        let mut player = Player::new(Kind::Audio);
        assert!(matches!(player.handle(failed(Kind::Audio, "no speaker")), Step::End(Err(_))));
    }

    #[test]
    fn a_window_that_worked_is_opened_again_until_it_is_closed() {
        let mut player = Player::new(Kind::Video);
        let kind = Kind::Video;
        assert!(
            matches!(player.handle(Event::Playing { kind }), Step::Line(words) if words == "video plays")
        );
        assert!(matches!(player.handle(failed(kind, "gone")), Step::Note(_)));
        assert!(matches!(player.handle(Event::Playing { kind }), Step::Line(_)));
        assert!(matches!(player.handle(failed(kind, "gone")), Step::Note(_)), "it worked in between");
        assert!(matches!(player.handle(Event::Closed { kind }), Step::End(Ok(()))));
    }
}
