//! `symple serve`: the server.

mod plan;
pub mod settings;
mod site;

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use symple::net::site::Guard;
use symple::net::{AuthRequest, Server, ServerConfig, ServerEvent, StartError};
use symple::proto::{Status, Token};
use symple::server::Admission;

use crate::args::Takes;
use crate::exit::{self, Failure, Kind};
#[cfg(feature = "redis")]
use crate::redis;
use crate::signals::{self, Wish};
use crate::trial::{Depth, Trial};
use crate::{certificate, files, help, logger, open_files};
use plan::Plan;

const INTRODUCTION: &str = "
symple serve: a Symple v4 server, a drop-in for the Node.js one

Usage: symple serve [FLAGS]

It listens on port 4500 of every address, and lets in whoever comes, unless told otherwise:
  symple serve --listen 127.0.0.1               this machine alone
  SYMPLE_TOKEN=secret symple serve              one token for everybody
  symple serve --ssl-enabled                    https and wss, with a certificate of its own
  symple serve --config /etc/symple.toml        settings from a file
  symple serve --check                          say what would run, and what is wrong
  symple serve --check=deep                     try it

Each setting is a flag, a key of the file with _ for -, and a variable: --max-connections is
max_connections = 1000 in the file and SYMPLE_MAX_CONNECTIONS=1000 in the environment. Flags win over
variables, those over the file. --ssl-enabled is true, --no-ssl-enabled false.

  --config FILE               Read this TOML file [also SYMPLE_CONFIG]
  --check                     Check all settings, print what would run, and end; nothing is opened or asked
  --check=deep                Try the ports and Redis too, tell how each went, and fail if one did
";

const END: &str = "
HTTP on the same port: / (the page), /api/health, /api/ready, /api/status (JSON), /metrics (Prometheus).
SIGTERM and SIGINT end it: every peer is told and what waits is written; a second one ends it at once.
SIGHUP reads the certificate again.
";

/// Runs the command.
pub fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table = settings::table();
    let takes = Takes { config: true, check: true, words: 0 };
    let Some(loaded) = files::load("serve", &table, takes, args)? else {
        return exit::print(&help::command(INTRODUCTION, settings::GROUPS, END));
    };
    let check = loaded.line.check;
    logger::start(loaded.settings.log);
    loaded.warn_of_open_secrets(&table);
    let plan = Plan::new(loaded.settings, loaded.origins)?;
    files::warn_of_slips(&table);
    match check {
        None => run(&plan),
        Some(Depth::Plain) => exit::print(&plan.describe(&table, &plan.certificate()?)),
        Some(Depth::Deep) => {
            let mut trial = Trial::default();
            let certificate = plan.certificate();
            let plan_words =
                plan.describe(&table, certificate.as_deref().unwrap_or("one that does not work: see below"));
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

/// Takes the ports, and lets them go.
fn try_ports(plan: &Plan) -> Result<String, Failure> {
    let mut config = ServerConfig::default();
    // So that nobody is warned of a server that does not run.
    (config.hub.authenticate, config.hub.dynamic_rooms) = (true, false);
    let server = bind(plan, config)?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    Ok(format!("{} can be listened on", addresses.join(", ")))
}

fn run(plan: &Plan) -> Result<(), Failure> {
    let signals = signals::listen()?;
    let open_files = open_files::raise();
    let settings = &plan.settings;
    let guard = match settings.status_token.as_ref().or(settings.token.as_ref()) {
        Some(token) => Guard::Token(token.clone()),
        None if plan.authenticate => Guard::Nobody,
        None => Guard::Everybody,
    };
    // Whoever is not authenticated is put into the rooms that it asks for.
    let joins = settings.dynamic_rooms || !plan.authenticate;
    let room = settings.rooms.first().map(String::as_str).or(joins.then_some("public"));
    let state = Arc::new(site::State::new(plan.judges_by_sessions()));
    // ICE servers' passwords are for those who are let in.
    let watchers = match &settings.token {
        Some(token) => Guard::Token(token.clone()),
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
            if let ServerEvent::Authenticate(request) = event {
                judge(&request, &token);
            }
        });
    }
    let said: String =
        server.addresses().iter().map(|a| format!("listening on {}://{a}\n", plan.scheme())).collect();
    exit::tell(&said);

    // All drivers are of one hub; this thread is the first, and hears the signals.
    let drivers: Vec<_> = (1..plan.threads).map_while(|_| driver(&server)).collect();
    let tell = |wish| match wish {
        Wish::End => {
            log::info!("ending: every peer is told");
            state.ends();
            server.shutdown();
        }
        Wish::Reload => match &plan.certificate {
            Some(certificate) => certificate.reload(&server),
            None => log::info!("nothing to read again: there is no certificate"),
        },
    };
    signals::run(server.run(), signals, tell, certificate::tend(plan.certificate.as_ref(), Some(&server)));
    drivers.into_iter().for_each(|driver| _ = driver.join());
    Ok(())
}

fn driver(server: &Server) -> Option<std::thread::JoinHandle<()>> {
    let run = server.run();
    let thread = std::thread::Builder::new().name("symple-driver".into());
    let started = thread.spawn(move || smol::block_on(run));
    started.map_err(|e| log::warn!("one thread less serves: {e}")).ok()
}

/// One token for everybody.
fn judge(request: &AuthRequest, token: &Token) {
    match &request.auth.token {
        Some(shown) if token.is(shown.reveal()) => request.admit(Admission::default()),
        Some(_) => request.refuse(Status::UNAUTHORIZED, "Authentication failed: wrong token"),
        None => request.refuse(Status::UNAUTHORIZED, "Authentication failed: a token is needed"),
    }
}

/// Takes the ports. Every address is IPv6's wildcard, which has IPv4 in it, or IPv4's where there is no IPv6.
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
    bound.map_err(|e: StartError| {
        let kind = if e.code() == "port-forbidden" { Kind::NoPermission } else { Kind::Unavailable };
        Failure::new(kind, e.to_string())
    })
}
