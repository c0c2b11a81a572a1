//! `firmware SOURCE ADDRESS TOKEN`, such as `firmware /dev/video0 0.0.0.0:4500 secret`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, address, token] = &args[..] else {
        return Err("usage: firmware SOURCE ADDRESS TOKEN".into());
    };
    let camera = firmware::camera(source, address.parse()?, token)?;
    println!("open {}", camera.urls().join(" or "));
    smol::block_on(camera.run());
    Ok(())
}
