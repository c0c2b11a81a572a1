//! `symple serve`: the server.

mod plan;
pub(crate) mod settings;
mod site;

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use symple::Server;
use symple::net::site::Guard;
use symple::net::{AuthRequest, BindError, ServerConfig, ServerEvent};
use symple::proto::{Status, Token};
use symple::server::Admission;

use crate::args::Takes;
use crate::deep_check::{Depth, Trial};
use crate::exit::{self, Failure, FailureKind};
#[cfg(feature = "redis")]
use crate::redis;
use crate::signals::{self, SignalRequest};
use crate::{certificate, files, help, logger, open_files};
use plan::Plan;

const INTRODUCTION: &str = "
symple serve: a Symple v4 server, a drop-in replacement for the Node.js server

Usage: symple serve [FLAGS]

By default it listens on port 4500 of every address and admits everyone:
  symple serve --listen 127.0.0.1               only this machine
  SYMPLE_TOKEN=secret symple serve              one token for everybody
  symple serve --ssl-enabled                    https and wss, with its own certificate
  symple serve --config /etc/symple.toml        settings from a file
  symple serve --check                          print what would run and what is wrong
  symple serve --check=deep                     also try the ports and Redis

Each setting is a flag, a key in the file with _ for -, and an environment variable:
--max-connections is max_connections = 1000 in the file and SYMPLE_MAX_CONNECTIONS=1000 in the
environment. Flags override the environment, which overrides the file. --ssl-enabled is true,
--no-ssl-enabled is false.

  --config FILE               Read this TOML file [also SYMPLE_CONFIG]
  --check                     Check all settings, print what would run, and exit; opens no port
                              and contacts no server
  --check=deep                Also try the ports and Redis, print the results, and fail if one of
                              them failed
";

const END: &str = "
HTTP on the same port: / (the page), /api/health, /api/ready, /api/status (JSON) and /metrics
(Prometheus). SIGTERM and SIGINT stop the server: it notifies every peer and sends what is queued; a
second signal stops it at once. SIGHUP reloads the certificate.
";

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table = settings::table();
    let takes = Takes { config: true, check: true, words: 0 };
    let Some(loaded) = files::load("serve", &table, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, settings::GROUPS, END));
    };
    let check = loaded.line.check;
    logger::start(loaded.settings.log);
    loaded.warn_of_open_secrets(&table);
    let plan = Plan::new(loaded.settings, loaded.sources)?;
    files::warn_of_slips(&table);
    match check {
        None => run(&plan),
        Some(Depth::Plain) => exit::print(&plan.describe(&table, &plan.certificate()?)),
        Some(Depth::Deep) => {
            let mut trial = Trial::default();
            let certificate = plan.certificate();
            let plan_words =
                plan.describe(&table, certificate.as_deref().unwrap_or("does not work, see below"));
            if plan.certificate.is_some() {
                trial.add("certificate", certificate);
            }
            trial.add("port", try_ports(&plan));
            #[cfg(feature = "redis")]
            if let Some(url) = &plan.redis {
                trial.add("redis", redis::ask(url));
            }
            trial.end(&plan_words)
        }
    }
}

/// Opens the ports and closes them again.
fn try_ports(plan: &Plan) -> Result<String, Failure> {
    let mut config = ServerConfig::default();
    // Avoids a warning about a server that never runs.
    config.hub.authenticate = true;
    let server = bind(plan, config)?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    Ok(format!("{} available", addresses.join(", ")))
}

