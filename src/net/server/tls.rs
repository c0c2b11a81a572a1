//! The certificate of a server, if it has one.

use std::net::TcpStream;

use smol::Async;

use crate::net::ws::io::Io;

#[cfg(feature = "tls")]
mod with {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_lite::FutureExt;
    use futures_rustls::TlsAcceptor;
    use smol::Timer;

    use super::{Async, Io, TcpStream};
    use crate::net::{ServerTls, lock};

    /// The timeout of a handshake.
    const HANDSHAKE: Duration = Duration::from_secs(10);

    /// Can be replaced while the server runs.
    pub(in crate::net::server) struct Tls(Mutex<Option<TlsAcceptor>>);

    impl Tls {
        pub(crate) fn new(tls: Option<ServerTls>) -> Tls {
            Tls(Mutex::new(tls.map(|tls| tls.config.into())))
        }

        pub(crate) fn set(&self, tls: ServerTls) {
            *lock(&self.0) = Some(tls.config.into());
        }

        #[cfg(feature = "camera")]
        pub(crate) fn is_set(&self) -> bool {
            lock(&self.0).is_some()
        }

        pub(crate) async fn secure(&self, tcp: Async<TcpStream>) -> Option<Io> {
            let Some(acceptor) = lock(&self.0).clone() else { return Some(Io::plain(tcp)) };
            let late = async {
                Timer::after(HANDSHAKE).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            match acceptor.accept(tcp).or(late).await {
                Ok(tls) => Some(Io::tls(tls.into())),
                Err(e) => {
                    log::debug!("TLS handshake failed: {e}");
                    None
                }
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
mod with {
    use super::{Async, Io, TcpStream};

    pub(in crate::net::server) struct Tls;

    impl Tls {
        #[cfg(feature = "camera")]
        pub(crate) fn is_set(&self) -> bool {
            false
        }

        pub(crate) async fn secure(&self, tcp: Async<TcpStream>) -> Option<Io> {
            Some(Io::plain(tcp))
        }
    }
}

pub(super) use with::Tls;
