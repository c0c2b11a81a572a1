//! The client core on a plain blocking socket: no runtime, none of the crate's drivers, `--no-default-features`.
//!
//! The WebSocket is tungstenite's; any transport of text frames would do.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use symple::client::{Agent, Config, Event, Input, Output};
use tungstenite::{Message, WebSocket, protocol::CloseFrame};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4500".into());
    let mut agent =
        Agent::new(Config { rooms: vec!["public".into()], ..Config::new("bare") }, 7, Instant::now());
    agent.connect(Instant::now());
    let mut socket: Option<WebSocket<TcpStream>> = None;
    loop {
        // Drain the core: its outputs are what to do, and when to wake it.
        let wake = loop {
            match agent.poll_output() {
                Output::Open => match open(&address) {
                    Ok(opened) => {
                        socket = Some(opened);
                        agent.handle_input(Input::Opened, Instant::now());
                    }
                    Err(reason) => agent.handle_input(Input::OpenFailed { reason: &reason }, Instant::now()),
                },
                Output::Send(text) => _ = socket.as_mut().map(|s| s.send(Message::text(text))),
                Output::Ping => _ = socket.as_mut().map(|s| s.send(Message::Ping(Default::default()))),
                Output::Close { code, reason } => {
                    let frame = CloseFrame { code: code.0.into(), reason: reason.into() };
                    _ = socket.take().map(|mut s| s.close(Some(frame)));
                }
                Output::Event(Event::Ended { why }) => {
                    println!("ended: {why}");
                    return Ok(());
                }
                Output::Event(event) => println!("{event:?}"),
                Output::Timeout(wake) => break wake,
                _ => {}
            }
        };
        // Wait for a frame, but no longer than the core wants.
        let wait = wake.map_or(Duration::from_secs(60), |at| at.saturating_duration_since(Instant::now()));
        let wait = wait.max(Duration::from_millis(1));
        let Some(open) = &mut socket else {
            std::thread::sleep(wait);
            agent.handle_input(Input::Timeout, Instant::now());
            continue;
        };
        open.get_ref().set_read_timeout(Some(wait))?;
        let read = open.read();
        let now = Instant::now();
        match read {
            Ok(Message::Text(text)) => agent.handle_input(Input::Text(&text), now),
            Ok(_) => agent.handle_input(Input::Alive, now),
            Err(tungstenite::Error::Io(e))
                if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                agent.handle_input(Input::Timeout, now);
            }
            Err(e) => {
                socket = None;
                agent.handle_input(Input::Closed { code: None, reason: &e.to_string() }, now);
            }
        }
    }
}

fn open(address: &str) -> Result<WebSocket<TcpStream>, String> {
    let tcp = TcpStream::connect(address).map_err(|e| e.to_string())?;
    let opened = tungstenite::client(format!("ws://{address}/"), tcp).map_err(|e| e.to_string())?;
    Ok(opened.0)
}
