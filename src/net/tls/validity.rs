//! The validity of a certificate, according to itself: the necessary part of X.509 in DER (RFC 5280, 4.1).

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `None` if these bytes are not a certificate.
pub(super) fn of(der: &[u8]) -> Option<RangeInclusive<SystemTime>> {
    let mut certificate = take(&mut &*der, SEQUENCE)?;
    let mut body = take(&mut certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        take(&mut body, VERSION)?;
    }
    take(&mut body, INTEGER)?; // the serial number
    take(&mut body, SEQUENCE)?; // the signature's algorithm
    take(&mut body, SEQUENCE)?; // the issuer
    let mut dates = take(&mut body, SEQUENCE)?;
    let (start, end) = (time(&mut dates)?, time(&mut dates)?);
    Some(start..=end)
}

/// The content of the next element, which must have this tag.
fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, content) = element(rest)?;
    (found == tag).then_some(content)
}

fn element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, after) = rest.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(first), after),
        // No certificate is as large as 4 GiB.
        0x81..=0x84 => {
            let (bytes, after) = after.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, after)
        }
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((tag, content))
}

/// `YYMMDDHHMMSSZ`, or with a year of four digits: certificates allow no other format.
fn time(rest: &mut &[u8]) -> Option<SystemTime> {
    let (tag, text) = element(rest)?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

/// Days since 1970, in eras of 400 years that begin on the first of March, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = match content.len() {
            n @ ..0x80 => vec![n as u8],
            n => vec![0x82, (n >> 8) as u8, n as u8],
        };
        [&[tag], &length[..], content].concat()
    }

    /// A minimal certificate with a long serial number.
    fn certificate(version: bool, dates: &[u8]) -> Vec<u8> {
        let version = if version { der(VERSION, &der(INTEGER, &[2])) } else { vec![] };
        let before =
            [version, der(INTEGER, &[7; 200]), der(SEQUENCE, &[]), der(SEQUENCE, b"issuer")].concat();
        let body = [before, der(SEQUENCE, dates), der(SEQUENCE, b"subject")].concat();
        der(SEQUENCE, &[der(SEQUENCE, &body), der(SEQUENCE, &[])].concat())
    }

    fn seconds(at: SystemTime) -> i64 {
        match at.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        }
    }

    #[test]
    fn both_dates_are_parsed_in_both_formats() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "500101000000Z", -631_152_000),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "000229120000Z", 951_825_600),
            (GENERALIZED_TIME, "20261125000000Z", 1_795_564_800),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            let date = der(tag, text.as_bytes());
            for version in [true, false] {
                let found = of(&certificate(version, &[date.clone(), date.clone()].concat())).expect(text);
                assert_eq!((seconds(*found.start()), seconds(*found.end())), (expected, expected), "{text}");
            }
        }
    }

    #[test]
    fn invalid_dates_are_none() {
        for (tag, text) in [
            (UTC_TIME, "700101000000"),
            (UTC_TIME, "701301000000Z"),
            (UTC_TIME, "7001010000Z"),
            (UTC_TIME, "19700101000000Z"),
            (UTC_TIME, "70010100000-Z"),
            (GENERALIZED_TIME, "700101000000Z"),
            (GENERALIZED_TIME, "20260101240000Z"),
            (INTEGER, "700101000000Z"),
        ] {
            let date = der(tag, text.as_bytes());
            assert_eq!(of(&certificate(true, &[date.clone(), date].concat())), None, "{text}");
        }
    }

    #[test]
    fn a_truncated_or_corrupt_certificate_is_none() {
        let date = der(UTC_TIME, b"700101000000Z");
        let whole = certificate(true, &[date.clone(), date].concat());
        assert!(of(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(of(&whole[..end]), None, "{end}");
        }
        // No value of any byte causes a panic.
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bent = whole.clone();
                bent[at] = byte;
                _ = of(&bent);
            }
        }
    }
}
