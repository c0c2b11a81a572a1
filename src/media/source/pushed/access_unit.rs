//! What an access unit is, by its bytes: whether it can be sent on, whether it begins a stream, what it shows. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::PushError;
use crate::media::frame::jpeg;
use crate::media::frame::sps::{Sps, nal_units};
use crate::media::{Codec, VideoFormat};

/// Parameter sets that are longer are not kept: real ones have a hundred bytes.
const MOST: usize = 64 * 1024;

/// An access unit that is in order.
#[derive(Debug, PartialEq)]
pub(super) enum Unit {
    /// A frame; video key frames have the format.
    Frame { data: Arc<[u8]>, key: bool, format: Option<VideoFormat> },
    /// Parameter sets alone, which are kept for the key frames that come without.
    ParameterSets,
}

/// Checks the units of one stream.
#[derive(Debug)]
pub(super) struct Units {
    codec: Codec,
    last: Option<Duration>,
    sets: Sets,
}

/// The parameter sets that came last, as a byte stream.
#[derive(Debug, Default)]
struct Sets {
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl Units {
    pub(super) fn new(codec: Codec) -> Self {
        Units { codec, last: None, sets: Sets::default() }
    }

    /// The last timestamp.
    #[cfg(feature = "relay")]
    pub(super) fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The next timestamp may have any value.
    pub(super) fn begin(&mut self) {
        self.last = None;
    }

    /// Checks a unit; `key` is the application's claim that it is a key frame.
    pub(super) fn check(&mut self, data: Arc<[u8]>, key: bool, pts: Duration) -> Result<Unit, PushError> {
        if data.is_empty() {
            return Err(PushError::Empty);
        }
        if let Some(last) = self.last.filter(|last| pts <= *last) {
            return Err(PushError::TimeWentBack { pts, last });
        }
        let unit = match self.codec {
            Codec::H264 => self.h264(data, key)?,
            Codec::Vp8 => vp8(data, key)?,
            Codec::Jpeg => {
                let (width, height) = jpeg::size(&data).ok_or(PushError::NotJpeg)?;
                let format = VideoFormat { width, height, ..VideoFormat::default() };
                Unit::Frame { data, key: true, format: Some(format) }
            }
            Codec::Opus => Unit::Frame { data, key: true, format: None },
        };
        if unit != Unit::ParameterSets {
            self.last = Some(pts);
        }
        Ok(unit)
    }

    fn h264(&mut self, data: Arc<[u8]>, key: bool) -> Result<Unit, PushError> {
        let zeros = data.iter().take_while(|byte| **byte == 0).count();
        if zeros < 2 || data.get(zeros) != Some(&1) {
            return Err(PushError::NotAnnexB);
        }
        let (mut sps, mut pps, mut picture) = (None, Vec::new(), None);
        for nal in nal_units(&data) {
            match nal[0] & 0x1f {
                kind @ 1..=5 => {
                    picture = Some(kind);
                    break; // what is of interest stands before the first slice (H.264, 7.4.1.2.3)
                }
                7 => sps = Some(nal),
                8 => append(&mut pps, nal),
                _ => {}
            }
        }
        let (any, whole) = (sps.is_some() || !pps.is_empty(), sps.is_some() && !pps.is_empty());
        if let Some(nal) = sps {
            Sps::parse(nal).filter(|_| nal.len() <= MOST).ok_or(PushError::BadParameterSets)?;
            self.sets.sps.clear();
            append(&mut self.sets.sps, nal);
        }
        if !pps.is_empty() && pps.len() <= MOST {
            self.sets.pps = pps;
        }
        match picture {
            None if any => Ok(Unit::ParameterSets),
            None => Err(PushError::NoPicture),
            Some(5) => {
                if self.sets.sps.is_empty() || self.sets.pps.is_empty() {
                    return Err(PushError::NoParameterSets);
                }
                let shown = Sps::find(&self.sets.sps).ok_or(PushError::BadParameterSets)?;
                let format = VideoFormat {
                    width: shown.width,
                    height: shown.height,
                    fps: 0,
                    profile_level_id: Some(shown.profile_level_id),
                };
                let data =
                    if whole { data } else { [&self.sets.sps, &self.sets.pps, &*data].concat().into() };
                Ok(Unit::Frame { data, key: true, format: Some(format) })
            }
            Some(_) if key => Err(PushError::NotAKeyFrame),
            Some(_) => Ok(Unit::Frame { data, key: false, format: None }),
        }
    }
}

fn append(stream: &mut Vec<u8>, nal: &[u8]) {
    stream.extend([0, 0, 0, 1]);
    stream.extend(nal);
}

/// RFC 6386, 9.1: the lowest bit of the frame tag is 0 in a key frame, whose size follows a start code.
fn vp8(data: Arc<[u8]>, key: bool) -> Result<Unit, PushError> {
    if data[0] & 1 == 1 {
        return match key {
            true => Err(PushError::NotAKeyFrame),
            false => Ok(Unit::Frame { data, key: false, format: None }),
        };
    }
    let Some(&[_, _, _, 0x9d, 0x01, 0x2a, w, wide, h, high]) = data.first_chunk::<10>() else {
        return Err(PushError::NotVp8);
    };
    // The two highest bits are a scale that nobody uses.
    let length = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let format = VideoFormat { width: length(w, wide), height: length(h, high), ..VideoFormat::default() };
    Ok(Unit::Frame { data, key: true, format: Some(format) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 320 x 180, constrained baseline 3.1, as x264 made it; its PPS; an IDR slice and another one, cut off.
    const SPS: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x05, 0xa8, 0x30, 0x30, 0x35, 0x28,
        0, 0, 3, 0, 8, 0, 0, 3, 1, 0xe4, 0x78, 0xc1, 0x95,
    ];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
    const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0x3a];
    const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24, 0x6c];
    const AUD: &[u8] = &[0, 0, 0, 1, 0x09, 0x10];

