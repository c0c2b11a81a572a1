//! A server and a peer in one process, without a socket between them; the peer replies to commands.

use symple::Server;
use symple::client::{Config, Event};
use symple::net::ServerConfig;
use symple::proto::Status;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ServerConfig::listen([([127, 0, 0, 1], 4500).into()]);
    config.hub.rooms = vec!["public".into()];
    let server = Server::bind(config)?;

    let clock = server.peer(Config::new("clock"));
    let handle = clock.clone();
    clock.on(move |event| match event {
        Event::Online { peer, .. } => println!("{} is in, without a socket", peer.user),
        Event::PeerAdded { peer } => println!("{} is here", peer.user),
        Event::Command { command } => {
            let uptime = serde_json::json!({ "node": command.raw("node"), "answer": 42 });
            if let Err(e) = handle.reply(&command, Status::OK, &uptime) {
                eprintln!("no reply: {e}");
            }
        }
        _ => {}
    });
    println!("listening on port {}", server.addresses()[0].port());
    smol::block_on(futures_lite::future::zip(server.run(), clock.run()));
    Ok(())
}
