//! A device that answers every message.

use symple::client::{Config, Event};
use symple::Client;
use symple::proto::{Draft, MessageKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let client = Client::new(&url, Config { rooms: vec!["public".into()], ..Config::new("device") })?;
    let handle = client.clone();
    client.on(move |event| {
        if let Event::Message { message } = event
            && let Some(from) = message.from()
        {
            _ = handle.send(Draft::new(MessageKind::Message).to(from.as_str()).data("heard"));
        }
    });
    smol::block_on(client.run());
    Ok(())
}
