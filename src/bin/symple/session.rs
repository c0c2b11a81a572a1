//! `symple session`: which user a token belongs to, in Redis.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;
use symple::net::random_id;
use symple::net::redis::{RedisError, Session, Sessions};
use symple::proto::{Object, valid_user};

use crate::args::Takes;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::Setting;
use crate::redis::{self, HasRedis, Redis};
use crate::value::{list, minutes, object, set, text};
use crate::{files, help, logger};

#[derive(Default)]
struct Settings {
    user: Option<String>,
    name: Option<String>,
    rooms: Vec<String>,
    data: Option<Object>,
    ttl: Option<Duration>,
    redis: Redis,
}

impl HasRedis for Settings {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

type S = Settings;

const GROUPS: &[(&str, &[Setting<Settings>])] = &[("The session", SESSION), ("Redis", &redis::rows())];

const SESSION: &[Setting<Settings>] = &[
    Setting::new("user", "NAME", "The user of the session", |s: &mut S, v| {
        let user = text(v)?;
        if !valid_user(&user) {
            return Err("must be 1 to 128 bytes without | or control characters".into());
        }
        s.user = Some(user);
        Ok(())
    }),
    Setting::new("name", "TEXT", "The display name of the user", |s: &mut S, v| {
        set(&mut s.name, text(v).map(Some))
    }),
    Setting::new(
        "rooms",
        "NAME",
        "Rooms to put its peers into; repeat the flag or separate names with commas",
        |s: &mut S, v| set(&mut s.rooms, list(v)),
    )
    .list(),
    Setting::new("data", "JSON", "Data about it for other peers, an object", |s: &mut S, v| {
        set(&mut s.data, object(v).map(Some))
    }),
    Setting::new(
        "session_ttl",
        "MINUTES",
        "Lifetime; -1, the default, means until it is deleted",
        |s: &mut S, v| set(&mut s.ttl, minutes(v)),
    ),
];

const INTRODUCTION: &str = "
symple session: set, show, extend and delete sessions in Redis

Usage: symple session new [FLAGS]          create a session and print its token
       symple session set TOKEN [FLAGS]    store a session under your own token
       symple session get TOKEN            print a session; exit code 1 if there is none
       symple session exists TOKEN         exit code 0 if there is one, otherwise 1
       symple session touch TOKEN --session-ttl MINUTES
       symple session delete TOKEN         delete a session; its peers are disconnected soon after

  TOKEN=$(symple session new --user alice --rooms team-a --session-ttl 30)

Other users can see a token on the command line; `-` reads it from standard input.
";

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table: Vec<Setting<Settings>> =
        GROUPS.iter().flat_map(|(_, settings)| settings.iter().map(|s| Setting { ..*s })).collect();
    let takes = Takes { config: true, check: false, words: 2 };
    let Some(loaded) = files::load("session", &table, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, GROUPS, ""));
    };
    logger::start(log::LevelFilter::Warn);
    loaded.warn_of_open_secrets(&table);
    let settings = loaded.settings;
    let usage = |words: &str| {
        Failure::new(FailureKind::Usage, format!("{words} (`symple session --help` shows how)"))
    };
    let mut words = loaded.line.words.into_iter();
    let what = words.next().ok_or_else(|| usage("expected new, set, get, exists, touch or delete"))?;
    let token = match (what.as_str(), words.next().as_deref()) {
        ("new", None) => random_id(),
        ("new", Some(_)) => return Err(usage("`new` creates the token itself; use `set` to choose one")),
        (_, None) => return Err(usage("missing TOKEN")),
        (_, Some("-")) => {
            let read = std::io::read_to_string(std::io::stdin());
            read.map_err(Failure::of(FailureKind::NoInput, "standard input"))?.trim().to_owned()
        }
        (_, Some(token)) => token.to_owned(),
    };
    if token.is_empty() {
        return Err(usage("the token is empty"));
    }
    let url = settings.redis.address(&loaded.sources, true).expect("needed");
    let sessions = Sessions::new(redis::parse(&url)?);
    match what.as_str() {
        "new" | "set" => {
            let session = session(&settings).ok_or_else(|| usage("missing --user"))?;
            done(sessions.set(&token, &session, settings.ttl))?;
            if what == "new" { exit::print(&format!("{token}\n")) } else { Ok(()) }
        }
        "get" => match done(sessions.get(&token))? {
            Some(session) => exit::print(&format!("{}\n", Value::Object(session.object().clone()))),
            None => Err(none()),
        },
        "exists" => found(done(sessions.exists(&token))?),
        "touch" => {
            let ttl = settings.ttl.ok_or_else(|| usage("missing --session-ttl"))?;
            found(done(sessions.touch(&token, ttl))?)
        }
        "delete" => found(done(sessions.delete(&token))?),
        _ => Err(usage("expected new, set, get, exists, touch or delete")),
    }
}

fn session(settings: &Settings) -> Option<Session> {
    let mut session = Session::new(settings.user.as_ref()?);
    if let Some(name) = &settings.name {
        session = session.name(name);
    }
    for room in &settings.rooms {
        session = session.room(room);
    }
    if let Some(data) = &settings.data {
        session = session.with("data", data.clone());
    }
    Some(session)
}

fn done<T>(command: impl Future<Output = Result<T, RedisError>>) -> Result<T, Failure> {
    smol::block_on(command).map_err(redis::failure)
}

fn found(there: bool) -> Result<(), Failure> {
    if there { Ok(()) } else { Err(none()) }
}

fn none() -> Failure {
    Failure::new(FailureKind::No, "no such session")
}
