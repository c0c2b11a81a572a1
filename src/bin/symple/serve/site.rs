//! What the server answers on HTTP: its health, its numbers, and the page.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use symple::net::{Request, Response, Server};
use symple::proto::Token;
use symple::server::Stats;

/// Answers requests. It never waits.
pub struct Site {
    /// What the page is told.
    page: String,
    guard: Guard,
    /// Without Redis nobody is let in.
    needs_redis: bool,
    started: Instant,
    ending: AtomicBool,
    server: OnceLock<Server>,
}

/// Who may see the numbers.
pub enum Guard {
    Everybody,
    /// Who has this token.
    Token(Token),
    Nobody,
}

/// What the page is told: the room where its people and cameras meet, if it may go there.
pub fn page(ice_servers: &[Value], room: Option<&str>, authenticate: bool) -> String {
    json!({ "iceServers": ice_servers, "room": room, "auth": authenticate }).to_string()
}

impl Site {
    pub fn new(page: String, guard: Guard, needs_redis: bool) -> Site {
        Site {
            page,
            guard,
            needs_redis,
            started: Instant::now(),
            ending: AtomicBool::new(false),
            server: OnceLock::new(),
        }
    }

    /// The server whose site this is, once it has its ports.
    pub fn serves(&self, server: Server) {
        _ = self.server.set(server);
    }

    /// From now on it is not ready for more.
    pub fn ends(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub fn answer(&self, request: &Request<'_>) -> Option<Response> {
        match request.path {
            "/api/health" => Some(Response::json(json!({ "status": "ok" }).to_string())),
            "/api/ready" => Some(self.ready()),
            "/api/config" => Some(Response::json(self.page.clone())),
            "/api/status" => Some(self.numbers(request, |now| Response::json(status(now).to_string()))),
            "/metrics" => Some(self.numbers(request, |now| Response {
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                ..Response::json(metrics(now))
            })),
            path => symple::web::asset(path).map(|asset| {
                Response::file(asset.mime, asset.body, asset.etag)
                    .header("Content-Security-Policy", symple::web::CONTENT_SECURITY_POLICY)
            }),
        }
    }

    /// A load balancer sends nobody here from the moment the server begins to end, nor while nobody could be
    /// let in.
    fn ready(&self) -> Response {
        let able = |server: &Server| !self.needs_redis || redis_is_up(server) != Some(false);
        let ready = self.server.get().is_some_and(able) && !self.ending.load(Ordering::Acquire);
        let mut response = Response::json(json!({ "ready": ready }).to_string());
        response.status = if ready { 200 } else { 503 };
        response
    }

    fn numbers(&self, request: &Request<'_>, show: impl FnOnce(&Now) -> Response) -> Response {
        match (&self.guard, request.bearer) {
            (Guard::Everybody, _) => {}
            (Guard::Token(token), Some(bearer)) if token.is(bearer) => {}
            (Guard::Token(_), _) => {
                let words = "This needs the status token: Authorization: Bearer …\n";
                return Response::unauthorized(request, words);
            }
            (Guard::Nobody, _) => {
                let words = "This server has no status token; set one with status_token.\n";
                return Response::unauthorized(request, words);
            }
        }
        match self.server.get() {
            Some(server) => show(&Now {
                stats: server.stats(),
                uptime: self.started.elapsed().as_secs(),
                ending: self.ending.load(Ordering::Acquire),
                redis: redis_is_up(server),
            }),
            None => Response::text(503, "The server is about to start.\n"),
        }
    }
}

#[cfg(feature = "redis")]
fn redis_is_up(server: &Server) -> Option<bool> {
    server.redis_is_up()
}

/// `None`: there is none.
#[cfg(not(feature = "redis"))]
fn redis_is_up(_: &Server) -> Option<bool> {
    None
}

/// What numbers are told of.
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
        "dropped": { "slow": stats.dropped_slow, "rate": stats.dropped_rate, "bad": stats.bad_frames, "bus": stats.dropped_bus },
        "closedSlow": stats.closed_slow,
    })
}

/// In the text format of Prometheus, version 0.0.4.
fn metrics(now: &Now) -> String {
    let stats = &now.stats;
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &[(&str, u64)]| {
        _ = writeln!(out, "# HELP symple_{name} {help}\n# TYPE symple_{name} {kind}");
        for (labels, value) in rows {
            _ = writeln!(out, "symple_{name}{labels} {value}");
        }
    };
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    family("build_info", "gauge", "The version that runs.", &[(version, 1)]);
    family("uptime_seconds", "gauge", "Seconds since the start.", &[("", now.uptime)]);
    #[cfg(feature = "redis")]
    if let Some(up) = now.redis {
        family("redis_up", "gauge", "Whether Redis is reached.", &[("", up.into())]);
        let away = [("", stats.peers_away as u64)];
        family("peers_away", "gauge", "Peers of other instances that share a room with one of these.", &away);
        let lost = [("", stats.dropped_bus)];
        family(
            "dropped_bus_total",
            "counter",
            "Messages not sent to other instances: too much waited.",
            &lost,
        );
    }
    for (name, help, count) in [
        ("connections", "Open connections.", stats.connections),
        ("peers", "Admitted peers.", stats.peers),
        ("rooms", "Rooms with members, those of users included.", stats.rooms),
        ("queue_bytes", "Bytes that wait for all connections.", stats.queued),
        (
            "longest_queue_bytes",
            "Bytes that wait for the connection that is furthest behind.",
            stats.longest_queue,
        ),
    ] {
        family(name, "gauge", help, &[("", count as u64)]);
    }
    family("admitted_total", "counter", "Peers admitted.", &[("", stats.admitted)]);
    family("refused_total", "counter", "Connections refused.", &[("", stats.refused)]);
    family(
        "messages_total",
        "counter",
        "Routed messages by type; pushed by the host or through Redis are those of type pushed.",
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
        "Dropped: copies for a full queue (slow), messages over the rate (rate), refused ones (bad).",
        &[
            ("{reason=\"slow\"}", stats.dropped_slow),
            ("{reason=\"rate\"}", stats.dropped_rate),
            ("{reason=\"bad\"}", stats.bad_frames),
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
        let text = metrics(&Now { stats: Stats::default(), uptime: 7, ending: false, redis: Some(true) });
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

    #[test]
    fn numbers_are_guarded_and_health_is_not() {
        let ask = |guard, path, bearer| {
            let site = Site::new(page(&[], Some("public"), true), guard, false);
            site.answer(&Request { path, query: None, bearer }).map(|response| response.status)
        };
        let token = || Guard::Token(Token::new("secret"));
        // 503: let in, and no server there yet.
        assert_eq!(ask(token(), "/metrics", Some("secret")), Some(503));
        assert_eq!(ask(token(), "/metrics", Some("secreT")), Some(401));
        assert_eq!(ask(token(), "/api/status", None), Some(401));
        assert_eq!(ask(Guard::Nobody, "/api/status", Some("")), Some(401));
        assert_eq!(ask(Guard::Everybody, "/api/status", None), Some(503));
        assert_eq!(ask(Guard::Nobody, "/api/health", None), Some(200));
        assert_eq!(ask(Guard::Nobody, "/", None), Some(200));
        assert_eq!(ask(Guard::Nobody, "/nothing", None), None);
    }
}
