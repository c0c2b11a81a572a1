//! Decoded video for the program itself, such as one with a window of its own.

use std::fmt;
use std::sync::Arc;

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::Shared;

/// The end of a pipeline whose pictures the program takes. A program that is too slow gets the newest one.
pub(super) const SINK: &str = "video/x-raw,format=RGBA ! appsink name=output max-buffers=1 drop=true";

pub(super) type Viewer = Arc<dyn Fn(Picture) + Send + Sync>;

/// A decoded frame. Cheap to pass on; its memory returns to the decoder when it is dropped.
pub struct Picture {
    map: gst::MappedBuffer<gst::buffer::Readable>,
    width: usize,
    height: usize,
}

impl Picture {
    fn of(sample: &gst::Sample) -> Option<Picture> {
        let caps = sample.caps()?.structure(0)?;
        let number = |name| caps.get::<i32>(name).ok().and_then(|number| usize::try_from(number).ok());
        let (width, height) = (number("width")?, number("height")?);
        let map = sample.buffer_owned()?.into_mapped_buffer_readable().ok()?;
        // Rows of four bytes a pixel have no padding.
        (map.len() >= width * height * 4).then_some(Picture { map, width, height })
    }

    /// The width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row by row from the top: red, green, blue and 255, a byte each.
    pub fn rgba(&self) -> &[u8] {
        &self.map[..self.width * self.height * 4]
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// Gives the pictures that reach `sink` to the program, each at its time.
pub(super) fn deliver(sink: &gst_app::AppSink, shared: Arc<Shared>) {
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let viewer = shared.lock().viewer.clone();
        if let (Some(viewer), Some(picture)) = (viewer, Picture::of(&sample)) {
            viewer(picture);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}
