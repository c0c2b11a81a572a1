//! WebSocket frames as a client writes and reads them (RFC 6455, section 5.2), only as far as the load needs.

/// A masking key; its value makes no difference to the server.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Appends a whole frame, masked.
pub(crate) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        n @ ..126 => out.push(0x80 | n as u8),
        n => {
            let n = u16::try_from(n).expect("no case sends more than 64 KiB at once");
            out.push(0x80 | 126);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// The first frame of these bytes: its opcode, its payload, and the rest.
pub(crate) fn read(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        126 => rest.split_first_chunk().map(|(n, rest)| (usize::from(u16::from_be_bytes(*n)), rest))?,
        127 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n) as usize, rest))?,
        n => (usize::from(n), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first & 0x0f, payload, rest))
}
