//! How the program exits: a message for people, an exit code for scripts.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// What went wrong, numbered as in BSD's sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// What was asked for does not exist.
    #[cfg(any(feature = "redis", feature = "calls"))]
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The input data is invalid.
    #[cfg(feature = "redis")]
    Data = 65,
    /// An input file cannot be read.
    NoInput = 66,
    /// A server cannot be reached, or a source or device cannot be used.
    Unavailable = 69,
    /// The operating system reported an error.
    System = 71,
    /// A file cannot be written.
    CantCreate = 73,
    /// Not allowed: a refused token, a forbidden port.
    NoPermission = 77,
    /// A setting in a file or in the environment is wrong.
    Config = 78,
}

/// Why the program exits.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    pub words: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, words: impl Into<String>) -> Self {
        Failure { kind, words: words.into() }
    }

    /// For `map_err`: what was attempted, and its cause.
    pub(crate) fn of<E: Display>(kind: FailureKind, what: impl Display) -> impl FnOnce(E) -> Failure {
        move |cause| Failure::new(kind, format!("{what}: {cause}"))
    }

    pub(crate) fn report(self) -> ExitCode {
        // If stderr is closed, nobody would read it.
        _ = writeln!(io::stderr(), "symple: {}", self.words);
        ExitCode::from(self.kind as u8)
    }
}

/// Writes to stdout. A closed stdout is not an error: its reader has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text).map(drop)
}

/// Writes to stdout from a program that keeps running: if that fails, for instance on a full disk, it goes on serving.
pub(crate) fn tell(text: &str) {
    if let Err(failure) = write(text) {
        log::warn!("{}", failure.words);
    }
}

/// Writes a line to stdout; false if it is closed.
pub(crate) fn line(text: &str) -> Result<bool, Failure> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::of(FailureKind::System, "stdout")(e)),
    }
}
