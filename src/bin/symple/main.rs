//! The program `symple`: the server, a camera, and tools for people and scripts, by the public API alone.
// Only in files named for it.
#![deny(unsafe_code)]

mod args;
mod atomic_file;
#[cfg(feature = "camera-gst")]
mod camera;
mod certificate;
mod deep_check;
#[cfg(feature = "v4l2")]
mod devices;
#[cfg(feature = "redis")]
mod emit;
mod exit;
mod files;
#[cfg(test)]
mod fuzz_config;
mod help;
mod limits;
mod logger;
mod merge;
#[path = "../../media/board/nearest.rs"]
mod nearest;
mod open_files;
mod panics;
mod redis;
mod secrets;
mod serve;
#[cfg(feature = "redis")]
mod session;
mod signals;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod unsafe_malloc;
mod value;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use exit::{Failure, FailureKind};

/// A command, the line of it in the list, and what it does with its arguments.
struct Command {
    name: &'static str,
    line: &'static str,
    run: fn(Vec<OsString>) -> Result<(), Failure>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        line: "a server for peers, a drop-in replacement for the Node.js server",
        run: serve::main,
    },
    #[cfg(feature = "camera-gst")]
    Command { name: "camera", line: "a camera to watch in a browser", run: camera::main },
    #[cfg(all(feature = "camera-gst", feature = "relay"))]
    Command {
        name: "relay",
        line: "shows what callers publish to whoever watches",
        run: camera::relay::main,
    },
    #[cfg(feature = "v4l2")]
    Command {
        name: "devices",
        line: "the cameras, codecs and audio devices of this machine",
        run: devices::main,
    },
    Command {
        name: "watch",
        line: "print what a peer sees: who joins and leaves, and messages",
        run: watch::main,
    },
    #[cfg(feature = "redis")]
    Command { name: "emit", line: "publish a message to peers through Redis", run: emit::main },
    #[cfg(feature = "redis")]
    Command { name: "session", line: "set, show, extend and delete sessions in Redis", run: session::main },
];

fn main() -> ExitCode {
    panics::abort_where_not_contained();
    let mut args = std::env::args_os().skip(1);
    let first = args.next().and_then(|a| a.into_string().ok()).unwrap_or_default();
    let result = match first.as_str() {
        "" | "-h" | "--help" | "help" => {
            let asked = args.next().and_then(|a| a.into_string().ok());
            match asked.and_then(|name| COMMANDS.iter().find(|c| c.name == name)) {
                Some(command) => (command.run)(vec!["--help".into()]),
                None => exit::print(&help::overview(COMMANDS.iter().map(|c| (c.name, c.line)))),
            }
        }
        "-V" | "--version" | "version" => exit::print(concat!("symple ", env!("CARGO_PKG_VERSION"), "\n")),
        name => match COMMANDS.iter().find(|c| c.name == name) {
            Some(command) => (command.run)(args.collect()),
            None => Err(unknown_command(name)),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn unknown_command(name: &str) -> Failure {
    let hint = nearest::hint(name, COMMANDS.iter().map(|c| c.name));
    Failure::new(
        FailureKind::Usage,
        format!("unknown command \"{name}\"{hint} (`symple --help` lists all commands)"),
    )
}
