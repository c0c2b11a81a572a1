//! The smallest camera firmware: what it films, and who may see it.

use std::net::SocketAddr;

use symple::camera::{Camera, Config, Event, Serve, Signalling, StartError};
use symple::proto::Token;

/// A camera with a page at `listen`, for those who know the token.
pub fn camera(source: &str, listen: SocketAddr, token: &str) -> Result<Camera, Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.media.source = source.parse()?;
    (config.media.width, config.media.height) = (320, 180);
    config.signalling = Signalling::Serve(Serve {
        listen: vec![listen],
        token: Some(Token::new(token)),
        ..Serve::default()
    });
    let camera = Camera::new(config).map_err(|e: StartError| e.to_string())?;
    camera.on(|event| match event {
        Event::ViewerJoined(viewer) => println!("{} watches", viewer.address.user()),
        Event::ViewerLeft(viewer, reason) => println!("{} left: {reason}", viewer.address.user()),
        _ => {}
    });
    Ok(camera)
}
