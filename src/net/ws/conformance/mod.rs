//! The cases of the Autobahn WebSocket test suite, with its numbers: sections 1 to 10. Sections 12 and 13 test
//! compression, which is not offered here. The cases are generated from the suite's descriptions and run against an
//! echo over [`WebSocket`](super::WebSocket), once as the server and once as the client.
//!
//! The suite waits for a second to see that nothing happens. These cases never read a clock: they send a ping, whose
//! pong shows that everything before it was processed (5.19, 5.20, 6.4.1, 6.4.2), or the close. No ping fits within a
//! frame, so 6.4.3 and 6.4.4 cannot show more than non-strict.

mod cases;
mod echo;
mod fuzzer;
mod utf8;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use async_tungstenite::tungstenite::protocol::Role;

use fuzzer::Fuzzer;

/// A unit that is repeated up to a length, so that no case has to store 16 MiB.
#[derive(Clone)]
struct Data {
    unit: Vec<u8>,
    len: usize,
}

impl Data {
    fn bytes(&self) -> Cow<'_, [u8]> {
        if self.unit.len() == self.len {
            return Cow::Borrowed(&self.unit);
        }
        let mut bytes = self.unit.repeat(self.len.div_ceil(self.unit.len()));
        bytes.truncate(self.len);
        Cow::Owned(bytes)
    }
}

impl<T: Into<Vec<u8>>> From<T> for Data {
    fn from(unit: T) -> Self {
        let unit = unit.into();
        Data { len: unit.len(), unit }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Data) -> bool {
        self.len == other.len && self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.unit[..self.unit.len().min(24)];
        write!(f, "{} bytes of \"{}\"", self.len, head.escape_ascii())
    }
}

/// What may come back before the close.
#[derive(Clone, PartialEq, Debug)]
enum Event {
    Message { binary: bool, data: Data },
    Ping(Data),
    Pong(Data),
}

struct Frame {
    /// FIN, RSV1 to 3 and the opcode, as RFC 6455 has them.
    first: u8,
    payload: Data,
}

impl Frame {
    fn close(code: u16, reason: &[u8]) -> Frame {
        Frame { first: 0x88, payload: [&code.to_be_bytes(), reason].concat().into() }
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0f
    }
}

enum Step {
    /// Frames, written this many octets at a time; 0 for all at once.
    Send(Vec<Frame>, usize),
    /// One frame, written in chops that begin at these offsets of its payload.
    Chops(Frame, [usize; 2]),
    /// Reads until this many events came, or the end.
    Await(usize),
}

/// How a case ends.
#[derive(Clone, PartialEq, Debug)]
enum Close {
    /// We close with 1000 after all expected events; the other end answers with the same code or none.
    WhenAllCame,
    /// Our close is one of the frames; the other end answers with one of these codes or none.
    Clean(Vec<u16>),
    /// The same, or the connection is dropped.
    CleanOrFails(Vec<u16>),
    /// The other end fails the connection: a close with this code or none, or it is dropped.
    Fails(u16),
}

impl Close {
    fn codes(&self) -> &[u16] {
        match self {
            Close::WhenAllCame => &[1000],
            Close::Clean(codes) | Close::CleanOrFails(codes) => codes,
            Close::Fails(code) => std::slice::from_ref(code),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Verdict {
    Ok,
    /// The standard's requirement is met, but not its recommendation.
    NonStrict,
    /// The standard leaves it open.
    Informational,
    Failed(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Ok => f.write_str("ok"),
            Verdict::NonStrict => f.write_str("non-strict"),
            Verdict::Informational => f.write_str("informational"),
            Verdict::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}

struct Case {
    number: String,
    what: String,
    steps: Vec<Step>,
    /// The events that may come, and the verdict for each list.
    expected: Vec<(Verdict, Vec<Event>)>,
    close: Close,
}

fn measure(cases: &[Case], role: Role) -> Vec<Verdict> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    cases
        .iter()
        .map(|case| {
            let ours = TcpStream::connect(address).expect("listening");
            let theirs = listener.accept().expect("connected").0;
            thread::scope(|threads| {
                threads.spawn(|| echo::serve(theirs, role));
                Fuzzer::new(ours, role == Role::Server).expect("a fresh socket").run(case)
            })
        })
        .collect()
}

fn table(cases: &[Case], server: &[Verdict], client: &[Verdict]) -> String {
    let mut table = format!(
        "# WebSocket conformance\n\n\
         The cases of the Autobahn test suite, sections 1 to 10, against an echo over our WebSocket layer. Of \
         {} cases {} fail.\nA test in `src/net/ws/conformance` compares this table \
         with its results; `BLESS=1 cargo test conformance` rewrites it.\n\n\
         | Case | What is sent | As server | As client |\n| --- | --- | --- | --- |\n",
        cases.len(),
        server
            .iter()
            .zip(client)
            .filter(|(s, c)| [s, c].iter().any(|v| matches!(v, Verdict::Failed(_))))
            .count(),
    );
    for ((case, server), client) in cases.iter().zip(server).zip(client) {
        writeln!(table, "| {} | {} | {server} | {client} |", case.number, case.what).expect("a String");
    }
    table
}

#[test]
fn no_case_fails_and_the_table_matches_the_results() {
    let cases = cases::all();
    let (server, client) = thread::scope(|threads| {
        let server = threads.spawn(|| measure(&cases, Role::Server));
        let client = measure(&cases, Role::Client);
        (server.join().expect("no panic"), client)
    });
    for (role, verdicts) in [("server", &server), ("client", &client)] {
        let failed: Vec<_> = cases
            .iter()
            .zip(verdicts)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)))
            .map(|(case, verdict)| format!("{} ({}): {verdict}", case.number, case.what))
            .collect();
        assert!(failed.is_empty(), "as {role}:\n{}", failed.join("\n"));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/websocket_conformance.md");
    let table = table(&cases, &server, &client);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &table).expect("writable");
    }
    let held = std::fs::read_to_string(path).unwrap_or_default();
    assert!(held == table, "the table does not match the results; BLESS=1 rewrites it:\n{table}");
}

#[test]
fn the_cases_are_those_of_the_suite() {
    let cases = cases::all();
    let counts: Vec<_> = (1..=10)
        .map(|section| cases.iter().filter(|c| c.number.starts_with(&format!("{section}."))).count())
        .collect();
    assert_eq!(counts, [16, 11, 7, 10, 20, 145, 37, 0, 54, 1]);
    let mut numbers: Vec<_> = cases.iter().map(|c| &*c.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 301);
}
