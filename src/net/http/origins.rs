//! The web pages that may connect, and the names by which the server may be reached.

use std::net::IpAddr;

/// The web pages that may open a WebSocket, import the modules and frame the page. Clients other than browsers send no
/// `Origin` and are always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Any page; tokens protect the server.
    Any,
    /// The server's own pages, and those of these origins (`https://viewer.example`). Its own pages are those opened by
    /// its address, by a name without a dot, or by a name in `.local`; requests for any other name are refused, unless
    /// it is among the origins.
    OwnAnd {
        /// The origins.
        others: Vec<String>,
    },
}

impl Origins {
    /// Decides about a WebSocket request with these headers `origin` and `host`.
    ///
    /// A page is the server's own if the authority of its origin equals the `Host` that it requested, and if that is an
    /// address or a name that no stranger can point here. Otherwise any site could claim to be the server's own by DNS
    /// rebinding.
    pub(crate) fn admit(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let (Origins::OwnAnd { others }, Some(origin)) = (self, origin) else { return true };
        if others.iter().any(|o| o.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
            return true;
        }
        let (Some((_, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
        authority.eq_ignore_ascii_case(host) && is_local_name(host)
    }

    /// Whether to answer a plain request to `host`. If origins are restricted, a page under a foreign name that points
    /// here must not count as the server's own.
    pub(super) fn serve(&self, host: Option<&str>) -> bool {
        let (Origins::OwnAnd { others }, Some(host)) = (self, host) else { return true };
        let named = |o: &String| {
            o.split_once("://").is_some_and(|(_, a)| a.trim_end_matches('/').eq_ignore_ascii_case(host))
        };
        is_local_name(host) || others.iter().any(named)
    }
}

fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => return v6.split_once(']').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok()),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || name.to_ascii_lowercase().ends_with(".local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_connect_to_its_own_server() {
        let own = Origins::OwnAnd { others: vec!["https://viewer.example/".into()] };
        for (origin, host, admitted) in [
            (None, Some("camera.lan:4500"), true),
            (Some("http://192.0.2.7:4500"), Some("192.0.2.7:4500"), true),
            (Some("http://[2001:db8::7]:4500"), Some("[2001:db8::7]:4500"), true),
            (Some("http://localhost:4500"), Some("localhost:4500"), true),
            (Some("http://cam.local:4500"), Some("cam.local:4500"), true),
            (Some("https://viewer.example"), Some("192.0.2.7:4500"), true),
            (Some("http://localhost:4501"), Some("localhost:4500"), false),
            (Some("https://evil.example"), Some("192.0.2.7:4500"), false),
            // DNS rebinding: the page's own name, pointed at this machine.
            (Some("http://evil.example:4500"), Some("evil.example:4500"), false),
            (Some("null"), Some("192.0.2.7:4500"), false),
            (Some("http://192.0.2.7:4500"), None, false),
        ] {
            assert_eq!(own.admit(origin, host), admitted, "{origin:?} at {host:?}");
            assert!(Origins::Any.admit(origin, host));
        }
        for (host, served) in [
            ("192.0.2.7:4500", true),
            ("camera.local", true),
            ("viewer.example", true),
            ("evil.example:4500", false),
        ] {
            assert_eq!(own.serve(Some(host)), served, "{host}");
            assert!(Origins::Any.serve(Some(host)) && own.serve(None));
        }
    }
}
