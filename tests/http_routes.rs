//! A host's own routes over real sockets: methods, bodies, streams, and attacks on them.
#![cfg(feature = "server")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use symple::Server;
use symple::net::http::{BodyError, Method, Request, Response, Routes};
use symple::net::{Origins, ServerConfig};
use symple::proto::Token;

/// Far longer than a response takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

fn any_port() -> ServerConfig {
    ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])
}

fn serve(config: ServerConfig) -> (Server, SocketAddr) {
    let server = Server::bind(config).expect("a free port");
    let (run, address) = (server.run(), server.addresses()[0]);
    std::thread::spawn(move || futures_lite::future::block_on(run));
    (server, address)
}

fn tcp(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    tcp.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    tcp
}

/// Everything that a connection sends until it is closed.
fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    _ = socket.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = tcp(address);
    socket.write_all(request.as_bytes()).expect("open");
    rest(&mut socket)
}

/// A request that is the last on its connection.
fn one(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}{headers}\r\n{body}")
}

fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    line[..3].parse().expect("a status")
}

async fn double(mut request: Request) -> Result<Response, BodyError> {
    let number: u64 = request.json().await?;
    Ok(Response::json(format!("{}", number * 2)))
}

async fn length(mut request: Request) -> Result<Response, BodyError> {
    Ok(Response::text(200, format!("{} bytes", request.bytes().await?.len())))
}

fn routes() -> Routes {
    Routes::new()
        .route(Method::Post, "/double", double)
        .route(Method::Get, "/double", |_: Request| async { Response::text(200, "what") })
        .route(Method::Put, "/file/*", length)
        .body_limit(1 << 20)
        .route(Method::Post, "/length", length)
        // A handler that ignores the error of its body must not respond as if the body were complete.
        .route(Method::Get, "/headers", |_: Request| async {
            Response::text(199, "x")
                .header("Content-Length", "100")
                .header("Transfer-Encoding", "chunked")
                .header("Cache-Control", "max-age=1")
        })
        .route(Method::Post, "/careless", |mut request: Request| async move {
            _ = request.bytes().await;
            Response::text(200, "fine")
        })
        .route(Method::Post, "/panic", |request: Request| async move {
            assert_eq!(request.path(), "", "intended by this test");
            Response::text(200, "")
        })
        .route(Method::Delete, "/panic", |request: Request| {
            assert_eq!(request.path(), "", "intended by this test");
            async { Response::text(200, "") }
        })
}

#[test]
fn a_path_handles_its_methods_and_lists_them_in_405() {
    let config =
        any_port().http(|request| (request.path() == "/plain").then(|| Response::text(200, "plain")));
    let (server, address) = serve(ServerConfig { routes: routes(), ..config });
    for (method, path, body, want, says) in [
        ("POST", "/double", "21", 200, "\r\n\r\n42"),
        ("POST", "/double?x", "\"x\"", 400, "cannot be read"),
        ("POST", "/double", "", 400, "cannot be read"),
        ("GET", "/double", "", 200, "\r\n\r\nwhat"),
        ("HEAD", "/double", "", 200, "content-length: 4\r\n"),
        ("PUT", "/double", "", 405, "allow: GET, HEAD, POST\r\n"),
        ("OPTIONS", "/double", "", 405, "allow: GET, HEAD, POST\r\n"),
        ("PROPFIND", "/double", "", 405, "allow: GET, HEAD, POST\r\n"),
        ("GET", "/file/x", "", 405, "allow: PUT\r\n"),
        ("PUT", "/file/a/b", "123", 200, "3 bytes"),
        ("GET", "/plain", "", 200, "plain"),
        ("POST", "/plain", "", 405, "allow: GET, HEAD\r\n"),
        // A host must not set headers that would break the framing of the response.
        ("GET", "/headers", "", 500, "content-length: 1\r\n"),
        ("GET", "/headers", "", 500, "cache-control: max-age=1\r\n"),
        ("GET", "/nothing", "", 404, "Not found"),
        ("DELETE", "/panic", "", 500, "failed"),
        ("POST", "/panic", "", 500, "failed"),
        ("GET", "/plain", "", 200, "plain"),
    ] {
        let answer = ask(address, &one(method, path, "", body));
        assert_eq!(status(&answer), want, "{method} {path}: {answer}");
        assert!(answer.contains(says), "{method} {path}: {answer}");
        assert!(method != "HEAD" || answer.ends_with("\r\n\r\n"), "{answer}");
    }
    server.shutdown();
}

