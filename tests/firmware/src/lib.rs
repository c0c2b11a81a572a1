//! The smallest camera firmware: its source, and who may watch.

use std::net::SocketAddr;

use symple::camera::{Camera, Config, Event, Serve, Signalling, CameraError};
use symple::media::source::gst::CaptureSettings;
use symple::proto::Token;

/// A camera with a page at `listen`, for viewers with the token.
pub fn camera(source: &str, listen: SocketAddr, token: &str) -> Result<Camera, Box<dyn std::error::Error>> {
    let capture = CaptureSettings { source: source.parse()?, width: 320, height: 180, ..Default::default() };
    let mut config = Config::new(capture);
    config.signalling = Signalling::Serve(Serve {
        listen: vec![listen],
        token: Some(Token::new(token)),
        ..Serve::default()
    });
    let camera = Camera::new(config).map_err(|e: CameraError| e.to_string())?;
    camera.on(|event| match event {
        Event::ViewerJoined { viewer } => println!("{} watches", viewer.address.user()),
        Event::ViewerLeft { viewer, end: reason } => println!("{} left: {reason}", viewer.address.user()),
        _ => {}
    });
    Ok(camera)
}
