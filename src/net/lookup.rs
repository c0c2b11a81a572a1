//! Looks up the addresses of a name without blocking the caller.

use std::net::{SocketAddr, ToSocketAddrs};

/// The system's resolver blocks, so it runs on a thread of its own for each lookup.
pub(crate) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (tell, told) = smol::channel::bounded(1);
    let name = host.to_owned();
    std::thread::Builder::new()
        .name("symple-lookup".into())
        .stack_size(128 << 10)
        .spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(|a| a.collect::<Vec<_>>());
            _ = tell.try_send(found);
        })
        .map_err(|e| format!("Cannot start a thread for a name lookup: {e}"))?;
    match told.recv().await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(e)) => Err(format!("Cannot find the server's name: {e}")),
        Err(_) => Err("The name lookup ended without an answer".into()),
    }
}
