//! Corrects sender reports before they are sealed.
//!
//! str0m writes its reports itself. It counts what it repeats, though that goes under an SSRC of its own; it reports
//! on streams of which nothing was sent yet, as if they were at zero; and it gives each section a CNAME, by which a
//! receiver would take sound and pictures for two endpoints' (RFC 3550, 6.4.1 and 6.5.1). Its reports pass here in
//! the clear, and are as long after it as before. With AES-GCM only, which every browser has: a cipher in counter mode
//! can't tell reports from media.

use std::cell::RefCell;

const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const CNAME: u8 = 1;
/// GCM's (RFC 7714, 12).
const TAG: usize = 16;

/// What a session sent, and its name.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    cname: String,
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    ssrc: u32,
    packets: u32,
    /// Of payload.
    octets: u32,
}

thread_local! {
    /// Of the session that is at work.
    static OPEN: RefCell<Ledger> = RefCell::default();
}

/// The session of this ledger is at work on this thread until [`close`].
pub(crate) fn open(ledger: Ledger) {
    OPEN.replace(ledger);
}

pub(crate) fn close() -> Ledger {
    OPEN.take()
}

/// An RTP packet was sent: sealed, its header in the clear.
pub(crate) fn handle_sent(packet: &[u8]) {
    if let Some((ssrc, octets)) = payload(packet) {
        OPEN.with_borrow_mut(|ledger| ledger.count(ssrc, octets));
    }
}

/// Whether what a cipher is to authenticate beside the text is the head of RTCP, with its index; and not of RTP, which
/// has no payload type that would look so (RFC 5761, 4).
pub(super) fn is_report(aad: &[u8]) -> bool {
    aad.len() == 12 && (192..=223).contains(&aad[1])
}

/// Corrects a compound packet: its first eight bytes, and what comes after them and is sealed.
pub(super) fn correct(head: &[u8], rest: &mut [u8]) {
    OPEN.with_borrow(|ledger| ledger.correct(head, rest));
}

/// The SSRC of a packet, and how long its payload is.
fn payload(packet: &[u8]) -> Option<(u32, u32)> {
    let head: &[u8; 12] = packet.first_chunk()?;
    let sources = 12 + 4 * usize::from(head[0] & 15);
    let extension = match head[0] & 16 {
        0 => 0,
        _ => 4 + 4 * usize::from(u16::from_be_bytes([*packet.get(sources + 2)?, *packet.get(sources + 3)?])),
    };
    let len = packet.len().checked_sub(sources + extension + TAG)?;
    Some((u32::from_be_bytes([head[8], head[9], head[10], head[11]]), len as u32))
}

impl Ledger {
    pub(crate) fn new(cname: &str) -> Ledger {
        Ledger { cname: cname.to_owned(), sent: vec![] }
    }

    fn count(&mut self, ssrc: u32, octets: u32) {
        match self.sent.iter_mut().find(|sent| sent.ssrc == ssrc) {
            Some(sent) => {
                sent.packets = sent.packets.wrapping_add(1);
                sent.octets = sent.octets.wrapping_add(octets);
            }
            None => self.sent.push(Sent { ssrc, packets: 1, octets }),
        }
    }

    fn correct(&self, head: &[u8], rest: &mut [u8]) {
        let Some(mut head) = head.first_chunk::<8>().copied() else { return };
        let mut rest = rest;
        loop {
            let len = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some((packet, behind)) = len.checked_sub(4).and_then(|n| rest.split_at_mut_checked(n)) else {
                return;
            };
            match head[1] {
                SENDER_REPORT => {
                    self.correct_report(u32::from_be_bytes([head[4], head[5], head[6], head[7]]), packet);
                }
                SOURCE_DESCRIPTION => self.rename(packet),
                _ => {}
            }
            let Some((next, behind)) = behind.split_first_chunk_mut::<8>() else { return };
            (head, rest) = (*next, behind);
        }
    }

    /// NTP time, RTP time, packets and octets (RFC 3550, 6.4.1).
    fn correct_report(&self, ssrc: u32, report: &mut [u8]) {
        let Some(info) = report.first_chunk_mut::<20>() else { return };
        let sent = self.sent.iter().find(|sent| sent.ssrc == ssrc);
        let (packets, octets) = sent.map_or((0, 0), |sent| (sent.packets, sent.octets));
        if packets == 0 {
            // No time yet: receivers take nothing from it.
            info[..8].fill(0);
        }
        info[12..16].copy_from_slice(&packets.to_be_bytes());
        info[16..20].copy_from_slice(&octets.to_be_bytes());
    }

