//! Opens the peer's SRTCP (RFC 3711, 3.4; RFC 7714, 9).

use std::fmt;

use super::keys::{Keys, Profile};
use super::suite::{Packet, SessionKeys, Suite, Traffic};
use super::window::Window;

/// How far behind the newest a packet may be, in words of 64: 128 is what libsrtp keeps too, and twice what RFC 3711,
/// 3.3.2 requires.
const WINDOW: usize = 2;
/// For so many senders: a browser has one for each stream that it sends, and its reports come from one of them.
const SENDERS: usize = 32;
/// A header and an SSRC, which are in the clear.
const HEAD: usize = 8;
const WORD: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Too short for a header, an index and a tag.
    Short,
    /// Sent without encryption, which WebRTC requires (RFC 8827, 6.5).
    NotEncrypted,
    /// Not authentic.
    Tag,
    /// Its index was used before, or is too old to know.
    Replayed,
}

/// Opens the peer's reports.
pub(crate) struct Opener {
    profile: Profile,
    suite: Suite,
    /// Those heard last come last. Packets of one that is forgotten could be replayed: only the peer itself can have so
    /// many senders, since each is authentic.
    senders: Vec<Sender>,
}

impl Opener {
    pub(crate) fn new(keys: &Keys) -> Opener {
        let master = keys.theirs();
        Opener::of(master.profile, &SessionKeys::derive(master, Traffic::Rtcp))
    }

    fn of(profile: Profile, session: &SessionKeys) -> Opener {
        Opener {
            profile,
            suite: Suite::new(profile, Traffic::Rtcp, session),
            senders: Vec::with_capacity(SENDERS),
        }
    }

    /// Opens a packet into `out`, which holds nothing else afterwards.
    ///
    /// # Errors
    ///
    /// See [`Unopened`]. `out` is empty then.
    pub(crate) fn open_rtcp<'a>(
        &mut self,
        packet: &[u8],
        out: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Unopened> {
        out.clear();
        let tag_len = self.profile.tag_len();
        let (head, rest) = packet.split_first_chunk::<HEAD>().ok_or(Unopened::Short)?;
        let text_len = rest.len().checked_sub(tag_len + WORD).ok_or(Unopened::Short)?;
        let (text, rest) = rest.split_at(text_len);
        let (word, tag) = if self.profile == Profile::Aes128CmSha1 {
            rest.split_at(WORD)
        } else {
            let (tag, word) = rest.split_at(tag_len);
            (word, tag)
        };
        let behind: [u8; WORD] = word.try_into().expect("split there");
        let word = u32::from_be_bytes(behind);
        if word & ENCRYPTED == 0 {
            return Err(Unopened::NotEncrypted);
        }
        let index = word & !ENCRYPTED;
        let [_, _, _, _, ssrc @ ..] = head;
        let ssrc = u32::from_be_bytes(*ssrc);
        // Before the tag, since this costs less (RFC 3711, 3.3).
        let known = self.senders.iter().position(|sender| sender.ssrc == ssrc);
        if known.is_some_and(|at| !self.senders[at].seen.is_new(index.into())) {
            return Err(Unopened::Replayed);
        }
        out.extend_from_slice(head);
        out.resize(HEAD + text_len, 0);
        let about = Packet { ssrc, index: index.into(), head, behind };
        if !self.suite.open(about, text, tag, &mut out[HEAD..]) {
            out.clear();
            return Err(Unopened::Tag);
        }
        self.note(known, ssrc, index);
        Ok(out)
    }

    /// Remembers an authentic packet. For a new sender's, the one that was silent for longest is forgotten.
    fn note(&mut self, known: Option<usize>, ssrc: u32, index: u32) {
        let sender = match known {
            Some(at) => {
                let mut sender = self.senders.remove(at);
                sender.seen.note(index.into());
                sender
            }
            None => {
                if self.senders.len() == SENDERS {
                    self.senders.remove(0);
                }
                Sender { ssrc, seen: Window::new(index.into()) }
            }
        };
        self.senders.push(sender);
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("senders", &self.senders.len()).finish_non_exhaustive()
    }
}

/// Which of a sender's packets came.
struct Sender {
    ssrc: u32,
    seen: Window<WINDOW>,
}

#[cfg(test)]
mod tests {
    use super::super::seal::Sealer;
    use super::super::{hex, rfc7714};
    use super::*;

    const ALL: [Profile; 3] = [Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm];

    /// Both ends. Keys are those of one test.
    fn ends(profile: Profile, name: u8) -> (Sealer, Opener) {
        let keys = |client| {
            Keys::new(profile, (0..profile.material_len()).map(|n| n as u8 ^ name).collect(), client)
        };
        (Sealer::new(&keys(true)), Opener::new(&keys(false)))
    }

