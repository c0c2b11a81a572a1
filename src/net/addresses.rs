//! The addresses at which other machines reach this one.

use std::io;
use std::net::IpAddr;

/// The addresses of all interfaces that are up, each as [`reachable`] ranks them.
pub(crate) fn of_this_machine() -> io::Result<Vec<IpAddr>> {
    let up = up()?;
    Ok(reachable(up.iter().map(|i| (i.name.as_str(), i.ip()))))
}

/// The addresses of all interfaces that are up.
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) fn all() -> io::Result<Vec<IpAddr>> {
    Ok(up()?.iter().map(if_addrs::Interface::ip).collect())
}

fn up() -> io::Result<Vec<if_addrs::Interface>> {
    let mut all = if_addrs::get_if_addrs()?;
    all.retain(|i| i.oper_status != if_addrs::IfOperStatus::Down);
    Ok(all)
}

/// The addresses that another machine can reach, out of these with the names of their interfaces.
///
/// - An IPv4 link-local address (169.254.0.0/16, RFC 3927) counts if its interface has no better one: a board on a
///   cable without a DHCP server has no other, and whoever is at the other end of the cable reaches it there, regardless
///   of the board's other interfaces.
/// - IPv6 link-local addresses never count. Each needs a zone, after its `%`, to name the link, and a candidate carries
///   no zone (RFC 8839, 5.1): both sides would pick whichever link their system prefers. A link that only has link-local
///   addresses also has one of IPv4 if addresses are configured automatically.
/// - Loopback counts if there is nothing else.
fn reachable<'a>(addresses: impl Iterator<Item = (&'a str, IpAddr)>) -> Vec<IpAddr> {
    let is_v4_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_link_local());
    let of_no_use = |ip: &IpAddr| {
        ip.is_unspecified()
            || ip.is_multicast()
            || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
            || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    };
    let all: Vec<(&str, IpAddr)> = addresses.filter(|(_, ip)| !of_no_use(ip)).collect();
    let has_better =
        |name: &str| all.iter().any(|(other, ip)| *other == name && ip.is_ipv4() && !is_v4_link_local(ip));
    let mut ips: Vec<IpAddr> = vec![];
    for (name, ip) in &all {
        let second_best = is_v4_link_local(ip) && has_better(name);
        if !second_best && !ips.contains(ip) {
            ips.push(*ip);
        }
    }
    if ips.iter().any(|ip| !ip.is_loopback()) {
        ips.retain(|ip| !ip.is_loopback());
    }
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_can_reach_are_listed() {
        type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let table: [Row; 11] = [
            ("a network", &[("lo", "127.0.0.1"), ("eth0", "192.0.2.1")], &["192.0.2.1"]),
            ("no network", &[("lo", "127.0.0.1"), ("lo", "::1")], &["127.0.0.1", "::1"]),
            (
                "a cable to another machine",
                &[("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "169.254.7.8"), ("eth0", "fe80::1")],
                &["169.254.7.8"],
            ),
            (
                "a link-local address does not count beside another of its interface",
                &[("eth0", "169.254.7.8"), ("eth0", "192.0.2.1"), ("eth0", "fe80::1")],
                &["192.0.2.1"],
            ),
            (
                "a link-local address counts beside those of other interfaces",
                &[("lo", "127.0.0.1"), ("wlan0", "192.0.2.1"), ("eth0", "169.254.7.8")],
                &["192.0.2.1", "169.254.7.8"],
            ),
            (
                "a link-local address counts beside IPv6 on its interface, since some clients only have IPv4",
                &[("eth0", "169.254.7.8"), ("eth0", "2001:db8::1")],
                &["169.254.7.8", "2001:db8::1"],
            ),
            ("IPv6 by itself on a link", &[("lo", "::1"), ("eth0", "fe80::1")], &["::1"]),
            (
                "several networks",
                &[("a", "192.0.2.1"), ("b", "172.17.0.1"), ("a", "2001:db8::1"), ("lo", "::1")],
                &["192.0.2.1", "172.17.0.1", "2001:db8::1"],
            ),
            ("one address twice", &[("a", "192.0.2.1"), ("b", "192.0.2.1")], &["192.0.2.1"]),
            (
                "addresses that no datagram comes from",
                &[("a", "0.0.0.0"), ("a", "224.0.0.1"), ("a", "ff02::1")],
                &[],
            ),
            ("nothing", &[], &[]),
        ];
        let ip = |text: &str| text.parse::<IpAddr>().expect("literal");
        for (what, all, kept) in table {
            let kept: Vec<IpAddr> = kept.iter().map(|s| ip(s)).collect();
            assert_eq!(reachable(all.iter().map(|(name, s)| (*name, ip(s)))), kept, "{what}");
        }
    }
}
