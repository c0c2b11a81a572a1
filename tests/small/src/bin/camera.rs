//! A camera with its page: `camera SOURCE ADDRESS TOKEN`.

use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::source::gst::CaptureSettings;
use symple::proto::Token;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, address, token] = &args[..] else {
        return Err("usage: camera SOURCE ADDRESS TOKEN".into());
    };
    let capture = CaptureSettings { source: source.parse()?, ..CaptureSettings::default() };
    let mut config = Config::new(capture);
    config.signalling = Signalling::Serve(Serve {
        listen: vec![address.parse()?],
        token: Some(Token::new(token.clone())),
        ..Serve::default()
    });
    let camera = Camera::new(config)?;
    println!("open {}", camera.urls().join(" or "));
    symple::net::block_on(camera.run());
    Ok(())
}
