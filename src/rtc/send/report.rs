//! Writes our RTCP: sender reports, the CNAME that groups the streams, and goodbyes (RFC 3550, 6.4 to 6.6).

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;
/// The maximum count of a packet, in 5 bits.
const MOST: usize = 31;

/// What a stream has sent so far, and its current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// The stream.
    pub(crate) ssrc: u32,
    /// Now: seconds since 1900, in 32.32 bits.
    pub(crate) ntp: u64,
    /// Its timestamp now.
    pub(crate) rtp: u32,
    /// Packets sent, modulo 2^32.
    pub(crate) packets: u32,
    /// Bytes of payload sent, modulo 2^32.
    pub(crate) octets: u32,
}

/// Appends a compound packet: a sender report and the CNAME of each sender, and a goodbye for those that leave.
///
/// A compound must begin with a report, so if there are only streams that leave, it begins with an empty receiver
/// report. If there are none of either kind, nothing is written. The first 255 bytes of `cname` are used.
pub(crate) fn write(senders: &[SenderInfo], cname: &str, leaving: &[u32], out: &mut Vec<u8>) {
    for sender in senders {
        header(0, SENDER_REPORT, 24, out);
        out.extend_from_slice(&sender.ssrc.to_be_bytes());
        out.extend_from_slice(&sender.ntp.to_be_bytes());
        for field in [sender.rtp, sender.packets, sender.octets] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
    if let (true, Some(first)) = (senders.is_empty(), leaving.first()) {
        header(0, RECEIVER_REPORT, 4, out);
        out.extend_from_slice(&first.to_be_bytes());
        describe([*first].into_iter(), cname, out);
    }
    for some in senders.chunks(MOST) {
        describe(some.iter().map(|sender| sender.ssrc), cname, out);
    }
    for some in leaving.chunks(MOST) {
        header(some.len(), BYE, 4 * some.len(), out);
        out.extend(some.iter().flat_map(|ssrc| ssrc.to_be_bytes()));
    }
}

/// Appends a description with a chunk for each of at most [`MOST`] SSRCs.
pub(in crate::rtc) fn describe(ssrcs: impl ExactSizeIterator<Item = u32>, cname: &str, out: &mut Vec<u8>) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    // A zero ends the items, and further zeros fill the last word.
    let text = 2 + cname.len();
    let chunk = 4 + (text + 1).next_multiple_of(4);
    header(ssrcs.len(), SOURCE_DESCRIPTION, chunk * ssrcs.len(), out);
    for ssrc in ssrcs {
        let end = out.len() + chunk;
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        out.resize(end, 0);
    }
}

/// The header of a packet with this many bytes after it.
fn header(count: usize, kind: u8, len: usize, out: &mut Vec<u8>) {
    let [a, b] = ((len / 4) as u16).to_be_bytes();
    out.extend_from_slice(&[0x80 | count as u8, kind, a, b]);
}

#[cfg(test)]
mod tests {
    use super::super::feedback::{Feedback, read};
    use super::*;

    fn sender(ssrc: u32) -> SenderInfo {
        SenderInfo {
            ssrc,
            ntp: 0x0102_0304_0506_0708,
            rtp: 0x1112_1314,
            packets: 0x2122,
            octets: 0x3132_3334,
        }
    }

    fn written(senders: &[SenderInfo], cname: &str, leaving: &[u32]) -> Vec<u8> {
        let mut out = vec![];
        write(senders, cname, leaving, &mut out);
        out
    }

    #[test]
    fn a_report_is_as_in_the_rfc() {
        #[rustfmt::skip]
        let expected = [
            0x80, 200, 0, 6,
            0xa1, 0xa2, 0xa3, 0xa4,
            1, 2, 3, 4, 5, 6, 7, 8,
            0x11, 0x12, 0x13, 0x14,
            0, 0, 0x21, 0x22,
            0x31, 0x32, 0x33, 0x34,
            0x81, 202, 0, 3,
            0xa1, 0xa2, 0xa3, 0xa4,
            1, 4, b'n', b'a', b'm', b'e', 0, 0,
        ];
        assert_eq!(written(&[sender(0xa1a2_a3a4)], "name", &[]), expected);
    }

    #[test]
    fn a_goodbye_follows_reports_of_what_goes_on() {
        let tail = [0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8];
        assert!(written(&[sender(7), sender(8)], "n", &[7, 8]).ends_with(&tail));
        let alone =
            [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &[0x81, 202, 0, 2, 0, 0, 0, 7, 1, 1, b'n', 0], &tail];
        assert_eq!(written(&[], "n", &[7, 8]), alone.concat());
        assert!(written(&[], "n", &[]).is_empty());
    }

    /// A chunk ends with at least one zero, whatever the length of the name.
    #[test]
    fn names_of_every_length_are_read_again() {
        for len in [0, 1, 2, 3, 4, 5, 16, 254, 255, 300] {
            let name = "n".repeat(len);
            let out = written(&[sender(1), sender(2)], &name, &[1]);
            let sdes = &out[56..];
            assert_eq!(sdes[..2], [0x82, 202]);
            let body = 4 * usize::from(u16::from_be_bytes([sdes[2], sdes[3]]));
            for (n, chunk) in sdes[4..4 + body].chunks(body / 2).enumerate() {
                assert_eq!(chunk[..6], [0, 0, 0, n as u8 + 1, 1, len.min(255) as u8]);
                let (text, end) = chunk[6..].split_at(len.min(255));
                assert_eq!(text, &name.as_bytes()[..len.min(255)]);
                assert!((1..=4).contains(&end.len()) && end.iter().all(|b| *b == 0), "{len}: {end:?}");
            }
            assert!(matches!(read(&out).last(), Some(Feedback::Bye { ssrcs }) if ssrcs.clone().eq([1])));
        }
    }

    #[test]
    fn more_than_a_packet_counts_take_several() {
        let senders: Vec<SenderInfo> = (0..70).map(sender).collect();
        let leaving: Vec<u32> = (0..70).collect();
        let out = written(&senders, "name", &leaving);
        let mut reports = vec![];
        let mut gone = vec![];
        for feedback in read(&out) {
            match feedback {
                Feedback::SenderReport { ssrc, ntp, rtp } => {
                    assert_eq!((ntp, rtp), (0x0102_0304_0506_0708, 0x1112_1314));
                    reports.push(ssrc);
                }
                Feedback::Bye { ssrcs } => gone.extend(ssrcs),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((&reports, &gone), (&leaving, &leaving));
    }
}
