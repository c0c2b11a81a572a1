//! One name for a setting in three places, and their precedence: default < file < environment < flag.
//!
//! `max_connections` in the file is `SYMPLE_MAX_CONNECTIONS` in the environment and `--max-connections` as
//! a flag. Pure: the caller reads the three places.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::{nearest, secrets};

/// A setting of `T`.
pub(crate) struct Setting<T> {
    /// Its name.
    pub key: &'static str,
    /// The placeholder for its value in the help; empty for a switch.
    pub value: &'static str,
    /// Its description in the help.
    pub help: &'static str,
    /// Other environment variables for it: those that take precedence over its own name, and those after it.
    pub also: (&'static [&'static str], &'static [&'static str]),
    pub kind: SettingKind,
    /// Parses and stores a value; the error says what would be valid.
    pub take: fn(&mut T, &Value) -> Result<(), String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingKind {
    Plain,
    /// The flag may be repeated.
    List,
    /// Never printed.
    Secret,
}

impl<T> Setting<T> {
    pub(crate) const fn new(
        key: &'static str,
        value: &'static str,
        help: &'static str,
        take: fn(&mut T, &Value) -> Result<(), String>,
    ) -> Self {
        Setting { key, value, help, also: (&[], &[]), kind: SettingKind::Plain, take }
    }

    pub(crate) const fn list(mut self) -> Self {
        self.kind = SettingKind::List;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.kind = SettingKind::Secret;
        self
    }

    pub(crate) const fn also(
        mut self,
        before: &'static [&'static str],
        behind: &'static [&'static str],
    ) -> Self {
        self.also = (before, behind);
        self
    }

    /// `--max-connections`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// `SYMPLE_MAX_CONNECTIONS`.
    pub(crate) fn variable(&self) -> String {
        format!("SYMPLE_{}", self.key.to_uppercase())
    }

    /// Its environment variables, in order of precedence.
    pub(crate) fn variables(&self) -> Vec<String> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        [names(self.also.0), vec![self.variable()], names(self.also.1)].concat()
    }
}

/// Where a value was found. Later ones take precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SettingSource {
    /// The file with this name.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl SettingSource {
    /// A number to compare places by; a value found nowhere counts as 0.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            SettingSource::File(_) => 1,
            SettingSource::Environment(_) => 2,
            SettingSource::Flag(_) => 3,
        }
    }
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingSource::File(name) | SettingSource::Environment(name) | SettingSource::Flag(name) => {
                f.write_str(name)
            }
        }
    }
}

/// Everything that was configured.
pub(crate) struct Written<'a> {
    /// The file's name and content.
    pub file: Option<(&'a str, &'a Map<String, Value>)>,
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Keys and values, in the order of the command line.
    pub flags: &'a [(&'static str, Value)],
}

/// Where each value that differs from the default came from, and the value.
pub(crate) type SettingSources = BTreeMap<&'static str, (SettingSource, Value)>;

/// Parses the text of a file. The error follows the file's name.
pub(crate) fn content(text: &str) -> Result<Map<String, Value>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        // Its own message quotes the line, and with it perhaps a password.
        let line =
            e.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
        format!("is not valid TOML: line {line}: {}", e.message().trim())
    })?;
    match serde_json::to_value(table) {
        Ok(Value::Object(content)) => Ok(content),
        _ => Err("contains a number that is not finite".into()),
    }
}

/// Takes every setting from the place with the highest precedence. Returns all errors, each with its place.
pub(crate) fn merge<T>(
    table: &[Setting<T>],
    written: &Written<'_>,
    target: &mut T,
) -> Result<SettingSources, Vec<(SettingSource, String)>> {
    let (mut sources, mut wrong) = (SettingSources::new(), Vec::new());
    if let Some((name, file)) = written.file {
        for key in file.keys().filter(|key| table.iter().all(|setting| setting.key != **key)) {
            let hint = nearest::hint(key, table.iter().map(|s| s.key));
            wrong.push((SettingSource::File(name.into()), format!("unknown setting \"{key}\"{hint}")));
        }
    }
    for setting in table {
        let Some((source, value)) = strongest(setting, written) else { continue };
        if let Err(why) = (setting.take)(target, &value) {
            let why = repeating(why, setting.kind, &value);
            let what = match &source {
                SettingSource::File(_) => format!("\"{}\" {why}", setting.key),
                _ => why,
            };
            wrong.push((source, what));
            continue;
        }
        sources.insert(setting.key, (source, value));
    }
    if wrong.is_empty() { Ok(sources) } else { Err(wrong) }
}

