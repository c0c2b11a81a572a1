//! Opens the peer's SRTP (RFC 3711, 3.3; RFC 7714, 8).

use std::fmt;

use super::keys::{Keys, Profile};
use super::open::Unopened;
use super::suite::{Packet, SessionKeys, Suite, Traffic};
use super::window::Window;

/// How far behind the newest a packet may be, in words of 64: 1024 are what libwebrtc keeps. Retransmissions without a
/// stream of their own come as late as that.
const WINDOW: usize = 16;
/// For so many streams: audio, video, and what is repeated of them, through some changes of source.
const STREAMS: usize = 16;

/// Opens the peer's media.
pub(crate) struct RtpOpener {
    profile: Profile,
    suite: Suite,
    /// Those heard last come last. Packets of one that is forgotten could be replayed: only the peer itself can have so
    /// many streams, since each is authentic.
    streams: Vec<Stream>,
}

struct Stream {
    ssrc: u32,
    seen: Window<WINDOW>,
}

impl RtpOpener {
    pub(crate) fn new(keys: &Keys) -> RtpOpener {
        let master = keys.theirs();
        RtpOpener::of(master.profile, &SessionKeys::derive(master, Traffic::Rtp))
    }

    fn of(profile: Profile, session: &SessionKeys) -> RtpOpener {
        let suite = Suite::new(profile, Traffic::Rtp, session);
        RtpOpener { profile, suite, streams: Vec::with_capacity(STREAMS) }
    }

    /// Opens the payload of a packet whose header has `head_len` bytes into `out`, which holds nothing else afterwards.
    /// Returns the packet's index: its sequence number, with the rollovers before it (RFC 3711, 3.3.1).
    ///
    /// # Errors
    ///
    /// See [`Unopened`]. `out` is empty then.
    pub(crate) fn open_rtp(
        &mut self,
        packet: &[u8],
        head_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<u64, Unopened> {
        out.clear();
        let (head, rest) = packet.split_at_checked(head_len).ok_or(Unopened::Short)?;
        let [_, _, a, b, _, _, _, _, ssrc @ ..] = head.first_chunk::<12>().ok_or(Unopened::Short)?;
        let (ssrc, number) = (u32::from_be_bytes(*ssrc), u16::from_be_bytes([*a, *b]));
        let text_len = rest.len().checked_sub(self.profile.tag_len()).ok_or(Unopened::Short)?;
        let (text, tag) = rest.split_at(text_len);
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let index = match known {
            Some(at) => nearest(self.streams[at].seen.newest(), number),
            // Senders begin below 2^15, so that the first packets don't roll over.
            None => number.into(),
        };
        // Before the tag, since this costs less (RFC 3711, 3.3).
        if known.is_some_and(|at| !self.streams[at].seen.is_new(index)) {
            return Err(Unopened::Replayed);
        }
        out.resize(text_len, 0);
        let rollovers = (index >> 16) as u32;
        let about = Packet { ssrc, index, head, behind: rollovers.to_be_bytes() };
        if !self.suite.open(about, text, tag, out) {
            out.clear();
            return Err(Unopened::Tag);
        }
        self.note(known, ssrc, index);
        Ok(index)
    }

    /// Remembers an authentic packet. For a new stream's, the one that was silent for longest is forgotten.
    fn note(&mut self, known: Option<usize>, ssrc: u32, index: u64) {
        let stream = match known {
            Some(at) => {
                let mut stream = self.streams.remove(at);
                stream.seen.note(index);
                stream
            }
            None => {
                if self.streams.len() == STREAMS {
                    self.streams.remove(0);
                }
                Stream { ssrc, seen: Window::new(index) }
            }
        };
        self.streams.push(stream);
    }
}

/// The index with this sequence number that is nearest to another; none has more than 48 bits.
pub(crate) fn nearest(to: u64, number: u16) -> u64 {
    const ROLLOVER: u64 = 1 << 16;
    let same = to & !(ROLLOVER - 1) | u64::from(number);
    let half = ROLLOVER / 2;
    if same + half < to && same + ROLLOVER < 1 << 48 {
        same + ROLLOVER
    } else if same > to + half && same >= ROLLOVER {
        same - ROLLOVER
    } else {
        same
    }
}

impl fmt::Debug for RtpOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpOpener").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::Sealer;
    use super::super::{hex, rfc7714};
    use super::*;

    const ALL: [Profile; 3] = [Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm];

    /// Both ends. Keys are those of one test.
    fn ends(profile: Profile, name: u8) -> (Sealer, RtpOpener) {
        let keys = |client| {
            Keys::new(profile, (0..profile.material_len()).map(|n| n as u8 ^ name).collect(), client)
        };
        (Sealer::new(&keys(true)), RtpOpener::new(&keys(false)))
    }

