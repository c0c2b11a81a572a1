//! What the server reports over HTTP: whether it is ready, and its statistics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde_json::{Value, json};
use symple::Server;
use symple::net::http::Response;
use symple::net::site::{Guard, Metrics, Site};
use symple::server::Stats;

/// The state of the server. Never blocks.
pub(super) struct State {
    /// Nobody is admitted without Redis.
    needs_redis: bool,
    started: Instant,
    ending: AtomicBool,
    server: OnceLock<Server>,
}

impl State {
    pub(super) fn new(needs_redis: bool) -> State {
        State {
            needs_redis,
            started: Instant::now(),
            ending: AtomicBool::new(false),
            server: OnceLock::new(),
        }
    }

    /// Sets the server whose state this is, once its ports are open.
    pub(super) fn serves(&self, server: Server) {
        _ = self.server.set(server);
    }

    /// From now on the server is not ready.
    pub(super) fn ends(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Adds the endpoints to a site.
    pub(super) fn on(self: Arc<Self>, site: Site) -> Site {
        let [ready, status, metrics] = [(); 3].map(|()| self.clone());
        site.open("/api/ready", move || ready.ready())
            .guarded("/api/status", move || {
                status.numbers(|now| Response::json(self::status(now).to_string()))
            })
            .guarded("/metrics", move || metrics.numbers(|now| self::metrics(now).into_response()))
    }

    /// Requests with the token of a session whose peer has connected here.
    #[cfg(feature = "redis")]
    pub(super) fn has_session(self: &Arc<Self>) -> Guard {
        let state = self.clone();
        Guard::Check {
            check: Arc::new(move |token| state.server.get().is_some_and(|server| server.has_session(token))),
        }
    }

    #[cfg(not(feature = "redis"))]
    pub fn has_session(&self) -> Guard {
        Guard::Nobody
    }

    /// A load balancer must not send anyone here once the server is shutting down, or while nobody can be admitted.
    fn ready(&self) -> Response {
        let able = |server: &Server| !self.needs_redis || redis_is_up(server) != Some(false);
        let ready = self.server.get().is_some_and(able) && !self.ending.load(Ordering::Acquire);
        let mut response = Response::json(json!({ "ready": ready }).to_string());
        response.status = if ready { 200 } else { 503 };
        response
    }

    fn numbers(&self, show: impl FnOnce(&Now) -> Response) -> Response {
        match self.server.get() {
            Some(server) => show(&Now {
                stats: server.stats(),
                uptime: self.started.elapsed().as_secs(),
                ending: self.ending.load(Ordering::Acquire),
                redis: redis_is_up(server),
            }),
            None => Response::text(503, "The server is starting.\n"),
        }
    }
}

#[cfg(feature = "redis")]
fn redis_is_up(server: &Server) -> Option<bool> {
    server.redis_is_up()
}

/// `None`: no Redis.
#[cfg(not(feature = "redis"))]
fn redis_is_up(_: &Server) -> Option<bool> {
    None
}

/// The state that statistics describe.
struct Now {
    stats: Stats,
    uptime: u64,
    ending: bool,
    redis: Option<bool>,
}

fn status(now: &Now) -> Value {
    let stats = &now.stats;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": now.uptime,
        "ending": now.ending,
        "redis": now.redis.map(|up| if up { "up" } else { "down" }),
        "connections": stats.connections,
        "peers": stats.peers,
        "peersAway": stats.peers_away,
        "rooms": stats.rooms,
        "queued": stats.queued,
        "longestQueue": stats.longest_queue,
        "held": stats.held,
        "admitted": stats.admitted,
        "refused": stats.refused,
        "routed": {
            "message": stats.messages,
            "presence": stats.presences,
            "command": stats.commands,
            "event": stats.events,
            "pushed": stats.injected,
        },
        "deliveries": stats.deliveries,
        "unheard": stats.unheard,
        "dropped": { "slow": stats.dropped_slow, "rate": stats.dropped_rate, "bad": stats.bad_frames, "bus": stats.dropped_bus, "pushed": stats.bad_pushes },
        "closedSlow": stats.closed_slow,
    })
}

