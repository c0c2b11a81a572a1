//! With a Redis: sessions, messages from other programs, two servers as one. Prints SKIPPED if there is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;

use crate::world::{Folder, PATIENCE, Program, Server, run};

/// A Redis for this test.
pub(crate) struct Redis {
    // Dropped before its working folder.
    pub program: Program,
    pub url: String,
    port: u16,
    folder: Folder,
}

impl Redis {
    pub(crate) fn start() -> Option<Redis> {
        let folder = Folder::new();
        // A port that was just free; Redis cannot choose one itself.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let Some(program) = Redis::program(port, &folder) else {
            eprintln!("SKIPPED: there is no redis-server");
            return None;
        };
        Some(Redis { program, url: format!("redis://127.0.0.1:{port}"), port, folder })
    }

    fn program(port: u16, folder: &Folder) -> Option<Program> {
        let arguments =
            ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir", &folder.path("")];
        let program = Program::start_other("redis-server", &arguments)?;
        program.says("Ready to accept connections");
        Some(program)
    }

    /// Kills it, and starts it again empty.
    pub(crate) fn restart(&mut self) {
        self.program.signal(Signal::KILL);
        self.program = Redis::program(self.port, &self.folder).expect("it was there a moment ago");
    }

    /// Its answer to one command, if that is a string.
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
        write!(tcp, "{command}\r\n").expect("it reads");
        let (mut answer, mut head) = (BufReader::new(tcp), String::new());
        answer.read_line(&mut head).expect("it answers");
        let mut text = vec![0; head.trim().strip_prefix('$').and_then(|n| n.parse().ok()).unwrap_or(0)];
        answer.read_exact(&mut text).expect("as long as announced");
        String::from_utf8(text).expect("it writes ASCII")
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        run(args, &[("REDIS_URL", &self.url)])
    }

    /// A server that authenticates by sessions.
    fn server(&self) -> Server {
        let variables = [
            ("SYMPLE_REDIS_URL", &*self.url),
            ("SYMPLE_AUTHENTICATION", "true"),
            ("SYMPLE_STATUS_TOKEN", "n"),
        ];
        let server = Server::start(&[], &variables);
        server.program.logs("connected to the bus");
        server
    }

    fn session(&self, user: &str) -> String {
        let (code, token, err) = self.run(&["session", "new", "--user", user, "--rooms", "team"]);
        assert_eq!(code, 0, "{err}");
        token.trim().to_owned()
    }
}

fn watch(server: &Server, token: &str) -> Program {
    let watch = Program::start(&["watch", &format!("ws://{}", server.address)], &[("SYMPLE_TOKEN", token)]);
    watch.says("online as ");
    watch
}

#[test]
fn sessions_admit_peers_and_published_messages_reach_every_server() {
    let Some(redis) = Redis::start() else { return };
    let (one, two) = (redis.server(), redis.server());
    let token = redis.session("alice");
    let alice = watch(&one, &token);
    let bob = watch(&two, &redis.session("bob"));
    alice.says("+ bob|");
    for args in [
        &["emit", "--to", "team", "--from", "app|1", "--event", "deployed", "1.2.0"][..],
        &["emit", "--to", "alice,bob", "--subtype", "order", r#"{"n":7}"#][..],
    ] {
        let (code, _, err) = redis.run(args);
        assert_eq!(code, 0, "{err}");
    }
    for peer in [&alice, &bob] {
        let event = peer.says(r#""name":"deployed""#);
        assert!(event.starts_with("app|1 ") && event.contains(r#""data":"1.2.0""#), "{event}");
        assert!(peer.says(r#""subtype":"order""#).contains(r#""data":{"n":7}"#));
    }
    assert!(one.get("/metrics", Some("n")).2.contains("\nsymple_redis_up 1\n"));
    let status = one.get("/api/status", Some("n")).2;
    assert!(status.contains(r#""redis":"up""#) && status.contains(r#""peersAway":1"#), "{status}");

    assert_eq!(redis.run(&["session", "delete", &token]).0, 0);
    assert_eq!(alice.end().code(), Some(77), "its peer is disconnected");
    bob.says("- alice|");
    let (code, _, err) = redis.run(&["watch", &format!("ws://{}", one.address), "--token", &token]);
    assert!(code == 77 && err.contains("No session"), "{err}");
}

#[test]
fn commands_manage_sessions() {
    let Some(redis) = Redis::start() else { return };
    let (code, _, err) =
        redis.run(&["session", "set", "t0k", "--user", "alice", "--name", "Alice", "--session-ttl", "5"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(redis.run(&["session", "get", "t0k"]).1, "{\"name\":\"Alice\",\"user\":\"alice\"}\n");
    for (args, code) in [
        (&["session", "exists", "t0k"][..], 0),
        (&["session", "touch", "t0k", "--session-ttl", "9"][..], 0),
        (&["session", "delete", "t0k"][..], 0),
        (&["session", "exists", "t0k"][..], 1),
        (&["session", "get", "t0k"][..], 1),
        (&["session", "touch", "t0k", "--session-ttl", "9"][..], 1),
        (&["session", "touch", "t0k"][..], 64),
        (&["session", "set", "t0k"][..], 64),
        (&["session", "set"][..], 64),
        (&["session", "forget", "t0k"][..], 64),
        (&["emit", "hello"][..], 64),
        (&["emit", "--to", "a", "--event", "x", "--presence", "{}"][..], 64),
        (&["emit", "--to", "a", "--presence", "away"][..], 65),
        // No server is there.
        (&["emit", "--to", "a", "x"][..], 69),
        (&["emit", "--to", "a", "--redis-url", "redis://127.0.0.1:1", "x"][..], 69),
    ] {
        let (found, _, err) = redis.run(args);
        assert_eq!(found, code, "{args:?}: {err}");
    }
}

#[test]
fn without_redis_a_server_that_needs_it_is_not_ready() {
    let Some(redis) = Redis::start() else { return };
    let server = redis.server();
    assert_eq!(server.get("/api/ready", None).0, 200);
    redis.program.signal(Signal::KILL);
    server.program.logs("lost the connection to Redis");
    assert_eq!(server.get("/api/ready", None).0, 503);
    assert_eq!(server.get("/api/health", None).0, 200);
    assert!(server.get("/api/status", Some("n")).2.contains(r#""redis":"down""#));
}

#[test]
fn a_deep_check_connects_to_redis() {
    let Some(redis) = Redis::start() else { return };
    let args = ["serve", "--check=deep", "--listen", "127.0.0.1", "--port", "0"];
    let (code, out, err) = redis.run(&args);
    assert!(code == 0 && out.contains("  ok      redis       redis://127.0.0.1"), "{out}{err}");
    let secret = redis.url.replace("//", "//me:hunter2@");
    let (code, out, err) = run(&args, &[("REDIS_URL", &secret)]);
    assert!(code == 77 && out.contains("  FAILED  redis       Redis refused the command"), "{out}{err}");
    assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
    let (code, out, err) = run(&args, &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert!(code == 69 && out.contains("  FAILED  redis") && out.contains("  ok      port"), "{out}{err}");
    let (code, out, err) = run(&["serve", "--check"], &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert!(code == 0 && !out.contains("tried:"), "{out}{err}");
}
