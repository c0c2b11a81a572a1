//! `--check=deep`: what a command needs is tried, one thing after the other, and all that came of it is told.

use std::fmt::Write;

use crate::exit::{self, Failure, Kind};

/// How much a check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It opens no port and asks nobody else.
    Plain,
    /// It tries everything.
    Deep,
}

/// What was tried.
#[derive(Default)]
pub struct Trial {
    rows: String,
    failed: Vec<&'static str>,
    kind: Option<Kind>,
}

impl Trial {
    /// One thing, and how it ended.
    pub fn add(&mut self, what: &'static str, outcome: Result<String, Failure>) {
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

    /// Prints what would run and what was tried. It ends as the first thing that failed.
    pub fn end(self, plan: &str) -> Result<(), Failure> {
        exit::print(&format!("{plan}tried:\n{}", self.rows))?;
        match self.kind {
            None => Ok(()),
            Some(kind) => Err(Failure::new(kind, format!("these do not work: {}", self.failed.join(", ")))),
        }
    }
}
