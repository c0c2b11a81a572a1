//! The smallest client: says hello to everybody who shares a room with it, and prints what it receives.
//!
//! Arguments: the server's URL, a user, a token. The token may also be in SYMPLE_TOKEN.

use symple::Client;
use symple::client::{Config, Event};
use symple::proto::{Draft, MessageKind, Token};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "alice".into());
    let token = arguments.next().or_else(|| std::env::var("SYMPLE_TOKEN").ok()).map(Token::new);
    let client = Client::new(&url, Config { token, rooms: vec!["public".into()], ..Config::new(user) })?;
    let handle = client.clone();
    client.on(move |event| match event {
        Event::Online { peer, rooms } => println!("I am {}, in {}", peer.user, rooms.join(", ")),
        Event::Offline { reason, .. } => println!("offline: {reason}"),
        Event::Ended { why } => println!("ended: {why}"),
        Event::PeerAdded { peer } => {
            println!("{} is here", peer.user);
            let hello = Draft::new(MessageKind::Message).to(peer.address().as_str()).data("hello");
            if let Err(e) = handle.send(hello) {
                eprintln!("not sent: {e}");
            }
        }
        Event::PeerRemoved { peer } => println!("{} is gone", peer.user),
        Event::Message { message } => {
            let from = message.from().map_or("somebody", |from| from.user());
            println!("{from} says {}", message.raw("data").unwrap_or("nothing"));
        }
        _ => {}
    });
    smol::block_on(client.run());
    Ok(())
}
