//! The server's HTTP responses, and who gets which.

use std::io::{Read, Write};
#[cfg(target_os = "linux")]
use std::net::{SocketAddr, TcpListener};

#[cfg(target_os = "linux")]
use crate::world::Program;
use crate::world::Server;

const ALICE: &str = r#"{"type":"auth","user":"alice","token":"s3cret"}"#;

#[test]
fn health_status_and_metrics_are_correct() {
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
fn status_and_metrics_need_the_token_with_authentication() {
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
    assert_eq!(other.get("/metrics", Some("s3cret")).0, 401, "peers do not see metrics");
    assert_eq!(other.get("/metrics", Some("numbers")).0, 200);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_for_its_output_does_not_end_it() {
    let commands = [&["serve"][..], &["camera", "--size", "320x240", "--fps", "10"][..]];
    for command in &commands[..if cfg!(feature = "camera-gst") { 2 } else { 1 }] {
        // A port that was just free; the program cannot print its address.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let port = address.port().to_string();
        let args = [command, &["--listen", "127.0.0.1", "--port", &port, "--log", "info"][..]].concat();
        let program = Program::start_mute(&args);
        program.logs("stdout: No space left on device");
        let server = Server { program, address: SocketAddr::from(([127, 0, 0, 1], address.port())) };
        assert_eq!(server.get("/api/health", None).0, 200, "{command:?}");
    }
}

/// The response to this request, as written.
fn answer(server: &Server, request: &[u8]) -> String {
    let mut tcp = server.tcp();
    tcp.write_all(request).expect("it reads");
    let mut answer = Vec::new();
    // An upgraded connection does not end.
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") || !answer.starts_with(b"HTTP/1.1 101") {
        let mut part = [0; 4096];
        match tcp.read(&mut part).expect("it answers") {
            0 => break,
            n => answer.extend(&part[..n]),
        }
    }
    String::from_utf8(answer).expect("it answers in UTF-8")
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const SOCKET: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn unreadable_headers_do_not_count_as_absent() {
    let origins = ["--origins", "https://viewer.example"];
    let server = Server::start(&origins, &[("SYMPLE_TOKEN", "s3cret")]);
    let own = format!("Host: {}\r\n", server.address);
    let origin = "Origin: https://viewer.example\r\n";
    let right = "Authorization: Bearer s3cret\r\n";
    let socket = [UPGRADE, SOCKET].concat();
    for (head, status) in [
        ([own.as_bytes(), socket.as_bytes()].concat(), 101),
        ([own.as_bytes(), socket.as_bytes(), origin.as_bytes()].concat(), 101),
        ([own.as_bytes(), socket.as_bytes(), b"Origin: https://evil.example\r\n"].concat(), 403),
        ([own.as_bytes(), socket.as_bytes(), b"Origin: https://evil.example/\xff\r\n"].concat(), 403),
        (
            [own.as_bytes(), socket.as_bytes(), origin.as_bytes(), b"Origin: https://evil.example\r\n"]
                .concat(),
            403,
        ),
        ([own.as_bytes(), b"Host: evil.example\r\n", socket.as_bytes()].concat(), 400),
        ([b"Host: evil\xff.example\r\n", socket.as_bytes()].concat(), 400),
        ([b"Host: evil\xff.example\r\nConnection: close\r\n".as_slice()].concat(), 400),
        ([own.as_bytes(), b"Connection: close\r\n", right.as_bytes()].concat(), 200),
        ([own.as_bytes(), b"Connection: close\r\n", right.as_bytes(), right.as_bytes()].concat(), 400),
        ([own.as_bytes(), b"Connection: close\r\nAuthorization: Bearer \xff\r\n"].concat(), 400),
    ] {
        let close: &[u8] = if status == 101 { b"" } else { b"Connection: close\r\n" };
        let request = [b"GET /metrics HTTP/1.1\r\n", &head[..], close, b"\r\n"].concat();
        let said = answer(&server, &request);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {said}", head.escape_ascii());
    }
}

#[test]
fn a_misconfigured_proxy_gets_an_explanation() {
    let server = Server::start(&["--origins", "https://viewer.example"], &[]);
    let own = format!("Host: {}\r\n", server.address);
    for (request, status, cure) in [
        (format!("GET / HTTP/1.1\r\n{own}{SOCKET}"), 426, "proxy_set_header Upgrade $http_upgrade"),
        (format!("GET / HTTP/1.1\r\n{own}{SOCKET}Upgrade: websocket\r\n"), 426, "Connection \"upgrade\""),
        (format!("GET / HTTP/1.0\r\n{own}{SOCKET}{UPGRADE}"), 426, "proxy_http_version 1.1"),
        ("GET / HTTP/1.1\r\n".into(), 400, "proxy_set_header Host $host"),
        ("GET / HTTP/1.1\r\nHost: cam.example\r\n".into(), 421, "proxy_set_header Host $host"),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\nOrigin: https://cam.example\r\n{SOCKET}{UPGRADE}"
            ),
            403,
            "allow it in the server's origins",
        ),
    ] {
        let said = answer(&server, format!("{request}Connection: close\r\n\r\n").as_bytes());
        let version = &said[..8];
        assert!(
            version.starts_with("HTTP/1.") && said[9..].starts_with(&status.to_string()),
            "{request}: {said}"
        );
        assert!(said.contains(cure), "{request}: {said}");
    }
    for words in
        ["has no headers Upgrade", "has no header Host", "not known by that name", "Pages of this origin"]
    {
        server.program.logs(words);
    }
    // It is logged only once a minute.
    answer(&server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    server.program.signal(rustix::process::Signal::TERM);
    let rest = server.program.rest_of_log();
    assert!(!rest.contains("has no header Host"), "{rest}");
}

#[test]
fn passwords_of_ice_servers_need_the_token() {
    let ice = r#"[{"urls":"turn:turn.example","username":"u","credential":"p4ss"}]"#;
    let guarded = Server::start(&["--ice-servers", ice], &[("SYMPLE_TOKEN", "s3cret")]);
    for (token, told) in [(None, false), (Some("wrong"), false), (Some("s3cret"), true)] {
        let (status, _, config) = guarded.get("/api/config", token);
        assert_eq!((status, config.contains("p4ss")), (200, told), "{token:?}: {config}");
    }
    let open = Server::start(&["--ice-servers", ice], &[]);
    assert!(open.get("/api/config", None).2.contains("p4ss"), "everybody may watch");
}

#[test]
fn the_page_is_compressed_for_clients_that_accept_it() {
    let server = Server::start(&[], &[]);
    let get = |headers: &str| {
        let request =
            format!("GET /app.js HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
        let mut tcp = server.tcp();
        tcp.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let body = answer.split_off(end);
        (String::from_utf8(answer).expect("text"), body)
    };
    let (plain, whole) = get("");
    let (head, less) = get("Accept-Encoding: gzip, deflate\r\n");
    assert!(!plain.contains("content-encoding") && plain.contains("vary: Accept-Encoding"), "{plain}");
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: Accept-Encoding"), "{head}");
    assert!(
        less.starts_with(&[0x1f, 0x8b]) && less.len() * 2 < whole.len(),
        "{} {}",
        less.len(),
        whole.len()
    );
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a validator");
    let (again, nothing) = get(&format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n"));
    assert!(again.starts_with("HTTP/1.1 304") && nothing.is_empty(), "{again}");
}

#[test]
fn pages_of_the_origins_import_the_modules_and_frame_the_page() {
    let ask = |server: &Server, method: &str, path: &str, more: &str| {
        let host = server.address;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        let answer = answer(server, request.as_bytes());
        answer.split_once("\r\n\r\n").map_or(answer.clone(), |(head, _)| head.to_owned() + "\r\n")
    };
    let listed = Server::start(&["--origins", "https://viewer.example"], &[("SYMPLE_TOKEN", "s3cret")]);
    let any = Server::start(&[], &[]);
    for path in ["/", "/client.js", "/api/config"] {
        for (origin, allowed) in [
            ("", None),
            ("Origin: https://viewer.example\r\n", Some("https://viewer.example")),
            ("Origin: https://evil.example\r\n", None),
            ("Origin: null\r\n", None),
        ] {
            let head = ask(&listed, "GET", path, origin);
            assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nvary: Origin\r\n"), "{head}");
            let allows = allowed.map(|o| format!("\r\naccess-control-allow-origin: {o}\r\n"));
            assert!(allows.as_ref().is_none_or(|line| head.contains(line)), "{path} {origin:?}: {head}");
            assert_eq!(head.contains("access-control-"), allowed.is_some(), "{path} {origin:?}: {head}");
            let frames = "\r\ncontent-security-policy: frame-ancestors 'self' https://viewer.example\r\n";
            assert!(head.contains(frames), "{path}: {head}");

            let head = ask(&any, "GET", path, origin);
            assert!(head.contains("\r\naccess-control-allow-origin: *\r\n"), "{path} {origin:?}: {head}");
            assert!(head.contains("\r\ncontent-security-policy: frame-ancestors *\r\n"), "{path}: {head}");
        }
    }
    // Also for a cached file: the browser updates its headers.
    let head = ask(&listed, "GET", "/client.js", "");
    let etag = head.lines().find_map(|l| l.strip_prefix("etag: ")).expect("a validator");
    let more = format!("If-None-Match: {etag}\r\nOrigin: https://viewer.example\r\n");
    let head = ask(&listed, "GET", "/client.js", &more);
    assert!(
        head.starts_with("HTTP/1.1 304 ") && head.contains("allow-origin: https://viewer.example"),
        "{head}"
    );

    // Metrics are for the server's own page, and for programs.
    for path in ["/api/status", "/metrics", "/nothing"] {
        let right = "Origin: https://viewer.example\r\nAuthorization: Bearer s3cret\r\n";
        let head = ask(&listed, "GET", path, right);
        assert!(!head.contains("access-control-"), "{path}: {head}");
    }

    let asks = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    for (origin, may) in [("https://viewer.example", true), ("https://evil.example", false)] {
        let head = ask(&listed, "OPTIONS", "/api/config", &format!("Origin: {origin}\r\n{asks}"));
        assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
        let allowed = format!("\r\naccess-control-allow-origin: {origin}\r\n");
        assert_eq!(head.contains(&allowed), may, "{origin}: {head}");
        assert_eq!(
            head.contains("\r\naccess-control-allow-headers: Authorization\r\n"),
            may,
            "{origin}: {head}"
        );
    }
    let head = ask(&listed, "OPTIONS", "/api/config", "");
    assert!(head.starts_with("HTTP/1.1 405 "), "not a preflight: {head}");
}

#[test]
fn the_whole_site_is_served_below_a_proxys_path() {
    let server = Server::start(&["--base-path", "/cam1/"], &[]);
    for (path, part) in [
        ("/cam1/", "<script"),
        ("/cam1/app.js", "import"),
        ("/cam1/api/health", "ok"),
        ("/cam1/metrics", "symple_peers"),
        ("/app.js", "import"),
    ] {
        let (status, _, body) = server.get(path, None);
        assert!(status == 200 && body.contains(part), "{path}: {status}");
    }
    let (status, head, _) = server.get("/cam1", None);
    assert!(status == 308 && head.contains("location: /cam1/"), "{head}");
    let own = format!("Host: {}\r\n", server.address);
    let said = answer(&server, format!("GET /cam1/ HTTP/1.1\r\n{own}{UPGRADE}{SOCKET}\r\n").as_bytes());
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
}
