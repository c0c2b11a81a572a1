//! What the suite sends in each case, and what it expects.

use super::utf8::{self, KOSME};
use super::{Case, Close, Data, Event, Frame, Step, Verdict};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const HELLO: &str = "Hello, world!";
/// Bytes that are not valid UTF-8.
const OCTETS: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";

const UMLAUTS: &str = "Hello-µ@ßöäüàá-UTF-8!!";

/// How a case writes its frames to TCP.
const PACES: [(&str, Pace); 3] =
    [("in one chop", Pace::Once), ("frame by frame", Pace::Frames), ("octet by octet", Pace::Octets)];

#[derive(Clone, Copy)]
enum Pace {
    Once,
    Frames,
    Octets,
}

impl Pace {
    fn steps(self, frames: Vec<Frame>) -> Vec<Step> {
        match self {
            Pace::Once => vec![Step::Send(frames, 0)],
            Pace::Frames => frames.into_iter().map(|frame| Step::Send(vec![frame], 0)).collect(),
            Pace::Octets => vec![Step::Send(frames, 1)],
        }
    }
}

/// A final frame.
fn frame(opcode: u8, payload: impl Into<Data>) -> Frame {
    Frame { first: 0x80 | opcode, payload: payload.into() }
}

/// A frame that others continue.
fn begun(opcode: u8, payload: impl Into<Data>) -> Frame {
    Frame { first: opcode, payload: payload.into() }
}

fn reserved(bits: u8, opcode: u8, payload: impl Into<Data>) -> Frame {
    Frame { first: 0x80 | bits << 4 | opcode, payload: payload.into() }
}

fn repeated(unit: &[u8], len: usize) -> Data {
    Data { unit: unit.to_vec(), len }
}

/// A message in frames of this many octets; the last one may be shorter.
fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<Frame> {
    let mut frames: Vec<_> = payload.chunks(size).map(|chunk| begun(0, chunk)).collect();
    frames.first_mut().expect("not empty").first = opcode;
    frames.last_mut().expect("not empty").first |= 0x80;
    frames
}

fn message(opcode: u8, data: impl Into<Data>) -> Event {
    Event::Message { binary: opcode == BINARY, data: data.into() }
}

fn pong(payload: impl Into<Data>) -> Event {
    Event::Pong(payload.into())
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        number: impl Into<String>,
        what: impl Into<String>,
        steps: Vec<Step>,
        events: Vec<Event>,
        close: Close,
    ) {
        let expected = vec![(Verdict::Ok, events)];
        self.0.push(Case { number: number.into(), what: what.into(), steps, expected, close });
    }

    /// The same, but the suite also accepts that nothing came back: everything before the fault may be lost.
    fn add_forgiving(&mut self, number: &str, what: &str, steps: Vec<Step>, events: Vec<Event>, code: u16) {
        self.add(number, what, steps, events, Close::Fails(code));
        self.last().expected.push((Verdict::NonStrict, Vec::new()));
    }

    fn last(&mut self) -> &mut Case {
        self.0.last_mut().expect("added by the caller")
    }
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    framing(&mut cases);
    pings(&mut cases);
    reserved_bits(&mut cases);
    opcodes(&mut cases);
    fragmentation(&mut cases);
    interleaved(&mut cases);
    text(&mut cases);
    fail_fast(&mut cases);
    for (section, group) in (5..).zip(utf8::groups()) {
        for (place, member) in (1..).zip(group.members) {
            let number = format!("6.{section}.{place}");
            let what = format!("{}: {}", group.what, hex(&member));
            let steps = Pace::Once.steps(vec![frame(TEXT, &*member)]);
            match group.valid.holds(place) {
                true => cases.add(number, what, steps, vec![message(TEXT, member)], Close::WhenAllCame),
                false => cases.add(number, what, steps, vec![], Close::Fails(1007)),
            }
        }
    }
    closes(&mut cases);
    close_codes(&mut cases);
    limits(&mut cases);
    let (data, what) = (repeated(b"*", 65536), "65536 octets of text in frames of 1300");
    let steps = Pace::Once.steps(fragmented(TEXT, &data.bytes(), 1300));
    cases.add("10.1.1", what, steps, vec![message(TEXT, data)], Close::WhenAllCame);
    let part = |part: &str| part.parse::<u32>().expect("numbers and dots");
    cases.0.sort_by_cached_key(|case| case.number.split('.').map(part).collect::<Vec<_>>());
    cases.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn framing(cases: &mut Cases) {
    for (section, opcode, name, unit) in [(1, TEXT, "text", &b"*"[..]), (2, BINARY, "binary", b"\xfe")] {
        let sizes = [0, 125, 126, 127, 128, 65535, 65536, 65536];
        for (place, size) in (1..).zip(sizes) {
            let (chop, how) = if place == 8 { (997, " in chops of 997") } else { (0, "") };
            let data = repeated(unit, size);
            let steps = vec![Step::Send(vec![frame(opcode, data.clone())], chop)];
            let what = format!("{name} of {size} octets{how}");
            let events = vec![message(opcode, data)];
            cases.add(format!("1.{section}.{place}"), what, steps, events, Close::WhenAllCame);
        }
    }
}