/// Adds the value to what it must be, unless it is named already, secret, or too long for a line.
fn repeating(why: String, kind: SettingKind, value: &Value) -> String {
    const LONGEST: usize = 80;
    let one = value.as_array().filter(|list| list.len() == 1).map_or(value, |list| &list[0]);
    let shown = one.as_str().map_or_else(|| one.to_string(), |text| format!("{text:?}"));
    let is_named = !why.starts_with("must ") || why.contains(", not ") || why.contains(": ");
    if is_named || secrets::is_secret(kind, value) || shown.len() > LONGEST {
        return why;
    }
    format!("{why}, not {shown}")
}

fn strongest<T>(setting: &Setting<T>, written: &Written<'_>) -> Option<(SettingSource, Value)> {
    let flags: Vec<&Value> =
        written.flags.iter().filter(|(key, _)| *key == setting.key).map(|(_, value)| value).collect();
    if let Some(last) = flags.last() {
        let value = match setting.kind {
            SettingKind::List => Value::Array(flags.into_iter().cloned().collect()),
            _ => (*last).clone(),
        };
        return Some((SettingSource::Flag(setting.flag()), value));
    }
    for name in setting.variables() {
        // An empty value counts as absent, as in the Node.js server. A secret may consist of spaces.
        let blank = |value: &str| {
            value.is_empty() || (setting.kind != SettingKind::Secret && value.trim().is_empty())
        };
        let value = (written.environment)(&name).filter(|value| !blank(value));
        // In Kubernetes a service named `symple` puts its own address here.
        if let Some(value) = value.filter(|value| !(name == "SYMPLE_PORT" && value.starts_with("tcp://"))) {
            return Some((SettingSource::Environment(name), Value::String(value)));
        }
    }
    let (name, file) = written.file?;
    file.get(setting.key).map(|value| (SettingSource::File(name.into()), value.clone()))
}

/// Variables that look like a misspelling of one of ours: `SYMPLE_AUTHENTICATON` must not leave a server open.
pub(crate) fn slips<T>(table: &[Setting<T>], names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let known: Vec<String> = table.iter().flat_map(Setting::variables).collect();
    let unknown = names.filter(|name| name.starts_with("SYMPLE_") && !known.contains(name));
    let near = |name: String| {
        let rest = |name: &str| name.trim_start_matches("SYMPLE_").to_owned();
        let rests: Vec<String> = known.iter().map(|name| rest(name)).collect();
        let at = nearest::nearest(&rest(&name), rests.iter().map(String::as_str))?;
        let at = rests.iter().position(|rest| rest == at)?;
        Some((name, known[at].clone()))
    };
    unknown.filter_map(near).collect()
}

