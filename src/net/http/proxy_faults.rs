//! Common problems between a server and the proxy in front of it: texts for the log and for the response.

use std::time::Instant;

use super::Response;
use crate::server::Seldom;

/// A problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    NoUpgrade,
    NoHost,
    ForeignHost,
    ForeignOrigin,
    ProxySilent,
    ProxyNotTrusted,
}

impl Trouble {
    /// Cause and cure, for the log.
    fn words(self) -> &'static str {
        match self {
            Trouble::NoUpgrade => {
                "A WebSocket handshake has no headers Upgrade and Connection, or uses HTTP/1.0: the \
                 proxy in between does not pass them. nginx: proxy_http_version 1.1; proxy_set_header Upgrade \
                 $http_upgrade; proxy_set_header Connection \"upgrade\"; Apache: ProxyPass with \
                 upgrade=websocket; Caddy passes them by itself.\n"
            }
            Trouble::NoHost => {
                "A request has no header Host: the proxy in between does not pass it. nginx: \
                 proxy_set_header Host $host; Apache: ProxyPreserveHost On; Caddy passes it by itself.\n"
            }
            Trouble::ForeignHost => {
                "This server is not known by that name: use its address, or allow the name in its origins \
                 (https://NAME). A proxy in between may have to pass the header Host: nginx: proxy_set_header \
                 Host $host;\n"
            }
            Trouble::ForeignOrigin => {
                "Pages of this origin may not connect; allow it in the server's origins (https://NAME). If it is \
                 the server's own page behind a proxy, the proxy must also pass the header Host: nginx: \
                 proxy_set_header Host $host;\n"
            }
            Trouble::ProxySilent => {
                "A trusted proxy sends neither X-Forwarded-For nor X-Real-IP, so all its clients count as one. \
                 nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
            }
            Trouble::ProxyNotTrusted => {
                "A program on this machine sends X-Forwarded-For or X-Real-IP. If it is a proxy, name its address \
                 in trusted_proxies; until then all its clients count as one, and no limit for an address \
                 holds for them.\n"
            }
        }
    }

    /// The response to the request.
    pub(super) fn refusal(self, status: u16) -> Response {
        Response::text(status, self.words())
    }
}

/// When each problem was last warned of.
#[derive(Debug, Default)]
pub(super) struct Troubles([Seldom; 6]);

impl Troubles {
    /// Warns of each problem once a minute.
    pub(super) fn warn(&mut self, trouble: Trouble, now: Instant) {
        let words = trouble.words().trim_end();
        match self.0[trouble as usize].due(now) {
            None => {}
            Some(1) => log::warn!("{words}"),
            Some(count) => log::warn!("{words} ({count} requests since the last warning)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_slot_and_a_cure() {
        let mut troubles = Troubles::default();
        for trouble in [
            Trouble::NoUpgrade,
            Trouble::NoHost,
            Trouble::ForeignHost,
            Trouble::ForeignOrigin,
            Trouble::ProxySilent,
            Trouble::ProxyNotTrusted,
        ] {
            troubles.warn(trouble, Instant::now());
            let words = trouble.words();
            assert!(words.ends_with('\n') && !words.contains("  "), "{words}");
        }
    }
}