fn pings(cases: &mut Cases) {
    let long = || repeated(b"\xfe", 125);
    for (number, what, pace, payload) in [
        ("2.1", "ping without payload", Pace::Once, "".into()),
        ("2.2", "ping with text", Pace::Once, HELLO.into()),
        ("2.3", "ping with octets that are not text", Pace::Once, OCTETS.into()),
        ("2.4", "ping of 125 octets", Pace::Once, long()),
        ("2.6", "ping of 125 octets, octet by octet", Pace::Octets, long()),
    ] {
        let steps = pace.steps(vec![frame(PING, payload.clone())]);
        cases.add(number, what, steps, vec![pong(payload)], Close::WhenAllCame);
    }
    let steps = Pace::Once.steps(vec![frame(PING, repeated(b"\xfe", 126))]);
    cases.add("2.5", "ping of 126 octets", steps, vec![], Close::Fails(1002));
    for (number, what, payload) in
        [("2.7", "unasked pong without payload", ""), ("2.8", "unasked pong with payload", "unasked")]
    {
        let steps = Pace::Once.steps(vec![frame(PONG, payload)]);
        cases.add(number, what, steps, vec![], Close::WhenAllCame);
    }
    let steps = Pace::Once.steps(vec![frame(PONG, "unasked"), frame(PING, "asked")]);
    cases.add("2.9", "unasked pong, then ping", steps, vec![pong("asked")], Close::WhenAllCame);
    for (number, what, pace) in
        [("2.10", "10 pings", Pace::Once), ("2.11", "10 pings, octet by octet", Pace::Octets)]
    {
        let payloads = (0..10).map(|i| format!("payload-{i}"));
        let steps = pace.steps(payloads.clone().map(|p| frame(PING, p)).collect());
        cases.add(number, what, steps, payloads.map(pong).collect(), Close::WhenAllCame);
    }
}

/// A valid message, the fault, and a ping that must not be answered.
fn between(fault: Frame) -> Vec<Frame> {
    vec![frame(TEXT, HELLO), fault, frame(PING, "")]
}

fn reserved_bits(cases: &mut Cases) {
    let hello = || vec![message(TEXT, HELLO)];
    let steps = Pace::Once.steps(vec![reserved(1, TEXT, HELLO)]);
    cases.add("3.1", "text with RSV 1", steps, vec![], Close::Fails(1002));
    for (bits, (how, pace)) in (2..).zip(PACES) {
        let steps = pace.steps(between(reserved(bits, TEXT, HELLO)));
        let what = format!("text, text with RSV {bits}, ping, {how}");
        cases.add_forgiving(&format!("3.{bits}"), &what, steps, hello(), 1002);
    }
    for (bits, opcode, what, payload) in [
        (5, BINARY, "binary with RSV 5", OCTETS),
        (6, PING, "ping with RSV 6", HELLO.as_bytes()),
        (7, CLOSE, "close with RSV 7", b""),
    ] {
        let steps = Pace::Once.steps(vec![reserved(bits, opcode, payload)]);
        cases.add(format!("3.{bits}"), what, steps, vec![], Close::Fails(1002));
    }
}

fn opcodes(cases: &mut Cases) {
    for (section, first) in [(1, 3), (2, 11)] {
        for (place, payload) in [(1, ""), (2, "reserved opcode payload")] {
            let opcode = first + place - 1;
            let what = format!("reserved opcode {opcode}{}", if place == 2 { " with payload" } else { "" });
            let steps = Pace::Once.steps(vec![frame(opcode, payload)]);
            cases.add(format!("4.{section}.{place}"), what, steps, vec![], Close::Fails(1002));
        }
        for (place, payload, pace, how) in [
            (3, "", Pace::Once, ""),
            (4, HELLO, Pace::Once, " with payload"),
            (5, HELLO, Pace::Octets, " with payload, octet by octet"),
        ] {
            let opcode = first + place - 1;
            let number = format!("4.{section}.{place}");
            let what = format!("text, reserved opcode {opcode}, ping{how}");
            let steps = pace.steps(between(frame(opcode, payload)));
            cases.add_forgiving(&number, &what, steps, vec![message(TEXT, HELLO)], 1002);
        }
    }
}

