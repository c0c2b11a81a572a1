//! What is read, and what is dropped, by tables of the standards' rows.

use super::*;

/// RFC 5769 2.1: a request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY and
/// FINGERPRINT.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
/// RFC 5769 2.2: the response to it, by IPv4.
const RESPONSE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn hmac(parts: &[&[u8]]) -> [u8; 20] {
    crate::rtc::crypto::provider().sha1_hmac_provider.sha1_hmac(PASSWORD, parts)
}

#[test]
fn the_standards_own_messages_are_read_and_verified() {
    let request = stun(REQUEST).expect("well-formed");
    assert_eq!((request.kind, request.user), (StunKind::Request, Some(("evtj", "h6vY"))));
    assert!(request.is_signed_with(hmac));
    let response = stun(RESPONSE).expect("well-formed");
    assert_eq!((response.kind, response.user), (StunKind::Success, None));
    assert_eq!(response.transaction, request.transaction);
    assert!(response.is_signed_with(hmac));
    assert!(!response.is_signed_with(|_| [0; 20]));
    assert_eq!(check_sent(REQUEST), Some(request.transaction));
    assert_eq!(check_sent(RESPONSE), None);
}

#[test]
fn no_bit_of_a_signed_message_can_be_turned() {
    for message in [REQUEST, RESPONSE] {
        for bit in 0..message.len() * 8 {
            let mut turned = message.to_vec();
            turned[bit / 8] ^= 1 << (bit % 8);
            // FINGERPRINT sees it, unless it is no FINGERPRINT any more; then the signature does.
            let passes = stun(&turned).is_ok_and(|stun| stun.is_signed_with(hmac));
            let last = message.len() * 8 - 64..message.len() * 8 - 48;
            assert!(!passes || last.contains(&bit), "bit {bit}");
        }
        for len in 0..message.len() {
            assert!(stun(&message[..len]).is_err());
        }
    }
}

/// A message of attributes, each a type, its length as told, and a value.
fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![];
    for (kind, value) in attributes {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let len = body.len() as u16;
    [&kind.to_be_bytes()[..], &len.to_be_bytes(), &MAGIC, &[7; 12], &body].concat()
}

