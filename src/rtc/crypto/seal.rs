//! Seals what we send: SRTP and SRTCP of one session (RFC 3711, RFC 7714).
//!
//! An IV follows from the SSRC and the index. Using one twice under a key reveals both plaintexts, and with GCM also the
//! authentication key (RFC 7714, 9). So the caller never repeats an RTP index during the life of the keys; RTCP indexes
//! are counted here, over all SSRCs. Every test of this crate checks both.

use std::fmt;

use super::keys::{Keys, Profile};
#[cfg(test)]
use super::reuse::Once;
use super::suite::{Packet, SessionKeys, Suite, Traffic};

/// The largest index of SRTCP, which has 31 bits (RFC 3711, 3.4).
const LAST: u32 = (1 << 31) - 1;
/// Says that the rest of the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// Seals the packets of a session's sender, under its keys.
pub(crate) struct Sealer {
    tag: usize,
    rtp: Suite,
    rtcp: Suite,
    /// SRTCP's index of the next packet.
    next: u32,
    /// Not when time is measured.
    #[cfg(test)]
    once: Option<Once>,
}

/// Every index of SRTCP is used: these keys seal no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Sealer {
    /// Make one for all packets under these keys: it knows which indexes of RTCP are used.
    pub(crate) fn new(keys: &Keys) -> Sealer {
        let master = keys.ours();
        let [rtp, rtcp] = [Traffic::Rtp, Traffic::Rtcp].map(|traffic| SessionKeys::derive(master, traffic));
        Sealer::of(master.profile, &rtp, &rtcp)
    }

    fn of(profile: Profile, rtp: &SessionKeys, rtcp: &SessionKeys) -> Sealer {
        Sealer {
            tag: profile.tag_len(),
            rtp: Suite::new(profile, Traffic::Rtp, rtp),
            rtcp: Suite::new(profile, Traffic::Rtcp, rtcp),
            next: 0,
            #[cfg(test)]
            once: Some(Once::of(&rtp.key)),
        }
    }

    /// How many bytes longer an RTP packet becomes.
    pub(crate) fn overhead(&self) -> usize {
        self.tag
    }

    /// Appends a sealed RTP packet to `out`. `head` is the header with its extensions, which stays in the clear; `index` is
    /// the sequence number with the rollovers before it, in 48 bits.
    ///
    /// # Panics
    ///
    /// If `head` is shorter than a header.
    pub(crate) fn seal_rtp(&mut self, head: &[u8], index: u64, payload: &[u8], out: &mut Vec<u8>) {
        let [_, _, a, b, _, _, _, _, ssrc @ ..] = head.first_chunk::<12>().expect("a header has 12 bytes");
        let ssrc = u32::from_be_bytes(*ssrc);
        debug_assert_eq!(
            u16::from_be_bytes([*a, *b]),
            index as u16,
            "the sequence number is the index's end"
        );
        debug_assert!(index < 1 << 48, "an index has 48 bits");
        #[cfg(test)]
        self.once.iter().for_each(|once| once.rtp(ssrc, index));
        let at = out.len();
        out.reserve(head.len() + payload.len() + self.tag);
        out.extend_from_slice(head);
        out.extend_from_slice(payload);
        out.resize(out.len() + self.tag, 0);
        let (text, tag) = out[at + head.len()..].split_at_mut(payload.len());
        let rollovers = (index >> 16) as u32;
        self.rtp.seal(Packet { ssrc, index, head, behind: rollovers.to_be_bytes() }, text, tag);
    }

    /// Appends a sealed compound packet to `out`.
    ///
    /// # Errors
    ///
    /// After 2^31 packets nothing is sealed any more.
    ///
    /// # Panics
    ///
    /// If `compound` is shorter than a header and an SSRC.
    pub(crate) fn seal_rtcp(&mut self, compound: &[u8], out: &mut Vec<u8>) -> Result<(), Exhausted> {
        let (head, plain) = compound.split_first_chunk::<8>().expect("RTCP has a header and an SSRC");
        let [_, _, _, _, ssrc @ ..] = head;
        let ssrc = u32::from_be_bytes(*ssrc);
        let index = self.next;
        if index > LAST {
            return Err(Exhausted);
        }
        self.next += 1;
        #[cfg(test)]
        self.once.iter().for_each(|once| once.rtcp(index.into()));
        let word = (ENCRYPTED | index).to_be_bytes();
        let at = out.len() + head.len();
        out.extend_from_slice(head);
        out.extend_from_slice(plain);
        out.resize(out.len() + self.tag + word.len(), 0);
        let (text, rest) = out[at..].split_at_mut(plain.len());
        // GCM's tag belongs to the text, and the index comes behind it; a MAC covers the index (RFC 7714, 9.2; RFC 3711,
        // 3.4).
        let tag = if self.tag == Profile::Aes128CmSha1.tag_len() {
            let (place, tag) = rest.split_at_mut(word.len());
            place.copy_from_slice(&word);
            tag
        } else {
            let (tag, place) = rest.split_at_mut(self.tag);
            place.copy_from_slice(&word);
            tag
        };
        self.rtcp.seal(Packet { ssrc, index: index.into(), head, behind: word }, text, tag);
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{hex, rfc7714};
    use super::*;

    /// A sealer with the session keys of RFC 7714, 16 and 17.
    fn of_the_rfc(profile: Profile, next: u32) -> Sealer {
        let session = rfc7714::session(profile);
        Sealer { next, ..Sealer::of(profile, &session, &session) }
    }

    fn sealer(profile: Profile, name: u8) -> Sealer {
        Sealer::new(&Keys::new(profile, vec![name; profile.material_len()], true))
    }

    const ALL: [Profile; 3] = [Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm];

    /// RFC 7714, 16.1.1 and 16.2.1.
    #[test]
    fn rtp_is_sealed_as_in_the_rfc() {
        for (profile, sealed) in rfc7714::RTP {
            let head = hex(rfc7714::RTP_HEADER);
            let mut out = b"before".to_vec();
            of_the_rfc(profile, 0).seal_rtp(&head, 0xf17b, rfc7714::RTP_PAYLOAD, &mut out);
            assert_eq!(out, [b"before", &head[..], &hex(sealed)].concat(), "{profile:?}");
        }
    }

    /// RFC 7714, 17.1 and 17.2.
    #[test]
    fn rtcp_is_sealed_as_in_the_rfc() {
        for (profile, sealed) in rfc7714::RTCP {
            let mut out = vec![];
            let plain = hex(rfc7714::RTCP_PLAIN);
            assert_eq!(of_the_rfc(profile, rfc7714::RTCP_INDEX).seal_rtcp(&plain, &mut out), Ok(()));
            assert_eq!(out, hex(sealed), "{profile:?}");
        }
    }

    #[test]
    fn extensions_stay_in_the_clear_and_the_tag_is_the_overhead() {
        for profile in ALL {
            let mut sealer = sealer(profile, 1);
            let head = hex("9060000100000001000000070bede0001011aa0000");
            let mut out = vec![];
            sealer.seal_rtp(&head, 1, b"payload", &mut out);
            assert_eq!(out.len(), head.len() + 7 + sealer.overhead());
            assert!(out.starts_with(&head));
            assert!(!out.windows(7).any(|w| w == b"payload"));
        }
    }

    /// The rollover counter is in no packet, but in what is authenticated and in the IV.
    #[test]
    fn a_rollover_changes_text_and_tag() {
        for profile in ALL {
            let mut sealer = sealer(profile, 2);
            let head = hex("806000010000000100000007");
            let [mut first, mut second] = [vec![], vec![]];
            sealer.seal_rtp(&head, 1, &[0; 16], &mut first);
            sealer.seal_rtp(&head, 0x1_0001, &[0; 16], &mut second);
            assert_ne!(first[12..28], second[12..28]);
            // The tag of another text differs anyway; that of none only if the counter is authenticated.
            let head = hex("806000020000000100000007");
            let [mut first, mut second] = [vec![], vec![]];
            sealer.seal_rtp(&head, 2, b"", &mut first);
            sealer.seal_rtp(&head, 0x1_0002, b"", &mut second);
            assert_ne!(first[12..], second[12..], "{profile:?}");
        }
    }

    #[test]
    #[should_panic(expected = "is sealed twice under a key")]
    fn an_index_sealed_twice_panics() {
        let mut sealer = sealer(Profile::Aes128Gcm, 3);
        for _ in 0..2 {
            sealer.seal_rtp(&hex("806000010000000100000007"), 1, b"", &mut vec![]);
        }
    }

    #[test]
    fn rtcp_is_numbered_over_all_ssrcs_and_ends() {
        for profile in ALL {
            let mut sealer = sealer(profile, 4);
            let word = |out: &[u8]| {
                let end = if profile == Profile::Aes128CmSha1 { out.len() - 10 } else { out.len() };
                u32::from_be_bytes(out[end - 4..end].try_into().expect("4 bytes"))
            };
            for (ssrc, index) in [(1, 0), (2, 1), (1, 2)] {
                let mut out = vec![];
                assert_eq!(sealer.seal_rtcp(&[0x80, 200, 0, 1, 0, 0, 0, ssrc], &mut out), Ok(()));
                assert_eq!(word(&out), ENCRYPTED | index);
            }
            sealer.next = LAST;
            let mut out = vec![];
            assert_eq!(sealer.seal_rtcp(&[0x80, 200, 0, 1, 0, 0, 0, 1], &mut out), Ok(()));
            assert_eq!(word(&out), u32::MAX);
            for _ in 0..2 {
                let mut out = vec![];
                assert_eq!(sealer.seal_rtcp(&[0x80, 200, 0, 1, 0, 0, 0, 1], &mut out), Err(Exhausted));
                assert!(out.is_empty());
            }
        }
    }

    #[test]
    fn nothing_is_printed_of_keys() {
        assert_eq!(format!("{:?}", sealer(Profile::Aes128Gcm, 5)), "Sealer { next: 0, .. }");
    }

    /// CPU time on this thread so far, in nanoseconds.
    fn cpu_time() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok()
    }

    /// In a release build, which is all that counts: `cargo test --release --no-default-features --features rtc --lib --
    /// --ignored --nocapture cost_of_a_packet`.
    #[test]
    #[ignore = "measures"]
    fn cost_of_a_packet() {
        const PACKETS: u64 = 100_000;
        let Some(_) = cpu_time() else { return println!("SKIPPED: no CPU time of threads here") };
        let head = hex("9060000100000001000000070bede0001011aa0000");
        for profile in ALL {
            let mut sealer = Sealer { once: None, ..sealer(profile, 6) };
            let mut head = head.clone();
            let mut out = Vec::with_capacity(1500);
            let mut best = u64::MAX;
            for round in 0..10 {
                let before = cpu_time().expect("read above");
                for n in round * PACKETS..(round + 1) * PACKETS {
                    head[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                    out.clear();
                    sealer.seal_rtp(&head, n, &[7; 1150], &mut out);
                }
                best = best.min(cpu_time().expect("read above") - before);
            }
            println!("{profile:?}: {} ns a packet of 1150 bytes", best / PACKETS);
        }
    }
}