/// The settings that were configured, one line each, for `--check`: without secrets, and URLs without credentials.
pub(crate) fn set_by<T>(table: &[Setting<T>], sources: &SettingSources) -> String {
    let shown = |key: &str, value: &Value| {
        let secret = table.iter().any(|setting| setting.key == key && setting.kind == SettingKind::Secret);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // ICE servers contain passwords.
        if secret || text.contains("credential") { "…".to_owned() } else { without_login(&text) }
    };
    let lines = sources
        .iter()
        .map(|(key, (source, value))| format!("  {key:19} {}  ({source})\n", shown(key, value)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("set by:\n{lines}") }
}

/// A URL without its credentials, and without its path if that may contain a password.
pub(crate) fn without_login(url: &str) -> String {
    let (scheme, rest) =
        url.split_once("://").map_or(("", url), |(scheme, _)| url.split_at(scheme.len() + 3));
    let shown = match rest.rsplit_once('@') {
        Some((login, place)) if !scheme.is_empty() || login.contains(':') => format!("{scheme}…@{place}"),
        _ => url.to_owned(),
    };
    match shown.get(scheme.len()..).and_then(|rest| rest.find(['/', '?'])) {
        Some(at) if secrets::has_password(&shown) => format!("{}/…", &shown[..scheme.len() + at]),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;
    use serde_json::json;

    #[derive(Default)]
    struct S {
        port: u64,
        rooms: Vec<String>,
    }

    const TABLE: &[Setting<S>] = &[
        Setting::new("port", "N", "", |s: &mut S, v| value::set(&mut s.port, value::count(v, 0)))
            .also(&["PORT"], &["OLD_PORT"]),
        Setting::new("rooms", "NAME", "", |s: &mut S, v| value::set(&mut s.rooms, value::list(v))).list(),
    ];

    fn merged(
        file: Value,
        environment: &[(&str, &str)],
        flags: &[(&'static str, Value)],
    ) -> (S, Result<SettingSources, Vec<(SettingSource, String)>>) {
        let mut target = S::default();
        let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let file = file.as_object().cloned().unwrap_or_default();
        let written = Written { file: Some(("a.toml", &file)), environment: &find, flags };
        let result = merge(TABLE, &written, &mut target);
        (target, result)
    }

    #[test]
    fn the_stronger_place_wins() {
        let file = || json!({"port": 1});
        let flag = || ("port", json!("9"));
        for (environment, flags, port, source) in [
            (&[][..], vec![], 1, "a.toml"),
            (&[("OLD_PORT", "2")][..], vec![], 2, "OLD_PORT"),
            (&[("OLD_PORT", "2"), ("SYMPLE_PORT", "3")][..], vec![], 3, "SYMPLE_PORT"),
            (&[("SYMPLE_PORT", "3"), ("PORT", "4")][..], vec![], 4, "PORT"),
            (&[("SYMPLE_PORT", "3"), ("PORT", "")][..], vec![], 3, "SYMPLE_PORT"),
            (&[("SYMPLE_PORT", "tcp://10.0.0.1:4500")][..], vec![], 1, "a.toml"),
            (&[("PORT", "4")][..], vec![flag()], 9, "--port"),
            (&[][..], vec![("port", json!("8")), flag()], 9, "--port"),
        ] {
            let (settings, sources) = merged(file(), environment, &flags);
            let sources = sources.expect("all is right");
            assert_eq!((settings.port, sources["port"].0.to_string()), (port, source.to_owned()));
        }
    }

    #[test]
    fn lists_replace_each_other_and_flags_add_up() {
        let flags = [("rooms", json!("a,b")), ("rooms", json!("c"))];
        let (settings, _) = merged(json!({"rooms": ["x"]}), &[("SYMPLE_ROOMS", "y")], &flags);
        assert_eq!(settings.rooms, ["a", "b", "c"]);
        let (settings, _) = merged(json!({"rooms": ["x"]}), &[("SYMPLE_ROOMS", "y, z")], &[]);
        assert_eq!(settings.rooms, ["y", "z"]);
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_place() {
        let (_, result) = merged(json!({"prot": 1, "rooms": 7}), &[("PORT", "x")], &[]);
        let said: Vec<String> =
            result.expect_err("three are wrong").iter().map(|(o, w)| format!("{o}: {w}")).collect();
        assert_eq!(
            said,
            [
                "a.toml: unknown setting \"prot\"; did you mean \"port\"?",
                "PORT: must be a whole number, at least 0, not \"x\"",
                "a.toml: \"rooms\" must be a list of strings, not 7",
            ]
        );
    }

    #[test]
    fn a_wrong_value_is_repeated_once_and_never_a_secret() {
        const REFUSE: fn(&mut (), &Value) -> Result<(), String> = |_, _| Err("must be less".into());
        let table = [
            Setting::new("n", "N", "", |_: &mut (), _| Err("must be 1 to 2, not 3".into())),
            Setting::new("size", "N", "", REFUSE),
            Setting::new("token", "SECRET", "", REFUSE).secret(),
            Setting::new("connect", "URL", "", REFUSE),
        ];
        let flags = [
            ("n", json!("3")),
            ("size", json!("a\nb")),
            ("token", json!("hunter2")),
            ("connect", json!("wss://me:hunter2@chat.example")),
        ];
        let written = Written { file: None, environment: &|_| None, flags: &flags };
        let wrong = merge(&table, &written, &mut ()).expect_err("all are wrong");
        let said: Vec<String> = wrong.into_iter().map(|(_, words)| words).collect();
        assert_eq!(
            said,
            ["must be 1 to 2, not 3", "must be less, not \"a\\nb\"", "must be less", "must be less"]
        );
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        const SECRET: &[Setting<()>] = &[Setting::new("token", "", "", |_, _| Ok(())).secret()];
        let source = || SettingSource::Flag("there".into());
        let sources = SettingSources::from([
            ("connect", (source(), json!("wss://me:hunter2@chat.example"))),
            (
                "ice_servers",
                (source(), json!([{"urls": "turn:t", "username": "me", "credential": "hunter2"}])),
            ),
            ("port", (source(), json!(1))),
            ("roots", (source(), json!("rtsp://192.0.2.1/user=me&password=hunter2"))),
            ("ring", (source(), json!("me:hunter2@192.0.2.1/live"))),
            ("token", (source(), json!("hunter2"))),
        ]);
        let said = set_by(SECRET, &sources);
        assert!(!said.contains("hunter2") && said.starts_with("set by:\n"), "{said}");
        assert!(
            said.contains("wss://…@chat.example  (there)") && said.contains("port                1"),
            "{said}"
        );
        assert!(said.contains("rtsp://192.0.2.1/…") && said.contains(" …@192.0.2.1/live"), "{said}");
        assert_eq!(set_by(SECRET, &SettingSources::new()), "");
    }

    #[test]
    fn a_slip_in_the_environment_is_seen_and_strangers_are_not() {
        let names = ["SYMPLE_ROMS", "SYMPLE_SERVICE_HOST", "PORT", "SYMPLE_PORT", "HOME"];
        let slips = slips(TABLE, names.into_iter().map(String::from));
        assert_eq!(slips, [("SYMPLE_ROMS".to_owned(), "SYMPLE_ROOMS".to_owned())]);
    }
}