/// The statistics for Prometheus.
fn metrics(now: &Now) -> Metrics {
    let stats = &now.stats;
    let mut out = Metrics::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &[(&str, u64)]| {
        out.family(&format!("symple_{name}"), kind, help, rows);
    };
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    family("build_info", "gauge", "The running version.", &[(version, 1)]);
    family("uptime_seconds", "gauge", "Seconds since the start.", &[("", now.uptime)]);
    #[cfg(feature = "redis")]
    if let Some(up) = now.redis {
        family("redis_up", "gauge", "Whether Redis is reachable.", &[("", up.into())]);
        let away = [("", stats.peers_away as u64)];
        family(
            "peers_away",
            "gauge",
            "Peers of other instances that share a room with a peer of this one.",
            &away,
        );
        let lost = [("", stats.dropped_bus)];
        family(
            "dropped_bus_total",
            "counter",
            "Messages that did not reach other instances because Redis was unreachable for too long or the queue was full.",
            &lost,
        );
    }
    for (name, help, count) in [
        ("connections", "Open connections.", stats.connections),
        ("peers", "Admitted peers.", stats.peers),
        ("rooms", "Rooms with members, including users' own rooms.", stats.rooms),
        ("held_peers", "Peers that are held because a recipient has too much queued.", stats.held),
        ("queue_bytes", "Bytes queued for all connections.", stats.queued),
        ("longest_queue_bytes", "Bytes in the longest queue of one connection.", stats.longest_queue),
    ] {
        family(name, "gauge", help, &[("", count as u64)]);
    }
    family("admitted_total", "counter", "Peers admitted.", &[("", stats.admitted)]);
    family("refused_total", "counter", "Connections refused.", &[("", stats.refused)]);
    family(
        "messages_total",
        "counter",
        "Routed messages by type; messages pushed by the host or through Redis have type pushed.",
        &[
            ("{type=\"message\"}", stats.messages),
            ("{type=\"presence\"}", stats.presences),
            ("{type=\"command\"}", stats.commands),
            ("{type=\"event\"}", stats.events),
            ("{type=\"pushed\"}", stats.injected),
        ],
    );
    family("deliveries_total", "counter", "Copies queued for recipients.", &[("", stats.deliveries)]);
    family("unheard_total", "counter", "Routed messages that reached nobody.", &[("", stats.unheard)]);
    family(
        "dropped_total",
        "counter",
        "Dropped messages: copies of pushed messages that did not fit a queue (slow), messages over the rate \
         (rate), refused messages (bad), pushed texts that are not messages or name no recipient (pushed).",
        &[
            ("{reason=\"slow\"}", stats.dropped_slow),
            ("{reason=\"rate\"}", stats.dropped_rate),
            ("{reason=\"bad\"}", stats.bad_frames),
            ("{reason=\"pushed\"}", stats.bad_pushes),
        ],
    );
    family(
        "closed_slow_total",
        "counter",
        "Connections closed for reading too slowly.",
        &[("", stats.closed_slow)],
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_what_prometheus_reads() {
        let response = metrics(&Now { stats: Stats::default(), uptime: 7, ending: false, redis: Some(true) })
            .into_response();
        let text = std::str::from_utf8(response.body.bytes().expect("whole")).expect("text");
        assert!(text.contains("\nsymple_uptime_seconds 7\n") && text.ends_with('\n'));
        let mut announced = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                announced = rest.split(' ').next().expect("a name").to_owned();
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a name and a value");
                let name = series.split('{').next().expect("a name");
                assert_eq!(name, announced, "announced before it comes");
                assert!(value.parse::<u64>().is_ok(), "{line}");
            }
        }
    }
}