fn run(plan: &Plan) -> Result<(), Failure> {
    let signals = signals::listen()?;
    let open_files = open_files::raise();
    let settings = &plan.settings;
    let guard = match settings.status_token.as_ref().or(settings.token.as_ref()) {
        Some(token) => Guard::Token { token: token.clone() },
        None if plan.authenticate => Guard::Nobody,
        None => Guard::Everybody,
    };
    // A peer that is not authenticated is put into the rooms that it asks for.
    let joins = settings.dynamic_rooms || !plan.authenticate;
    let room = settings.rooms.first().map(String::as_str).or(joins.then_some("public"));
    let state = Arc::new(site::State::new(plan.judges_by_sessions()));
    // Passwords of ICE servers are only for those who are admitted.
    let watchers = match &settings.token {
        Some(token) => Guard::Token { token: token.clone() },
        None if plan.authenticate => state.has_session(),
        None => Guard::Everybody,
    };
    let site = symple::net::site::Site::new(&settings.ice_servers, room, plan.authenticate)
        .watchers(watchers)
        .numbers(guard);
    let site = state.clone().on(site);
    let mut config = ServerConfig::default().http(move |request| site.answer(request));
    config.hub = plan.hub(open_files);
    config.origins = plan.origins();
    config.trusted_proxies = settings.limits.trusted_proxies.clone();
    config.max_per_address = settings.limits.per_address;
    config.max_unauthenticated_per_address = settings.limits.strangers_per_address;
    config.exempt = settings.limits.exempt.clone();
    config.base_path = settings.limits.base_path.clone();
    config.max_unauthenticated = plan.max_unauthenticated(open_files);
    config.tls = plan.certificate.as_ref().map(|certificate| certificate.load()).transpose()?;
    #[cfg(feature = "redis")]
    {
        config.redis = plan.redis()?;
    }
    let server = bind(plan, config)?;
    state.serves(server.clone());
    if let Some(token) = settings.token.clone() {
        server.on(move |event| {
            if let ServerEvent::Authenticate { request } = event {
                judge(&request, &token);
            }
        });
    }
    let said: String =
        server.addresses().iter().map(|a| format!("listening on {}://{a}\n", plan.scheme())).collect();
    exit::tell(&said);

    // All drivers share one hub; this thread runs the first one and receives the signals.
    let drivers: Vec<_> = (1..plan.threads).map_while(|_| driver(&server)).collect();
    let tell = |wish| match wish {
        SignalRequest::End => {
            log::info!("shutting down: notifying every peer");
            state.ends();
            server.shutdown();
        }
        SignalRequest::Reload => match &plan.certificate {
            Some(certificate) => certificate.reload(&server),
            None => log::info!("nothing to reload: there is no certificate"),
        },
    };
    let tend = certificate::tend(plan.certificate.as_ref(), Some(&server));
    signals::run(server.run(), signals, tell, tend);
    drivers.into_iter().for_each(|driver| _ = driver.join());
    Ok(())
}

fn driver(server: &Server) -> Option<std::thread::JoinHandle<()>> {
    let run = server.run();
    let thread = std::thread::Builder::new().name("symple-driver".into());
    let started = thread.spawn(move || symple::net::block_on(run));
    started.map_err(|e| log::warn!("running with one thread fewer: {e}")).ok()
}

/// One token for everybody.
fn judge(request: &AuthRequest, token: &Token) {
    match &request.auth.token {
        Some(shown) if token.is(shown.reveal()) => request.admit(Admission::default()),
        Some(_) => request.refuse(Status::UNAUTHORIZED, "Authentication failed: wrong token"),
        None => request.refuse(Status::UNAUTHORIZED, "Authentication failed: a token is needed"),
    }
}

/// Opens the ports. "All addresses" is the IPv6 wildcard, which includes IPv4, or the IPv4 wildcard without IPv6.
fn bind(plan: &Plan, mut config: ServerConfig) -> Result<Server, Failure> {
    let port = plan.settings.port;
    let mut on = |addresses: Vec<SocketAddr>| {
        config.listen = addresses;
        Server::bind(config.clone())
    };
    let bound = match plan.settings.listen.as_slice() {
        [] => match on(vec![(Ipv6Addr::UNSPECIFIED, port).into()]) {
            Err(e) if matches!(e.code(), "no-such-address" | "listen-failed") => {
                on(vec![(Ipv4Addr::UNSPECIFIED, port).into()])
            }
            bound => bound,
        },
        ips => on(ips.iter().map(|ip| (*ip, port).into()).collect()),
    };
    bound.map_err(|e: BindError| {
        let kind =
            if e.code() == "port-forbidden" { FailureKind::NoPermission } else { FailureKind::Unavailable };
        Failure::new(kind, e.to_string())
    })
}