    fn kind(result: Result<Unit, PushError>) -> &'static str {
        match result {
            Ok(Unit::Frame { key: true, .. }) => "key",
            Ok(Unit::Frame { .. }) => "frame",
            Ok(Unit::ParameterSets) => "sets",
            Err(error) => error.code(),
        }
    }

    #[test]
    fn h264_is_taken_as_browsers_need_it_and_refused_in_words() {
        type Nals = &'static [&'static [u8]];
        // What came before, what comes, whether it is called a key frame, and what it is.
        let table: &[(Nals, Nals, bool, &str)] = &[
            (&[], &[SPS, PPS, IDR], true, "key"),
            (&[], &[AUD, SPS, PPS, IDR], true, "key"),
            (&[], &[SPS, PPS, IDR], false, "key"),
            (&[], &[SLICE], false, "frame"),
            (&[], &[SPS, PPS], true, "sets"),
            (&[], &[PPS], false, "sets"),
            (&[], &[IDR], true, "no-parameter-sets"),
            (&[], &[SPS, IDR], true, "no-parameter-sets"),
            (&[SPS, PPS], &[IDR], true, "key"),
            (&[SPS], &[PPS, IDR], true, "key"),
            (&[], &[SLICE], true, "not-a-key-frame"),
            (&[], &[AUD], false, "no-picture"),
            (&[], &[&[]], false, "empty"),
            (&[], &[&[0, 0, 0, 8, 0x65, 0x88, 0x84, 0x3a]], true, "not-annex-b"),
            (&[], &[&[0x65, 0x88, 0x84, 0x3a]], true, "not-annex-b"),
            (&[], &[&[0, 0, 1, 0x67, 0x42], PPS, IDR], true, "bad-parameter-sets"),
        ];
        for (before, unit, key, expected) in table {
            let mut units = Units::new(Codec::H264);
            before.iter().for_each(|unit| _ = units.check(Arc::from(*unit), false, Duration::ZERO));
            let found = units.check(unit.concat().into(), *key, Duration::from_millis(1));
            assert_eq!(kind(found), *expected, "{unit:02x?} after {before:02x?}");
        }
    }

    #[test]
    fn a_key_frame_says_its_format_and_has_its_parameter_sets() {
        let mut units = Units::new(Codec::H264);
        let whole: Arc<[u8]> = [SPS, PPS, IDR].concat().into();
        let format =
            VideoFormat { width: 320, height: 180, fps: 0, profile_level_id: Some([0x42, 0xc0, 0x1f]) };
        let expected = Unit::Frame { data: whole.clone(), key: true, format: Some(format) };
        assert_eq!(units.check(whole.clone(), true, Duration::ZERO), Ok(expected));
        // One that came without is completed.
        let Ok(Unit::Frame { data, .. }) = units.check(Arc::from(IDR), true, Duration::from_millis(33))
        else {
            panic!("they came before")
        };
        assert_eq!(data, whole);
    }

    #[test]
    fn other_codecs_are_known_by_their_headers() {
        let vp8_key = [0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 1, 180, 0];
        let jpeg = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 180, 1, 64, 1, 0, 0, 0];
        let table: &[(Codec, &[u8], bool, &str)] = &[
            (Codec::Vp8, &vp8_key, true, "key"),
            (Codec::Vp8, &vp8_key, false, "key"),
            (Codec::Vp8, &vp8_key[..9], true, "not-vp8"),
            (Codec::Vp8, b"DKIF", true, "not-vp8"),
            (Codec::Vp8, &[0x31, 1, 0], false, "frame"),
            (Codec::Vp8, &[0x31, 1, 0], true, "not-a-key-frame"),
            (Codec::Jpeg, &jpeg, false, "key"),
            (Codec::Jpeg, &jpeg[1..], true, "not-jpeg"),
            (Codec::Opus, &[0xfc, 1, 2], false, "key"),
            (Codec::Opus, &[], false, "empty"),
        ];
        for (codec, data, key, expected) in table {
            let mut units = Units::new(*codec);
            let found = units.check(Arc::from(*data), *key, Duration::ZERO);
            if let Ok(Unit::Frame { format: Some(format), .. }) = &found {
                assert_eq!((format.width, format.height), (320, 180), "{codec:?}");
            }
            assert_eq!(kind(found), *expected, "{codec:?} {data:02x?}");
        }
    }

    #[test]
    fn times_rise_until_they_begin_anew() {
        let mut units = Units::new(Codec::Opus);
        let at = |units: &mut Units, ms| kind(units.check(Arc::from([1]), true, Duration::from_millis(ms)));
        assert_eq!(at(&mut units, 700), "key");
        assert_eq!(at(&mut units, 700), "time-went-back");
        assert_eq!(at(&mut units, 699), "time-went-back");
        assert_eq!(at(&mut units, 701), "key", "what was refused has no time");
        units.begin();
        assert_eq!(at(&mut units, 0), "key");
    }
}
