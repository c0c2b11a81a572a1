//! RTP headers (RFC 3550, 5.1), with one-byte header extensions (RFC 8285, 4.2).

/// The IDs of the header extensions that a section negotiated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) struct Extensions {
    /// The transport-wide sequence number.
    pub(in crate::rtc) transport: Option<u8>,
    /// The absolute send time, for receivers that estimate bandwidth themselves (REMB).
    pub(in crate::rtc) send_time: Option<u8>,
    /// The name of the section.
    pub(in crate::rtc) mid: Option<u8>,
    /// When a frame was captured.
    pub(in crate::rtc) capture_time: Option<u8>,
    /// How long a receiver may delay frames.
    pub(in crate::rtc) playout_delay: Option<u8>,
}

/// The header of one packet.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::rtc) struct Header<'a> {
    pub(in crate::rtc) pt: u8,
    pub(in crate::rtc) marker: bool,
    /// Whether the payload ends with padding.
    pub(in crate::rtc) padding: bool,
    pub(in crate::rtc) number: u16,
    pub(in crate::rtc) time: u32,
    pub(in crate::rtc) ssrc: u32,
    /// Extension ID and transport-wide sequence number.
    pub(in crate::rtc) transport: Option<(u8, u16)>,
    /// Extension ID and send time: the low 24 bits are seconds in 6.18 fixed point.
    pub(in crate::rtc) send_time: Option<(u8, u32)>,
    /// Extension ID and name: 1 to 16 bytes.
    pub(in crate::rtc) mid: Option<(u8, &'a str)>,
    /// Extension ID and capture time: an NTP timestamp.
    pub(in crate::rtc) capture_time: Option<(u8, u64)>,
    /// Extension ID and playout delay: minimum and maximum, twelve bits each, in units of 10 ms.
    pub(in crate::rtc) playout_delay: Option<(u8, u32)>,
}

/// The fixed part.
const FIXED: usize = 12;

impl Header<'_> {
    /// Its size, in bytes.
    pub(in crate::rtc) fn len(&self) -> usize {
        let body = self.body();
        if body == 0 { FIXED } else { FIXED + 4 + body.next_multiple_of(4) }
    }

    fn body(&self) -> usize {
        self.transport.map_or(0, |_| 3)
            + self.send_time.map_or(0, |_| 4)
            + self.mid.map_or(0, |(_, mid)| 1 + mid.len())
            + self.capture_time.map_or(0, |_| 9)
            + self.playout_delay.map_or(0, |_| 4)
    }

    /// Appends the header to `out`.
    pub(in crate::rtc) fn write(&self, out: &mut Vec<u8>) {
        let body = self.body();
        let first = 0x80 | u8::from(self.padding) << 5 | u8::from(body > 0) << 4;
        out.extend_from_slice(&[first, u8::from(self.marker) << 7 | self.pt]);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if body == 0 {
            return;
        }
        let padded = body.next_multiple_of(4);
        out.extend_from_slice(&[0xbe, 0xde, 0, (padded / 4) as u8]);
        if let Some((id, number)) = self.transport {
            let [high, low] = number.to_be_bytes();
            out.extend_from_slice(&[id << 4 | 1, high, low]);
        }
        if let Some((id, time)) = self.send_time {
            let [_, a, b, c] = time.to_be_bytes();
            out.extend_from_slice(&[id << 4 | 2, a, b, c]);
        }
        if let Some((id, mid)) = self.mid {
            out.push(id << 4 | (mid.len() - 1) as u8);
            out.extend_from_slice(mid.as_bytes());
        }
        if let Some((id, time)) = self.capture_time {
            out.push(id << 4 | 7);
            out.extend_from_slice(&time.to_be_bytes());
        }
        if let Some((id, delay)) = self.playout_delay {
            let [_, a, b, c] = delay.to_be_bytes();
            out.extend_from_slice(&[id << 4 | 2, a, b, c]);
        }
        out.resize(out.len() + padded - body, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_standards() {
        let plain = Header { pt: 96, number: 0x1234, time: 0x0102_0304, ssrc: 7, ..Header::default() };
        let full = Header {
            marker: true,
            padding: true,
            transport: Some((3, 0xabcd)),
            send_time: Some((2, 0xff01_0203)),
            mid: Some((4, "v1")),
            capture_time: Some((5, 0x0102_0304_0506_0708)),
            playout_delay: Some((6, 0x00_1002)),
            ..plain
        };
        let fixed = [0x80, 96, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 7];
        let extended = [
            0xb0, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 7, 0xbe, 0xde, 0, 6, 0x31, 0xab, 0xcd, 0x22, 1, 2,
            3, 0x41, b'v', b'1', 0x57, 1, 2, 3, 4, 5, 6, 7, 8, 0x62, 0, 0x10, 2, 0,
        ];
        for (header, bytes) in [(plain, &fixed[..]), (full, &extended)] {
            let mut out = vec![];
            header.write(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(header.len(), bytes.len());
        }
    }

    #[test]
    fn a_header_with_everything_leaves_room_for_a_payload() {
        let name = "0123456789abcdef";
        let header = Header {
            transport: Some((3, 1)),
            send_time: Some((2, 1)),
            mid: Some((4, name)),
            capture_time: Some((5, 1)),
            playout_delay: Some((6, 1)),
            ..Header::default()
        };
        // The MTU of IPv6 (RFC 8200, 5) without the headers of IP and UDP, with AES-GCM's tag and the original number
        // of a retransmission.
        assert!(header.len() + 2 + crate::rtc::send::cut::MAX_PAYLOAD + 16 <= 1280 - 48);
    }
}
