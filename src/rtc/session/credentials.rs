//! ICE user fragments and passwords from the system's random numbers. str0m would use a generator whose other outputs
//! are visible to peers, and anybody who knows a session's password can answer its checks.

use str0m::IceCreds;

/// `ice-char` of RFC 8839, 5.4: 64 of them, so that each takes six bits.
const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// RFC 8839 requires at least 4 and 22 characters; these have 48 and 144 bits.
const UFRAG: usize = 8;
const PASSWORD: usize = 24;
const NAME: usize = 20;

pub(in crate::rtc) fn credentials() -> IceCreds {
    let text = text(UFRAG + PASSWORD);
    let (ufrag, pass) = text.split_at(UFRAG);
    IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() }
}

/// Returns a CNAME for one session that reveals nothing (RFC 7022, 4.2, which requires 96 bits).
pub(in crate::rtc) fn random_name() -> String {
    text(2 * NAME).chars().filter(char::is_ascii_alphanumeric).take(NAME).collect()
}

/// Returns a session ID for the `o=` line: below 2^62, so that any parser can represent it (RFC 8829, 5.2.1).
pub(in crate::rtc) fn random_number() -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system has random numbers");
    u64::from_be_bytes(random) >> 2
}

pub(in crate::rtc) fn random_ssrc() -> u32 {
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the system has random numbers");
    u32::from_be_bytes(random)
}

fn text(len: usize) -> String {
    let mut random = vec![0; len];
    getrandom::fill(&mut random).expect("the system has random numbers");
    random.iter().map(|byte| char::from(CHARS[usize::from(byte & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_sessions_have_the_same_and_all_are_as_the_rfc_has_them() {
        let all: Vec<IceCreds> = (0..1000).map(|_| credentials()).collect();
        let names: HashSet<&str> = all.iter().map(|c| c.ufrag.as_str()).collect();
        let passwords: HashSet<&str> = all.iter().map(|c| c.pass.as_str()).collect();
        assert_eq!((names.len(), passwords.len()), (1000, 1000));
        for c in &all {
            assert_eq!((c.ufrag.len(), c.pass.len()), (UFRAG, PASSWORD));
            assert!(c.ufrag.bytes().chain(c.pass.bytes()).all(|b| CHARS.contains(&b)), "{c:?}");
        }
    }
}
