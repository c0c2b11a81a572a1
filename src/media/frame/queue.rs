//! The bounded queue between the producers of frames and their sender.
//!
//! [`FrameQueue::push`] is called on a pipeline's threads and must never wait for the network. When the sender falls
//! behind, old frames are useless, and a gap corrupts every frame up to the next key frame. So a full queue drops a
//! stream's frames up to its next key frame, and counts them. Its output can always be decoded from the first frame.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::{Frame, StreamId};

/// A bounded queue of frames: a cheap, thread-safe handle.
#[derive(Clone, Debug)]
pub struct FrameQueue {
    capacity: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    lanes: BTreeMap<StreamId, Lane>,
    dropped: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Lane {
    queued: usize,
    /// At the start and after a drop nothing can be decoded before the next key frame.
    broken: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Lane { queued: 0, broken: true }
    }
}

/// What happened to a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It was queued.
    Queued,
    /// It was dropped, and so are the following ones until a key frame: request one from the source.
    NeedsKeyFrame,
}

impl FrameQueue {
    /// Creates a queue that holds `capacity` frames (at least one) per stream, so video cannot crowd out audio.
    pub fn new(capacity: usize) -> Self {
        FrameQueue { capacity: capacity.max(1), state: Arc::default() }
    }

    /// Appends a frame without blocking. A full queue drops the stream's oldest frames up to the next key frame.
    pub fn push(&self, frame: Frame) -> Enqueued {
        let mut state = self.lock();
        let pushed = state.push(frame, self.capacity);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        pushed
    }

    /// Removes the oldest frame, if there is one.
    pub fn pop(&self) -> Option<Frame> {
        let mut state = self.lock();
        let frame = state.frames.pop_front()?;
        state.lanes.entry(frame.stream).and_modify(|lane| lane.queued -= 1);
        Some(frame)
    }

    /// Ready when [`pop`](Self::pop) has a frame; otherwise the next push wakes the task.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.frames.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The number of frames dropped since the queue was created.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Removes all frames without counting them as dropped, because the source was stopped.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.frames.clear();
        state.lanes.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic halfway through a change, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn push(&mut self, frame: Frame, capacity: usize) -> Enqueued {
        let lane = self.lanes.entry(frame.stream).or_default();
        if lane.queued >= capacity {
            self.make_room(frame.stream);
        }
        let lane = self.lanes.entry(frame.stream).or_default();
        if lane.broken && !frame.key {
            self.dropped += 1;
            return Enqueued::NeedsKeyFrame;
        }
        lane.broken = false;
        lane.queued += 1;
        self.frames.push_back(frame);
        Enqueued::Queued
    }

    /// Drops the frames of `stream` before its second key frame, or all of them.
    fn make_room(&mut self, stream: StreamId) {
        let mut first = true;
        let mut found = false;
        let mut kept = 0;
        let before = self.frames.len();
        self.frames.retain(|frame| {
            if frame.stream != stream {
                return true;
            }
            found |= frame.key && !first;
            first = false;
            kept += usize::from(found);
            found
        });
        self.dropped += (before - self.frames.len()) as u64;
        self.lanes.insert(stream, Lane { queued: kept, broken: !found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::{Duration, Instant};

    /// `K` and `P` are key and other pictures, `a` is sound.
    fn frame(kind: char, number: u64) -> Frame {
        let (stream, codec) =
            if kind == 'a' { (StreamId(2), Codec::Opus) } else { (StreamId(0), Codec::H264) };
        let pts = Duration::from_millis(number);
        let data = Arc::from(&[kind as u8][..]);
        Frame {
            stream,
            codec,
            key: kind != 'P',
            captured: Instant::now(),
            pts,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data,
        }
    }

    fn contents(queue: &FrameQueue) -> String {
        std::iter::from_fn(|| queue.pop())
            .map(|frame| format!("{}{}", frame.data[0] as char, frame.pts.as_millis()))
            .collect()
    }

    #[test]
    fn a_full_queue_drops_to_the_next_key_frame() {
        let table = [
            ("KPP", "K0P1P2", 0, Enqueued::Queued),
            ("KPPP", "K0P1P2P3", 0, Enqueued::Queued),
            ("KPPPP", "", 5, Enqueued::NeedsKeyFrame),
            ("KPPPPP", "", 6, Enqueued::NeedsKeyFrame),
            ("KPPPPPK", "K6", 6, Enqueued::Queued),
            ("KPPPK", "K4", 4, Enqueued::Queued),
            ("KPKPP", "K2P3P4", 2, Enqueued::Queued),
            ("PPKPP", "K2P3P4", 2, Enqueued::Queued),
            ("KPPKPPP", "K3P4P5P6", 3, Enqueued::Queued),
            // Each stream has its own room, and sound loses its oldest only.
            ("KaPaPaPa", "K0a1P2a3P4a5P6a7", 0, Enqueued::Queued),
            ("KaPaPaPaP", "a1a3a5a7", 5, Enqueued::NeedsKeyFrame),
            ("aaaaaa", "a2a3a4a5", 2, Enqueued::Queued),
        ];
        for (pushes, left, dropped, last) in table {
            let queue = FrameQueue::new(4);
            let result = pushes.chars().zip(0..).map(|(kind, number)| queue.push(frame(kind, number))).last();
            assert_eq!((result, queue.dropped()), (Some(last), dropped), "{pushes}");
            assert_eq!(contents(&queue), left, "{pushes}");
        }
    }

    #[test]
    fn room_returns_as_frames_are_taken() {
        let queue = FrameQueue::new(2);
        for number in 0..100 {
            assert_eq!(queue.push(frame(if number == 0 { 'K' } else { 'P' }, number)), Enqueued::Queued);
            assert_eq!(queue.pop().map(|frame| frame.pts.as_millis() as u64), Some(number));
        }
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn clearing_counts_nothing_and_leaves_room() {
        let queue = FrameQueue::new(1);
        queue.push(frame('K', 0));
        queue.push(frame('P', 1));
        let dropped = queue.dropped();
        queue.clear();
        assert!(queue.pop().is_none());
        assert_eq!(queue.push(frame('K', 2)), Enqueued::Queued);
        assert_eq!(queue.dropped(), dropped);
    }

    #[test]
    fn a_push_wakes_the_waiting_task_once() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let queue = FrameQueue::new(4);
        assert_eq!(queue.poll_ready(&mut cx), Poll::Pending);
        let producer = queue.clone();
        std::thread::spawn(move || {
            producer.push(frame('K', 0));
            producer.push(frame('P', 1));
        })
        .join()
        .expect("the producer does not panic");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(queue.poll_ready(&mut cx), Poll::Ready(()));
    }
}
