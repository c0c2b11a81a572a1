//! Data from a Redis, its sentinels and other instances, and URLs of a Redis.

use std::time::{Duration, Instant};

use super::bytes::{Bytes, valid};
use crate::net::redis::RedisUrl;
use crate::net::redis::sessions::verdict;
use crate::net::redis::slots::{Redirect, Slots, slot};
use crate::net::redis::url::{HostPort, RedisHosts};
use crate::proto::{Head, valid_user};
use crate::server::cluster::{Bus, BusInput, ClusterSettings, Instance, InstanceOutput as Output};
use crate::server::{Config, ConnId, Input, Transmit, Verdict};

/// Answers: the layout of a cluster, redirects, and the values of sessions.
pub fn reply(data: &[u8]) {
    let node: HostPort = ("10.0.0.1".into(), 7000);
    if let Ok(answer) = redis::parse_redis_value(data) {
        let slots = Slots::read(&answer, &node);
        assert_eq!(slots.is_empty(), (0..=u16::MAX).step_by(1).all(|n| slots.holder(n).is_none()));
        for (host, _) in slots.nodes() {
            assert!(!host.is_empty() && host != "?");
        }
        for n in [0, 1, 5460, 5461, 16_383] {
            assert!(slots.holder(n).is_none_or(|at| slots.nodes().contains(at)));
        }
        if let redis::Value::ServerError(e) = answer {
            let error = redis::RedisError::from(e);
            let to = match Redirect::read(&error, &node) {
                Some(Redirect::Moved(to)) => Some(("MOVED", to)),
                Some(Redirect::Ask(to)) => Some(("ASK", to)),
                None => None,
            };
            if let Some((code, (host, port))) = to {
                assert!(!host.is_empty() && error.code() == Some(code));
                assert!(error.redirect_node().is_some_and(|(at, _)| at.ends_with(&format!(":{port}"))
                    || at.rsplit(':').next().is_some_and(|p| p.parse() == Ok(port))));
            }
        }
    }
    if let Verdict::Admit(admission) = verdict(Some(data)) {
        assert!(admission.user.is_some_and(|user| valid_user(&user)));
    }
    let key = valid(data);
    let tag = key.find('{').and_then(|at| {
        let rest = &key[at + 1..];
        rest.find('}').filter(|end| *end > 0).map(|end| &rest[..end])
    });
    assert!(slot(key) < 16_384);
    assert_eq!(slot(key), slot(tag.unwrap_or(key)), "{key}");
}

/// URLs of a Redis: a parsed one has a host and reveals no secret.
pub fn redis_url(data: &[u8]) {
    let text = valid(data);
    let url: RedisUrl = match text.parse() {
        Ok(url) => url,
        Err(e) => return assert!(e.to_string().contains("use a URL such as")),
    };
    let (hosts, shown) = match &url.place {
        RedisHosts::At(at) => (std::slice::from_ref(at), format!("RedisUrl({}:{})", at.0, at.1)),
        RedisHosts::Sentinels(hosts, name) => {
            assert!(!name.is_empty() && !name.contains('/'));
            (&hosts[..], format!("RedisUrl({name} of {} sentinels)", hosts.len()))
        }
        RedisHosts::Cluster(hosts) => {
            assert_eq!(url.login.db(), 0);
            (&hosts[..], format!("RedisUrl(a cluster by {} of its nodes)", hosts.len()))
        }
    };
    assert_eq!(format!("{url:?}"), shown, "only host and port");
    assert!(!hosts.is_empty() && hosts.iter().all(|(host, _)| !host.is_empty()));
}