fn fragmentation(cases: &mut Cases) {
    for (number, opcode, what) in [("5.1", PING, "ping in 2 fragments"), ("5.2", PONG, "pong in 2 fragments")]
    {
        let steps = Pace::Once.steps(vec![begun(opcode, "fragment1"), frame(0, "fragment2")]);
        cases.add(number, what, steps, vec![], Close::Fails(1002));
    }
    let whole = || message(TEXT, "fragment1fragment2");
    for (place, (how, pace)) in (0..).zip(PACES) {
        let steps = pace.steps(vec![begun(TEXT, "fragment1"), frame(0, "fragment2")]);
        let what = format!("text in 2 fragments, {how}");
        cases.add(format!("5.{}", 3 + place), what, steps, vec![whole()], Close::WhenAllCame);

        let ping = frame(PING, "ping payload");
        let steps = pace.steps(vec![begun(TEXT, "fragment1"), ping, frame(0, "fragment2")]);
        let what = format!("text in 2 fragments, a ping between, {how}");
        let events = vec![pong("ping payload"), whole()];
        cases.add(format!("5.{}", 6 + place), what, steps, events, Close::WhenAllCame);

        for (base, first, fin) in [(9, 0x80, "last"), (12, 0, "first")] {
            let lost = Frame { first, payload: "non-continuation payload".into() };
            let steps = pace.steps(vec![lost, frame(TEXT, HELLO)]);
            let what = format!("continuation of nothing as a {fin} fragment, text, {how}");
            cases.add(format!("5.{}", base + place), what, steps, vec![], Close::Fails(1002));
        }
    }
    let frames = vec![
        begun(TEXT, "fragment1"),
        frame(0, "fragment2"),
        begun(0, "fragment3"),
        frame(TEXT, "fragment4"),
    ];
    let what = "text in 2 fragments, continuation of nothing, text";
    cases.add_forgiving("5.15", what, Pace::Once.steps(frames), vec![whole()], 1002);
    let twice = |first: fn() -> Frame| {
        let round = || [first(), begun(TEXT, "fragment2"), frame(0, "fragment3")];
        Pace::Once.steps(round().into_iter().chain(round()).collect())
    };
    let what = "twice: continuation of nothing, text in 2 fragments";
    cases.add("5.16", what, twice(|| begun(0, "fragment1")), vec![], Close::Fails(1002));
    let what = "twice: last continuation of nothing, text in 2 fragments";
    cases.add("5.17", what, twice(|| frame(0, "fragment1")), vec![], Close::Fails(1002));
    let steps = Pace::Once.steps(vec![begun(TEXT, "fragment1"), frame(TEXT, "fragment2")]);
    cases.add("5.18", "text in 2 fragments that are both marked as text", steps, vec![], Close::Fails(1002));
}

/// Each pong arrives before more of the message is sent.
fn interleaved(cases: &mut Cases) {
    for (number, how, pace) in [("5.19", "at once", Pace::Once), ("5.20", "frame by frame", Pace::Frames)] {
        let mut steps =
            pace.steps(vec![begun(TEXT, "fragment1"), begun(0, "fragment2"), frame(PING, "pongme 1!")]);
        steps.push(Step::Await(1));
        steps.extend(pace.steps(vec![
            begun(0, "fragment3"),
            begun(0, "fragment4"),
            frame(PING, "pongme 2!"),
            frame(0, "fragment5"),
        ]));
        let events = vec![
            pong("pongme 1!"),
            pong("pongme 2!"),
            message(TEXT, "fragment1fragment2fragment3fragment4fragment5"),
        ];
        let what = format!("text in 5 fragments, pings between, {how}");
        cases.add(number, what, steps, events, Close::WhenAllCame);
    }
}

