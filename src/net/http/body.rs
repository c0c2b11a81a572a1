//! Response bodies: complete, or a stream at the pace of the client.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{contained, lock};

/// The body of a response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Body {
    /// A complete body.
    Full {
        /// The bytes.
        bytes: Cow<'static, [u8]>,
    },
    /// Parts, each produced once the client has read the previous one.
    Stream {
        /// Produces them.
        stream: BodyStream,
    },
}

impl Body {
    /// The bytes; `None` for a stream.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Body::Full { bytes } => Some(bytes),
            Body::Stream { .. } => None,
        }
    }

    /// A stream of parts that `make` writes. The body ends when `make` returns `Ok`; an error breaks the connection, so
    /// that the client knows the body is incomplete. See [`Response::stream`](super::Response::stream).
    pub fn stream<F>(make: impl FnOnce(BodyWriter) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let slot = Arc::<Mutex<Slot>>::default();
        let making = Box::pin(make(BodyWriter { slot: slot.clone() }));
        let making = Making { slot, making: Some(making), error: None };
        Body::Stream { stream: BodyStream(Box::new(making)) }
    }
}

impl From<Cow<'static, [u8]>> for Body {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        Body::Full { bytes }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Full { bytes: bytes.into() }
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Body::Full { bytes: bytes.into() }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

/// Between a writer and the connection: at most one part.
#[derive(Default)]
struct Slot {
    part: Option<Vec<u8>>,
    /// The connection is gone.
    closed: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

/// Writes the parts of a body. It may be moved to another task or thread. The body ends when the function that received
/// the writer returns.
pub struct BodyWriter {
    slot: Arc<Mutex<Slot>>,
}

impl BodyWriter {
    /// Sends a part, once the client has read the previous one.
    ///
    /// Errors: the client has disconnected (`BrokenPipe`).
    pub fn send(&mut self, part: impl Into<Vec<u8>>) -> impl Future<Output = io::Result<()>> + Send {
        let (slot, mut part) = (&self.slot, Some(part.into()));
        std::future::poll_fn(move |cx| {
            let reader = {
                let mut slot = lock(slot);
                if slot.closed {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                if slot.part.is_some() {
                    slot.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                slot.part = part.take().filter(|part| !part.is_empty());
                slot.reader.take()
            };
            if let Some(reader) = reader {
                reader.wake();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Whether the client has disconnected.
    pub fn is_closed(&self) -> bool {
        lock(&self.slot).closed
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").finish_non_exhaustive()
    }
}

/// A body that is produced while it is read.
pub struct BodyStream(Box<Making>);

struct Making {
    slot: Arc<Mutex<Slot>>,
    making: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    /// What follows the last part.
    error: Option<io::Error>,
}

impl BodyStream {
    /// The next part; `None` at the end.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        self.0.poll_part(cx)
    }
}

impl Making {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        loop {
            {
                let mut slot = lock(&self.slot);
                if let Some(part) = slot.part.take() {
                    let writer = slot.writer.take();
                    drop(slot);
                    writer.into_iter().for_each(Waker::wake);
                    return Poll::Ready(Some(Ok(part)));
                }
                slot.reader = Some(cx.waker().clone());
            }
            let Some(making) = &mut self.making else { return Poll::Ready(self.error.take().map(Err)) };
            let made = contained(|| making.as_mut().poll(cx));
            match made {
                Some(Poll::Pending) if lock(&self.slot).part.is_none() => return Poll::Pending,
                Some(Poll::Pending) => {}
                Some(Poll::Ready(result)) => (self.making, self.error) = (None, result.err()),
                None => {
                    let error = io::Error::other("the producer of the body panicked");
                    (self.making, self.error) = (None, Some(error));
                }
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let writer = {
            let mut slot = lock(&self.slot);
            slot.closed = true;
            slot.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn stream(body: Body) -> BodyStream {
        match body {
            Body::Stream { stream } => stream,
            Body::Full { .. } => panic!("a stream has no complete bytes"),
        }
    }

    fn next(stream: &mut BodyStream) -> Option<io::Result<Vec<u8>>> {
        block_on(poll_fn(|cx| stream.poll_part(cx)))
    }

    #[test]
    fn parts_are_produced_on_demand() {
        let made = Arc::<AtomicUsize>::default();
        let count = made.clone();
        let mut stream = stream(Body::stream(|mut writer| async move {
            for n in 0..4u8 {
                writer.send([n]).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }));
        for n in 0..4u8 {
            assert_eq!(made.load(Ordering::Relaxed), usize::from(n), "no part is produced ahead of time");
            assert_eq!(next(&mut stream).and_then(Result::ok), Some(vec![n]));
        }
        assert!(next(&mut stream).is_none());
    }

    #[test]
    fn a_writer_on_another_thread_is_paced_and_notices_the_end() {
        let (give, given) = std::sync::mpsc::channel();
        let mut stream = stream(Body::stream(|writer| {
            give.send(writer).expect("the receiver waits for it");
            std::future::pending()
        }));
        let mut writer: BodyWriter = given.recv().expect("given above");
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while block_on(writer.send([sent])).is_ok() {
                sent += 1;
            }
            assert!(writer.is_closed());
            sent
        });
        for n in 0..3 {
            assert_eq!(next(&mut stream).and_then(Result::ok), Some(vec![n]));
        }
        drop(stream);
        let sent = thread.join().expect("no panic");
        assert!((3..=4).contains(&sent), "one part may be buffered: {sent}");
    }

    #[test]
    fn an_error_or_a_panic_breaks_the_body() {
        let mut failing = stream(Body::stream(|mut writer| async move {
            writer.send("some").await?;
            Err(io::Error::other("no more"))
        }));
        assert!(next(&mut failing).is_some_and(|part| part.is_ok()));
        assert!(next(&mut failing).is_some_and(|part| part.is_err()));
        let mut panicking = stream(Body::stream(|_| async { panic!("intended by this test") }));
        assert!(next(&mut panicking).is_some_and(|part| part.is_err()));
    }
}
