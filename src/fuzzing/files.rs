//! Data from sources and files: encoded frames and their headers, addresses of sources, profiles of boards.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::bytes::{Bytes, valid};
use crate::media::board::{self, Elements, Start};
use crate::media::frame::sps::{self, Sps};
use crate::media::source::Location;
use crate::media::{AUDIO_OPUS, Codec, Frame, VIDEO_H264};
use crate::rtc::send::cut::{Cutter, MAX_PAYLOAD};

/// H.264: the units of a byte stream contain no start code, a parsed SPS has a size, and any bytes may follow it.
pub fn h264(data: &[u8]) {
    let units: Vec<&[u8]> = sps::nal_units(data).collect();
    for unit in &units {
        assert!(!unit.windows(3).any(|w| w == [0, 0, 1]) && unit.last() != Some(&0) && !unit.is_empty());
    }
    let joined: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 1], *unit].concat()).collect();
    assert!(sps::nal_units(&joined).eq(units.iter().copied()));
    assert_eq!(sps::is_idr(data), units.iter().any(|unit| unit[0] & 31 == 5));
    assert_eq!(Sps::find(data), units.iter().find_map(|unit| Sps::parse(unit)));
    if let Some(found) = Sps::parse(data) {
        let prevented = data[1..4] == [0, 0, 3];
        assert!(prevented || found.profile_level_id == data[1..4], "{found:?}");
        assert!(found.width > 0 && found.height > 0, "{found:?}");
        let longer = [data, &[0x80]].concat();
        assert_eq!(Sps::parse(&longer), Some(found));
    }
}

/// Frames cut into payloads: none is too long, and reassembly by the RFC yields the frame.
pub fn cut(data: &[u8]) {
    let mut bytes = Bytes(data);
    let codec = bytes.pick(&[Codec::H264, Codec::Vp8, Codec::Opus]);
    let repeat = usize::from(bytes.u8() & 15) + 1;
    // Longer than the inputs of a fuzzer.
    let data: Arc<[u8]> = bytes.0.repeat(repeat).into();
    let stream = if codec.is_video() { VIDEO_H264 } else { AUDIO_OPUS };
    let (captured, pts, duration) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    let frame = Frame {
        stream,
        codec,
        key: true,
        captured,
        pts,
        duration,
        discontinuity: false,
        encoding: None,
        data: data.clone(),
    };
    let payloads = Cutter::default().cut(&frame);
    let max = if codec == Codec::Opus { 1275 } else { MAX_PAYLOAD };
    assert!(payloads.iter().all(|p| (1..=max).contains(&p.len())));
    match codec {
        Codec::H264 => {
            let (mut glued, has_code) = (units(&payloads), data.windows(3).any(|w| w == [0, 0, 1]));
            glued.retain(|unit| !unit.is_empty());
            let kept = |unit: &&[u8]| ![0, 9, 12].contains(&(unit[0] & 31)) && unit[0] & 31 < 24;
            if has_code {
                assert!(glued.iter().map(|u| &u[..]).eq(sps::nal_units(&data).filter(kept)));
            }
        }
        Codec::Vp8 => {
            let glued: Vec<u8> = payloads.iter().flat_map(|p| p[4..].to_vec()).collect();
            assert_eq!(glued, *data);
            assert!(payloads.iter().enumerate().all(|(i, p)| (p[0] == 0x90) == (i == 0)));
        }
        _ => assert!(payloads.iter().all(|p| *p == data)),
    }
}

/// RFC 6184, 5.7 and 5.8.
fn units(payloads: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = vec![];
    let mut open = false;
    for payload in payloads {
        match payload[0] & 31 {
            24 => {
                let mut rest = &payload[1..];
                while let Some((len, behind)) = rest.split_first_chunk::<2>() {
                    let (unit, behind) = behind.split_at(usize::from(u16::from_be_bytes(*len)));
                    units.push(unit.to_vec());
                    rest = behind;
                }
                assert!(rest.is_empty());
            }
            28 => {
                let (start, end) = (payload[1] & 0x80 != 0, payload[1] & 0x40 != 0);
                assert_ne!(start, open, "a fragment starts only if none is open");
                if start {
                    units.push(vec![payload[0] & 0xe0 | payload[1] & 31]);
                }
                units.last_mut().expect("begun").extend_from_slice(&payload[2..]);
                open = !end;
            }
            _ => units.push(payload.to_vec()),
        }
    }
    assert!(!open);
    units
}

/// Sources as text: no credential is shown, and printing an address reverses parsing.
pub fn source(data: &[u8]) {
    let text = valid(data);
    let Ok(source) = text.parse::<Location>() else { return };
    let shown = source.to_string();
    if let Location::Rtsp { url, login } = &source {
        assert!(!shown.contains('@'), "{shown}");
        let (_, rest) = shown.split_once("://").expect("a scheme");
        let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
        assert!(["", "/", "?", "#", "/…"].contains(&path), "{shown}");
        if !url.is_ambiguous() {
            let again: Location = url.reveal().parse().expect("an address that was parsed");
            assert!(again == Location::Rtsp { url: url.clone(), login: None }, "{}", url.reveal());
        }
        // Before the path, what is shown belongs to the address without the login.
        let host = &shown[..shown.len() - path.len()];
        assert!(url.reveal().starts_with(host), "{shown}");
        if let Some(login) = login {
            assert!(!format!("{source:?}{login:?}").contains('@'));
        }
    }
}

/// Board profiles: every encoder in a valid one can be launched, and errors have a message.
pub fn board(data: &[u8]) {
    static ELEMENTS: OnceLock<Elements> = OnceLock::new();
    let elements = ELEMENTS.get_or_init(board::elements);
    let text = valid(data);
    match board::written("mine.toml", text, elements) {
        Ok((profile, info)) => {
            assert_eq!(info.file, "mine.toml");
            let candidates = profile.candidates(&[], elements);
            assert!(!candidates.is_empty());
            for (name, encoder) in candidates {
                let encoder = encoder.expect("parsing looked up every name in the profile");
                let chain = encoder.chain(
                    &name,
                    Start { bitrate: 1_500_000, key_interval: 300, level: "3.1", dmabuf: true },
                );
                assert!(chain.contains(" name=enc ") && chain.contains(&*name), "{chain}");
            }
            for element in profile.csi(elements) {
                assert!(elements.capture.contains_key(element.name));
            }
        }
        Err(e) => assert!(e.to_string().contains("mine.toml"), "{e}"),
    }
}
