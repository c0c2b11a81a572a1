//! A name's addresses, without blocking who asks.

use std::net::{SocketAddr, ToSocketAddrs};

/// The system's resolver blocks, so it is asked on a thread that lives for the question.
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
        .map_err(|e| format!("No thread to look a name up: {e}"))?;
    match told.recv().await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(e)) => Err(format!("The server's name was not found: {e}")),
        Err(_) => Err("The name look-up ended without an answer".into()),
    }
}
