//! How the program ends: words for people, a number for scripts.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// What went wrong, by the numbers of BSD's sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is not there.
    #[cfg(feature = "redis")]
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// What was given cannot be read.
    #[cfg(feature = "redis")]
    Data = 65,
    /// A file that was named cannot be read.
    NoInput = 66,
    /// A server cannot be reached, or a source or device cannot be used.
    Unavailable = 69,
    /// The system failed us.
    System = 71,
    /// A file cannot be written.
    CantCreate = 73,
    /// Not allowed: a refused token, a forbidden port.
    NoPermission = 77,
    /// A setting in a file or in the environment is wrong.
    Config = 78,
}

/// Why the program ends.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub words: String,
}

impl Failure {
    pub fn new(kind: Kind, words: impl Into<String>) -> Self {
        Failure { kind, words: words.into() }
    }

    /// For `map_err`: what was tried, and what the cause says.
    pub fn of<E: Display>(kind: Kind, what: impl Display) -> impl FnOnce(E) -> Failure {
        move |cause| Failure::new(kind, format!("{what}: {cause}"))
    }

    pub fn report(self) -> ExitCode {
        // Nobody reads it where stderr is closed.
        _ = writeln!(io::stderr(), "symple: {}", self.words);
        ExitCode::from(self.kind as u8)
    }
}

/// Writes to stdout. Whoever closed it has seen enough.
pub fn print(text: &str) -> Result<(), Failure> {
    write(text).map(drop)
}

/// Writes to stdout what a program that runs on has to say: where that goes may be full, and it serves all the same.
pub fn tell(text: &str) {
    if let Err(failure) = write(text) {
        log::warn!("{}", failure.words);
    }
}

/// Writes a line to stdout; false when nobody reads any more.
pub fn line(text: &str) -> Result<bool, Failure> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::of(Kind::System, "stdout")(e)),
    }
}
