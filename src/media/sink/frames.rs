//! Frames for a reader that may be slow: a bounded queue that drops up to the next key frame, and counts.

#[cfg(feature = "camera")]
use std::collections::BTreeSet;
use std::collections::{BTreeMap, VecDeque};

#[cfg(feature = "camera")]
use crate::media::{Codec, Kind};
use crate::media::{Frame, StreamId, StreamInfo};

/// What a reader of frames gets, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FrameEvent {
    /// The format of a stream, from its next frame on, which is a key frame.
    Stream {
        /// The stream.
        info: StreamInfo,
    },
    /// One encoded frame. The first of a stream, and the first after each loss, is a key frame.
    Frame {
        /// The frame.
        frame: Frame,
    },
    /// Frames of a stream were dropped because the reader was too slow. The stream continues at a key frame.
    Lost {
        /// Which stream.
        stream: StreamId,
        /// The number of frames.
        count: u64,
    },
}

/// Bytes of a stream that wait for a reader: two seconds at 64 Mbit/s. Whoever sends to us chooses the size of its frames.
const MAX_BYTES: usize = 16 << 20;

/// What waits for one reader. When a stream has no room left, all its waiting frames are dropped, since a gap spoils
/// every frame up to the next key frame anyway.
pub(crate) struct ReaderQueue {
    capacity: usize,
    events: VecDeque<FrameEvent>,
    lanes: BTreeMap<StreamId, Lane>,
}

#[derive(Default)]
struct Lane {
    waiting: usize,
    bytes: usize,
    /// A key frame has come since the start or the last loss.
    whole: bool,
    lost: u64,
    /// The format that was reported last.
    info: Option<StreamInfo>,
}

impl ReaderQueue {
    /// A queue that takes `capacity` frames (at least one) of each stream.
    pub(crate) fn new(capacity: usize) -> ReaderQueue {
        ReaderQueue { capacity: capacity.max(1), events: VecDeque::new(), lanes: BTreeMap::new() }
    }

    /// Returns false if a key frame is needed.
    #[must_use]
    pub(crate) fn push(&mut self, frame: &Frame, info: Option<&StreamInfo>) -> bool {
        let ReaderQueue { events, lanes, .. } = self;
        let lane = lanes.entry(frame.stream).or_default();
        let size = frame.data.len();
        if lane.waiting >= self.capacity || (lane.waiting > 0 && lane.bytes + size > MAX_BYTES) {
            // Losses that were not read become one, and of formats the newest is enough: nothing grows while nobody reads.
            let (mut lost, mut newest) = (0, None);
            events.retain(|event| match event {
                FrameEvent::Frame { frame: f } if f.stream == frame.stream => {
                    lost += 1;
                    false
                }
                FrameEvent::Lost { stream, count } if *stream == frame.stream => {
                    lost += *count;
                    false
                }
                FrameEvent::Stream { info } if info.id == frame.stream => {
                    newest = Some(*info);
                    false
                }
                _ => true,
            });
            events.extend(newest.map(|info| FrameEvent::Stream { info }));
            (lane.lost, lane.waiting, lane.bytes, lane.whole) = (lane.lost + lost, 0, 0, false);
        }
        if !lane.whole && !frame.key {
            // Frames before the first key frame do not count as lost.
            lane.lost += u64::from(lane.lost > 0);
            return false;
        }
        lane.whole = true;
        let lost = std::mem::take(&mut lane.lost);
        if lost > 0 {
            events.push_back(FrameEvent::Lost { stream: frame.stream, count: lost });
        }
        if let Some(info) = info.filter(|info| lane.info.as_ref() != Some(info)) {
            lane.info = Some(*info);
            events.push_back(FrameEvent::Stream { info: *info });
        }
        lane.waiting += 1;
        lane.bytes += size;
        events.push_back(FrameEvent::Frame { frame: frame.clone() });
        true
    }

    #[cfg(feature = "camera")]
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The next event.
    pub(crate) fn pop(&mut self) -> Option<FrameEvent> {
        let event = self.events.pop_front()?;
        if let FrameEvent::Frame { frame } = &event {
            self.lanes.entry(frame.stream).and_modify(|lane| {
                lane.waiting -= 1;
                lane.bytes -= frame.data.len();
            });
        }
        Some(event)
    }
}

