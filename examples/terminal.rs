//! A client on tokio, in a terminal: lists the cameras that are online, sends messages with receipts, and sends commands.
//!
//! Arguments: the server's address, a user, a token (or SYMPLE_TOKEN). Then it reads lines:
//!
//! ```text
//! cameras                             the cameras that are online
//! say USER WORDS                      sends a message to a user or a room, and prints how many got it
//! ask USER NODE ACTION [JSON]         sends a command, and prints its reply
//! quit
//! ```

use std::io::BufRead;

use serde_json::Value;
use symple::Client;
use symple::client::{Config, Event, RequestError};
use symple::proto::{Draft, MessageKind, Status, Token};
use tokio::sync::mpsc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "terminal".into());
    let token = arguments.next().or_else(|| std::env::var("SYMPLE_TOKEN").ok()).map(Token::new);
    let client = Client::new(&url, Config { token, rooms: vec!["public".into()], ..Config::new(user) })?;
    let handle = client.clone();
    client.on(move |event| hear(&handle, event));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(async {
        let running = tokio::spawn(client.run());
        let mut lines = lines();
        while let Some(line) = lines.recv().await {
            match line.split_whitespace().next() {
                None => {}
                Some("quit") => break,
                // One task for each line, so that a slow peer does not delay the next one.
                Some(_) => _ = tokio::spawn(obey(client.clone(), line)),
            }
        }
        client.close();
        running.await
    })?;
    Ok(())
}

/// Lines from the terminal. Reading blocks, so it has a thread of its own.
fn lines() -> mpsc::Receiver<String> {
    let (give, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if give.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn hear(client: &Client, event: Event) {
    match event {
        Event::Online { peer, rooms } => println!("I am {}, in {}", peer.user, rooms.join(", ")),
        Event::Offline { reason, .. } => println!("offline: {reason}"),
        Event::Ended { why } => println!("ended: {why}"),
        Event::PeerAdded { peer } => {
            println!("{} is here ({})", peer.user, peer.peer_type().unwrap_or("of no type"))
        }
        Event::PeerRemoved { peer } => println!("{} is gone", peer.user),
        Event::Message { message } => {
            let from = message.from().map_or("somebody", |from| from.user());
            println!("{from} says {}", message.raw("data").unwrap_or("nothing"));
        }
        // A person replies to commands too.
        Event::Command { command } => {
            let known = command.get::<String>("action").ok().flatten().as_deref() == Some("ping");
            let status = if known { Status::OK } else { Status(501) };
            if let Err(error) = client.reply(&command, status, &Value::Null) {
                eprintln!("no reply: {error}");
            }
        }
        _ => {}
    }
}

/// Executes a line.
async fn obey(client: Client, line: String) {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    match words[..] {
        ["cameras"] => {
            let cameras: Vec<String> = client
                .roster()
                .into_iter()
                .filter(|peer| peer.peer_type() == Some("camera"))
                .map(|peer| format!("{} ({})", peer.user, peer.name))
                .collect();
            println!("{} cameras: {}", cameras.len(), cameras.join(", "));
        }
        ["say", to, ..] => {
            let text = line.splitn(3, ' ').nth(2).unwrap_or_default();
            match client.deliver(Draft::new(MessageKind::Message).to(to).data(text)).await {
                Ok(count) => println!("{count} got it"),
                Err(error) => println!("not delivered ({}): {error}", error.code()),
            }
        }
        ["ask", to, node, action, ..] => {
            let data: Value =
                words.get(4).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            match client.request(to, node, action, &data).await {
                Ok(reply) => println!("{to} replies {}", reply.raw("data").unwrap_or("nothing")),
                Err(RequestError::Refused { status, .. }) => println!("{to} refuses with status {status}"),
                Err(error) => println!("no reply ({}): {error}", error.code()),
            }
        }
        _ => println!("cameras, say USER WORDS, ask USER NODE ACTION [JSON], or quit"),
    }
}
