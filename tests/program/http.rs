//! What the server answers to those who speak HTTP, and to whom.

#[cfg(target_os = "linux")]
use std::net::{SocketAddr, TcpListener};

#[cfg(target_os = "linux")]
use crate::world::Program;
use crate::world::Server;

const ALICE: &str = r#"{"type":"auth","user":"alice","token":"s3cret"}"#;

#[test]
fn health_status_and_metrics_tell_how_it_is() {
    let server = Server::start(&["--rooms", "public"], &[]);
    assert_eq!(server.get("/api/health", None).2, r#"{"status":"ok"}"#);
    assert_eq!(server.get("/api/ready", None).2, r#"{"ready":true}"#);
    let (status, _, config) = server.get("/api/config", None);
    assert_eq!((status, &*config), (200, r#"{"auth":false,"iceServers":[],"room":"public"}"#));
    let (status, head, page) = server.get("/", None);
    assert!(status == 200 && head.contains("text/html") && page.contains("<script"), "{head}");
    let policy = format!("content-security-policy: {}\r\n", symple::web::CONTENT_SECURITY_POLICY);
    assert!(head.contains(&policy), "{head}");
    assert_eq!(server.get("/nothing", None).0, 404);

    let (mut alice, mut bob) = (server.peer(ALICE), server.peer(r#"{"type":"auth","user":"bob"}"#));
    alice.text(r#""user":"bob""#);
    alice.send(r#"{"type":"message","to":"bob","data":1}"#);
    bob.text(r#""data":1"#);
    let (_, _, status) = server.get("/api/status", None);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert!(status["peers"] == 2 && status["routed"]["message"] == 1, "{status}");
    let (_, head, metrics) = server.get("/metrics", None);
    assert!(head.contains("text/plain; version=0.0.4"));
    for line in [
        "symple_peers 2",
        "symple_messages_total{type=\"message\"} 1",
        "symple_dropped_total{reason=\"rate\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no {line:?} in:\n{metrics}");
    }
}

#[test]
fn numbers_ask_for_the_token_once_authentication_is_on() {
    let server = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret")]);
    for path in ["/api/status", "/metrics"] {
        for (token, challenge) in [
            (None, "Bearer realm=\"symple\"\r\n"),
            (Some("wrong"), "Bearer realm=\"symple\", error=\"invalid_token\"\r\n"),
        ] {
            let (status, head, _) = server.get(path, token);
            assert_eq!(status, 401, "{path}");
            assert!((head + "\r\n").contains(&format!("\r\nwww-authenticate: {challenge}")), "{path}");
        }
        assert_eq!(server.get(path, Some("s3cret")).0, 200, "{path}");
    }
    for path in ["/", "/api/health", "/api/ready", "/api/config"] {
        assert_eq!(server.get(path, None).0, 200, "{path}");
    }
    assert!(server.get("/api/config", None).2.contains(r#""auth":true"#));

    let other = Server::start(&[], &[("SYMPLE_TOKEN", "s3cret"), ("SYMPLE_STATUS_TOKEN", "numbers")]);
    assert_eq!(other.get("/metrics", Some("s3cret")).0, 401, "peers see no numbers");
    assert_eq!(other.get("/metrics", Some("numbers")).0, 200);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_its_output_ends_nobody() {
    let commands = [&["serve"][..], &["camera", "--size", "320x240", "--fps", "10"][..]];
    for command in &commands[..if cfg!(feature = "camera") { 2 } else { 1 }] {
        // Free a moment ago; where it listens is not said.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let port = address.port().to_string();
        let args = [command, &["--listen", "127.0.0.1", "--port", &port, "--log", "info"][..]].concat();
        let program = Program::start_mute(&args);
        program.logs("stdout: No space left on device");
        let server = Server { program, address: SocketAddr::from(([127, 0, 0, 1], address.port())) };
        assert_eq!(server.get("/api/health", None).0, 200, "{command:?}");
    }
}
