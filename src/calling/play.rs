//! Plays what a call receives: passes its frames to the player, and the player's key frame requests to the sender.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::conversation::Conversation;
use crate::call::body::{End, EndReason};
use crate::media::StreamId;
use crate::media::playback::{Event, Playback};
use crate::media::sink::FrameEvent;
use crate::net::{Signal, lock};

/// The streams for which the player needs a key frame.
#[derive(Default)]
struct Wanted {
    streams: Mutex<BTreeSet<StreamId>>,
    changed: Signal,
}

impl Conversation {
    /// Plays the received streams until the call ends, and returns why it ended. Requests key frames that the player
    /// needs.
    ///
    /// The playback's events go to `listener`, which replaces the one of [`Playback::on`] and must not block either.
    /// Dropping the future stops playback, but not the call.
    ///
    /// ```no_run
    /// use symple::calling::Calling;
    /// use symple::media::Kind;
    /// use symple::media::playback::{Event, Playback, Settings};
    ///
    /// # async fn play(calling: Calling) -> Result<(), Box<dyn std::error::Error>> {
    /// let playback = Playback::start(Settings::default())?;
    /// let mut watch = calling.watch("camera", [Kind::Video, Kind::Audio])?;
    /// let end = watch.play(&playback, |event| {
    ///     if let Event::Failed { error, .. } = event {
    ///         eprintln!("{error}");
    ///     }
    /// });
    /// println!("the call has ended: {}", end.await);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn play(
        &mut self,
        playback: &Playback,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> End {
        let wanted = Arc::<Wanted>::default();
        playback.on({
            let wanted = wanted.clone();
            move |event| {
                if let Event::NeedKeyFrame { stream } = event {
                    lock(&wanted.streams).insert(stream);
                    wanted.changed.notify();
                }
                listener(event);
            }
        });
        poll_fn(|cx| self.poll_play(cx, playback, &wanted)).await;
        self.end().unwrap_or(EndReason::Ended.into())
    }

    fn poll_play(&mut self, cx: &mut Context<'_>, playback: &Playback, wanted: &Wanted) -> Poll<()> {
        while wanted.changed.poll(cx).is_ready() {
            for stream in std::mem::take(&mut *lock(&wanted.streams)) {
                self.request_key_frame(stream);
            }
        }
        loop {
            match Pin::new(&mut *self).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(FrameEvent::Frame { frame })) => playback.push(&frame),
                // After a loss the stream continues at a key frame.
                Poll::Ready(Some(_)) => {}
            }
        }
    }
}
