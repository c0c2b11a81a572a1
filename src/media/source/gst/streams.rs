//! The table of a pipeline's streams: what each is, what makes it, and what was asked of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::media::adapt::ladder::Quality;
use crate::media::source::{Listener, SourceEvent};
use crate::media::{Codec, Format, StreamId, StreamInfo};

/// What makes a stream.
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

/// A stream, and what was asked of it.
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

/// What the streams are just now, as everybody may ask.
pub(super) struct Announced {
    infos: Mutex<Vec<StreamInfo>>,
    /// Held while a list is announced, or an older one could come after a newer one: the encoders have a thread each.
    order: Mutex<()>,
}

impl Announced {
    pub(super) fn new(infos: Vec<StreamInfo>) -> Self {
        Announced { infos: Mutex::new(infos), order: Mutex::new(()) }
    }

    pub(super) fn infos(&self) -> Vec<StreamInfo> {
        lock(&self.infos).clone()
    }

    /// What the frames of a stream are from the next one on.
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