    fn sealed(sealer: &mut Sealer, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
        let [a, b] = (index as u16).to_be_bytes();
        let head = [&[0x80, 96, a, b, 0, 0, 0, 9][..], &ssrc.to_be_bytes()].concat();
        let mut out = vec![];
        sealer.seal_rtp(&head, index, payload, &mut out);
        out
    }

    fn opened(opener: &mut RtpOpener, packet: &[u8]) -> Result<(u64, Vec<u8>), Unopened> {
        let mut out = b"of an earlier packet".to_vec();
        let result = opener.open_rtp(packet, 12, &mut out);
        assert!(result.is_ok() || out.is_empty());
        result.map(|index| (index, out))
    }

    #[test]
    fn packets_of_the_rfc_are_opened() {
        for (profile, payload) in rfc7714::RTP {
            let mut opener = RtpOpener::of(profile, &rfc7714::session(profile));
            let packet = [hex(rfc7714::RTP_HEADER), hex(payload)].concat();
            assert_eq!(
                opened(&mut opener, &packet),
                Ok((0xf17b, rfc7714::RTP_PAYLOAD.to_vec())),
                "{profile:?}"
            );
        }
    }

    #[test]
    fn what_was_sealed_is_opened_once() {
        for profile in ALL {
            let (mut sealer, mut opener) = ends(profile, 0x16);
            for (index, payload) in [(7, &b""[..]), (8, b"four"), (9, &[7; 1200])] {
                let packet = sealed(&mut sealer, 1, index, payload);
                assert_eq!(opened(&mut opener, &packet), Ok((index, payload.to_vec())));
                assert_eq!(opened(&mut opener, &packet), Err(Unopened::Replayed));
            }
        }
    }

    #[test]
    fn each_byte_is_authentic() {
        for profile in ALL {
            let (mut sealer, mut opener) = ends(profile, 0x26);
            let packet = sealed(&mut sealer, 1, 3, b"some text");
            for bit in 0..packet.len() * 8 {
                let mut turned = packet.clone();
                turned[bit / 8] ^= 0x80 >> (bit % 8);
                assert_eq!(opened(&mut opener, &turned), Err(Unopened::Tag), "bit {bit}");
            }
            for len in 0..packet.len() {
                opened(&mut opener, &packet[..len]).expect_err("it is cut short");
            }
            assert!(opened(&mut opener, &packet).is_ok(), "nothing was remembered of the others");
        }
    }

    #[test]
    fn the_index_follows_the_numbers_through_rollovers_loss_and_reordering() {
        for profile in ALL {
            let (mut sealer, mut opener) = ends(profile, 0x36);
            for index in
                [32_000, 60_000, 65_535, 65_537, 65_536, 65_000, 90_000, 110_000, 131_071, 131_072, 131_000]
            {
                let packet = sealed(&mut sealer, 1, index, b"x");
                assert_eq!(opened(&mut opener, &packet), Ok((index, b"x".to_vec())), "{profile:?}");
            }
            let late = sealed(&mut sealer, 1, 131_072 - 1024, b"x");
            assert_eq!(opened(&mut opener, &late), Err(Unopened::Replayed), "too old to know");
            let another = sealed(&mut sealer, 2, 5, b"x");
            assert_eq!(opened(&mut opener, &another), Ok((5, b"x".to_vec())), "each stream has its own");
        }
    }

    #[test]
    fn the_nearest_index_stays_within_its_48_bits() {
        assert_eq!(nearest(0, 0xffff), 0xffff, "nothing is before the first");
        assert_eq!(nearest(0x1_0000, 0xffff), 0xffff);
        assert_eq!(nearest(0xffff, 0), 0x1_0000);
        assert_eq!(nearest((1 << 48) - 1, 0), (1 << 48) - 0x1_0000);
    }

    #[test]
    fn streams_are_forgotten_for_authentic_ones_alone() {
        let (mut sealer, mut opener) = ends(Profile::Aes128Gcm, 0x46);
        let of: Vec<Vec<u8>> = (0..=STREAMS as u32).map(|n| sealed(&mut sealer, n, 1, b"")).collect();
        for packet in &of[..STREAMS] {
            assert!(opened(&mut opener, packet).is_ok());
        }
        let mut forged = of[STREAMS].clone();
        *forged.last_mut().expect("long") ^= 1;
        assert_eq!(opened(&mut opener, &forged), Err(Unopened::Tag));
        assert_eq!(opened(&mut opener, &of[0]), Err(Unopened::Replayed));
        assert!(opened(&mut opener, &of[STREAMS]).is_ok());
        assert_eq!(opener.streams.len(), STREAMS);
        assert!(opener.streams.iter().all(|stream| stream.ssrc != 0), "the longest silent");
    }
}