    fn report(ssrc: u32, rest: &[u8]) -> Vec<u8> {
        [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), rest].concat()
    }

    fn sealed(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        sealer.seal_rtcp(plain, &mut out).expect("indexes are left");
        out
    }

    fn opened(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, Unopened> {
        let mut out = b"of an earlier packet".to_vec();
        let result = opener.open_rtcp(packet, &mut out).map(<[u8]>::to_vec);
        assert_eq!(out, result.clone().unwrap_or_default());
        result
    }

    /// RFC 7714, 17.1 to 17.3.
    #[test]
    fn packets_of_the_rfc_are_opened() {
        let opener = |profile| Opener::of(profile, &rfc7714::session(profile));
        let plain = hex(rfc7714::RTCP_PLAIN);
        for (profile, packet) in rfc7714::RTCP {
            assert_eq!(opened(&mut opener(profile), &hex(packet)), Ok(plain.clone()), "{profile:?}");
        }
        let clear = [plain, hex(rfc7714::RTCP_TAG_ONLY)].concat();
        assert_eq!(opened(&mut opener(Profile::Aes128Gcm), &clear), Err(Unopened::NotEncrypted));
    }

    #[test]
    fn what_was_sealed_is_opened_once() {
        for profile in ALL {
            let (mut sealer, mut opener) = ends(profile, 0x11);
            for rest in [&b""[..], b"four", &[7; 1200]] {
                let plain = report(1, rest);
                let packet = sealed(&mut sealer, &plain);
                assert_eq!(opened(&mut opener, &packet), Ok(plain));
                assert_eq!(opened(&mut opener, &packet), Err(Unopened::Replayed));
            }
        }
    }

    #[test]
    fn each_byte_is_authentic() {
        for profile in ALL {
            let (mut sealer, mut opener) = ends(profile, 0x22);
            let packet = sealed(&mut sealer, &report(1, b"some text"));
            for bit in 0..packet.len() * 8 {
                let mut turned = packet.clone();
                turned[bit / 8] ^= 0x80 >> (bit % 8);
                let why = opened(&mut opener, &turned).expect_err("it is not authentic");
                assert!([Unopened::Tag, Unopened::NotEncrypted].contains(&why), "bit {bit}: {why:?}");
            }
            for len in 0..packet.len() {
                opened(&mut opener, &packet[..len]).expect_err("it is cut short");
            }
            let short = HEAD + WORD + profile.tag_len() - 1;
            assert_eq!(opened(&mut opener, &packet[..short]), Err(Unopened::Short));
            assert!(opened(&mut opener, &packet).is_ok(), "nothing was remembered of the others");
        }
    }

    #[test]
    fn another_sides_keys_open_nothing() {
        for profile in ALL {
            let (mut sealer, _) = ends(profile, 0x33);
            let material = (0..profile.material_len()).map(|n| n as u8 ^ 0x33).collect();
            let mut ours = Opener::new(&Keys::new(profile, material, true));
            let packet = sealed(&mut sealer, &report(1, b"text"));
            assert_eq!(opened(&mut ours, &packet), Err(Unopened::Tag));
        }
    }

    #[test]
    fn packets_may_pass_each_other_within_the_window() {
        let (mut sealer, mut opener) = ends(Profile::Aes128Gcm, 0x44);
        let packets: Vec<Vec<u8>> = (0..300).map(|_| sealed(&mut sealer, &report(1, b""))).collect();
        let mut results = |order: &[usize]| -> Vec<bool> {
            order.iter().map(|n| opened(&mut opener, &packets[*n]).is_ok()).collect()
        };
        // 72 is 127 before 199, and 71 is too old to know.
        assert_eq!(
            results(&[5, 3, 5, 4, 3, 199, 198, 72, 71, 72, 6, 299, 198, 172, 171]),
            [true, true, false, true, false, true, true, true, false, false, false, true, false, true, false]
        );
    }

    #[test]
    fn each_sender_has_a_window_and_the_longest_silent_is_forgotten_for_an_authentic_one() {
        let (mut sealer, mut opener) = ends(Profile::Aes128Gcm, 0x55);
        let of: Vec<Vec<u8>> = (0..=SENDERS as u32).map(|n| sealed(&mut sealer, &report(n, b""))).collect();
        for packet in &of[..SENDERS] {
            assert!(opened(&mut opener, packet).is_ok());
        }
        let again = sealed(&mut sealer, &report(0, b""));
        assert!(opened(&mut opener, &again).is_ok());
        let mut forged = of[SENDERS].clone();
        *forged.last_mut().expect("long") ^= 1;
        assert_eq!(opened(&mut opener, &forged), Err(Unopened::Tag));
        for packet in &of[..SENDERS] {
            assert_eq!(opened(&mut opener, packet), Err(Unopened::Replayed));
        }
        assert!(opened(&mut opener, &of[SENDERS]).is_ok());
        assert_eq!(opener.senders.len(), SENDERS);
        assert!(opener.senders.iter().all(|sender| sender.ssrc != 1), "the longest silent");
        assert_eq!(opened(&mut opener, &of[0]), Err(Unopened::Replayed));
    }
}
