//! Tokens, addresses of hosts, ids and data stay out of every log line above trace.
//!
//! In a file of its own, since a logger is global to the process.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use symple::proto::{CloseCode, Status};
use symple::server::{Admission, Config, ConnId, Hub, Input, Output, Verdict, Whom};

static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().expect("no logger panics").push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Values that must not appear in a log, each recognisable.
const SECRETS: [&str; 7] =
    ["s3cret-token", "203.0.113.77", "s3cret-id", "s3cret-data", "s3cret-user", "s3cret-name", "s3cret-room"];

struct Driver {
    hub: Hub,
    now: Instant,
}

impl Driver {
    fn input(&mut self, input: Input<'_>) {
        self.hub.handle_input(input, self.now);
        self.settle();
    }

    fn settle(&mut self) -> Option<Instant> {
        loop {
            match self.hub.poll_output() {
                Output::Ready(conn) => while self.hub.transmit(conn, 1000, self.now, &mut Vec::new()) {},
                Output::Resume(_) => {}
                // A host that prints its events does not reveal a token.
                Output::Event(event) => assert!(!format!("{event:?}").contains("s3cret-token")),
                Output::Timeout(at) => return at,
                other => panic!("unknown event {other:?}"),
            }
        }
    }

    fn text(&mut self, conn: u64, text: &str) {
        self.input(Input::Text { conn: ConnId(conn), text });
    }

    fn connect(&mut self, conn: u64, auth: &str) {
        let host: IpAddr = "203.0.113.77".parse().expect("an address");
        let id = format!("s3cret-id-{conn}");
        self.input(Input::Connected { conn: ConnId(conn), id, host: Some(host), local: false });
        self.text(conn, auth);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.settle().filter(|at| *at <= end) {
            self.now = at;
            self.input(Input::Timeout);
        }
        self.now = end;
    }
}

const AUTH: &str = r#"{"type":"auth","user":"s3cret-user","name":"s3cret-name","token":"s3cret-token","rooms":["s3cret-room"],"data":{"x":"s3cret-data"}}"#;

#[test]
fn the_hub_logs_no_secret() {
    log::set_logger(&Recorder).expect("the only logger");
    log::set_max_level(log::LevelFilter::Trace);
    for authenticate in [true, false] {
        let config = Config { authenticate, queue_limit: 3000, ..Config::default() };
        let mut d = Driver { hub: Hub::new(config), now: Instant::now() };
        for conn in 0..6 {
            d.connect(conn, AUTH);
        }
        for conn in 0..4 {
            let rooms = vec!["s3cret-room".into(); 300];
            let admission = Admission { rooms, name: Some("s3cret-name".into()), ..Admission::default() };
            d.input(Input::Verdict { conn: ConnId(conn), verdict: Verdict::Admit(admission) });
        }
        let message = "s3cret-data".to_owned();
        let verdict = Verdict::Refuse { status: Status::UNAUTHORIZED, message };
        d.input(Input::Verdict { conn: ConnId(4), verdict });
        let user = Some("s3cret-user|".into());
        let verdict = Verdict::Admit(Admission { user, ..Admission::default() });
        d.input(Input::Verdict { conn: ConnId(5), verdict });
        for auth in [
            "s3cret-data",
            r#"{"type":"s3cret-data"}"#,
            r#"{"type":"auth","user":"s3cret-user|","token":"s3cret-token"}"#,
            r#"{"type":"auth","user":"s3cret-user","token":["s3cret-token"]}"#,
        ] {
            d.connect(10, auth);
            d.input(Input::Closed { conn: ConnId(10) });
        }
        for frame in [
            r#"{"type":"message","to":"s3cret-user","data":"s3cret-data"}"#,
            r#"{"type":"message","to":{"s3cret-user":1}}"#,
            r#"{"type":"presence","token":"s3cret-token","data":{"x":"s3cret-data"}}"#,
            r#"{"type":"join","room":"s3cret-room-2"}"#,
            r#"{"type":"leave","room":"s3cret-room-2"}"#,
            r#"{"type":"join","room":["s3cret-room"]}"#,
            r#"{"type":"s3cret-data"}"#,
            r#"{"type":"auth","token":"s3cret-token"}"#,
            r#""s3cret-data""#,
            r#"{"s3cret-data"#,
        ] {
            d.text(0, frame);
            d.input(Input::Inject { text: frame });
        }
        d.input(Input::Connected { conn: ConnId(0), id: "s3cret-id".into(), host: None, local: true });
        d.input(Input::Connected { conn: ConnId(20), id: "s3cret-id|".into(), host: None, local: true });
        // Nobody reads 1 any more; 2 and 3 violate the protocol; 0 falls silent.
        let flood = format!(r#"{{"type":"message","data":"{}"}}"#, "s3cret-data".repeat(100));
        for _ in 0..700 {
            d.hub.handle_input(Input::Text { conn: ConnId(0), text: &flood }, d.now);
        }
        d.input(Input::Binary { conn: ConnId(2) });
        d.input(Input::BadFrame { conn: ConnId(3), code: CloseCode(1007) });
        let whom = Whom::Address("s3cret-user|s3cret-id-1");
        d.input(Input::Kick { whom, status: Status::UNAUTHORIZED, message: "s3cret-data" });
        d.pass(Duration::from_secs(100));
        d.input(Input::Shutdown);
    }
    let lines = LINES.lock().expect("no logger panics");
    let above: Vec<&str> =
        lines.iter().filter(|line| line.0 < log::Level::Trace).map(|line| &*line.1).collect();
    assert!(above.len() > 20, "the hub logs its events: {above:?}");
    for line in above {
        assert!(!SECRETS.iter().any(|secret| line.contains(secret)), "{line}");
    }
}