fn text(cases: &mut Cases) {
    let empty = || begun(0, "");
    let kosme = std::str::from_utf8(KOSME).expect("made of one");
    for (number, what, frames, whole) in [
        ("6.1.1", "empty text", vec![frame(TEXT, "")], ""),
        ("6.1.2", "text in 3 empty fragments", vec![begun(TEXT, ""), empty(), frame(0, "")], ""),
        (
            "6.1.3",
            "text in 3 fragments, only the middle not empty",
            vec![begun(TEXT, ""), begun(0, "middle frame payload"), frame(0, "")],
            "middle frame payload",
        ),
        ("6.2.1", "text beyond ASCII", vec![frame(TEXT, UMLAUTS)], UMLAUTS),
        (
            "6.2.2",
            "the same, cut between characters",
            vec![begun(TEXT, "Hello-µ@ßöä"), frame(0, "üàá-UTF-8!!")],
            UMLAUTS,
        ),
        ("6.2.3", "the same, cut everywhere", fragmented(TEXT, UMLAUTS.as_bytes(), 1), UMLAUTS),
        ("6.2.4", "κόσμε, cut everywhere", fragmented(TEXT, KOSME, 1), kosme),
    ] {
        cases.add(number, what, Pace::Once.steps(frames), vec![message(TEXT, whole)], Close::WhenAllCame);
    }
    let broken = [KOSME, b"\xed\xa0\x80edited"].concat();
    let steps = Pace::Once.steps(vec![frame(TEXT, &*broken)]);
    cases.add("6.3.1", "text with a surrogate", steps, vec![], Close::Fails(1007));
    let steps = Pace::Once.steps(fragmented(TEXT, &broken, 1));
    cases.add("6.3.2", "the same, cut everywhere", steps, vec![], Close::Fails(1007));
}

/// Whether invalid UTF-8 is detected when it arrives, or at the end of its message.
fn fail_fast(cases: &mut Cases) {
    let broken = [KOSME, b"\xf4\x90\x80\x80edited"].concat();
    for (number, cuts, what) in [
        ("6.4.1", [11, 15], "text in 3 fragments, the second beyond U+10FFFF"),
        ("6.4.2", [12, 13], "the same, the second ends where it becomes invalid"),
    ] {
        let steps = vec![
            Step::Send(vec![begun(TEXT, &broken[..cuts[0]]), frame(PING, "A")], 0),
            Step::Await(1),
            Step::Send(vec![begun(0, &broken[cuts[0]..cuts[1]]), frame(PING, "B")], 0),
            Step::Await(2),
            Step::Send(vec![frame(0, &broken[cuts[1]..])], 0),
        ];
        cases.add(number, what, steps, vec![pong("A")], Close::Fails(1007));
        cases.last().expected.push((Verdict::NonStrict, vec![pong("A"), pong("B")]));
    }
    for (number, cuts, what) in [
        ("6.4.3", [11, 15], "text in 3 chops, the second beyond U+10FFFF"),
        ("6.4.4", [12, 13], "the same, the second ends where it becomes invalid"),
    ] {
        let steps = vec![Step::Chops(frame(TEXT, &*broken), cuts)];
        cases.add(number, what, steps, vec![], Close::Fails(1007));
        cases.last().expected = vec![(Verdict::NonStrict, vec![])];
    }
}

fn closes(cases: &mut Cases) {
    let steps = Pace::Once.steps(vec![frame(TEXT, HELLO)]);
    cases.add("7.1.1", "text, close", steps, vec![message(TEXT, HELLO)], Close::WhenAllCame);
    let normal = || Frame::close(1000, b"");
    let clean = || Close::Clean(vec![1000]);
    for (number, what, frames) in [
        ("7.1.2", "close, close", vec![normal(), frame(CLOSE, "")]),
        ("7.1.3", "close, ping", vec![normal(), frame(PING, "")]),
        ("7.1.4", "close, text", vec![normal(), frame(TEXT, HELLO)]),
        (
            "7.1.5",
            "half a text, close, the other half",
            vec![begun(TEXT, "fragment1"), normal(), frame(0, "fragment2")],
        ),
        ("7.3.1", "close without code", vec![frame(CLOSE, "")]),
        ("7.3.3", "close with code", vec![normal()]),
        ("7.3.4", "close with code and reason", vec![Frame::close(1000, b"Hello World!")]),
        ("7.3.5", "close with the longest reason", vec![Frame::close(1000, &[b'*'; 123])]),
    ] {
        cases.add(number, what, Pace::Once.steps(frames), vec![], clean());
    }
    let big = repeated(b"BAsd7&jh23", 256 << 10);
    let frames = vec![frame(TEXT, big.clone()), frame(TEXT, HELLO), normal(), frame(PING, "")];
    let events = vec![message(TEXT, big), message(TEXT, HELLO)];
    cases.add("7.1.6", "256 KiB of text, text, close, ping", Pace::Once.steps(frames), events, clean());
    cases.last().expected[0].0 = Verdict::Informational;
    for (number, what, payload) in [
        ("7.3.2", "close with half a code", b"a".to_vec()),
        ("7.3.6", "close with a reason too long", [&1000_u16.to_be_bytes()[..], &[b'*'; 124]].concat()),
    ] {
        let steps = Pace::Once.steps(vec![frame(CLOSE, payload)]);
        cases.add(number, what, steps, vec![], Close::CleanOrFails(vec![1002]));
    }
    let steps = Pace::Once.steps(vec![Frame::close(1000, &[KOSME, b"\xed\xa0\x80edited"].concat())]);
    let what = "close with a reason that is not UTF-8";
    cases.add("7.5.1", what, steps, vec![], Close::CleanOrFails(vec![1002, 1007]));
}

