//! Reads the reports of receivers: each packet of a compound once, without allocation (RFC 3550, 6; RFC 4585, 6;
//! RFC 5104, 4.3; draft-alvestrand-rmcat-remb-03; draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Reduced-size compounds are accepted too (RFC 5506). Unknown packets are skipped. The first malformed packet ends a
//! compound: it is ignored, and the position of anything after it is not reliable.

mod transport;

pub(crate) use transport::TransportFeedback;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// The size of a report block (RFC 3550, 6.4.1).
const BLOCK: usize = 24;
/// The size of a FIR entry (RFC 5104, 4.3.1.1).
const REQUEST: usize = 8;

/// One thing that a receiver reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Feedback<'a> {
    /// How a stream arrives.
    Report {
        /// The stream.
        ssrc: u32,
        /// The fraction of packets lost since the previous report, 0 to 1.
        lost: f32,
        /// The highest sequence number received, with rollovers above it.
        highest: u32,
        /// Interarrival jitter, in units of the RTP clock.
        jitter: u32,
        /// The middle 32 bits of the NTP time in the last sender report received; 0 without one.
        last_sr: u32,
        /// The time since then, in 1/65536 s.
        delay_since: u32,
    },
    /// Packets that the receiver has not received.
    Nack {
        /// The stream.
        ssrc: u32,
        /// Their sequence numbers.
        numbers: Numbers<'a>,
    },
    /// A picture was lost (PLI).
    Pli {
        /// The stream.
        ssrc: u32,
    },
    /// A request for a key frame (FIR).
    Fir {
        /// The stream.
        ssrc: u32,
        /// The request's number: a repetition has the same.
        number: u8,
    },
    /// The receiver's estimate of the bandwidth.
    Remb {
        /// In bit/s, over all these streams.
        bps: u64,
        /// The streams.
        ssrcs: Ssrcs<'a>,
    },
    /// When packets arrived, over all streams.
    Transport(TransportFeedback<'a>),
    /// A sender report of the peer's own stream: a wall-clock time and the RTP timestamp at that time.
    SenderReport {
        /// The peer's stream.
        ssrc: u32,
        /// Seconds since 1900, in 32.32 bits.
        ntp: u64,
        /// The timestamp at that time.
        rtp: u32,
    },
    /// The peer's streams end.
    Bye {
        /// The streams.
        ssrcs: Ssrcs<'a>,
    },
}

/// The reports in a decrypted compound packet.
pub(crate) fn read(compound: &[u8]) -> Feedbacks<'_> {
    Feedbacks { rest: compound, blocks: &[], requests: &[] }
}

/// An iterator over one compound packet.
#[derive(Clone, Debug)]
pub(crate) struct Feedbacks<'a> {
    rest: &'a [u8],
    /// Report blocks left in the current packet.
    blocks: &'a [[u8; BLOCK]],
    /// Key-frame requests left in the current packet.
    requests: &'a [[u8; REQUEST]],
}

impl<'a> Iterator for Feedbacks<'a> {
    type Item = Feedback<'a>;

    fn next(&mut self) -> Option<Feedback<'a>> {
        loop {
            if let Some((block, behind)) = self.blocks.split_first() {
                self.blocks = behind;
                return Some(report(block));
            }
            if let Some(([a, b, c, d, number, ..], behind)) = self.requests.split_first() {
                self.requests = behind;
                return Some(Feedback::Fir { ssrc: u32::from_be_bytes([*a, *b, *c, *d]), number: *number });
            }
            match self.packet() {
                Some(Some(feedback)) => return Some(feedback),
                Some(None) => {}
                None => {
                    self.rest = &[];
                    return None;
                }
            }
        }
    }
}

