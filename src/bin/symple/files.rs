//! Reads settings from the command line, a TOML file and the environment.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Map, Value};

use super::args::{self, CommandLine, Takes};
use super::exit::{Failure, FailureKind};
use super::merge::{self, Setting, SettingSource, SettingSources, Written};
use super::secrets;

/// What a command runs with.
pub(crate) struct Loaded<T> {
    pub settings: T,
    pub sources: SettingSources,
    pub line: CommandLine,
    takes: Takes,
    /// The file that was read, and its content.
    file: Option<(String, Map<String, Value>)>,
}

impl<T> Loaded<T> {
    /// Warns of secrets that others can read: in the file, or among the arguments. After the logger has started.
    pub(crate) fn warn_of_open_secrets(&self, table: &[Setting<T>]) {
        if let Some((name, content)) = &self.file {
            secrets::warn_if_settings_are_open(Path::new(name), content, table);
        }
        secrets::warn_of_arguments(&self.sources, &self.line.words, table, self.takes.config);
    }
}

/// Reads and merges all settings. `None` if only help was requested.
pub(crate) fn load<T: Default>(
    command: &str,
    table: &[Setting<T>],
    takes: Takes,
    args: Vec<OsString>,
) -> Result<Option<Loaded<T>>, Failure> {
    let line = args::read(command, table, takes, args)?;
    if line.help {
        return Ok(None);
    }
    for name in table.iter().flat_map(Setting::variables) {
        // Ignoring it might leave the server open.
        if std::env::var_os(&name).is_some_and(|value| value.to_str().is_none()) {
            return Err(Failure::new(FailureKind::Config, format!("{name}: must be UTF-8")));
        }
    }
    let config = line.config.clone().or_else(|| {
        let named = std::env::var_os("SYMPLE_CONFIG").filter(|name| takes.config && !name.is_empty());
        named.map(Into::into)
    });
    let file = config.as_deref().map(toml_file).transpose()?;
    let environment = |name: &str| std::env::var(name).ok();
    let written = Written {
        file: file.as_ref().map(|(name, content)| (name.as_str(), content)),
        environment: &environment,
        flags: &line.flags,
    };
    let mut settings = T::default();
    let sources = merge::merge(table, &written, &mut settings).map_err(failure)?;
    Ok(Some(Loaded { settings, sources, line, takes, file }))
}

/// Warns of variables whose names look misspelled. Call after the logger has started.
pub(crate) fn warn_of_slips<T>(table: &[Setting<T>]) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, near) in merge::slips(table, names.filter(|name| name != "SYMPLE_CONFIG")) {
        log::warn!("unknown variable {name}; did you mean {near}?");
    }
}

/// One failure for all errors: a usage error if all of them are on the command line.
fn failure(wrong: Vec<(SettingSource, String)>) -> Failure {
    let flags = wrong.iter().all(|(source, _)| matches!(source, SettingSource::Flag(_)));
    let words: Vec<String> = wrong.iter().map(|(source, why)| format!("{source}: {why}")).collect();
    Failure::new(if flags { FailureKind::Usage } else { FailureKind::Config }, words.join("\nsymple: "))
}

fn toml_file(path: &Path) -> Result<(String, Map<String, Value>), Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(Failure::of(FailureKind::NoInput, &name))?;
    let content =
        merge::content(&text).map_err(|why| Failure::new(FailureKind::Config, format!("{name} {why}")))?;
    Ok((name, content))
}
