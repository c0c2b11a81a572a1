use super::*;
use crate::merge::{SettingSource, Written, merge};
use serde_json::{Map, json};

/// The settings of these variables and this file, or what is wrong.
fn merged(environment: &[(&str, &str)], file: Value) -> Result<(Settings, SettingSources), String> {
    let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let file: Map<String, Value> = file.as_object().cloned().unwrap_or_default();
    let written = Written { file: Some(("symple.toml", &file)), environment: &find, flags: &[] };
    let mut settings = Settings::default();
    match merge(&table(), &written, &mut settings) {
        Ok(sources) => Ok((settings, sources)),
        Err(wrong) => Err(wrong.iter().map(|(o, w)| format!("{o}: {w}")).collect::<Vec<_>>().join("\n")),
    }
}

fn with(environment: &[(&str, &str)]) -> Settings {
    merged(environment, json!({})).expect("all is right").0
}

#[test]
fn the_variables_of_the_node_server_mean_what_they_mean_there() {
    assert_eq!(with(&[]).port, 4500);
    assert_eq!(with(&[("SYMPLE_PORT", "4600")]).port, 4600);
    assert_eq!(with(&[("SYMPLE_PORT", "4600"), ("PORT", "80")]).port, 80);
    for (text, on) in
        [("true", true), ("1", true), ("yes", true), ("ON", true), ("false", false), ("0", false)]
    {
        assert_eq!(with(&[("SYMPLE_AUTHENTICATION", text)]).authentication, Some(on));
        assert_eq!(with(&[("SYMPLE_DYNAMIC_ROOMS", text)]).dynamic_rooms, on);
        assert_eq!(with(&[("SYMPLE_SSL_ENABLED", text)]).ssl_enabled, on);
    }
    assert!(with(&[("SYMPLE_DYNAMIC_ROOMS", "")]).dynamic_rooms, "empty is absent");
    assert_eq!(with(&[("SYMPLE_SESSION_TTL", "-1")]).session_ttl, None);
    assert_eq!(with(&[]).count_above, None);
    assert_eq!(with(&[("SYMPLE_COUNT_ABOVE", "0")]).count_above, None);
    assert_eq!(with(&[("SYMPLE_COUNT_ABOVE", "500")]).count_above, Some(500));
    assert_eq!(with(&[("SYMPLE_SESSION_TTL", "30")]).session_ttl, Some(Duration::from_secs(1800)));
    let tls = with(&[("SYMPLE_SSL_KEY", "a.key"), ("SYMPLE_SSL_CERT", "a.pem")]);
    assert_eq!((tls.ssl_key, tls.ssl_cert), (Some("a.key".into()), Some("a.pem".into())));
    assert_eq!(with(&[("SYMPLE_CORS_ORIGINS", "*")]).origins, None);
    let origins = with(&[("SYMPLE_CORS_ORIGINS", "https://a.example, https://b.example")]).origins;
    assert_eq!(origins, Some(vec!["https://a.example".into(), "https://b.example".into()]));
}

#[test]
fn redis_is_found_as_the_node_server_finds_it() {
    for (environment, file, url) in [
        (&[][..], json!({}), None),
        (&[("REDIS_URL", "redis://a")][..], json!({}), Some("redis://a")),
        (&[("REDIS_URL", "redis://a"), ("SYMPLE_REDIS_URL", "redis://b")], json!({}), Some("redis://b")),
        (&[("REDIS_URL", "redis://a"), ("SYMPLE_REDIS_HOST", "b")], json!({}), Some("redis://a")),
        (&[("SYMPLE_REDIS_HOST", "b")], json!({}), Some("redis://b:6379")),
        (&[("REDIS_HOST", "c"), ("SYMPLE_REDIS_PORT", "1")], json!({}), Some("redis://c:1")),
        (&[("SYMPLE_REDIS_PORT", "1")], json!({}), Some("redis://localhost:1")),
        (
            &[("SYMPLE_REDIS_PROTOCOL", "rediss"), ("SYMPLE_REDIS_HOST", "b")],
            json!({}),
            Some("rediss://b:6379"),
        ),
        // Sessions are asked for, and nothing is said of Redis.
        (&[("SYMPLE_AUTHENTICATION", "yes")], json!({}), Some("redis://localhost:6379")),
        (&[("SYMPLE_AUTHENTICATION", "yes"), ("SYMPLE_TOKEN", "t")], json!({}), None),
        // The environment wins over the file, also with other words.
        (&[("SYMPLE_REDIS_HOST", "b")], json!({"redis_url": "redis://file"}), Some("redis://b:6379")),
        (&[], json!({"redis_url": "redis://file", "redis_host": "b"}), Some("redis://file")),
    ] {
        let (settings, sources) = merged(environment, file).expect("all is right");
        assert_eq!(settings.redis_url(&sources).as_ref().map(Token::reveal), url, "{environment:?}");
    }
}

