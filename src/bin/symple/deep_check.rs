//! `--check=deep`: tries what a command needs, one thing after the other, and reports all results.

use std::fmt::Write;

use crate::exit::{self, Failure, FailureKind};

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Opens no port and contacts no server.
    Plain,
    /// Tries everything.
    Deep,
}

/// The results.
#[derive(Default)]
pub(crate) struct Trial {
    rows: String,
    failed: Vec<&'static str>,
    kind: Option<FailureKind>,
}

impl Trial {
    /// Adds one result.
    pub(crate) fn add(&mut self, what: &'static str, outcome: Result<String, Failure>) {
        let (verdict, words) = match outcome {
            Ok(words) => ("ok", words),
            Err(failure) => {
                self.failed.push(what);
                self.kind.get_or_insert(failure.kind);
                ("FAILED", failure.words)
            }
        };
        _ = writeln!(self.rows, "  {verdict:8}{what:12}{words}");
    }

    /// Adds what cannot be tried, and why.
    #[cfg(feature = "talk")]
    pub(crate) fn skip(&mut self, what: &'static str, words: &str) {
        _ = writeln!(self.rows, "  {:8}{what:12}{words}", "skipped");
    }

    /// Prints what would run and the results. The exit code is that of the first failure.
    pub(crate) fn end(self, plan: &str) -> Result<(), Failure> {
        exit::print(&format!("{plan}tried:\n{}", self.rows))?;
        match self.kind {
            None => Ok(()),
            Some(kind) => Err(Failure::new(kind, format!("these checks failed: {}", self.failed.join(", ")))),
        }
    }
}
