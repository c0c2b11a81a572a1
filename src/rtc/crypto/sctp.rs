//! Checks SCTP packets before str0m reads them (RFC 9260, 3).
//!
//! Whoever sends them has been authenticated by DTLS, and may be hostile all the same. str0m's SCTP limits the bytes of
//! messages, and neither the streams that a peer names, nor the associations that it begins, nor the pieces into which it
//! cuts a message; each of them costs memory. What no WebRTC stack sends is dropped here.

/// Streams beyond it are refused. Stacks take the lowest number that is free, but for aiortc, which counts on: 512
/// channels in the life of a session.
const MAX_STREAM: u16 = 1024;
/// INIT chunks of a session. One is enough; it is repeated where the answer is lost, at least 3 s later, with growing
/// pauses.
const MAX_INITS: u8 = 16;
/// A piece of a message that is not its last fills a packet, or what another message left of one. Smaller ones are
/// allowed as long as they are few: each costs a token, and so many bytes of data give one back.
const PIECE: usize = 256;
/// The tokens for small pieces at first, and at most.
const TOKENS: usize = 64;

/// Of the common header: two ports, the verification tag and the checksum.
const HEADER: usize = 12;
/// Type, flags and length of a chunk.
const CHUNK: usize = 4;
/// Of a DATA chunk: TSN, stream, sequence number and payload protocol after that.
const DATA_CHUNK: usize = 16;

const DATA: u8 = 0;
const INIT: u8 = 1;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
/// The last fragment of a message.
const ENDS: u8 = 1;

/// The shortest packet: a header, and a chunk without a value.
pub(crate) const MIN_PACKET: usize = HEADER + CHUNK;

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPacket {
    /// Its chunks don't fill it.
    Malformed,
    /// A DATA chunk without data, or of a stream that nobody needs.
    Stream,
    /// Another association.
    Inits,
    /// One of too many small pieces of messages.
    Pieces,
}

/// The packets of one DTLS connection.
#[derive(Debug)]
pub(crate) struct Filter {
    inits: u8,
    /// Bytes towards small pieces.
    credit: usize,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter { inits: 0, credit: TOKENS * PIECE }
    }
}

impl Filter {
    /// Whether a packet may be read; and whether its sender ends the association with it.
    pub(crate) fn check(&mut self, packet: &[u8]) -> Result<bool, BadPacket> {
        let mut rest = packet.get(HEADER..).filter(|rest| !rest.is_empty()).ok_or(BadPacket::Malformed)?;
        let mut ends = false;
        while let Some([kind, flags, len @ ..]) = rest.first_chunk::<CHUNK>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let chunk = rest.get(..len).filter(|_| len >= CHUNK).ok_or(BadPacket::Malformed)?;
            match *kind {
                DATA => self.check_data(*flags, chunk)?,
                INIT if self.inits == MAX_INITS => return Err(BadPacket::Inits),
                INIT => self.inits += 1,
                ABORT | SHUTDOWN => ends = true,
                _ => {}
            }
            // The last chunk may come without its padding.
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        if rest.is_empty() { Ok(ends) } else { Err(BadPacket::Malformed) }
    }

    fn check_data(&mut self, flags: u8, chunk: &[u8]) -> Result<(), BadPacket> {
        let data = chunk.len().checked_sub(DATA_CHUNK).filter(|len| *len > 0).ok_or(BadPacket::Stream)?;
        if u16::from_be_bytes([chunk[8], chunk[9]]) >= MAX_STREAM {
            return Err(BadPacket::Stream);
        }
        if flags & ENDS == 0 && data < PIECE {
            self.credit = self.credit.checked_sub(PIECE).ok_or(BadPacket::Pieces)?;
        }
        self.credit = (self.credit + data).min(TOKENS * PIECE);
        Ok(())
    }
}

/// What each packet of an association starts with: both ports, and the tag by which its receiver knows it.
pub(crate) type Start = [u8; 8];

/// Returns the start of a packet that is sent; `None` before the other side has named its tag.
pub(crate) fn start_of(packet: &[u8]) -> Option<Start> {
    packet.first_chunk().copied().filter(|start: &Start| start[4..] != [0; 4])
}

/// Returns a packet that ends an association (RFC 9260, 9.1).
pub(crate) fn abort(start: Start) -> Vec<u8> {
    packet(start, &[ABORT, 0, 0, CHUNK as u8])
}

/// Returns a packet with these chunks.
pub(crate) fn packet(start: Start, chunks: &[u8]) -> Vec<u8> {
    let mut packet = [&start[..], &[0; 4], chunks].concat();
    let checksum = crc32c(&packet).to_le_bytes();
    packet[start.len()..HEADER].copy_from_slice(&checksum);
    packet
}

/// The checksum of SCTP (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let bit = |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[cfg(any(test, fuzzing))]
type Garbler = Box<dyn FnMut(&[u8]) -> Vec<u8>>;

#[cfg(any(test, fuzzing))]
thread_local! {
    static GARBLER: std::cell::RefCell<Option<Garbler>> = const { std::cell::RefCell::new(None) };
}

