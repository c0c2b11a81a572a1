//! Opens a port to listen on, and explains why it cannot be opened.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Why a server cannot start.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

impl BindError {
    /// A stable code: `port-taken`, `port-forbidden`, `no-such-address` or `listen-failed`.
    pub fn code(&self) -> &'static str {
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => "port-taken",
            io::ErrorKind::PermissionDenied => "port-forbidden",
            io::ErrorKind::AddrNotAvailable => "no-such-address",
            _ => "listen-failed",
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        match self.code() {
            "port-taken" => {
                write!(f, "Port {port} of {ip} is in use by another program: stop it, or choose another port")
            }
            "port-forbidden" => write!(f, "No permission for port {port}: choose one from 1024 on"),
            "no-such-address" => {
                write!(f, "{ip} is not an address of this machine: choose one that is, or 0.0.0.0 for all")
            }
            _ => write!(f, "Listening on {} failed: {}", self.address, self.cause),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Listens on `address`; with port 0 the system chooses one. Returns the actual address.
pub(super) fn listen(address: &SocketAddr) -> Result<(SocketAddr, TcpListener), BindError> {
    let failed = |cause| BindError { address: *address, cause };
    let listener = TcpListener::bind(address).map_err(failed)?;
    deepen(&listener).map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}

/// Makes the backlog as long as the system allows (`net.core.somaxconn`, 4096 by default since Linux 5.4). The standard
/// library asks for 128; a client that finds it full retries after a second.
#[cfg(unix)]
fn deepen(listener: &TcpListener) -> io::Result<()> {
    // POSIX: a value over the system's maximum counts as the maximum. A second `listen` only changes the length.
    Ok(rustix::net::listen(listener, i32::MAX)?)
}

#[cfg(not(unix))]
fn deepen(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn hundreds_connect_while_the_server_is_busy() {
        const CALLERS: usize = 400;
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux has it");
        if most.trim().parse::<usize>().expect("a number") < CALLERS {
            return eprintln!("SKIPPED: this system lets {} connections wait", most.trim());
        }
        let (address, _listener) = listen(&"127.0.0.1:0".parse().expect("loopback")).expect("a free port");
        // Nobody accepts: a connection that does not fit gets no answer before its client's second attempt.
        let callers: Vec<_> = (0..CALLERS)
            .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).ok())
            .collect();
        assert_eq!(callers.len(), CALLERS);
    }

    #[test]
    fn a_taken_port_is_named() {
        let (address, _listener) = listen(&"127.0.0.1:0".parse().expect("loopback")).expect("a free port");
        let error = listen(&address).expect_err("it is taken");
        assert_eq!(error.code(), "port-taken");
        assert!(error.to_string().contains(&address.port().to_string()), "{error}");
    }
}