    /// Puts the session's CNAME for those of the same length, in chunks whose first SSRC stands before them
    /// (RFC 3550, 6.5).
    fn rename(&self, mut chunks: &mut [u8]) {
        loop {
            let mut at = 0;
            while let Some([kind, len]) = chunks.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied() {
                if kind == 0 {
                    break;
                }
                let len = usize::from(len);
                let Some(text) = chunks.get_mut(at + 2..at + 2 + len) else { return };
                if kind == CNAME && len == self.cname.len() {
                    text.copy_from_slice(self.cname.as_bytes());
                }
                at += 2 + len;
            }
            // A zero ends a chunk, and fills it up to a multiple of four; the next chunk's SSRC follows.
            let next = (at + 1).next_multiple_of(4) + 4;
            let Some((_, behind)) = chunks.split_at_mut_checked(next) else { return };
            chunks = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ssrc: u32) -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6];
        report.extend_from_slice(&ssrc.to_be_bytes());
        report.extend_from_slice(&[7; 8]); // NTP
        report.extend_from_slice(&[8; 4]); // RTP
        report.extend_from_slice(&99_u32.to_be_bytes());
        report.extend_from_slice(&9999_u32.to_be_bytes());
        report
    }

    fn description(names: &[(u32, &str)]) -> Vec<u8> {
        let mut body = vec![];
        for (ssrc, name) in names {
            body.extend_from_slice(&ssrc.to_be_bytes());
            body.extend_from_slice(&[1, name.len() as u8]);
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut whole = vec![0x80 | names.len() as u8, 202, 0, (body.len() / 4) as u8];
        whole.extend_from_slice(&body);
        whole
    }

    fn corrected(ledger: &Ledger, mut compound: Vec<u8>) -> Vec<u8> {
        let (head, rest) = compound.split_at_mut(8);
        ledger.correct(head, rest);
        compound
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new("our-name");
        ledger.count(1, 100);
        ledger.count(1, 50);
        ledger.count(2, 7);
        ledger
    }

    #[test]
    fn counts_are_of_what_was_sent_and_names_are_one() {
        let before = [
            report(1),
            report(2),
            report(3),
            description(&[(1, "str0m-on"), (2, "str0m-tw"), (3, "longer name")]),
        ];
        let after = corrected(&ledger(), before.concat());
        let counts = |n: usize| {
            let r = &after[28 * n..28 * (n + 1)];
            (
                u32::from_be_bytes(r[20..24].try_into().expect("4")),
                u32::from_be_bytes(r[24..].try_into().expect("4")),
            )
        };
        assert_eq!([counts(0), counts(1), counts(2)], [(2, 150), (1, 7), (0, 0)]);
        assert_eq!(after[8..16], [7; 8]);
        assert_eq!(after[28 * 2 + 8..28 * 2 + 16], [0; 8], "no time where nothing was sent");
        assert_eq!(after[84..], description(&[(1, "our-name"), (2, "our-name"), (3, "longer name")]));
    }

    #[test]
    fn a_description_may_come_first() {
        let before = [description(&[(1, "str0m-on"), (2, "str0m-tw")]), report(1)].concat();
        let after = corrected(&ledger(), before);
        assert_eq!(after[..after.len() - 28], description(&[(1, "our-name"), (2, "our-name")]));
        assert_eq!(after[after.len() - 8..after.len() - 4], 2_u32.to_be_bytes());
    }

    #[test]
    fn what_is_cut_short_or_strange_is_left_alone() {
        let whole = [report(1), description(&[(1, "str0m-on")]), report(2)].concat();
        for len in 8..whole.len() {
            corrected(&ledger(), whole[..len].to_vec());
        }
        for byte in 8..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut odd = whole.clone();
                odd[byte] = value;
                corrected(&ledger(), odd);
            }
        }
        let feedback = [&[0x81, 206, 0, 2][..], &[0; 8]].concat();
        assert_eq!(corrected(&ledger(), feedback.clone()), feedback);
    }

    #[test]
    fn media_is_no_report() {
        for (first, second, is) in [
            (0x80, 200, true),
            (0x81, 206, true),
            (0x80, 96, false),
            (0x80, 111, false),
            (0x80, 0xe0, false),
            (0x80, 0xef, false),
        ] {
            assert_eq!(is_report(&[first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), is, "{second}");
        }
        assert!(!is_report(&[0x90, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
}
