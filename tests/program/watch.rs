//! `symple watch`, with a server and a peer.

use rustix::process::Signal;

use crate::world::{Program, Server, run};

const ALICE: &str = r#"{"type":"auth","user":"alice","name":"Al\u001b[31m","rooms":["public"]}"#;

fn watch(server: &Server, args: &[&str]) -> Program {
    let url = format!("ws://{}", server.address);
    Program::start(&[&["watch", &url], args].concat(), &[])
}

#[test]
fn it_prints_arrivals_departures_and_messages() {
    let server = Server::start(&[], &[]);
    let watch = watch(&server, &["--name", "Watcher"]);
    let online = watch.says("online as watch|");
    assert!(online.contains("(Watcher), in ") && online.contains("public"), "{online}");
    let mut alice = server.peer(ALICE);
    let added = watch.says("+ alice|");
    assert!(added.ends_with("(Al\u{fffd}[31m)"), "text from others cannot control the terminal: {added:?}");
    alice.send(r#"{"type":"message","to":"watch","data":{"n":1.0}}"#);
    watch.says(r#""data":{"n":1.0}"#);
    drop(alice);
    watch.says("- alice|");
    watch.signal(Signal::TERM);
    assert_eq!(watch.end().code(), Some(0));
}

#[test]
fn json_output_and_a_count_serve_scripts() {
    let server = Server::start(&[], &[]);
    let watch = watch(&server, &["--json", "--count", "3"]);
    watch.says(r#"{"event":"online","#);
    let mut alice = server.peer(ALICE);
    watch.says(r#"{"event":"added","#);
    alice.send(r#"{"type":"event","name":"tick","n":1e3}"#);
    let line = watch.says(r#""event":"message""#);
    assert!(line.starts_with(r#"{"event":"message","message":{"from":"alice|"#), "{line}");
    assert!(line.ends_with(r#""type":"event","name":"tick","n":1e3}}"#), "as it came: {line}");
    assert_eq!(watch.end().code(), Some(0));
}

#[test]
fn refusals_and_failures_have_exit_codes() {
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    let url = format!("ws://{}", server.address);
    let (code, _, err) = run(&["watch", &url, "--token", "wrong"], &[]);
    assert!(code == 77 && err.contains("wrong token"), "{code} {err}");
    let (code, _, err) = run(&["watch", &url, "--count", "1"], &[("SYMPLE_TOKEN", "s3cret")]);
    assert!(code == 0, "{code} {err}");
    drop(server);
    let (code, _, err) = run(&["watch", &url, "--attempts", "1", "--count", "1"], &[]);
    assert!(code == 69 && err.contains("gave up"), "{code} {err}");
    let watch = Program::start(&["watch", &url], &[]);
    assert!(watch.says("offline: ").starts_with("offline: cannot connect: connection refused;"));
    let (code, _, err) = run(&["watch", "tcp://here"], &[]);
    assert!(code == 64 && err.contains("Only ws:// and wss:// are supported"), "{code} {err}");
}
