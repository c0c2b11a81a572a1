//! RTP headers (RFC 3550, 5.1), with the transport-wide sequence number in a one-byte extension (RFC 8285, 4.2).

pub(crate) struct Header {
    pub(crate) marker: bool,
    /// Whether the payload ends with padding, whose last byte is its length.
    pub(crate) padded: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
    /// Where the payload begins.
    pub(crate) len: usize,
    pub(crate) transport: Option<u16>,
}

const ONE_BYTE: [u8; 2] = [0xbe, 0xde];

impl Header {
    /// What [`Header::write`] takes.
    pub(crate) const LEN: usize = 20;

    /// `transport` is the number of the extension.
    pub(crate) fn read(packet: &[u8], transport: u8) -> Option<Header> {
        let fixed = packet.first_chunk::<12>()?;
        let mut len = 12 + 4 * usize::from(fixed[0] & 0x0f);
        let mut number = None;
        if fixed[0] & 0x10 != 0 {
            let &[a, b, high, low] = packet.get(len..)?.first_chunk()?;
            let words = usize::from(u16::from_be_bytes([high, low]));
            let extensions = packet.get(len + 4..len + 4 + 4 * words)?;
            if [a, b] == ONE_BYTE {
                number = find(extensions, transport);
            }
            len += 4 + 4 * words;
        }
        (len < packet.len()).then(|| Header {
            marker: fixed[1] & 0x80 != 0,
            padded: fixed[0] & 0x20 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            len,
            transport: number,
        })
    }

    pub(crate) fn write(out: &mut [u8], packet: &Outgoing) {
        out[0] = 0x90;
        out[1] = u8::from(packet.marker) << 7 | packet.payload_type;
        out[2..4].copy_from_slice(&(packet.index as u16).to_be_bytes());
        out[4..8].copy_from_slice(&packet.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&packet.ssrc.to_be_bytes());
        out[12..14].copy_from_slice(&ONE_BYTE);
        out[14..16].copy_from_slice(&[0, 1]);
        out[16] = packet.extension << 4 | 1;
        out[17..19].copy_from_slice(&packet.transport.to_be_bytes());
        out[19] = 0;
    }
}

pub(crate) struct Outgoing {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    /// The sequence number and, above it, how often it began anew.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// The number of the extension, and what it says.
    pub(crate) extension: u8,
    pub(crate) transport: u16,
}

fn find(mut extensions: &[u8], id: u8) -> Option<u16> {
    while let [first, rest @ ..] = extensions {
        let len = match first {
            0 => 0,
            first => usize::from(first & 0x0f) + 1,
        };
        let value = rest.get(..len)?;
        if first >> 4 == id
            && let [high, low] = *value
        {
            return Some(u16::from_be_bytes([high, low]));
        }
        extensions = &rest[len..];
    }
    None
}

/// The number nearest to `highest` whose low 16 bits are these.
pub(crate) fn extend(highest: u64, low: u16) -> u64 {
    let ahead = low.wrapping_sub(highest as u16) as i16;
    highest.saturating_add_signed(i64::from(ahead))
}
