//! Which node of a Redis Cluster has which key: 16384 slots in ranges, each with a master.
//!
//! See the [cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

use redis::Value;

use super::url::HostPort;

const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 of the part in its first pair of braces, or of the whole key.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, from 0, no reflection.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

/// The layout of the cluster, as reported by one node.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Slots {
    /// First and last slot, and the master.
    ranges: Vec<(u16, u16, HostPort)>,
    /// All nodes, including replicas, to be asked when masters are gone.
    nodes: Vec<HostPort>,
}

impl Slots {
    /// Parses the answer of `node` to `CLUSTER SLOTS`: ranges of first, last, master, replicas.
    pub(crate) fn read(answer: &Value, node: &HostPort) -> Slots {
        let mut slots = Slots::default();
        for range in items(answer) {
            let [Value::Int(first), Value::Int(last), holders @ ..] = items(range) else { continue };
            let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else { continue };
            // An answer without slots would count as one from a cluster without nodes.
            if first > last || last >= SLOTS {
                continue;
            }
            for (n, holder) in holders.iter().enumerate() {
                let [host, Value::Int(port), ..] = items(holder) else { continue };
                let Ok(port) = u16::try_from(*port) else { continue };
                let host = match host {
                    Value::BulkString(host) => std::str::from_utf8(host).unwrap_or("?"),
                    Value::SimpleString(host) => host,
                    _ => "",
                };
                // An empty name means the node that was asked; "?" means unknown.
                let at = match host {
                    "?" => continue,
                    "" => (node.0.clone(), port),
                    host => (host.to_owned(), port),
                };
                if n == 0 {
                    slots.ranges.push((first, last, at.clone()));
                }
                if !slots.nodes.contains(&at) {
                    slots.nodes.push(at);
                }
            }
        }
        slots
    }

    /// The master of a slot; `None` while there is none.
    pub(crate) fn holder(&self, slot: u16) -> Option<&HostPort> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, at)| at)
    }

    pub(crate) fn nodes(&self) -> &[HostPort] {
        &self.nodes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// A redirect to another node, from a node that does not have the key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Redirect {
    /// The slot has moved there.
    Moved(HostPort),
    /// This key has already been moved there.
    Ask(HostPort),
}

impl Redirect {
    /// Parses the error of `node`: a code, followed by the slot and the other node.
    pub(crate) fn read(error: &redis::RedisError, node: &HostPort) -> Option<Redirect> {
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        let host = if host.is_empty() { &node.0 } else { host.trim_start_matches('[').trim_end_matches(']') };
        if host.is_empty() {
            return None; // brackets around nothing
        }
        let at = (host.to_owned(), port.parse().ok()?);
        match error.code()? {
            "MOVED" => Some(Redirect::Moved(at)),
            "ASK" => Some(Redirect::Ask(at)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> HostPort {
        ("10.0.0.1".into(), port)
    }

    #[test]
    fn keys_have_the_slots_that_redis_computes() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the specification's check value");
        for (key, found) in [
            ("foo", 12_182),
            ("{user1000}.following", slot("user1000")),
            ("foo{}{bar}", crc16(b"foo{}{bar}") % SLOTS),
            ("foo{{bar}}zap", slot("{bar")),
            ("foo{bar}{zap}", slot("bar")),
            ("foo{bar", crc16(b"foo{bar") % SLOTS),
        ] {
            assert_eq!(slot(key), found, "{key}");
        }
    }

    #[test]
    fn redirects_are_parsed_and_invalid_ones_ignored() {
        for (words, to) in [
            ("MOVED 3999 127.0.0.1:6381", Some(Redirect::Moved(("127.0.0.1".into(), 6381)))),
            ("ASK 3999 [2001:db8::1]:6381", Some(Redirect::Ask(("2001:db8::1".into(), 6381)))),
            ("MOVED 3999 :7001", Some(Redirect::Moved(node(7001)))),
            ("ASK 39 ]:681", None),
            ("MOVED 39 []:681", None),
            ("MOVED 39 host", None),
            ("CLUSTERDOWN 39 127.0.0.1:6381", None),
        ] {
            let told =
                redis::parse_redis_value(format!("-{words}\r\n").as_bytes()).expect("an error is a value");
            let Value::ServerError(error) = told else { panic!("{words} is an error") };
            assert_eq!(Redirect::read(&error.into(), &node(9)), to, "{words}");
        }
    }

    #[test]
    fn slots_are_parsed_and_unknown_nodes_ignored() {
        let holder = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let text = |host: &str| Value::BulkString(host.into());
        let range = |first, last, holders: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], holders].concat())
        };
        let told = Value::Array(vec![
            range(0, 5000, vec![holder(text("10.0.0.2"), 1), holder(text("10.0.0.3"), 2)]),
            range(5001, 9000, vec![holder(text(""), 3)]),
            range(9001, 9002, vec![holder(Value::Nil, 4)]),
            range(9003, 9004, vec![holder(text("?"), 5)]),
            range(-1, 70_000, vec![holder(text("10.0.0.9"), 6)]),
            range(9006, 9005, vec![holder(text("10.0.0.9"), 6)]),
            Value::Int(7),
        ]);
        let slots = Slots::read(&told, &node(9));
        for (slot, at) in [
            (0, Some(("10.0.0.2".to_owned(), 1))),
            (5000, Some(("10.0.0.2".to_owned(), 1))),
            (5001, Some(node(3))),
            (9001, Some(node(4))),
            (9003, None),
            (16_383, None),
        ] {
            assert_eq!(slots.holder(slot), at.as_ref(), "{slot}");
        }
        assert_eq!(slots.nodes().len(), 4, "replicas too");
        let backwards = Value::Array(vec![range(2, 1, vec![holder(text("10.0.0.2"), 1)])]);
        for nothing in [Value::Nil, backwards] {
            assert!(Slots::read(&nothing, &node(9)).is_empty(), "{nothing:?}");
        }
    }
}
