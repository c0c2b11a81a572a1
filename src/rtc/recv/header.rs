//! Parses RTP headers (RFC 3550, 5.1) and the header extensions that we use (RFC 8285).

use crate::rtc::rid::Rid;

/// The IDs of the extensions that we use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) struct Ids {
    /// The transport-wide sequence number.
    pub(in crate::rtc) transport: Option<u8>,
    /// The name of the encoding (RFC 8852), in packets and in retransmissions.
    pub(in crate::rtc) name: Option<u8>,
    pub(in crate::rtc) repeated: Option<u8>,
}

/// A parsed header. It is authentic once the packet is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Head {
    pub(in crate::rtc) pt: u8,
    pub(in crate::rtc) marker: bool,
    /// Whether the payload ends with padding.
    pub(in crate::rtc) padded: bool,
    pub(in crate::rtc) time: u32,
    pub(in crate::rtc) ssrc: u32,
    /// The transport-wide sequence number.
    pub(in crate::rtc) transport: Option<u16>,
    /// The encoding of a simulcast video that it belongs to.
    pub(in crate::rtc) name: Option<Rid>,
    pub(in crate::rtc) repeated: Option<Rid>,
    /// Its size in bytes, including extensions.
    pub(in crate::rtc) len: usize,
}

/// The fixed part.
const FIXED: usize = 12;
/// The profiles of one-byte and two-byte extensions; the low four bits of the latter belong to the application.
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTES: u16 = 0x1000;

impl Head {
    /// Parses the header of a packet whose extensions have these IDs. Returns `None` if it is malformed.
    pub(in crate::rtc) fn read(packet: &[u8], ids: Ids) -> Option<Head> {
        let fixed = packet.first_chunk::<FIXED>()?;
        let [first, second, _, _, t0, t1, t2, t3, ssrc @ ..] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let sources = FIXED + 4 * usize::from(first & 15);
        let mut head = Head {
            pt: second & 0x7f,
            marker: second & 0x80 != 0,
            padded: first & 0x20 != 0,
            time: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes(ssrc),
            transport: None,
            name: None,
            repeated: None,
            len: sources,
        };
        if first & 0x10 != 0 {
            let (&[a, b, words_high, words_low], behind) = packet.get(sources..)?.split_first_chunk()?;
            let len = 4 * usize::from(u16::from_be_bytes([words_high, words_low]));
            let body = behind.get(..len)?;
            head.len = sources + 4 + len;
            let profile = u16::from_be_bytes([a, b]);
            let value = |id: Option<u8>| id.and_then(|id| find(profile, body, id));
            head.transport = value(ids.transport).and_then(|value| match value {
                [high, low] => Some(u16::from_be_bytes([*high, *low])),
                _ => None,
            });
            (head.name, head.repeated) =
                (value(ids.name).and_then(Rid::new), value(ids.repeated).and_then(Rid::new));
        }
        (packet.len() >= head.len).then_some(head)
    }
}

/// Returns the value of an extension.
fn find(profile: u16, mut body: &[u8], wanted: u8) -> Option<&[u8]> {
    while let Some((first, behind)) = body.split_first() {
        // Padding.
        if *first == 0 {
            body = behind;
            continue;
        }
        let (id, len, behind) = match profile {
            // 15 ends the extensions.
            ONE_BYTE if first >> 4 == 15 => return None,
            ONE_BYTE => (first >> 4, usize::from(first & 15) + 1, behind),
            _ if profile & 0xfff0 == TWO_BYTES => {
                let (len, behind) = behind.split_first()?;
                (*first, usize::from(*len), behind)
            }
            _ => return None,
        };
        let (value, behind) = behind.split_at_checked(len)?;
        if id == wanted {
            return Some(value);
        }
        body = behind;
    }
    None
}