#[test]
fn a_body_is_complete_within_its_limit_or_refused() {
    let (server, address) = serve(ServerConfig { routes: routes(), body_limit: 1000, ..any_port() });
    let chunked = |path: &str, parts: &[usize], end: &str| {
        let parts: String = parts.iter().map(|n| format!("{n:x}\r\n{}\r\n", "x".repeat(*n))).collect();
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{parts}{end}"
        )
    };
    let long = "x".repeat(1001);
    for (request, want, says) in [
        (one("POST", "/length", "", &long[1..]), 200, "1000 bytes"),
        (one("POST", "/length", "", &long), 413, "larger than 1000 bytes"),
        (one("POST", "/careless", "", &long), 413, "connection: close"),
        (one("PUT", "/file/x", "", &"x".repeat(1 << 20)), 200, "1048576 bytes"),
        (one("PUT", "/file/x", "", &"x".repeat((1 << 20) + 1)), 413, "larger than 1048576 bytes"),
        (chunked("/length", &[500, 500], "0\r\n\r\n"), 200, "1000 bytes"),
        (chunked("/length", &[500, 501], "0\r\n\r\n"), 413, "larger"),
        (chunked("/careless", &[500, 400_000], "0\r\n\r\n"), 413, "larger"),
        (chunked("/careless", &[500], "nonsense\r\n\r\n"), 400, "malformed"),
        // Neither a length nor chunks: such a request has no body.
        (one("POST", "/length", "", ""), 200, "0 bytes"),
        (
            one("POST", "/length", "Content-Length: 9999999999999\r\nExpect: 100-continue\r\n", ""),
            413,
            "larger",
        ),
        (one("POST", "/length", "Content-Length: 1\r\nContent-Length: 2\r\n", ""), 400, ""),
        (one("POST", "/length", "Content-Length: x\r\n", ""), 400, ""),
    ] {
        let answer = ask(address, &request);
        assert_eq!(status(&answer), want, "{request:.120}: {answer}");
        assert!(answer.contains(says), "{request:.120}: {answer}");
    }
    // A client that waits for the interim response before it sends.
    let mut socket = tcp(address);
    let head = "POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("open");
    let mut told = [0; 25];
    socket.read_exact(&mut told).expect("the interim response");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").expect("open");
    assert!(rest(&mut socket).contains("3 bytes"));
    // A body that breaks off.
    let mut socket = tcp(address);
    socket.write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").expect("open");
    socket.shutdown(std::net::Shutdown::Write).expect("open");
    let answer = rest(&mut socket);
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    server.shutdown();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let running = Arc::<AtomicUsize>::default();
    let count = running.clone();
    let config = any_port().route(Method::Post, "/slow", move |mut request: Request| {
        let count = count.clone();
        async move {
            assert_eq!(count.fetch_add(1, Ordering::Relaxed), 0, "one at a time");
            let body = request.bytes().await?;
            smol::Timer::after(Duration::from_millis(5)).await;
            count.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, BodyError>(Response::new(200, "text/plain", body))
        }
    });
    let (server, address) = serve(config);
    let mut all = String::new();
    for n in 0..50 {
        all += &format!("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n<{}>", n % 10);
    }
    all += &one("POST", "/slow", "", "end");
    let answer = ask(address, &all);
    let bodies: Vec<&str> = answer.split("\r\n\r\n").skip(1).map(|part| &part[..3]).collect();
    let want: Vec<String> = (0..50).map(|n| format!("<{}>", n % 10)).chain(["end".into()]).collect();
    assert_eq!(bodies, want);
    server.shutdown();
}

#[test]
fn a_page_of_another_origin_reads_and_changes_nothing() {
    let origins = Some(Origins::OwnAnd { others: vec!["https://viewer.example".into()] });
    let (server, address) = serve(ServerConfig { routes: routes(), origins, ..any_port() });
    for (headers, want) in [
        ("", 200),
        ("Origin: https://viewer.example\r\n", 200),
        ("Origin: http://a\r\n", 200),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: https://viewer.example\r\nOrigin: https://evil.example\r\n", 403),
    ] {
        let answer = ask(address, &one("POST", "/double", headers, "1"));
        assert_eq!(status(&answer), want, "{headers}: {answer}");
        assert_eq!(status(&ask(address, &one("GET", "/double", headers, ""))), 200, "reading is allowed");
    }
    let asks = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type\r\n";
    let answer =
        ask(address, &one("OPTIONS", "/file/x", &format!("{asks}Origin: https://viewer.example\r\n"), ""));
    assert!(answer.contains("access-control-allow-methods: PUT\r\n"), "{answer}");
    let answer =
        ask(address, &one("OPTIONS", "/file/x", &format!("{asks}Origin: https://evil.example\r\n"), ""));
    assert!(!answer.contains("access-control-allow"), "{answer}");
    server.shutdown();
}

