//! `symple emit`: sends a message to peers through Redis, from a program that is not a peer.

use std::ffi::OsString;

use serde_json::Value;
use symple::net::redis::Emitter;
use symple::proto::Object;

use crate::args::Takes;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::Setting;
use crate::redis::{self, HasRedis, Redis};
use crate::value::{list, set, switch, text};
use crate::{files, help, logger};

#[derive(Default)]
struct Settings {
    to: Vec<String>,
    from: Option<String>,
    event: Option<String>,
    subtype: Option<String>,
    presence: bool,
    redis: Redis,
}

impl HasRedis for Settings {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

type S = Settings;

const GROUPS: &[(&str, &[Setting<Settings>])] = &[("The message", MESSAGE), ("Redis", &redis::rows())];

const MESSAGE: &[Setting<Settings>] = &[
    Setting::new(
        "to",
        "NAME",
        "The recipient: `user|id`, a user or a room. Repeat the flag or separate names with commas; each peer gets one copy",
        |s: &mut S, v| set(&mut s.to, list(v)),
    )
    .list(),
    Setting::new("from", "NAME", "The sender that peers see, such as `app|1`", |s: &mut S, v| {
        set(&mut s.from, text(v).map(Some))
    }),
    Setting::new("event", "NAME", "Send an event of this name instead of a message", |s: &mut S, v| {
        set(&mut s.event, text(v).map(Some))
    }),
    Setting::new("subtype", "NAME", "Send a message of this subtype", |s: &mut S, v| {
        set(&mut s.subtype, text(v).map(Some))
    }),
    Setting::new(
        "presence",
        "",
        "Send a presence instead of a message; DATA must be an object",
        |s: &mut S, v| set(&mut s.presence, switch(v)),
    ),
];

const INTRODUCTION: &str = "
symple emit: publish a message to peers through Redis

Usage: symple emit --to NAME [DATA] [FLAGS]

DATA is JSON; anything else is sent as a string. `-` or no DATA reads it from standard input:
  symple emit --to alice '{\"text\":\"your order left\"}'
  symple emit --to team-a --from 'app|1' --event deployed 1.2.0
  date | symple emit --to public

Whoever can write to Redis is trusted: permissions are not checked, and delivery is not confirmed.
";

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table: Vec<Setting<Settings>> =
        GROUPS.iter().flat_map(|(_, settings)| settings.iter().map(|s| Setting { ..*s })).collect();
    let takes = Takes { config: true, check: false, words: 1 };
    let Some(loaded) = files::load("emit", &table, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, GROUPS, ""));
    };
    logger::start(log::LevelFilter::Warn);
    loaded.warn_of_open_secrets(&table);
    let settings = loaded.settings;
    let url = settings.redis.address(&loaded.sources, true).expect("needed");
    if settings.to.is_empty() {
        return Err(Failure::new(FailureKind::Usage, "missing --to"));
    }
    if [settings.event.is_some(), settings.subtype.is_some(), settings.presence]
        .iter()
        .filter(|on| **on)
        .count()
        > 1
    {
        return Err(Failure::new(FailureKind::Usage, "--event, --subtype and --presence exclude each other"));
    }
    let data = match loaded.line.words.first().map(String::as_str) {
        None | Some("-") => {
            let read = std::io::read_to_string(std::io::stdin());
            read.map_err(Failure::of(FailureKind::NoInput, "standard input"))?
        }
        Some(word) => word.to_owned(),
    };
    let data = data_of(data.trim_end_matches('\n'));
    if settings.presence && serde_json::from_value::<Object>(data.clone()).is_err() {
        return Err(Failure::new(
            FailureKind::Data,
            "the DATA of a presence must be an object, such as {\"status\":\"away\"}",
        ));
    }
    let mut emitter = Emitter::new(redis::parse(&url)?).rooms(settings.to);
    if let Some(from) = &settings.from {
        emitter = emitter.from(from);
    }
    let sent = smol::block_on(async {
        match (&settings.event, &settings.subtype, settings.presence) {
            (Some(name), ..) => emitter.event(name, &data).await,
            (_, Some(subtype), _) => emitter.emit(subtype, &data).await,
            (_, _, true) => emitter.presence(&data).await,
            _ => emitter.send(&data).await,
        }
    });
    sent.map_err(redis::failure)
}

fn data_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