/// Messages from other instances: for any input, our own peers stay and get valid frames, and nothing is left of an
/// instance once it is silent.
pub fn envelopes(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut now = Instant::now();
    let hour = Duration::from_secs(3600);
    let config = Config { idle_timeout: hour, verdict_timeout: hour, ..Config::default() };
    let mut hub = Instance::new(config, ClusterSettings::new("here"), now);
    let mut driver = Driver { given: data, published: vec![] };
    hub.handle_bus(BusInput::Up, now);
    driver.settle(&mut hub, now);
    for (n, user) in [(1, "alice"), (2, "bob")] {
        let conn = ConnId(n);
        hub.handle_input(Input::Connected { conn, id: format!("#{user}"), host: None, local: false }, now);
        let auth = format!(r#"{{"type":"auth","user":"{user}"}}"#);
        hub.handle_input(Input::Text { conn, text: &auth }, now);
        driver.settle(&mut hub, now);
        hub.handle_input(Input::Text { conn, text: r#"{"type":"join","room":"team"}"# }, now);
        driver.settle(&mut hub, now);
    }
    assert_eq!(hub.stats().peers, 2);
    let (mut kicked, mut said) = (false, 0);
    while !bytes.is_empty() && said < 64 {
        said += 1;
        match bytes.u8() {
            0 => hub.handle_bus(BusInput::Down, now),
            1 => hub.handle_bus(BusInput::Up, now),
            2 => {
                let tag = driver.published.get(usize::from(bytes.u8())).copied().unwrap_or_default();
                let receivers = bytes.u8().into();
                hub.handle_bus(BusInput::Published { tag, receivers }, now);
            }
            3 => {
                let len = usize::from(bytes.u16());
                hub.handle_bus(BusInput::Broadcast { text: valid(bytes.take(len)) }, now);
            }
            4 => {
                now += Duration::from_millis(u64::from(bytes.u16()));
                hub.handle_input(Input::Timeout, now);
            }
            5 => {
                let (conn, len) = (ConnId(u64::from(bytes.u8() & 1) + 1), usize::from(bytes.u16()));
                hub.handle_input(Input::Text { conn, text: valid(bytes.take(len)) }, now);
                // A peer may have closed its own connection.
                kicked = true;
            }
            _ => {
                let len = usize::from(bytes.u16());
                let payload = valid(bytes.take(len));
                kicked |= payload.contains("kick");
                hub.handle_bus(BusInput::Said { payload }, now);
            }
        }
        driver.settle(&mut hub, now);
        assert!(kicked || hub.stats().peers == 2);
    }
    // All instances are silent from now on.
    let end = now + Duration::from_secs(50);
    while now < end {
        now += Duration::from_secs(1);
        for conn in [ConnId(1), ConnId(2)] {
            hub.handle_input(Input::Alive { conn }, now);
        }
        hub.handle_input(Input::Timeout, now);
        driver.settle(&mut hub, now);
    }
    assert_eq!(hub.stats().peers_away, 0, "peers of dead instances are removed");
    assert!(kicked || hub.stats().peers == 2);
    for conn in [ConnId(1), ConnId(2)] {
        hub.handle_input(Input::Closed { conn }, now);
    }
    driver.settle(&mut hub, now);
    let stats = hub.stats();
    assert_eq!((stats.connections, stats.peers, stats.rooms, stats.queued, stats.held), (0, 0, 0, 0, 0));
}

/// A driver whose bus confirms at once, and whose sockets accept everything.
struct Driver<'a> {
    given: &'a [u8],
    published: Vec<u64>,
}

impl Driver<'_> {
    fn settle(&mut self, hub: &mut Instance, now: Instant) {
        for _ in 0..10_000 {
            match hub.poll_output() {
                Output::Timeout(_) => return,
                Output::Event(_) | Output::Resume(_) => {}
                Output::Ready(conn) => {
                    let mut out = vec![];
                    while hub.transmit(conn, 64 << 10, now, &mut out) {}
                    for transmit in out {
                        if let Transmit::Text(text) = transmit {
                            // Frames of peers are checked on their own instance; other instances trust that.
                            let routed = text.is_empty()
                                || self.given.windows(text.len()).any(|w| w == text.as_bytes());
                            let head = Head::parse(&text);
                            assert!(routed || head.is_ok(), "{head:?}: {text}");
                        }
                    }
                }
                Output::Bus => {
                    let mut out = vec![];
                    while hub.transmit_bus(64 << 10, now, &mut out) {}
                    for bus in out {
                        match bus {
                            Bus::Subscribe { tag, .. } => {
                                hub.handle_bus(BusInput::Subscribed(tag), now);
                            }
                            Bus::Publish { tag, .. } => self.published.extend(tag),
                            Bus::Unsubscribe { .. } | Bus::Reset => {}
                        }
                    }
                }
            }
        }
        panic!("the hub never rests");
    }
}