/// Removes the padding, whose last byte is its length. Returns `None` if the length is 0 or exceeds the payload.
pub(in crate::rtc) fn unpadded(payload: &[u8], padded: bool) -> Option<&[u8]> {
    if !padded {
        return Some(payload);
    }
    let padding = usize::from(*payload.last()?);
    if padding == 0 {
        return None;
    }
    payload.get(..payload.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::send::header::Header;

    fn transport(id: u8) -> Ids {
        Ids { transport: Some(id), ..Ids::default() }
    }

    #[test]
    fn what_we_write_is_read() {
        let header = Header {
            pt: 96,
            marker: true,
            number: 7,
            time: 0x0102_0304,
            ssrc: 0xa1a2_a3a4,
            send_time: Some((2, 5)),
            mid: Some((4, "video")),
            transport: Some((3, 0xabcd)),
            ..Header::default()
        };
        let mut packet = vec![];
        header.write(&mut packet);
        let head = Head::read(&packet, transport(3)).expect("well-formed");
        let expected = Head {
            pt: 96,
            marker: true,
            padded: false,
            time: 0x0102_0304,
            ssrc: 0xa1a2_a3a4,
            transport: Some(0xabcd),
            name: None,
            repeated: None,
            len: packet.len(),
        };
        assert_eq!(head, expected);
        assert_eq!(Head::read(&packet, Ids::default()).expect("well-formed").transport, None);
        assert_eq!(Head::read(&packet, transport(4)).expect("well-formed").transport, None, "of five bytes");
        for len in 0..packet.len() {
            assert_eq!(Head::read(&packet[..len], transport(3)), None, "{len} bytes");
        }
    }

    #[test]
    fn extensions_of_two_bytes_and_sources_are_read() {
        let fixed = [0x91, 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9];
        let read = |profile: [u8; 2], body: &[u8]| {
            let words = [0, (body.len() / 4) as u8];
            Head::read(&[&fixed[..], &profile, &words, body].concat(), transport(3))
                .map(|head| head.transport)
        };
        assert_eq!(read([0x10, 0x05], &[9, 0, 0, 0, 3, 2, 1, 2]), Some(Some(0x0102)));
        assert_eq!(read([0xbe, 0xde], &[0, 0x91, 7, 7, 0x31, 1, 2, 0]), Some(Some(0x0102)));
        assert_eq!(read([0xbe, 0xde], &[0xf0, 0x31, 1, 2]), Some(None), "15 ends them");
        assert_eq!(read([0xbe, 0xde], &[0x3f, 1, 2, 3]), Some(None), "longer than all");
        assert_eq!(read([0x10, 0x00], &[3, 200, 2, 3]), Some(None), "longer than all");
        assert_eq!(read([0x12, 0x34], &[0x31, 1, 2, 0]), Some(None), "another profile");
    }

    #[test]
    fn the_encoding_of_a_packet_and_of_a_repeated_one_are_read() {
        let fixed = [0x90, 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 2];
        let ids = Ids { name: Some(10), repeated: Some(11), ..Ids::default() };
        let read = |body: [u8; 8]| {
            let head = Head::read(&[&fixed[..], &body].concat(), ids).expect("well-formed");
            (head.name.map(|rid| rid.to_string()), head.repeated.map(|rid| rid.to_string()))
        };
        assert_eq!(read([0xa0, b'h', 0xb1, b'l', b'o', 0, 0, 0]), (Some("h".into()), Some("lo".into())));
        assert_eq!(read([0xa1, b'h', b' ', 0, 0, 0, 0, 0]), (None, None), "no name");
    }

    #[test]
    fn padding_is_no_payload() {
        assert_eq!(unpadded(&[1, 2, 3, 2], false), Some(&[1, 2, 3, 2][..]));
        assert_eq!(unpadded(&[1, 2, 3, 2], true), Some(&[1, 2][..]));
        assert_eq!(unpadded(&[1, 2, 3, 4], true), Some(&[][..]));
        for bad in [&[1, 2, 3, 5][..], &[1, 0], &[]] {
            assert_eq!(unpadded(bad, true), None, "{bad:?}");
        }
    }
}