#[test]
fn every_limit_can_be_set() {
    let file = json!({
        "rate": 0, "burst": 7, "max_connections": 8, "max_message_size": "64K", "queue": 9000, "queues": "1M",
        "max_per_address": 3, "max_unauthenticated": 0,
        "max_unauthenticated_per_address": 2, "exempt": "none", "trusted_proxies": ["10.0.0.0/8", "::1"], "base_path": "/cam1/", "threads": 2, "rooms": ["public"], "log": "warn",
        "ice_servers": [{"urls": "stun:192.0.2.1"}], "listen": ["127.0.0.1", "::1"],
    });
    let (s, sources) = merged(&[], file).expect("all is right");
    assert_eq!((s.rate, s.burst, s.max_connections), (None, 7.0, Some(8)));
    assert_eq!((s.queue, s.queues), (9000, 1 << 20));
    assert_eq!(
        (s.max_message_size, s.limits.per_address, s.max_unauthenticated),
        (64 << 10, Some(3), Some(None))
    );
    assert_eq!((s.limits.strangers_per_address, s.limits.exempt.len()), (Some(2), 0));
    assert_eq!((s.limits.trusted_proxies.len(), &*s.limits.base_path), (2, "/cam1/"));
    assert_eq!((s.threads, s.listen.len(), s.ice_servers.len(), s.log), (Some(2), 2, 1, LevelFilter::Warn));
    assert!(sources.values().all(|(source, _)| *source == SettingSource::File("symple.toml".into())));
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (environment, file, words) in [
        (&[("PORT", "x")][..], json!({}), "PORT: must be a port, 0 to 65535, not \"x\""),
        (&[("SYMPLE_PORT", "65536")], json!({}), "SYMPLE_PORT: must be a port"),
        (&[("SYMPLE_AUTHENTICATION", "maybe")], json!({}), "SYMPLE_AUTHENTICATION: must be true or false"),
        (&[("SYMPLE_SESSION_TTL", "soon")], json!({}), "SYMPLE_SESSION_TTL: must be a number of minutes"),
        (&[("SYMPLE_SESSION_TTL", "0")], json!({}), "or -1"),
        (&[("SYMPLE_REDIS_PROTOCOL", "http")], json!({}), "must be redis or rediss"),
        (&[], json!({"max_conections": 5}), "did you mean \"max_connections\"?"),
        (&[], json!({"sslcert": "a"}), "did you mean \"ssl_cert\"?"),
        (&[], json!({"queue": "lots"}), "symple.toml: \"queue\" must be a number of bytes"),
        (
            &[],
            json!({"listen": "here"}),
            "symple.toml: \"listen\" here is not an IP address; use one of this machine, or `all`",
        ),
        (&[], json!({"max_connections": "many"}), "must be a whole number, at least 1, not \"many\""),
        (&[], json!({"trusted_proxies": "10.0.0.0/33"}), "after 10.0.0.0/ it must be 0 to 32"),
        (&[], json!({"trusted_proxies": "proxy.lan"}), "\"proxy.lan\" is not an IP address"),
        (&[], json!({"base_path": "/cam 1/"}), "must be a plain path"),
        (&[], json!({"origins": ["chat.example"]}), "not an origin, such as https://chat.example"),
        (&[], json!({"token": ""}), "must not be empty"),
    ] {
        let said = merged(environment, file).map(|_| ()).expect_err(words);
        assert!(said.contains(words), "{said}");
    }
    let both = with(&[("SYMPLE_AUTHENTICATION", "no"), ("SYMPLE_TOKEN", "t")]);
    assert!(both.authenticates().is_err_and(|words| words.contains("remove one of the two settings")));
    assert_eq!(with(&[("SYMPLE_TOKEN", "t")]).authenticates(), Ok(true));
}

#[test]
fn names_are_said_once() {
    let mut names: Vec<String> = table().iter().flat_map(Setting::variables).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
#[cfg(feature = "redis")]
fn the_limits_of_redis_are_by_default_those_of_the_library() {
    let config = symple::net::redis::RedisConfig::new("redis://r".parse().expect("an address"));
    let settings = Settings::default();
    assert_eq!((settings.redis_queue, settings.redis_keep), (config.queue_limit, config.keep_for));
}
