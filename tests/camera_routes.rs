//! A camera's own server handles the application's paths besides its own, also below a proxy's path.
#![cfg(feature = "camera-gst")]

use std::io::{Read, Write};
use std::net::TcpStream;

use symple::Camera;
use symple::camera::{Config, Serve, Signalling};
use symple::net::http::{BodyError, Method, Request, Response, Routes};
use symple::proto::Token;

#[test]
fn an_application_adds_paths_to_its_camera() {
    let token = Token::new("s3cret");
    let routes = Routes::new().route(Method::Post, "/api/motor", move |mut request: Request| {
        let token = token.clone();
        async move {
            if !request.bears(&token) {
                return Ok(Response::unauthorized(&request, "This needs the token.\n"));
            }
            let speed: u32 = request.json().await?;
            Ok::<_, BodyError>(Response::json(format!("{{\"speed\":{speed}}}")))
        }
    });
    let listen = vec!["127.0.0.1:0".parse().expect("literal")];
    let serve = Serve { listen, routes, base_path: "/cam1/".into(), ..Serve::default() };
    let camera = Camera::new(Config { signalling: Signalling::Serve(serve), ..Config::default() });
    let camera = camera.expect("it starts");
    let address = camera.server().expect("its own").addresses()[0];
    let run = camera.run();
    let running = std::thread::spawn(move || futures_lite::future::block_on(run));
    let ask = |line: &str, headers: &str, body: &str| {
        let mut tcp = TcpStream::connect(address).expect("it listens");
        let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}");
        write!(tcp, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("open");
        let mut all = String::new();
        tcp.read_to_string(&mut all).expect("an answer");
        all
    };
    let right = "Authorization: Bearer s3cret\r\n";
    let foreign = "Authorization: Bearer s3cret\r\nOrigin: https://evil.example\r\n";
    for (line, headers, status, says) in [
        ("POST /api/motor", right, 200, "{\"speed\":7}"),
        ("POST /cam1/api/motor", right, 200, "{\"speed\":7}"),
        ("POST /api/motor", "", 401, "www-authenticate: Bearer"),
        ("POST /api/motor", foreign, 403, "origin"),
        ("GET /api/motor", "", 405, "allow: POST"),
        ("GET /cam1/api/health", "", 200, "ok"),
    ] {
        let answer = ask(line, headers, if line.starts_with("POST") { "7" } else { "" });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {headers}: {answer}");
        assert!(answer.contains(says), "{line} {headers}: {answer}");
    }
    camera.shutdown();
    running.join().expect("no panic");
}
