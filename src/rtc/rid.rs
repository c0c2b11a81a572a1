//! The name of one of several encodings of a video that are sent at once (RFC 8851, 10; RFC 8852, 3).

use std::fmt;

/// What a header extension of one byte holds (RFC 8285, 4.2).
const MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rid {
    len: u8,
    name: [u8; MAX],
}

impl Rid {
    /// `None` if it is no name: 1 to 16 letters, digits, `-` and `_`.
    pub(crate) fn new(name: &[u8]) -> Option<Rid> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if !(1..=MAX).contains(&name.len()) || !name.iter().all(plain) {
            return None;
        }
        let mut rid = Rid { len: name.len() as u8, name: [0; MAX] };
        rid.name[..name.len()].copy_from_slice(name);
        Some(rid)
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name[..self.len.into()].iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["h", "0", "full_hd-1", "0123456789abcdef"] {
            assert_eq!(Rid::new(good.as_bytes()).expect(good).to_string(), good);
        }
        for bad in ["", "0123456789abcdefg", "a b", "a;b", "a,b", "~a", "ä"] {
            assert_eq!(Rid::new(bad.as_bytes()), None, "{bad}");
        }
    }
}
