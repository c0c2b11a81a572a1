//! Finds a client's address behind proxies.

use std::net::IpAddr;

use hyper::header::HeaderMap;

use super::proxy_faults::Trouble;
use super::{Network, Rules};

/// The client's address: the peer's or, behind trusted proxies, the last one that is not a proxy's.
pub(super) fn client_address(headers: &HeaderMap, peer: IpAddr, proxies: &[Network]) -> IpAddr {
    let trusted = |ip: IpAddr| proxies.iter().any(|network| network.contains(ip));
    if !trusted(peer) {
        return peer;
    }
    // As bytes: what a client wrote may not be valid text, and must not hide what the proxy appended.
    let forwarded =
        headers.get_all("x-forwarded-for").iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let hops: Vec<Option<IpAddr>> = forwarded.map(hop).collect();
    match hops.into_iter().rev().find(|hop| hop.is_none_or(|ip| !trusted(ip))) {
        Some(Some(ip)) => ip,
        // Anything before an unreadable hop may be forged by the client.
        Some(None) => peer,
        None => {
            let mut real = headers.get_all("x-real-ip").iter();
            let real = real.next().filter(|_| real.next().is_none());
            real.and_then(|value| hop(value.as_bytes())).unwrap_or(peer)
        }
    }
}

/// An address as proxies write it: alone, or with a port.
fn hop(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip());
    text.parse().ok().or_else(socket).map(|ip: IpAddr| ip.to_canonical())
}

/// Whether a proxy is configured on one side only, so that all its clients count as one.
pub(super) fn trouble(headers: &HeaderMap, peer: IpAddr, rules: &Rules) -> Option<Trouble> {
    let has_client = headers.contains_key("x-forwarded-for") || headers.contains_key("x-real-ip");
    match rules.is_proxy(peer) {
        true if !has_client => Some(Trouble::ProxySilent),
        // Anybody can send the header, but from this machine it is a proxy.
        false if has_client && peer.is_loopback() => Some(Trouble::ProxyNotTrusted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter().map(|text| text.parse().expect("a network")).collect()
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1, 192.0.2.9, 10.0.0.2"));
        let proxies = networks(&["10.0.0.0/8"]);
        assert_eq!(client_address(&headers, ip("10.0.0.1"), &proxies), ip("192.0.2.9"));
        assert_eq!(client_address(&headers, ip("203.0.113.5"), &proxies), ip("203.0.113.5"));
        for (forwarded, found) in [
            ("192.0.2.9:51234", "192.0.2.9"),
            ("1.2.3.4, [2001:db8::1]:4000, 10.0.0.2", "2001:db8::1"),
            ("1.2.3.4, unknown", "10.0.0.1"),
        ] {
            headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
            assert_eq!(client_address(&headers, ip("10.0.0.1"), &proxies), ip(found), "{forwarded}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-real-ip", HeaderValue::from_static("192.0.2.8"));
        assert_eq!(client_address(&headers, ip("10.0.0.1"), &proxies), ip("192.0.2.8"));
        headers.append("x-real-ip", HeaderValue::from_static("192.0.2.7"));
        assert_eq!(
            client_address(&headers, ip("10.0.0.1"), &proxies),
            ip("10.0.0.1"),
            "two X-Real-IP headers count as none"
        );
    }

    #[test]
    fn invalid_text_does_not_hide_the_address_after_it() {
        let proxies = networks(&["10.0.0.1"]);
        for (lines, found) in [
            (&[&b"\xff, 192.0.2.9"[..]][..], "192.0.2.9"),
            (&[&b"\xff"[..], b"192.0.2.9"][..], "192.0.2.9"),
            (&[&b"198.51.100.1"[..], b"\xff"][..], "10.0.0.1"),
            (&[&b"198.51.100.1, \xff"[..]][..], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(line).expect("opaque"));
            }
            assert_eq!(client_address(&headers, ip("10.0.0.1"), &proxies), ip(found), "{lines:?}");
        }
    }
}
