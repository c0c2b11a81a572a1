//! Admission of peers: the token, and the limits.

use std::io::{Read, Write};

use async_tungstenite::tungstenite::Message;

use crate::world::{HERE, Program, Server, Socket, run};

const ALICE: &str = r#"{"type":"auth","user":"alice"}"#;

#[test]
fn a_token_is_required() {
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    server.peer(r#"{"type":"auth","user":"alice","token":"s3cret"}"#);
    for (auth, words) in
        [(r#"{"type":"auth","user":"alice","token":"s3cre"}"#, "wrong token"), (ALICE, "a token is needed")]
    {
        let mut refused = server.socket();
        refused.send(auth);
        assert!(refused.text("401").contains(words));
        let Some(Message::Close(Some(close))) = refused.next() else { panic!("no close came") };
        assert_eq!(u16::from(close.code), 1008);
    }
}

#[test]
fn rooms_are_as_configured() {
    let server = Server::start(&["--no-dynamic-rooms", "--rooms", "lobby,hall"], &[]);
    let mut alice = server.socket();
    alice.send(ALICE);
    let welcome = alice.text("welcome");
    assert!(welcome.contains(r#""lobby""#) && welcome.contains(r#""hall""#), "{welcome}");
    alice.send(r#"{"type":"join","room":"cellar"}"#);
    alice.text("403");
}

#[test]
fn a_rate_of_zero_means_no_limit() {
    /// More than the default burst.
    const MANY: usize = 700;
    let answers = |args: &[&str], part: &str| {
        let server = Server::start(args, &[]);
        let mut alice = server.peer(ALICE);
        for n in 0..MANY {
            alice.send(&format!(r#"{{"type":"message","id":"{n}","to":"nobody","receipt":true}}"#));
        }
        alice.text(part);
    };
    answers(&["--rate", "0"], &format!(r#""id":"{}""#, MANY - 1));
    answers(&["--burst", "5"], "429");
}

#[test]
fn an_address_has_its_share_of_sockets() {
    let server = Server::start(&["--max-per-address", "1", "--exempt", "none"], &[]);
    let held = server.peer(ALICE);
    assert_eq!(server.tcp().read(&mut [0]).expect("a clean end"), 0, "the second is closed at once");
    drop(held);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_share() {
    let server = Server::start(&["--max-per-address", "1", "--trusted-proxies", "127.0.0.0/8"], &[]);
    let from = |forwarded| server.socket_with(&[("X-Forwarded-For", forwarded)]);
    let enter = |mut socket: Socket, host: &str| {
        socket.send(ALICE);
        assert!(socket.text("welcome").contains(&format!(r#""host":"{host}""#)));
        socket
    };
    let first = enter(from("192.0.2.1"), "192.0.2.1");
    assert!(from("192.0.2.1").next().is_none(), "its second is closed at once");
    // What a client writes itself precedes what the proxy adds.
    assert!(from("198.51.100.7, 192.0.2.1").next().is_none(), "a forged address gets no share");
    // By now, the proxy has more sockets open than an address may have.
    let _second = enter(from("192.0.2.2"), "192.0.2.2");
    let _third = enter(server.socket_with(&[("X-Real-IP", "192.0.2.3")]), "192.0.2.3");
    drop(first);
    // Their slots are freed when the server sees the end, which is slightly later.
    let again = (0..1000).find_map(|_| {
        let mut socket = from("192.0.2.1");
        match socket.try_send(ALICE) {
            true => socket.next(),
            false => None,
        }
    });
    assert!(again.is_some(), "disconnecting frees a slot");
}

#[test]
fn forwarded_headers_of_untrusted_clients_are_ignored() {
    let limits = ["--max-per-address", "1", "--exempt", "none", "--trusted-proxies", "192.0.2.9"];
    let server = Server::start(&limits, &[]);
    let mut first = server.socket_with(&[("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "192.0.2.1")]);
    first.send(ALICE);
    assert!(first.text("welcome").contains(r#""host":"127.0.0.1""#));
    assert_eq!(
        server.tcp().read(&mut [0]).expect("a clean end"),
        0,
        "it has its own share, whatever its headers"
    );
}

#[test]
fn this_machine_has_no_limit() {
    let server = Server::start(&["--max-per-address", "1"], &[]);
    let _held: Vec<_> = (0..5).map(|_| server.peer(ALICE)).collect();
}

#[test]
fn admission_frees_an_unauthenticated_slot_of_its_address() {
    let server = Server::start(&["--max-unauthenticated-per-address", "1", "--exempt", "none"], &[]);
    let _alice = server.peer(ALICE);
    let _silent = server.socket();
    assert_eq!(server.tcp().read(&mut [0]).expect("a clean end"), 0);
    server.program.logs("max_unauthenticated_per_address reached");
}

#[test]
fn on_a_crowded_address_connections_close_after_each_request() {
    let server = Server::start(&["--max-unauthenticated-per-address", "4", "--exempt", "none"], &[]);
    let ask = || {
        let mut tcp = server.tcp();
        write!(tcp, "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        tcp
    };
    let mut part = [0; 1024];
    let kept: Vec<_> =
        (0..2).map(|_| ask()).map(|mut tcp| (tcp.read(&mut part).expect("it answers"), tcp)).collect();
    assert!(kept.iter().all(|(n, _)| *n > 0));
    // Two of four stay open; any number of further ones find a slot, since none of them stays.
    for _ in 0..10 {
        let mut answer = String::new();
        ask().read_to_string(&mut answer).expect("it ends");
        assert!(answer.contains("connection: close") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    }
}

#[test]
fn guessing_tokens_is_slow() {
    const WRONG: &str = r#"{"type":"auth","user":"alice","token":"wrong"}"#;
    const RIGHT: &str = r#"{"type":"auth","user":"alice","token":"s3cret"}"#;
    let token = [("SYMPLE_TOKEN", "s3cret")];
    let server = Server::start(&["--exempt", "none"], &token);
    server.peer(RIGHT);
    // Frames and requests count against the same limit.
    for n in 0..10 {
        if n % 2 == 0 {
            let mut guess = server.socket();
            guess.send(WRONG);
            guess.text("401");
        } else {
            assert_eq!(server.get("/api/config", Some("wrong")).0, 200, "the response without secrets");
        }
    }
    for token in ["wrong", "s3cret"] {
        let (status, head, _) = server.get("/metrics", Some(token));
        assert_eq!(status, 429, "not checked, be it right or wrong");
        assert!(head.contains("retry-after: "), "{head}");
    }
    let mut guess = server.socket();
    guess.send(RIGHT);
    assert!(guess.text("429").contains("try again in"));
    let Some(Message::Close(Some(close))) = guess.next() else { panic!("no close came") };
    assert_eq!(u16::from(close.code), 1008);
    assert_eq!(server.get("/api/health", None).0, 200, "a request without a token is not a guess");

    let here = Server::start(&[], &token);
    for _ in 0..12 {
        assert_eq!(here.get("/metrics", Some("wrong")).0, 401, "this machine does not wait");
    }
}

#[test]
fn the_number_of_unauthenticated_sockets_is_limited() {
    let server = Server::start(&["--max-unauthenticated", "1"], &[]);
    // Admission frees a slot.
    let _alice = server.peer(ALICE);
    let _silent = server.socket();
    assert_eq!(server.tcp().read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn a_full_server_reports_that_it_is_full() {
    let server = Server::start(&["--max-connections", "1"], &[]);
    let _alice = server.peer(ALICE);
    let mut second = server.socket();
    second.text("503");
    let Some(Message::Close(Some(close))) = second.next() else { panic!("no close came") };
    assert_eq!(u16::from(close.code), 1013);
}

#[test]
fn a_taken_port_is_an_error_and_a_missing_token_a_warning() {
    let server = Server::start(&[], &[]);
    let port = server.address.port().to_string();
    let (code, _, err) = run(&["serve", "--listen", "127.0.0.1", "--port", &port], &[]);
    assert!(code == 69 && err.contains("in use by another program"), "{code} {err}");
    let open = Program::start(&["serve", "--port", "0"], &[]);
    open.logs("open without authentication");
    open.says("listening on ws://");
}

#[test]
fn the_limit_on_open_files_is_raised() {
    let server = Server::of(Program::start_limited(64, &HERE));
    let peers: Vec<_> = (0..100).map(|_| server.peer(ALICE)).collect();
    assert_eq!(server.get("/api/health", None).0, 200);
    drop(peers);
}

#[cfg(target_os = "linux")]
#[test]
fn the_configured_number_of_threads_serves() {
    let server = Server::start(&["--threads", "3"], &[]);
    server.peer(ALICE);
    let drivers = || {
        let tasks = std::fs::read_dir(server.program.proc().join("task")).expect("it runs");
        let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "symple-driver").count()
    };
    // The first one serves before the others have their names.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while drivers() < 2 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(drivers(), 2, "and the first");
}
