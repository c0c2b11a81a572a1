//! The other end of a case: raw frames over TCP, and a verdict on what came back. Only `std`.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::{Case, Close, Event, Frame, Step, Verdict};

/// The timeout for a response, which also suffices on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How the other end ended the connection.
enum End {
    Closed(Option<u16>),
    Dropped,
}

pub(super) struct Fuzzer {
    tcp: TcpStream,
    reader: BufReader<TcpStream>,
    /// We are the client: our frames are masked, theirs must not be.
    client: bool,
    events: Vec<Event>,
    /// The fragments of a message so far.
    fragments: Option<(u8, Vec<u8>)>,
    closed: bool,
    end: Option<End>,
}

/// Whether the socket has ended, as opposed to a timeout or an invalid frame.
fn gone(e: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(e.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

impl Fuzzer {
    pub(super) fn new(tcp: TcpStream, client: bool) -> io::Result<Fuzzer> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(tcp.try_clone()?);
        Ok(Fuzzer { tcp, reader, client, events: Vec::new(), fragments: None, closed: false, end: None })
    }

    pub(super) fn run(mut self, case: &Case) -> Verdict {
        match self.play(case) {
            Ok(()) => self.judge(case),
            Err(why) => Verdict::Failed(why),
        }
    }

    fn play(&mut self, case: &Case) -> Result<(), String> {
        for step in &case.steps {
            match step {
                Step::Send(frames, chop) => self.send(frames, *chop),
                Step::Chops(frame, places) => self.chop(frame, *places),
                Step::Await(count) => self.wait(*count)?,
            }
        }
        if case.close == Close::WhenAllCame {
            self.wait(case.expected[0].1.len())?;
            self.send(&[Frame::close(1000, b"")], 0);
        }
        while self.end.is_none() {
            self.read()?;
        }
        // Both ends have sent everything; the other end now learns that we have too.
        _ = self.tcp.shutdown(Shutdown::Write);
        match self.frame() {
            Ok(_) => Err("a frame came after the close".into()),
            Err(e) if gone(&e) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn judge(&self, case: &Case) -> Verdict {
        let Some((verdict, _)) = case.expected.iter().find(|(_, events)| *events == self.events) else {
            return Verdict::Failed(format!("came: {:?}", self.events));
        };
        match (&self.end, &case.close) {
            (Some(End::Closed(None)), _) => verdict.clone(),
            (Some(End::Closed(Some(code))), close) if close.codes().contains(code) => verdict.clone(),
            (Some(End::Closed(code)), _) => Verdict::Failed(format!("closed with {code:?}")),
            (_, Close::Fails(_) | Close::CleanOrFails(_)) => verdict.clone(),
            _ => Verdict::Failed("the connection was dropped without a close".into()),
        }
    }

    /// A failed write is ignored: the other end may have closed the socket already, rightly.
    fn send(&mut self, frames: &[Frame], chop: usize) {
        let mut bytes = Vec::new();
        for frame in frames {
            self.closed |= frame.opcode() == 8;
            write(frame, self.client.then_some(KEY), &mut bytes);
        }
        let chop = if chop == 0 { bytes.len() } else { chop };
        _ = bytes.chunks(chop).try_for_each(|chunk| self.tcp.write_all(chunk));
    }

    fn chop(&mut self, frame: &Frame, places: [usize; 2]) {
        let mut bytes = Vec::new();
        write(frame, self.client.then_some(KEY), &mut bytes);
        let head = bytes.len() - frame.payload.len;
        let [second, third] = places.map(|place| head + place);
        let chops = [&bytes[..second], &bytes[second..third], &bytes[third..]];
        _ = chops.into_iter().try_for_each(|chop| self.tcp.write_all(chop));
    }

    fn wait(&mut self, count: usize) -> Result<(), String> {
        while self.events.len() < count && self.end.is_none() {
            self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let (first, payload) = match self.frame() {
            Ok(frame) => frame,
            Err(e) if gone(&e) => {
                self.end = Some(End::Dropped);
                return Ok(());
            }
            Err(e) => return Err(format!("no frame came: {e}")),
        };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 || (opcode >= 8 && (!last || payload.len() > 125)) {
            return Err(format!("an invalid frame came: first byte {first:#04x}"));
        }
        match (opcode, self.fragments.take()) {
            (8, _) => return self.read_close(&payload),
            (9, fragments) => {
                self.fragments = fragments;
                self.events.push(Event::Ping(payload.into()));
            }
            (10, fragments) => {
                self.fragments = fragments;
                self.events.push(Event::Pong(payload.into()));
            }
            (0, Some((kind, mut message))) => {
                message.extend(payload);
                self.message(kind, message, last);
            }
            (1 | 2, None) => self.message(opcode, payload, last),
            _ => return Err(format!("a frame came out of order: first byte {first:#04x}")),
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, message: Vec<u8>, last: bool) {
        match last {
            true => self.events.push(Event::Message { binary: kind == 2, data: message.into() }),
            false => self.fragments = Some((kind, message)),
        }
    }

    fn read_close(&mut self, payload: &[u8]) -> Result<(), String> {
        let code = match payload {
            [] => None,
            [high, low, reason @ ..] if std::str::from_utf8(reason).is_ok() => {
                Some(u16::from_be_bytes([*high, *low]))
            }
            _ => return Err("a close came with a broken payload".into()),
        };
        self.end = Some(End::Closed(code));
        if !self.closed {
            self.send(&[Frame::close(code.unwrap_or(1000), b"")], 0);
        }
        Ok(())
    }

    /// The first byte and the payload of the next frame.
    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first] = self.bytes()?;
        let [second] = self.bytes()?;
        let len = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            len => u64::from(len),
        };
        if (second & 0x80 != 0) == self.client {
            return Err(io::Error::other("only a client's frames are masked, and all of them"));
        }
        let key = if self.client { [0; 4] } else { self.bytes()? };
        let mut payload = vec![0; usize::try_from(len).expect("64 bits")];
        self.reader.read_exact(&mut payload)?;
        mask(&mut payload, key);
        Ok((first, payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn write(frame: &Frame, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mut payload = frame.payload.bytes().into_owned();
    let masked = if key.is_some() { 0x80 } else { 0 };
    out.push(frame.first);
    match payload.len() {
        len @ ..=125 => out.push(masked | len as u8),
        len @ ..=0xffff => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        out.extend(key);
        mask(&mut payload, key);
    }
    out.extend(payload);
}

/// Eight bytes at a time: a debug build has much to send.
fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut eights = payload.chunks_exact_mut(8);
    for eight in &mut eights {
        let bytes = u64::from_ne_bytes((&*eight).try_into().expect("chunks of eight"));
        eight.copy_from_slice(&(bytes ^ wide).to_ne_bytes());
    }
    eights.into_remainder().iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, k)| *byte ^= k);
}