/// Chooses the streams for a reader that wants these codecs: the best rendition of each. A reader that names no codec gets the
/// source's best video and its audio.
#[cfg(feature = "camera")]
pub(crate) fn choose<'a>(
    streams: impl Iterator<Item = &'a StreamInfo> + Clone,
    codecs: &[Codec],
) -> BTreeSet<StreamId> {
    let best = |wanted: &dyn Fn(&StreamInfo) -> bool| {
        let of = streams.clone().filter(|info| wanted(info));
        of.min_by_key(|info| (info.rendition, info.codec != Codec::H264, info.id)).map(|info| info.id)
    };
    match codecs {
        [] => {
            let video = best(&|info| info.kind() == Kind::Video && info.codec != Codec::Jpeg);
            [video, best(&|info| info.kind() == Kind::Audio)].into_iter().flatten().collect()
        }
        codecs => codecs.iter().filter_map(|codec| best(&|info| info.codec == *codec)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, VIDEO_H264};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn frame(kind: char, number: u64) -> Frame {
        Frame {
            stream: if kind == 'a' { StreamId(2) } else { VIDEO_H264 },
            codec: if kind == 'a' { Codec::Opus } else { Codec::H264 },
            key: kind != 'P',
            captured: Instant::now(),
            pts: Duration::from_millis(number),
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: Arc::from(&[kind as u8][..]),
        }
    }

    /// What waits, in order.
    fn taken(queue: &mut ReaderQueue) -> String {
        let events = std::iter::from_fn(|| queue.pop());
        let words = events.map(|event| match event {
            FrameEvent::Frame { frame } => format!("{}{}", frame.data[0] as char, frame.pts.as_millis()),
            FrameEvent::Lost { stream, count } => format!("-{count}of{}", stream.0),
            FrameEvent::Stream { info } => format!("s{}", info.generation),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_not_taken_in_time_is_lost_up_to_a_key_frame_and_told() {
        let table = [
            ("KPPP", "K0 P1 P2 P3", true),
            ("PPKP", "K2 P3", true),
            ("KPPPP", "", false),
            ("KPPPPPKP", "-6of0 K6 P7", true),
            ("KPPPK", "-4of0 K4", true),
            ("KaPaPaPa", "K0 a1 P2 a3 P4 a5 P6 a7", true),
            ("KaPaPaPaPa", "-4of2 a9", true),
            ("aaaaa", "-4of2 a4", true),
            ("aaaaaaaaaaaaa", "-12of2 a12", true),
            ("KPPPPPKPPPPK", "-11of0 K11", true),
        ];
        for (pushes, expected, last) in table {
            let mut queue = ReaderQueue::new(4);
            let mut done = true;
            for (kind, number) in pushes.chars().zip(0..) {
                done = queue.push(&frame(kind, number), None);
            }
            assert_eq!((taken(&mut queue).as_str(), done), (expected, last), "{pushes}");
        }
    }

    #[test]
    fn large_frames_are_bounded_by_their_bytes() {
        let mut queue = ReaderQueue::new(100);
        let data: Arc<[u8]> = vec![7; 4 << 20].into();
        let large = |key| Frame { key, data: data.clone(), ..frame('K', 0) };
        let pushed: Vec<bool> = (0..7).map(|n| queue.push(&large(n == 0 || n == 6), None)).collect();
        assert_eq!(pushed, [true, true, true, true, false, false, true]);
        let waiting = queue.events.iter().filter(|event| matches!(event, FrameEvent::Frame { .. })).count();
        assert_eq!((waiting, queue.lanes[&VIDEO_H264].bytes), (1, 4 << 20));
        while queue.pop().is_some() {}
        assert_eq!(queue.lanes[&VIDEO_H264].bytes, 0);
        // A frame larger than the limit is still delivered.
        let huge = Frame { data: vec![7; MAX_BYTES + 1].into(), ..frame('K', 0) };
        assert!(queue.push(&huge, None) && queue.pop().is_some());
    }

    #[test]
    fn a_format_is_told_before_its_first_frame() {
        let mut queue = ReaderQueue::new(9);
        let mut info = StreamInfo::new(VIDEO_H264, Codec::H264);
        assert!(queue.push(&frame('K', 0), Some(&info)) && queue.push(&frame('P', 1), Some(&info)));
        info.generation = 1;
        assert!(queue.push(&frame('K', 2), Some(&info)));
        assert_eq!(taken(&mut queue), "s0 K0 P1 s1 K2");
    }

    #[test]
    fn memory_is_bounded_while_nobody_reads() {
        let mut queue = ReaderQueue::new(4);
        let mut video = StreamInfo::new(VIDEO_H264, Codec::H264);
        let audio = StreamInfo::new(StreamId(2), Codec::Opus);
        for number in 0..10_000 {
            // The format changes with each frame.
            video.generation = number as u32;
            assert!(queue.push(&frame('K', number), Some(&video)));
            assert!(queue.push(&frame('a', number), Some(&audio)));
            // Of each stream at most its frames, a format for each, one from before, and one loss.
            let waiting = queue.events.len();
            assert!(waiting <= 2 * (2 * 4 + 2), "{waiting} after {number}");
        }
        let last = "s9995 -9996of0 s9996 K9996";
        let all = taken(&mut queue);
        assert!(all.contains(last) && all.contains("-9996of2 a9996"), "{all}");
    }

    #[cfg(feature = "camera")]
    #[test]
    fn the_best_of_what_is_wanted_is_chosen() {
        let mut small = StreamInfo::new(StreamId(3), Codec::H264);
        small.rendition = 1;
        let all = [
            StreamInfo::new(StreamId(0), Codec::Vp8),
            StreamInfo::new(StreamId(1), Codec::Jpeg),
            StreamInfo::new(StreamId(2), Codec::Opus),
            small,
            StreamInfo::new(StreamId(4), Codec::H264),
        ];
        let table: [(&[Codec], &[u32]); 5] = [
            (&[], &[2, 4]),
            (&[Codec::H264], &[4]),
            (&[Codec::Vp8, Codec::Opus], &[0, 2]),
            (&[Codec::Jpeg], &[1]),
            (&[Codec::H264, Codec::Vp8], &[0, 4]),
        ];
        for (codecs, expected) in table {
            let chosen: Vec<u32> = choose(all.iter(), codecs).into_iter().map(|id| id.0).collect();
            assert_eq!(chosen, expected, "{codecs:?}");
        }
        assert!(choose(all[..1].iter(), &[Codec::H264]).is_empty());
    }
}