#[test]
fn everything_is_also_served_below_the_base_path() {
    let config = any_port().http(|request| Some(Response::text(200, format!("plain {}", request.path()))));
    for base_path in ["/cam1/", "cam1", "/cam1"] {
        let config = ServerConfig { routes: routes(), base_path: base_path.into(), ..config.clone() };
        let (server, address) = serve(config);
        for (path, want, says) in [
            ("/cam1/", 200, "plain /"),
            ("/cam1/app.js", 200, "plain /app.js"),
            ("/cam1/double", 200, "what"),
            ("/double", 200, "what"),
            ("/cam12/double", 200, "plain /cam12/double"),
            ("/cam1?x=1", 308, "location: /cam1/?x=1\r\n"),
        ] {
            let answer = ask(address, &one("GET", path, "", ""));
            assert_eq!(status(&answer), want, "{base_path} {path}: {answer}");
            assert!(answer.contains(says), "{base_path} {path}: {answer}");
        }
        let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let request = format!("GET /cam1/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n{upgrade}\r\n");
        let mut socket = tcp(address);
        socket.write_all(request.as_bytes()).expect("open");
        let mut line = [0; 12];
        socket.read_exact(&mut line).expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 101");
        server.shutdown();
    }
}

/// Counts its live instances.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn until(what: &str, patience: Duration, is: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !is() {
        assert!(Instant::now() < end, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_handler_and_a_stream_end_with_their_client() {
    let alive = Arc::<AtomicUsize>::default();
    let (waiting, streaming) = (alive.clone(), alive.clone());
    let config = any_port()
        .route(Method::Get, "/wait", move |_: Request| {
            let alive = Alive::new(&waiting);
            async move {
                std::future::pending::<()>().await;
                drop(alive);
                Response::text(200, "never")
            }
        })
        .route(Method::Get, "/stream", move |_: Request| {
            let alive = Alive::new(&streaming);
            async move {
                Response::stream("text/plain", |mut body| async move {
                    body.send("one").await?;
                    std::future::pending::<()>().await;
                    drop(alive);
                    Ok(())
                })
            }
        });
    let (server, address) = serve(config);
    for path in ["/wait", "/stream"] {
        let mut socket = tcp(address);
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("open");
        until("the handler", PATIENCE, || alive.load(Ordering::SeqCst) == 1);
        drop(socket);
        until("its end", PATIENCE, || alive.load(Ordering::SeqCst) == 0);
    }
    server.shutdown();
}

#[test]
fn a_stream_is_complete_or_visibly_broken() {
    let config = any_port()
        .route(Method::Get, "/count", |_: Request| async {
            Response::stream("text/plain", |mut body| async move {
                for n in 0..100 {
                    // Larger than one write to the socket.
                    body.send(format!("{n};{}", " ".repeat(40_000))).await?;
                }
                Ok(())
            })
        })
        .route(Method::Get, "/broken", |_: Request| async {
            Response::stream("text/plain", |mut body| async move {
                body.send("some").await?;
                Err(std::io::Error::other("no more"))
            })
        })
        .route(Method::Get, "/panic", |_: Request| async {
            Response::stream("text/plain", |mut body| async move {
                body.send("some").await?;
                panic!("intended by this test")
            })
        });
    let (server, address) = serve(config);
    let answer = ask(address, &one("GET", "/count", "", ""));
    let numbers: Vec<usize> =
        answer.split(';').filter_map(|part| part.rsplit([' ', '\n']).next()?.parse().ok()).collect();
    assert!(answer.ends_with("\r\n0\r\n\r\n") && answer.len() > 4_000_000, "{}", answer.len());
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    for path in ["/broken", "/panic"] {
        let answer = ask(address, &one("GET", path, "", ""));
        assert!(!answer.ends_with("0\r\n\r\n"), "{path}: {answer}");
        assert_eq!(status(&ask(address, &one("HEAD", path, "", ""))), 200, "no body is produced for HEAD");
    }
    server.shutdown();
}

#[test]
fn wrong_tokens_for_a_route_are_slowed_down_and_right_ones_are_not() {
    let token = Token::new("s3cret");
    let config = any_port().route(Method::Post, "/guarded", move |request: Request| {
        let right = request.bears(&token);
        async move { Response::text(if right { 200 } else { 401 }, "") }
    });
    let (server, address) = serve(ServerConfig { exempt: Vec::new(), ..config });
    let post = |token: &str| {
        let answer =
            ask(address, &one("POST", "/guarded", &format!("Authorization: Bearer {token}\r\n"), ""));
        status(&answer)
    };
    for _ in 0..20 {
        assert_eq!(post("s3cret"), 200);
    }
    let wrong: Vec<u16> = (0..12).map(|_| post("wrong")).collect();
    assert_eq!(wrong, [[401; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(post("s3cret"), 429, "not even checked");
    server.shutdown();
}

#[test]
fn requests_through_a_proxy_count_for_their_client() {
    let config = any_port().route(Method::Get, "/wait", |_: Request| async {
        Response::stream("text/plain", |mut body| async move {
            body.send("x").await?;
            std::future::pending().await
        })
    });
    let trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    let (server, address) =
        serve(ServerConfig { trusted_proxies, exempt: Vec::new(), max_per_address: Some(2), ..config });
    let ask = |client: &str| {
        let mut socket = tcp(address);
        let request = format!("GET /wait HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("open");
        let mut line = [0; 12];
        socket.read_exact(&mut line).expect("an answer");
        let status: u16 = String::from_utf8_lossy(&line[9..]).parse().expect("a status");
        (socket, status)
    };
    let first = ask("192.0.2.1");
    let second = ask("192.0.2.1");
    assert_eq!((first.1, second.1), (200, 200));
    assert_eq!(ask("192.0.2.1").1, 429);
    assert_eq!(ask("192.0.2.2").1, 200, "other clients are not affected");
    drop(first);
    until("a free slot", PATIENCE, || ask("192.0.2.1").1 == 200);
    server.shutdown();
}

/// Sockets for each kind of attack.
const STRANGERS: usize = 1000;

/// Both ends of each are files of this process.
fn enough_files() -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        _ = setrlimit(Resource::Nofile, limit);
        let allowed = getrlimit(Resource::Nofile).current;
        if allowed.is_none_or(|files| files > 6 * STRANGERS as u64) {
            return true;
        }
    }
    eprintln!("SKIPPED: this system lets a process open too few files");
    false
}

#[test]
fn a_thousand_slow_bodies_time_out_and_others_do_not_wait() {
    if !enough_files() {
        return;
    }
    let mut config = ServerConfig { routes: routes(), ..any_port() };
    config.hub.max_connections = 4 * STRANGERS;
    let (server, address) = serve(config);
    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..STRANGERS)
        .map(|_| {
            let mut socket = tcp(address);
            socket
                .write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n")
                .expect("open");
            socket
        })
        .collect();
    // A byte now and then, which earns no time.
    while began.elapsed() < Duration::from_secs(8) {
        slow.iter_mut().for_each(|socket| _ = socket.write_all(b"x"));
        assert_eq!(status(&ask(address, &one("POST", "/double", "", "1"))), 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    for mut socket in slow {
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let answer = rest(&mut socket);
        assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    }
    server.shutdown();
}

#[test]
fn a_thousand_stopped_readers_cost_little_and_are_disconnected() {
    if !enough_files() {
        return;
    }
    let (alive, made) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (streams, parts) = (alive.clone(), made.clone());
    let mut config = any_port().route(Method::Get, "/endless", move |_: Request| {
        let (alive, made) = (Alive::new(&streams), parts.clone());
        async move {
            Response::stream("text/plain", |mut body| async move {
                let _alive = alive;
                loop {
                    body.send(vec![b'x'; 64 << 10]).await?;
                    made.fetch_add(1, Ordering::SeqCst);
                }
            })
        }
    });
    config.hub.max_connections = 4 * STRANGERS;
    let (server, address) = serve(ServerConfig {
        routes: config.routes.clone().route(Method::Post, "/double", double),
        ..config
    });
    let deaf: Vec<TcpStream> = (0..STRANGERS)
        .map(|_| {
            let mut socket = tcp(address);
            // Otherwise the system's buffers take megabytes for each.
            #[cfg(target_os = "linux")]
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("a socket");
            socket.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
            let mut some = [0; 1000];
            socket.read_exact(&mut some).expect("it begins");
            socket
        })
        .collect();
    assert_eq!(alive.load(Ordering::SeqCst), STRANGERS);
    assert_eq!(status(&ask(address, &one("POST", "/double", "", "1"))), 200);
    until("a standstill", PATIENCE, || {
        let before = made.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        made.load(Ordering::SeqCst) == before
    });
    // The system's buffers and one part; without back-pressure there would be no limit.
    let bytes = made.load(Ordering::SeqCst) / STRANGERS * (64 << 10);
    assert!(bytes < 16 << 20, "{bytes} bytes were produced for each");
    until("their end", Duration::from_secs(60), || alive.load(Ordering::SeqCst) == 0);
    assert_eq!(status(&ask(address, &one("POST", "/double", "", "1"))), 200);
    drop(deaf);
    server.shutdown();
}