fn close_codes(cases: &mut Cases) {
    let close = |code| Pace::Once.steps(vec![Frame::close(code, b"")]);
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (place, code) in (1..).zip(good) {
        let (number, what) = (format!("7.7.{place}"), format!("close with {code}"));
        cases.add(number, what, close(code), vec![], Close::Clean(vec![1000, code]));
    }
    for (place, code) in (1..).zip([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]) {
        let (number, what) = (format!("7.9.{place}"), format!("close with {code}, which is not allowed"));
        cases.add(number, what, close(code), vec![], Close::CleanOrFails(vec![1002]));
    }
    for (number, code) in [("7.13.1", 5000), ("7.13.2", 65535)] {
        let what = format!("close with {code}, which is undefined");
        cases.add(number, what, close(code), vec![], Close::CleanOrFails(vec![1000, 1002, code]));
        cases.last().expected[0].0 = Verdict::Informational;
    }
}

fn limits(cases: &mut Cases) {
    const K: usize = 1 << 10;
    const M: usize = 1 << 20;
    for (offset, opcode, name, unit, star) in [
        (0, TEXT, "text", &b"BAsd7&jh23"[..], &b"*"[..]),
        (1, BINARY, "binary", b"\x00\xfe\x23\xfa\xf0", b"\xfe"),
    ] {
        for (place, size) in (1..).zip([64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M]) {
            let data = repeated(unit, size);
            let steps = Pace::Once.steps(vec![frame(opcode, data.clone())]);
            let what = format!("{name} of {} KiB", size / K);
            let events = vec![message(opcode, data)];
            cases.add(format!("9.{}.{place}", 1 + offset), what, steps, events, Close::WhenAllCame);
        }
        for (place, size) in (1..).zip([64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M]) {
            let data = repeated(b"*", 4 * M);
            let frames = (0..4 * M / size).map(|_| begun(0, repeated(b"*", size)));
            let mut frames: Vec<_> = frames.collect();
            frames.first_mut().expect("at least one").first |= opcode;
            frames.last_mut().expect("at least one").first |= 0x80;
            let what = format!("{name} of 4096 KiB in frames of {size} octets");
            let (steps, events) = (Pace::Once.steps(frames), vec![message(opcode, data)]);
            cases.add(format!("9.{}.{place}", 3 + offset), what, steps, events, Close::WhenAllCame);
        }
        for (place, chop) in (1..).zip([64, 128, 256, 512, 1024, 2048]) {
            let data = repeated(unit, M);
            let steps = vec![Step::Send(vec![frame(opcode, data.clone())], chop)];
            let what = format!("{name} of 1024 KiB in chops of {chop} octets");
            let events = vec![message(opcode, data)];
            cases.add(format!("9.{}.{place}", 5 + offset), what, steps, events, Close::WhenAllCame);
        }
        for (place, size) in (1..).zip([0, 16, 64, 256, 1024, 4096]) {
            let data = || repeated(star, size);
            let rounds =
                (1..=1000).flat_map(|round| [Step::Send(vec![frame(opcode, data())], 0), Step::Await(round)]);
            let events = vec![message(opcode, data()); 1000];
            let what = format!("1000 times {name} of {size} octets, each when the last came back");
            let number = format!("9.{}.{place}", 7 + offset);
            cases.add(number, what, rounds.collect(), events, Close::WhenAllCame);
        }
    }
}
