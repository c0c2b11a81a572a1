//! The certificate of a server, if it has one.

use crate::net::reactor::Socket;
use crate::net::ws::io::Io;

#[cfg(feature = "tls")]
mod with {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_lite::FutureExt;
    use futures_rustls::TlsAcceptor;

    use super::{Io, Socket};
    use crate::net::time::Timer;
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

        pub(crate) async fn secure(&self, tcp: Socket) -> Option<Io> {
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
    use super::{Io, Socket};

    pub(in crate::net::server) struct Tls;

    impl Tls {
        #[cfg(feature = "camera")]
        pub(crate) fn is_set(&self) -> bool {
            false
        }

        pub(crate) async fn secure(&self, tcp: Socket) -> Option<Io> {
            Some(Io::plain(tcp))
        }
    }
}

pub(super) use with::Tls;
