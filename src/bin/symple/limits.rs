//! Connection limits, proxies and the base path: the settings that `serve` and `camera` share.

use symple::net::{Network, ServerConfig};

use super::merge::Setting;
use super::value::{limit, list, parsed_list, set, text};

/// The settings.
pub(crate) struct Limits {
    pub trusted_proxies: Vec<Network>,
    /// `None`: no limit.
    pub per_address: Option<usize>,
    pub strangers_per_address: Option<usize>,
    pub exempt: Vec<Network>,
    pub base_path: String,
}

impl Default for Limits {
    fn default() -> Self {
        let config = ServerConfig::default();
        Limits {
            trusted_proxies: config.trusted_proxies,
            per_address: config.max_per_address,
            strangers_per_address: config.max_unauthenticated_per_address,
            exempt: config.exempt,
            base_path: config.base_path,
        }
    }
}

/// Settings that include connection limits.
pub(crate) trait HasLimits {
    fn limits(&mut self) -> &mut Limits;
}

pub(crate) const fn trusted_proxies<T: HasLimits>() -> Setting<T> {
    Setting::new(
        "trusted_proxies",
        "IP",
        "Proxies whose X-Forwarded-For and X-Real-IP are trusted: addresses, or networks such as 10.0.0.0/8 \
         from which nobody else can connect",
        |s: &mut T, v| set(&mut s.limits().trusted_proxies, parsed_list(v)),
    )
    .list()
}

pub(crate) const fn base_path<T: HasLimits>() -> Setting<T> {
    Setting::new(
        "base_path",
        "PATH",
        "The path under which a proxy shows this server, such as /cam1/, whether it cuts that off or not",
        |s: &mut T, v| {
            let path = text(v)?;
            if path.contains(['?', '#', '%']) || path.contains(char::is_whitespace) {
                return Err("must be a plain path, such as /cam1/".into());
            }
            s.limits().base_path = path;
            Ok(())
        },
    )
}

pub(crate) const fn max_per_address<T: HasLimits>(help: &'static str) -> Setting<T> {
    Setting::new("max_per_address", "N", help, |s: &mut T, v| set(&mut s.limits().per_address, limit(v)))
}

pub(crate) const fn max_unauthenticated_per_address<T: HasLimits>(help: &'static str) -> Setting<T> {
    Setting::new("max_unauthenticated_per_address", "N", help, |s: &mut T, v| {
        set(&mut s.limits().strangers_per_address, limit(v))
    })
}

pub(crate) const fn exempt<T: HasLimits>() -> Setting<T> {
    Setting::new(
        "exempt",
        "IP",
        "Addresses and networks without limits per address, also for wrong tokens; `none` for no exemption. \
         Default: this machine",
        |s: &mut T, v| {
            s.limits().exempt = if list(v)? == ["none"] { Vec::new() } else { parsed_list(v)? };
            Ok(())
        },
    )
    .list()
}
