//! A server with an admission rule: a guest list. It serves `wss://` if a certificate is set.
//!
//! Settings: PORT, CERT and KEY (PEM files).

use symple::Server;
use symple::net::{ServerConfig, ServerEvent, ServerTls};
use symple::proto::{DEFAULT_PORT, Status};
use symple::server::Admission;

/// The guests, their tokens, and their rooms.
const GUESTS: [(&str, &str, &str); 3] =
    [("alice", "wonderland", "public"), ("bob", "builder", "public"), ("camera", "lens", "public")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT").ok().map_or(Ok(DEFAULT_PORT), |p| p.parse())?;
    let mut config = ServerConfig::listen([([127, 0, 0, 1], port).into()]);
    config.hub.authenticate = true;
    config.hub.dynamic_rooms = false;
    if let (Ok(cert), Ok(key)) = (std::env::var("CERT"), std::env::var("KEY")) {
        config.tls = Some(ServerTls::from_pem(&std::fs::read(cert)?, &std::fs::read(key)?)?);
    }
    let server = Server::bind(config)?;
    server.on(|event| match event {
        ServerEvent::Authenticate { request } => {
            let token = request.auth.token.as_ref().map_or("", |token| token.reveal());
            match GUESTS.iter().find(|(user, secret, _)| *user == request.auth.user && *secret == token) {
                Some((_, _, room)) => {
                    request.admit(Admission { rooms: vec![(*room).into()], ..Admission::default() });
                }
                None => request.refuse(Status::UNAUTHORIZED, "Authentication failed: not on the guest list"),
            }
        }
        ServerEvent::PeerOnline { peer } => println!("{} came in", peer.user),
        ServerEvent::PeerOffline { peer } => println!("{} left", peer.user),
        _ => {}
    });
    println!("listening on port {}", server.addresses()[0].port());
    // A second core would run the same: std::thread::spawn(|| block_on(server.run())).
    symple::net::block_on(server.run());
    Ok(())
}