impl<'a> Feedbacks<'a> {
    /// Reads the next packet. Returns its first report, if it has one of its own. `None` if the packet is malformed, or
    /// there is none.
    fn packet(&mut self) -> Option<Option<Feedback<'a>>> {
        let (&[first, kind, a, b], behind) = self.rest.split_first_chunk()?;
        let (mut body, behind) = behind.split_at_checked(4 * usize::from(u16::from_be_bytes([a, b])))?;
        if first >> 6 != 2 {
            return None;
        }
        if first & 0x20 != 0 {
            // The last byte is the number of padding bytes, including itself. RFC 3550, 6.4.1, requires whole words,
            // but libwebrtc and str0m pad transport feedback to a word with one to three bytes.
            let padding = usize::from(*body.last()?);
            if padding == 0 {
                return None;
            }
            body = &body[..body.len().checked_sub(padding)?];
        }
        self.rest = behind;
        let count = first & 0x1f;
        match kind {
            SENDER_REPORT => {
                let (info, blocks) = body.split_first_chunk::<24>()?;
                self.blocks = blocks.as_chunks().0.get(..count.into())?;
                let (words, _) = info.as_chunks();
                let [ssrc, high, low, rtp, ..] = words else { return None };
                let ntp = u64::from(u32::from_be_bytes(*high)) << 32 | u64::from(u32::from_be_bytes(*low));
                let (ssrc, rtp) = (u32::from_be_bytes(*ssrc), u32::from_be_bytes(*rtp));
                Some(Some(Feedback::SenderReport { ssrc, ntp, rtp }))
            }
            RECEIVER_REPORT => {
                let (_, blocks) = body.split_first_chunk::<4>()?;
                self.blocks = blocks.as_chunks().0.get(..count.into())?;
                Some(None)
            }
            BYE => Some(Some(Feedback::Bye { ssrcs: Ssrcs::first(body, count)? })),
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => {
                let (_, body) = body.split_first_chunk::<4>()?;
                let (ssrc, about) = body.split_first_chunk()?;
                self.feedback(kind, count, u32::from_be_bytes(*ssrc), about)
            }
            _ => Some(None),
        }
    }

    fn feedback(&mut self, kind: u8, format: u8, ssrc: u32, about: &'a [u8]) -> Option<Option<Feedback<'a>>> {
        match (kind, format) {
            (TRANSPORT_FEEDBACK, 1) => {
                let (entries, _) = about.as_chunks();
                Some(Some(Feedback::Nack { ssrc, numbers: Numbers { entries, begun: None } }))
            }
            (TRANSPORT_FEEDBACK, 15) => Some(Some(Feedback::Transport(TransportFeedback::read(about)?))),
            (PAYLOAD_FEEDBACK, 1) => Some(Some(Feedback::Pli { ssrc })),
            (PAYLOAD_FEEDBACK, 4) => {
                self.requests = about.as_chunks().0;
                Some(None)
            }
            (PAYLOAD_FEEDBACK, 15) => match about.split_first_chunk() {
                Some((b"REMB", remb)) => remb_of(remb).map(Some),
                // Feedback of another application.
                _ => Some(None),
            },
            _ => Some(None),
        }
    }
}

fn report(block: &[u8; BLOCK]) -> Feedback<'static> {
    let word = |n: usize| u32::from_be_bytes([block[n], block[n + 1], block[n + 2], block[n + 3]]);
    Feedback::Report {
        ssrc: word(0),
        lost: f32::from(block[4]) / 256.0,
        highest: word(8),
        jitter: word(12),
        last_sr: word(16),
        delay_since: word(20),
    }
}

/// An exponent of 6 bits and a mantissa of 18, after the number of SSRCs.
fn remb_of(remb: &[u8]) -> Option<Feedback<'_>> {
    let (&[count, a, b, c], ssrcs) = remb.split_first_chunk()?;
    let mantissa = u64::from(u32::from_be_bytes([0, a & 3, b, c]));
    let exponent = u32::from(a >> 2);
    let fits = mantissa == 0 || exponent <= mantissa.leading_zeros();
    let bps = if fits { mantissa << exponent } else { u64::MAX };
    Some(Feedback::Remb { bps, ssrcs: Ssrcs::first(ssrcs, count)? })
}

/// SSRCs in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssrcs<'a>(&'a [[u8; 4]]);

impl<'a> Ssrcs<'a> {
    /// The first `count`; `None` if there are fewer.
    fn first(bytes: &'a [u8], count: u8) -> Option<Ssrcs<'a>> {
        bytes.as_chunks().0.get(..count.into()).map(Ssrcs)
    }
}

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (first, behind) = self.0.split_first()?;
        self.0 = behind;
        Some(u32::from_be_bytes(*first))
    }
}

