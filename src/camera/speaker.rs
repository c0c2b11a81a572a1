//! The speaker for talk-back: connects the core to [`playback`](crate::media::playback).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::core::talk::{News, Order};
use super::sources::Inbox;
use crate::media::EchoReference;
use crate::media::playback::{Audio, Event, Playback, Settings, Video};
use crate::net::lock;

/// Opens, feeds and closes the output.
pub(super) struct Speaker {
    output: Audio,
    /// To the camera's own microphone.
    echo: Option<EchoReference>,
    playback: Option<Playback>,
    inbox: Arc<Inbox>,
    news: Arc<Mutex<VecDeque<News>>>,
}

/// Returns the settings of the playback.
pub(super) fn settings(output: &Audio) -> Settings {
    let mut settings = Settings::default();
    (settings.video, settings.audio) = (Video::None, output.clone());
    settings
}

impl Speaker {
    pub(super) fn new(output: Audio, echo: Option<EchoReference>, inbox: Arc<Inbox>) -> Speaker {
        Speaker { output, echo, playback: None, inbox, news: Arc::default() }
    }

    pub(super) fn handle(&mut self, order: Order) {
        match order {
            Order::Open => self.open(),
            Order::Play(frame) => {
                if let Some(playback) = &self.playback {
                    playback.push(&frame);
                }
            }
            Order::Close => {
                self.close();
                // Discards events of the previous playback.
                self.news = Arc::default();
            }
        }
    }

    fn open(&mut self) {
        let (inbox, news) = (self.inbox.clone(), self.news.clone());
        let tell = move |event| {
            lock(&news).push_back(event);
            inbox.changed.notify();
        };
        let settings = Settings { echo: self.echo.clone(), ..settings(&self.output) };
        match Playback::start(settings) {
            Ok(playback) => {
                playback.on(move |event| match event {
                    Event::Playing { .. } => tell(News::Playing),
                    Event::Failed { error, retry, .. } => {
                        tell(News::Failed { error, is_over: retry.is_none() });
                    }
                    _ => {}
                });
                self.playback = Some(playback);
            }
            Err(error) => tell(News::Failed { error, is_over: true }),
        }
    }

    fn close(&mut self) {
        if let Some(playback) = self.playback.take() {
            playback.close();
        }
    }

    /// Returns the next event of the speaker.
    pub(super) fn poll_news(&mut self) -> Option<News> {
        lock(&self.news).pop_front()
    }
}

impl Drop for Speaker {
    /// Does not wait, so that the camera can end at once.
    fn drop(&mut self) {
        self.close();
    }
}
