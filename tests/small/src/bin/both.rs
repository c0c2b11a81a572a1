//! A server, and a device in its own process: `both 0.0.0.0:4500`.

use symple::client::{Config, Event};
use symple::Server;
use symple::net::ServerConfig;
use symple::proto::{Draft, MessageKind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4500".into());
    let server = Server::bind(ServerConfig::listen([address.parse()?]))?;
    let device = server.peer(Config { rooms: vec!["public".into()], ..Config::new("device") });
    let handle = device.clone();
    device.on(move |event| {
        if let Event::Message { message } = event
            && let Some(from) = message.from()
        {
            _ = handle.send(Draft::new(MessageKind::Message).to(from.as_str()).data("heard"));
        }
    });
    let device = smol::spawn(device.run());
    smol::block_on(server.run());
    smol::block_on(device);
    Ok(())
}
