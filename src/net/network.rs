//! A range of addresses in CIDR notation.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses, such as `10.0.0.0/8`, `fd00::/8`, or a single address.
///
/// ```
/// use symple::net::Network;
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first address.
    first: IpAddr,
    /// The length of the prefix.
    bits: u8,
}

impl Network {
    /// 127.0.0.0/8 and ::1: only this machine.
    pub const LOOPBACK: [Network; 2] = [
        Network { first: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
        Network { first: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), bits: 128 },
    ];

    /// The network of this address with a prefix of `bits`; a longer prefix than the address has counts as its full
    /// length.
    pub(crate) fn of(address: IpAddr, bits: u8) -> Network {
        let address = address.to_canonical();
        let bits = bits.min(width(address));
        let first = match address {
            IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & mask(bits.into(), 32) as u32).into()),
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & mask(bits.into(), 128)).into()),
        };
        Network { first, bits }
    }

    /// Whether the network contains that address. An IPv4 address equals its IPv6-mapped form (`::ffff:10.0.0.1`).
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Network::of(address, self.bits) == *self
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first `bits` of a number of `width` bits.
fn mask(bits: u32, width: u32) -> u128 {
    let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    all & !all.checked_shr(bits).unwrap_or(0)
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Network::of(address, u8::MAX)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == width(self.first) {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}/{}", self.first, self.bits),
        }
    }
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; use an address or a network, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8", self.0)
    }
}

impl std::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr =
            address.parse().map_err(|_| NetworkError(format!("\"{address}\" is not an IP address")))?;
        let Some(bits) = bits else { return Ok(ip.into()) };
        let most = width(ip);
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|bits| digits && *bits <= most).ok_or_else(|| {
            NetworkError(format!("\"{bits}\" is not a prefix length; after {ip}/ it must be 0 to {most}"))
        })?;
        // A network of IPv4 addresses in their IPv6 form is one of IPv4.
        let canonical = ip.to_canonical();
        let network = match canonical.is_ipv4() && ip.is_ipv6() {
            true if bits < 96 => {
                return Err(NetworkError(format!("{text} contains both IPv4 and IPv6 addresses")));
            }
            true => Network::of(canonical, bits - 96),
            false => Network::of(ip, bits),
        };
        if network.first == canonical {
            return Ok(network);
        }
        Err(NetworkError(format!("{text} has address bits after the prefix: the network is {network}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_that_its_text_means() {
        for (text, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.6"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
            ("10.128.0.0/9", "10.128.0.1", "10.127.255.255"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let network: Network = text.parse().expect(text);
            let ip = |text: &str| text.parse().expect("an address");
            assert!(network.contains(ip(inside)), "{text} {inside}");
            assert!(!network.contains(ip(outside)), "{text} {outside}");
        }
        assert!(Network::LOOPBACK[0].contains([127, 9, 9, 9].into()));
    }

    #[test]
    fn invalid_networks_are_refused_with_a_reason() {
        for (text, why) in [
            ("10.0.0.0/33", "must be 0 to 32"),
            ("fd00::/129", "must be 0 to 128"),
            ("10.0.0.0/", "must be 0 to 32"),
            ("10.0.0.0/+8", "must be 0 to 32"),
            ("10.0.0.7/8", "the network is 10.0.0.0/8"),
            ("proxy.lan", "\"proxy.lan\" is not an IP address"),
            ("", "\"\" is not an IP address"),
            ("10.0.0/8", "is not an IP address"),
            ("::ffff:0:0/90", "contains both IPv4 and IPv6"),
        ] {
            let error = text.parse::<Network>().expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("fd00::/8"), "{text}: {error}");
        }
    }

    #[test]
    fn printing_a_network_reverses_parsing() {
        for text in ["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::1"] {
            assert_eq!(text.parse::<Network>().expect(text).to_string(), text);
        }
    }
}
