//! The duration of an Opus packet, from its first bytes (RFC 6716, 3.1 and 3.2). Nothing is decoded.

use super::Micros;

/// Microseconds; `None` if this is not a valid packet.
pub(super) fn duration(packet: &[u8]) -> Option<Micros> {
    let (&toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config % 2)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => Micros::from(rest.first()? & 0x3f),
    };
    // R5: at most 120 ms.
    let duration = frame * frames;
    (frames > 0 && duration <= 120_000).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_gives_the_duration() {
        let table: [(&[u8], Option<Micros>); 9] = [
            (&[], None),
            (&[0x78, 1], Some(20_000)), // CELT, 20 ms, one frame
            (&[0xfc], Some(20_000)),    // what libopus sends for silence
            (&[0x08, 1], Some(20_000)), // SILK
            (&[0x18], Some(60_000)),
            (&[0x19], Some(120_000)),
            (&[0x1b, 3], None), // 180 ms
            (&[0x83, 48], Some(120_000)),
            (&[0x83, 0], None),
        ];
        for (packet, expected) in table {
            assert_eq!(duration(packet), expected, "{packet:02x?}");
        }
        for toc in 0..=255 {
            for count in 0..=255 {
                assert!(duration(&[toc, count]).is_none_or(|d| (2_500..=120_000).contains(&d)));
            }
        }
    }
}
