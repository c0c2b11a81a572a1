//! Writes with a peer, without a server in between: what is typed goes to it by a data channel of a call.
//!
//! Arguments: the server's URL, our user, and the user to call, if any. The server only introduces the two.

use std::error::Error;
use std::io::stdin;
use std::sync::Arc;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::Client;
use symple::calling::{Call, Calling, Messages};
use symple::client::{Config, Event};
use symple::net::ClientEvent;
use symple::proto::{Draft, MessageKind};
use symple::rtc::Directions;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "bob".into());
    let whom = arguments.next();

    let client = Client::new(&url, Config { rooms: vec!["public".into()], ..Config::new(&user) })?;
    let mut events = client.events(64);
    let calling = Calling::new(&client)?;
    let talk = async {
        let call = match whom {
            Some(whom) => {
                let is_whom = |event| match event {
                    ClientEvent::Event { event: Event::PeerAdded { peer } } if peer.user == whom => {
                        Some(peer)
                    }
                    _ => None,
                };
                let peer = events.find_map(is_whom).await.ok_or("the client has ended")?;
                calling.call(peer.address().as_str(), Call::new([], []).with_channels())?
            }
            None => {
                let call = calling.incoming().next().await.ok_or("the client has ended")?;
                call.with_channels().accept(Directions::new([], []))?
            }
        };
        let messages = Arc::new(call.messages());
        messages.opened().await?;
        println!("connected");
        let writer = messages.clone();
        std::thread::spawn(move || write(&writer));
        while let Some(message) = messages.recv().await {
            let from = message.from().map_or("somebody", |from| from.user());
            println!("{from}: {}", message.data::<String>().unwrap_or_default());
        }
        if let Some(end) = call.end() {
            println!("the call has ended: {end}");
        }
        Ok(())
    };
    let drivers = async {
        zip(client.run(), calling.run()).await;
        Err("the server does not admit this client".into())
    };
    block_on(or(talk, drivers))
}

/// Sends what is typed, line by line.
fn write(messages: &Messages) {
    for line in stdin().lines().map_while(Result::ok) {
        let draft = Draft::new(MessageKind::Message).subtype("chat").data(&line);
        if let Err(e) = messages.send(draft) {
            eprintln!("not sent: {e}");
        }
    }
}
