//! From a URL to an open WebSocket.

use std::fmt;
use std::net::TcpStream;

use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::Uri;
use smol::Async;

use crate::net::lookup::look_up;
use crate::net::reactor::Socket;
use crate::net::ws::io::Io;
use crate::net::ws::{self, WebSocket};

/// Why a text is not the URL of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; use an address such as ws://camera.local:4500 or wss://signal.example", self.0)
    }
}

impl std::error::Error for UrlError {}

/// The server that a client connects to.
#[derive(Clone)]
pub(crate) struct Url {
    uri: String,
    host: String,
    port: u16,
    #[cfg(feature = "tls")]
    tls: bool,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Url, UrlError> {
        let bad = |why: &str| UrlError(why.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad("The server's address is not a valid URL"))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(_) => return Err(bad("Only ws:// and wss:// are supported")),
            None => return Err(bad("The server's address does not begin with ws:// or wss://")),
        };
        if tls && cfg!(not(feature = "tls")) {
            return Err(bad("wss:// needs the crate's feature `tls`"));
        }
        let host =
            uri.host().filter(|h| !h.is_empty()).ok_or_else(|| bad("The server's address has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let authority = uri.authority().map_or("", |a| a.as_str());
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let uri = format!("{}://{authority}{path}", if tls { "wss" } else { "ws" });
        Ok(Url {
            uri,
            host,
            port,
            #[cfg(feature = "tls")]
            tls,
        })
    }
}

/// What connecting needs besides the address.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub url: Url,
    pub max_message_size: usize,
    #[cfg(feature = "tls")]
    pub roots: crate::net::Roots,
}

impl Dialer {
    /// The error message contains no address.
    pub(super) async fn dial(self) -> Result<WebSocket, String> {
        let tcp = self.connect().await?;
        _ = tcp.get_ref().set_nodelay(true);
        let io = self.secure(tcp).await?;
        let request = self.url.uri.as_str().into_client_request().map_err(|e| e.to_string())?;
        let config = Some(ws::config(self.max_message_size));
        match async_tungstenite::client_async_with_config(request, io, config).await {
            Ok((ws, _)) => Ok(WebSocket::from_stream(ws)),
            Err(Error::Http(answer)) => Err(format!(
                "The server did not open a WebSocket but responded with HTTP {}",
                answer.status()
            )),
            Err(e) => Err(format!("The WebSocket handshake failed: {e}")),
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        let mut last = "The server's name has no IP address".to_owned();
        for address in look_up(&self.url.host, self.url.port).await? {
            match Async::<TcpStream>::connect(address).await.and_then(Socket::adopt) {
                Ok(tcp) => return Ok(tcp),
                // Whoever reports it says that it is about connecting.
                Err(e) => last = e.kind().to_string(),
            }
        }
        Err(last)
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, tcp: Socket) -> Result<Io, String> {
        if !self.url.tls {
            return Ok(Io::plain(tcp));
        }
        let name = self
            .url
            .host
            .clone()
            .try_into()
            .map_err(|_| "The server's name is not valid in a certificate".to_owned())?;
        let connector = crate::net::tls::connector(&self.roots).map_err(|e| e.to_string())?;
        let tls = connector.connect(name, tcp).await.map_err(|e| format!("TLS failed: {e}"))?;
        Ok(Io::tls(tls.into()))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, tcp: Socket) -> Result<Io, String> {
        Ok(Io::plain(tcp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_or_refused_with_a_reason() {
        for (text, uri, host, port) in [
            ("ws://127.0.0.1:4500", "ws://127.0.0.1:4500/", "127.0.0.1", 4500),
            ("http://localhost:4500/x?y=1", "ws://localhost:4500/x?y=1", "localhost", 4500),
            ("ws://[::1]:7", "ws://[::1]:7/", "::1", 7),
            ("ws://host", "ws://host/", "host", 80),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((&*url.uri, &*url.host, url.port), (uri, host, port));
        }
        assert_eq!(Url::parse("wss://host").map(|u| u.port).ok(), cfg!(feature = "tls").then_some(443));
        for (text, why) in [
            ("host:4500", "does not begin with ws://"),
            ("ftp://host", "Only ws://"),
            ("", "is not a valid URL"),
            ("ws://", "is not a valid URL"),
        ] {
            let said = Url::parse(text).err().expect(text).to_string();
            assert!(said.contains(why) && said.contains("use an address such as"), "{text}: {said}");
        }
    }
}