#[test]
fn a_check_is_what_the_rfcs_say_and_nothing_else() {
    const USER: (u16, &[u8]) = (0x0006, b"a:b");
    const PRIORITY: (u16, &[u8]) = (0x0024, &[1; 4]);
    const MAC: (u16, &[u8]) = (0x0008, &[0; 20]);
    const MAPPED: (u16, &[u8]) = (0x0020, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let long = vec![b'a'; 512];
    type Row<'a> = (u16, &'a [(u16, &'a [u8])], Option<BadStun>);
    let table: &[Row<'_>] = &[
        (0x0001, &[USER, PRIORITY, MAC], None),
        (0x0001, &[USER, PRIORITY, (0x0025, &[]), (0x802a, &[1; 8]), (0xc057, &[0; 4]), MAC], None),
        (0x0001, &[USER, PRIORITY, (0xffff, &[1; 9]), MAC], None),
        (0x0001, &[USER, PRIORITY, MAC, (0x001c, &[0; 32])], None),
        // What follows MESSAGE-INTEGRITY is ignored, whatever it is.
        (0x0001, &[USER, PRIORITY, MAC, USER, (0x0009, &[]), (0x0008, &[])], None),
        (0x0101, &[MAPPED, MAC], None),
        (0x0101, &[(0x0020, &[0, 2, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), MAC], None),
        (0x0011, &[], None),
        (0x0011, &[(0x8022, b"x")], None),
        // Error responses, and what is no Binding.
        (0x0111, &[MAC], Some(BadStun::Kind)),
        (0x0111, &[(0x0009, &[0, 0, 4, 87]), MAC], Some(BadStun::Kind)),
        (0x0003, &[USER, MAC], Some(BadStun::Kind)),
        (0x0103, &[MAPPED, MAC], Some(BadStun::Kind)),
        (0x0017, &[], Some(BadStun::Kind)),
        (0x3fff, &[], Some(BadStun::Kind)),
        // What is missing.
        (0x0001, &[], Some(BadStun::Username)),
        (0x0001, &[PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[MAC, USER, PRIORITY], Some(BadStun::Username)),
        (0x0001, &[USER, PRIORITY], Some(BadStun::Integrity)),
        (0x0001, &[USER, MAC], Some(BadStun::Attribute)),
        (0x0101, &[MAPPED], Some(BadStun::Integrity)),
        (0x0101, &[MAC], Some(BadStun::Attribute)),
        (0x0101, &[MAC, MAPPED], Some(BadStun::Attribute)),
        // What comes twice, or together.
        (0x0001, &[USER, (0x0006, b"c:d"), PRIORITY, MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, PRIORITY, MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x802a, &[1; 8]), (0x8029, &[1; 8]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[MAPPED, MAPPED, MAC], Some(BadStun::Attribute)),
        // Lengths.
        (0x0001, &[USER, PRIORITY, (0x0008, &[0; 19])], Some(BadStun::Integrity)),
        (0x0001, &[USER, PRIORITY, (0x0008, &[0; 32])], Some(BadStun::Integrity)),
        (0x0001, &[USER, PRIORITY, (0x0008, &[])], Some(BadStun::Integrity)),
        (0x0001, &[USER, (0x0024, &[1; 3]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x0025, &[1]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x8029, &[1; 7]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0xc057, &[1; 5]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[(0x0020, &[0, 1, 2, 3, 4, 5, 6]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[(0x0020, &[0, 2, 2, 3, 4, 5, 6, 7]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[(0x0020, &[0, 3, 2, 3, 4, 5, 6, 7]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[(0x0020, &[]), MAC], Some(BadStun::Attribute)),
        // Names.
        (0x0001, &[(0x0006, b""), PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[(0x0006, b"a"), PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[(0x0006, b":b"), PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[(0x0006, b"a:"), PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[(0x0006, b"a\xff:b"), PRIORITY, MAC], Some(BadStun::Username)),
        (0x0001, &[(0x0006, &[&long[..], b":b"].concat()), PRIORITY, MAC], Some(BadStun::Username)),
        // Attributes of other uses of STUN, and those that must be understood.
        (0x0001, &[USER, PRIORITY, (0x0001, &[0, 1, 2, 3, 4, 5, 6, 7]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, MAPPED, MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x0009, &[0, 0, 4, 0]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x0012, &[]), MAC], Some(BadStun::Attribute)),
        (0x0101, &[MAPPED, (0x0016, &[]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x7fff, &[]), MAC], Some(BadStun::Attribute)),
        (0x0001, &[USER, PRIORITY, (0x8023, &[]), MAC], Some(BadStun::Attribute)),
        // FINGERPRINT wrong, short, or not at the end.
        (0x0001, &[USER, PRIORITY, MAC, (0x8028, &[0; 4])], Some(BadStun::Fingerprint)),
        (0x0001, &[USER, PRIORITY, MAC, (0x8028, &[0; 3])], Some(BadStun::Attribute)),
        (0x0001, &[(0x8028, &[0; 4]), USER, PRIORITY, MAC], Some(BadStun::Fingerprint)),
    ];
    for (kind, attributes, bad) in table {
        assert_eq!(stun(&message(*kind, attributes)).err(), *bad, "{kind:04x} {attributes:x?}");
    }
}

#[test]
fn attributes_end_where_the_message_ends() {
    let good = message(0x0011, &[(0x8022, b"abcd")]);
    assert!(stun(&good).is_ok());
    for len in 5..=255 {
        let mut overrun = good.clone();
        overrun[23] = len;
        assert_eq!(stun(&overrun).err(), Some(BadStun::Attribute));
    }
    let mut cookie = good.clone();
    cookie[4] = 0;
    let mut longer = good.clone();
    longer.extend_from_slice(&[0; 4]);
    let huge = message(0x0011, &[(0x8022, &[0; 1500])]);
    for bad in [&cookie[..], &longer, &huge, &good[..24], &good[..19], &[]] {
        assert_eq!(stun(bad).err(), Some(BadStun::Header));
    }
}

fn record(kind: u8, version: u16, epoch: u16, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u16;
    let numbers = [version, epoch].map(u16::to_be_bytes).concat();
    [&[kind][..], &numbers, &[0, 0, 0, 0, 0, 9], &len.to_be_bytes(), body].concat()
}

fn verdicts(datagram: &[u8], stage: Stage) -> Vec<Result<usize, BadRecord>> {
    records(datagram, stage).map(|r| r.map(<[u8]>::len)).collect()
}

#[test]
fn data_is_taken_where_both_sides_agreed_on_it() {
    let data = |len: usize| record(23, 0xfefd, 1, &vec![7; len]);
    for stage in [Stage::Handshake, Stage::Established] {
        assert_eq!(verdicts(&data(60), stage), [Err(BadRecord::Data)]);
    }
    // Nonce and tag, and the shortest packet of SCTP.
    assert_eq!(verdicts(&data(24 + 16), Stage::Open), [Ok(13 + 40)]);
    assert_eq!(verdicts(&data(24 + 15), Stage::Open), [Err(BadRecord::Short)]);
    for (kind, epoch, why) in
        [(23, 0, BadRecord::Epoch), (22, 0, BadRecord::Epoch), (20, 1, BadRecord::Epoch)]
    {
        assert_eq!(
            verdicts(&record(kind, 0xfefd, epoch, &[7; 60]), Stage::Open),
            [Err(why)],
            "{kind} {epoch}"
        );
    }
}

#[test]
fn records_are_what_the_handshake_has_come_to() {
    use BadRecord::{Data, Epoch, Kind, Plaintext, Short};
    use Stage::{Established, Handshake};
    // A whole message of two bytes, one that promises more than it has, and a fragment beyond its end.
    let whole: &[u8] = &[1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9];
    let short: &[u8] = &[1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 9];
    let beyond: &[u8] = &[1, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 2, 9, 9];
    let giant: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9];
    type Row<'a> = (u8, u16, u16, &'a [u8], Option<BadRecord>, Option<BadRecord>);
    // type, version, epoch, body; the verdict in the handshake and after it.
    let table: &[Row<'_>] = &[
        (22, 0xfefd, 0, whole, None, Some(Epoch)),
        (22, 0xfeff, 0, whole, None, Some(Epoch)),
        (22, 0xfefd, 0, &[whole, whole].concat(), None, Some(Epoch)),
        (22, 0xfefd, 0, short, Some(Plaintext), Some(Epoch)),
        (22, 0xfefd, 0, beyond, Some(Plaintext), Some(Epoch)),
        (22, 0xfefd, 0, giant, Some(Plaintext), Some(Epoch)),
        (22, 0xfefd, 0, &[whole, &[1]].concat(), Some(Plaintext), Some(Epoch)),
        (22, 0xfefd, 0, &[], Some(Plaintext), Some(Epoch)),
        (20, 0xfefd, 0, &[1], None, Some(Epoch)),
        (20, 0xfefd, 0, &[2], Some(Plaintext), Some(Epoch)),
        (20, 0xfefd, 0, &[], Some(Plaintext), Some(Epoch)),
        (20, 0xfefd, 0, &[1, 1], Some(Plaintext), Some(Epoch)),
        (21, 0xfefd, 0, &[2, 40], Some(Plaintext), Some(Epoch)),
        (23, 0xfefd, 0, &[1; 30], Some(Plaintext), Some(Epoch)),
        // Encrypted: a Finished, an alert, and what is shorter.
        (22, 0xfefd, 1, &[7; 48], None, None),
        (22, 0xfefd, 1, &[7; 36], None, None),
        (22, 0xfefd, 1, &[7; 35], Some(Short), Some(Short)),
        (21, 0xfefd, 1, &[7; 26], None, None),
        (21, 0xfefd, 1, &[7; 25], Some(Short), Some(Short)),
        (21, 0xfefd, 1, &[7; 5], Some(Short), Some(Short)),
        (21, 0xfefd, 1, &[], Some(Short), Some(Short)),
        (21, 0xfeff, 1, &[7; 26], Some(Kind), Some(Kind)),
        (20, 0xfefd, 1, &[7; 25], Some(Epoch), Some(Epoch)),
        (23, 0xfefd, 1, &[7; 60], Some(Data), Some(Data)),
        (23, 0xfefd, 1, &[1, 2, 3, 4, 5], Some(Data), Some(Data)),
        (22, 0xfefd, 2, &[7; 48], Some(Epoch), Some(Epoch)),
        (22, 0xfefd, 0xffff, &[7; 48], Some(Epoch), Some(Epoch)),
        // Other types and versions: heartbeat, connection ids, DTLS 1.3's first byte, TLS.
        (24, 0xfefd, 1, &[7; 48], Some(Kind), Some(Kind)),
        (25, 0xfefd, 1, &[7; 48], Some(Kind), Some(Kind)),
        (19, 0xfefd, 1, &[7; 48], Some(Kind), Some(Kind)),
        (0x2f, 0xfefd, 1, &[7; 48], Some(Kind), Some(Kind)),
        (22, 0x0303, 0, whole, Some(Kind), Some(Kind)),
        (22, 0xfefc, 0, whole, Some(Kind), Some(Kind)),
        (22, 0x0100, 0, whole, Some(Kind), Some(Kind)),
    ];
    for (kind, version, epoch, body, before, after) in table {
        let datagram = record(*kind, *version, *epoch, body);
        for (stage, bad) in [(Handshake, before), (Established, after)] {
            let expected = bad.map_or(Ok(datagram.len()), Err);
            assert_eq!(
                verdicts(&datagram, stage),
                [expected],
                "{kind} {version:x} {epoch} {body:x?} {stage:?}"
            );
        }
    }
}

#[test]
fn records_are_told_apart_and_end_where_the_datagram_ends() {
    let finished = record(22, 0xfefd, 1, &[7; 48]);
    let change = record(20, 0xfefd, 0, &[1]);
    let flight = [&change[..], &finished].concat();
    assert_eq!(verdicts(&flight, Stage::Handshake), [Ok(14), Ok(61)]);
    // Repeated, since our own last flight was lost.
    assert_eq!(verdicts(&flight, Stage::Established), [Err(BadRecord::Epoch), Ok(61)]);
    for len in 1..finished.len() {
        assert_eq!(verdicts(&finished[..len], Stage::Established), [Err(BadRecord::Truncated)]);
        let behind = [&finished[..], &finished[..len]].concat();
        assert_eq!(verdicts(&behind, Stage::Established), [Ok(61), Err(BadRecord::Truncated)]);
    }
    assert_eq!(verdicts(&[], Stage::Handshake), []);
    let large = record(22, 0xfefd, 1, &[0; 1988]);
    assert_eq!(verdicts(&large, Stage::Established), [Err(BadRecord::Truncated)]);
}

#[test]
fn media_is_as_long_as_its_header_says() {
    let table: &[(&[u8], usize)] = &[
        // The beginning, and the least length.
        (&[0x80, 96], 12 + 10),
        (&[0x83, 96], 12 + 12 + 10),
        (&[0x80, 200], 8 + 4 + 10),
        (&[0x81, 206], 8 + 4 + 10),
        (&[0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 2], 12 + 4 + 8 + 10),
    ];
    for (head, least) in table {
        for len in head.len()..100 {
            let mut datagram = head.to_vec();
            datagram.resize(len, 0);
            assert_eq!(media_is_whole(&datagram), len >= *least, "{head:x?} with {len} bytes");
        }
    }
    let mut endless = vec![0xff; 1200];
    endless[0] = 0x9f;
    endless[1] = 96;
    assert!(!media_is_whole(&endless), "an extension beyond the end");
    assert!(!media_is_whole(&[]) && !media_is_whole(&[0x80]));
}

#[test]
fn the_first_byte_tells_the_class() {
    for byte in 0..=255 {
        let class = match byte {
            0..=3 => Some(Class::Stun),
            20..=63 => Some(Class::Dtls),
            128..=191 => Some(Class::Media),
            _ => None,
        };
        assert_eq!(classify(&[byte]), class);
    }
    assert_eq!(classify(&[]), None);
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(data in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 0u16..0x200) {
        let mut message = message(kind, &[]);
        message.extend_from_slice(&data);
        message.truncate(message.len() / 4 * 4);
        let len = (message.len() - STUN_HEADER) as u16;
        message[2..4].copy_from_slice(&len.to_be_bytes());
        for data in [&data[..], &message] {
            if let Ok(stun) = stun(data) {
                proptest::prop_assert!(!stun.is_signed_with(|_| [1; 20]));
            }
            for stage in [Stage::Handshake, Stage::Established] {
                let passed: usize = records(data, stage).filter_map(|r| r.ok()).map(<[u8]>::len).sum();
                proptest::prop_assert!(passed <= data.len());
            }
            let _ = (classify(data), media_is_whole(data), check_sent(data));
        }
    }
}