/// The sequence numbers of a NACK (RFC 4585, 6.2.1), in the order of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers<'a> {
    entries: &'a [[u8; 4]],
    /// Of the current entry: its number, and the remaining bits for the numbers after it.
    begun: Option<(u16, u16)>,
}

impl Iterator for Numbers<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some((number, bits)) = self.begun.filter(|(_, bits)| *bits != 0) {
            // Bit 0 stands for the next number.
            self.begun = Some((number, bits & (bits - 1)));
            return Some(number.wrapping_add(bits.trailing_zeros() as u16 + 1));
        }
        let (&[a, b, c, d], behind) = self.entries.split_first()?;
        self.entries = behind;
        let number = u16::from_be_bytes([a, b]);
        self.begun = Some((number, u16::from_be_bytes([c, d])));
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet: the count in its first byte, its type, and the words after the header.
    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut packet = vec![0x80 | count, kind];
        packet.extend((words.len() as u16).to_be_bytes());
        packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        packet
    }

    const BLOCKS: [u32; 12] = [0xaaaa, 0x4000_0007, 0x0001_0203, 9, 0x1111, 0x8000, 0xbbbb, 0, 5, 0, 0, 0];

    fn blocks() -> [Feedback<'static>; 2] {
        [
            Feedback::Report {
                ssrc: 0xaaaa,
                lost: 0.25,
                highest: 0x0001_0203,
                jitter: 9,
                last_sr: 0x1111,
                delay_since: 0x8000,
            },
            Feedback::Report { ssrc: 0xbbbb, lost: 0.0, highest: 5, jitter: 0, last_sr: 0, delay_since: 0 },
        ]
    }

    #[test]
    fn reports_of_receivers_and_senders_are_read() {
        let words = [&[0x1234][..], &BLOCKS].concat();
        assert!(read(&packet(2, 201, &words)).eq(blocks()));
        let words = [&[0x1234, 0x8888_8888, 0x4444_4444, 77, 1, 2][..], &BLOCKS].concat();
        let report = Feedback::SenderReport { ssrc: 0x1234, ntp: 0x8888_8888_4444_4444, rtp: 77 };
        assert!(read(&packet(2, 200, &words)).eq([report].into_iter().chain(blocks())));
        // Profile-specific extensions are ignored (RFC 3550, 6.4.3).
        let words = [&[0x1234][..], &BLOCKS, &[1, 2, 3]].concat();
        assert!(read(&packet(2, 201, &words)).eq(blocks()));
    }

    #[test]
    fn missing_packets_are_counted_out() {
        let words = [1, 2, 0x0005_0000, 0xfffe_8003];
        let packet = packet(1, 205, &words);
        let all: Vec<_> = read(&packet).collect();
        let [Feedback::Nack { ssrc: 2, numbers }] = &all[..] else { panic!("{all:?}") };
        assert_eq!(numbers.clone().collect::<Vec<_>>(), [5, 0xfffe, 0xffff, 0, 14]);
    }

    #[test]
    fn key_frames_are_requested_in_both_ways() {
        assert!(read(&packet(1, 206, &[1, 2])).eq([Feedback::Pli { ssrc: 2 }]));
        let fir = packet(4, 206, &[1, 0, 7, 0x0500_0000, 8, 0xff00_0000]);
        let request = |ssrc, number| Feedback::Fir { ssrc, number };
        assert!(read(&fir).eq([request(7, 5), request(8, 255)]));
    }

    #[test]
    fn the_receivers_estimate_has_a_mantissa_and_an_exponent() {
        let remb = |word: u32, ssrcs: &[u32]| {
            let words = [&[1, 0, u32::from_be_bytes(*b"REMB"), word][..], ssrcs].concat();
            let packet = packet(15, 206, &words);
            let all: Vec<(u64, Vec<u32>)> = read(&packet)
                .map(|feedback| match feedback {
                    Feedback::Remb { bps, ssrcs } => (bps, ssrcs.collect()),
                    other => panic!("{other:?}"),
                })
                .collect();
            all
        };
        assert_eq!(remb(0x0200_0000 | 3 << 18 | 250_000, &[7, 8]), [(2_000_000, vec![7, 8])]);
        assert_eq!(remb(63 << 18 | 1, &[]), [(1 << 63, vec![])]);
        assert_eq!(remb(63 << 18 | 2, &[]), [(u64::MAX, vec![])]);
        assert_eq!(remb(63 << 18, &[]), [(0, vec![])]);
        assert_eq!(remb(0x0300_0001, &[7, 8]), [], "three are not there");
        let other = packet(15, 206, &[1, 2, u32::from_be_bytes(*b"ABCD"), 5]);
        assert_eq!(
            read(&[other, packet(1, 206, &[1, 2])].concat()).count(),
            1,
            "another application's is skipped"
        );
    }

    #[test]
    fn a_goodbye_names_streams_and_may_have_a_reason() {
        let bye = packet(2, 203, &[7, 8, 0x0362_7965]);
        let all: Vec<_> = read(&bye).collect();
        assert!(matches!(&all[..], [Feedback::Bye { ssrcs }] if ssrcs.clone().eq([7, 8])), "{all:?}");
    }

    /// As sent by Chromium: a compound of a report, a description and an estimate, and several of reduced size.
    #[test]
    fn compounds_and_what_is_unknown_in_them_are_read() {
        let rr = packet(1, 201, &[&[1][..], &BLOCKS[..6]].concat());
        let sdes = packet(1, 202, &[1, 0x0104_6e61, 0x6d65_0000]);
        let pli = packet(1, 206, &[1, 2]);
        let unknown = [packet(0, 207, &[1]), packet(31, 205, &[1, 2, 3]), packet(0, 223, &[])].concat();
        let compound = [rr, sdes, unknown, pli.clone()].concat();
        let [first, _] = blocks();
        assert!(read(&compound).eq([first, Feedback::Pli { ssrc: 2 }]));
        assert!(read(&pli).eq([Feedback::Pli { ssrc: 2 }]));
    }

    #[test]
    fn padding_is_no_content() {
        let mut nack = packet(1, 205, &[1, 2, 0x0005_0000, 0x0000_0004]);
        nack[0] |= 0x20;
        let numbers = |packet: &[u8]| -> Vec<u16> {
            read(packet)
                .flat_map(|feedback| match feedback {
                    Feedback::Nack { numbers, .. } => numbers,
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        assert_eq!(numbers(&nack), [5]);
        for padding in [0, 13, 20, 255] {
            *nack.last_mut().expect("long") = padding;
            assert!(numbers(&nack).is_empty(), "padding of {padding}");
        }
    }

    #[test]
    fn the_first_malformed_packet_ends_a_compound_without_a_word() {
        let pli = packet(1, 206, &[1, 2]);
        for malformed in [
            packet(3, 201, &[&[1][..], &BLOCKS].concat()),
            packet(1, 201, &[]),
            packet(1, 200, &[1, 2, 3, 4, 5, 6, 7]),
            packet(0, 200, &[1, 2, 3, 4, 5]),
            packet(3, 203, &[1, 2]),
            packet(1, 205, &[1]),
            packet(1, 206, &[]),
            packet(15, 206, &[1, 2, u32::from_be_bytes(*b"REMB")]),
            packet(15, 205, &[1, 2, 0x0000_0001]),
            vec![0x40, 201, 0, 1, 0, 0, 0, 1],
            vec![0x80, 201, 0, 2, 0, 0, 0, 1],
            vec![0x80, 201, 0],
        ] {
            let compound = [&pli[..], &malformed, &pli].concat();
            let framed = malformed.len() >= 4 && malformed.len() == 4 + 4 * usize::from(malformed[3]);
            let all: Vec<_> = read(&compound).collect();
            assert!(all.starts_with(&[Feedback::Pli { ssrc: 2 }]));
            assert!(all.len() == 1 || !framed, "{malformed:?}: {all:?}");
            assert_eq!(read(&malformed).count(), 0, "{malformed:?}");
        }
    }
}