/// A test has the DTLS clients of this thread send something else than SCTP wants.
#[cfg(all(any(test, fuzzing), feature = "recv"))]
pub(crate) fn set_garbler(garbler: Option<Garbler>) {
    GARBLER.set(garbler);
}

#[cfg(any(test, fuzzing))]
pub(super) fn garbles() -> bool {
    GARBLER.with_borrow(Option::is_some)
}

#[cfg(any(test, fuzzing))]
pub(super) fn garble(packet: &[u8]) -> Vec<u8> {
    GARBLER
        .with_borrow_mut(|garbler| garbler.as_mut().map_or_else(|| packet.to_vec(), |garble| garble(packet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Without a checksum, which the filter leaves to str0m.
    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; HEADER], chunks.concat()].concat()
    }

    fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(CHUNK + value.len()).expect("short").to_be_bytes();
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        [&[kind, flags, len[0], len[1]][..], value, &padding].concat()
    }

    fn data(flags: u8, stream: u16, len: usize) -> Vec<u8> {
        let head = [[0; 4].as_slice(), &stream.to_be_bytes(), &[0; 6]].concat();
        chunk(DATA, flags, &[head, vec![7; len]].concat())
    }

    #[test]
    fn what_no_stack_sends_is_dropped() {
        let mut cut = packet(&[data(3, 0, 5)]);
        cut.truncate(cut.len() - 4);
        let mut unpadded = packet(&[data(3, 0, 5)]);
        unpadded.truncate(unpadded.len() - 3);
        let mut zero = packet(&[chunk(10, 0, &[])]);
        zero[HEADER + 3] = 0;
        let table: [(&str, Vec<u8>, Result<bool, BadPacket>); 13] = [
            ("nothing", vec![], Err(BadPacket::Malformed)),
            ("a header", vec![0; HEADER], Err(BadPacket::Malformed)),
            ("half a chunk", vec![0; HEADER + 2], Err(BadPacket::Malformed)),
            ("a chunk of no length", zero, Err(BadPacket::Malformed)),
            ("a chunk that is cut", cut, Err(BadPacket::Malformed)),
            ("no padding at the end", unpadded, Ok(false)),
            ("a heartbeat and a message", packet(&[chunk(4, 0, &[1; 9]), data(3, 1, 1)]), Ok(false)),
            ("no data", packet(&[data(3, 1, 0)]), Err(BadPacket::Stream)),
            ("a short DATA chunk", packet(&[chunk(DATA, 3, &[0; 4])]), Err(BadPacket::Stream)),
            ("the last stream", packet(&[data(3, MAX_STREAM - 1, 1)]), Ok(false)),
            ("one behind", packet(&[data(3, 2, 1), data(3, MAX_STREAM, 1)]), Err(BadPacket::Stream)),
            ("an abort", packet(&[chunk(ABORT, 0, &[])]), Ok(true)),
            ("a shutdown", packet(&[chunk(SHUTDOWN, 0, &[0; 4])]), Ok(true)),
        ];
        for (name, packet, expected) in table {
            assert_eq!(Filter::default().check(&packet), expected, "{name}");
        }
    }

    #[test]
    fn associations_are_not_begun_again_and_again() {
        let mut filter = Filter::default();
        let init = packet(&[chunk(INIT, 0, &[0; 16])]);
        for _ in 0..MAX_INITS {
            assert_eq!(filter.check(&init), Ok(false));
        }
        assert_eq!(filter.check(&init), Err(BadPacket::Inits));
        assert_eq!(filter.check(&packet(&[data(3, 0, 1)])), Ok(false), "the one that there is goes on");
    }

    #[test]
    fn small_pieces_are_few_beside_what_is_sent() {
        let mut filter = Filter::default();
        let piece = packet(&[data(0, 0, 10)]);
        let taken = (0..1000).take_while(|_| filter.check(&piece).is_ok()).count();
        assert!((TOKENS..TOKENS + 8).contains(&taken), "{taken}");
        // Small messages are whole.
        for _ in 0..1000 {
            assert_eq!(filter.check(&packet(&[data(3, 0, 10)])), Ok(false));
        }
        // What a full packet leaves to the next message.
        for _ in 0..1000 {
            assert_eq!(filter.check(&packet(&[data(1, 0, 1100), data(2, 1, 20)])), Ok(false));
        }
    }

    #[test]
    fn an_abort_is_one_of_the_association() {
        // RFC 3720, B.4, and the usual vector.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut sent = packet(&[data(3, 0, 5)]);
        assert_eq!(start_of(&sent), None, "an INIT has no tag");
        sent[..8].copy_from_slice(&[0x13, 0x88, 0x13, 0x88, 1, 2, 3, 4]);
        let abort = abort(start_of(&sent).expect("a tag"));
        assert_eq!((&abort[..8], &abort[12..]), (&sent[..8], &[6, 0, 0, 4][..]));
        assert_eq!(Filter::default().check(&abort), Ok(true));
    }
}
