//! The table of a pipeline's streams: the kind of each, what makes it, and what was requested.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::media::adapt::ladder::Quality;
use crate::media::source::{Listener, SourceEvent};
use crate::media::{Codec, Format, StreamId, StreamInfo};

/// The element that makes a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// The camera itself.
    PassThrough,
    /// The board's H.264 encoder.
    Encoder,
    Vp8,
    Opus,
    Jpeg,
}

/// A stream, and what was requested of it.
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
            Maker::PassThrough | Maker::Encoder => Codec::H264,
            Maker::Vp8 => Codec::Vp8,
            Maker::Opus => Codec::Opus,
            Maker::Jpeg => Codec::Jpeg,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.codec().is_video()
    }
}

/// The current streams, for all readers.
pub(super) struct Announced {
    infos: Mutex<Vec<StreamInfo>>,
    /// Locked while a list is announced, so that lists arrive in order: each encoder has a thread of its own.
    order: Mutex<()>,
}

impl Announced {
    pub(super) fn new(infos: Vec<StreamInfo>) -> Self {
        Announced { infos: Mutex::new(infos), order: Mutex::new(()) }
    }

    pub(super) fn infos(&self) -> Vec<StreamInfo> {
        lock(&self.infos).clone()
    }

    /// The properties of a stream's frames from the next one on.
    pub(super) fn announce(&self, stream: StreamId, format: Format, on: &Listener) {
        let _order = lock(&self.order);
        if let Some(info) = lock(&self.infos).iter_mut().find(|info| info.id == stream) {
            info.change_format(format);
        }
        on(SourceEvent::Streams(self.infos()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
