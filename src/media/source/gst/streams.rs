//! The table of a pipeline's streams: the kind of each, what produces it, and what was requested.

use std::sync::Mutex;

use super::parts::lock;
use crate::media::adapt::ladder::Quality;
use crate::media::source::{Listener, SourceEvent};
use crate::media::{Codec, Format, StreamId, StreamInfo};

/// The element that produces a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// The camera itself.
    PassThrough,
    /// The board's H.264 encoder.
    Encoder,
    /// The H.264 encoder of the small rendition.
    Small,
    Vp8,
    /// The audio of the source.
    Opus,
    /// A microphone beside it.
    Microphone,
    Jpeg,
}

/// A stream and what was requested for it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub id: StreamId,
    pub maker: Maker,
    pub bitrate: Option<u32>,
    pub quality: Option<Quality>,
}

impl Stream {
    pub(super) fn new(id: StreamId, maker: Maker) -> Stream {
        Stream { id, maker, bitrate: None, quality: None }
    }

    pub(super) fn codec(&self) -> Codec {
        match self.maker {
            Maker::PassThrough | Maker::Encoder | Maker::Small => Codec::H264,
            Maker::Vp8 => Codec::Vp8,
            Maker::Opus | Maker::Microphone => Codec::Opus,
            Maker::Jpeg => Codec::Jpeg,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.codec().is_video()
    }

    /// Whether the source survives its failure: it can be rebuilt, or there is another rendition.
    pub(super) fn is_spare(&self) -> bool {
        matches!(self.maker, Maker::Encoder | Maker::Small)
    }
}

/// The current streams, for all readers.
pub(super) struct Announced {
    infos: Mutex<Vec<Entry>>,
    /// Locked while a list is announced, so that lists arrive in order: each encoder has a thread of its own.
    order: Mutex<()>,
}

/// A stream, and whether it can be produced now.
struct Entry {
    info: StreamInfo,
    available: bool,
}

impl Announced {
    pub(super) fn new(infos: Vec<StreamInfo>) -> Self {
        let entries = infos.into_iter().map(|info| Entry { info, available: true });
        Announced { infos: Mutex::new(entries.collect()), order: Mutex::new(()) }
    }

    pub(super) fn infos(&self) -> Vec<StreamInfo> {
        lock(&self.infos).iter().filter(|entry| entry.available).map(|entry| entry.info).collect()
    }

    /// The properties of a stream's frames from the next one on.
    pub(super) fn announce(&self, stream: StreamId, format: Format, on: &Listener) {
        let _order = lock(&self.order);
        if let Some(entry) = lock(&self.infos).iter_mut().find(|entry| entry.info.id == stream) {
            entry.info.change_format(format);
        }
        on(SourceEvent::Streams(self.infos()));
    }

    /// Withdraws a stream that can no longer be produced, or announces it again.
    pub(super) fn set_available(&self, stream: StreamId, available: bool, on: &Listener) {
        let _order = lock(&self.order);
        let changed = |entry: &mut Entry| std::mem::replace(&mut entry.available, available) != available;
        if lock(&self.infos).iter_mut().any(|entry| entry.info.id == stream && changed(entry)) {
            on(SourceEvent::Streams(self.infos()));
        }
    }
}
