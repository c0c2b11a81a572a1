//! The command line: flags from the tables of settings, and the few that are not settings.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use serde_json::Value;

use super::deep_check::Depth;
use super::exit::{Failure, FailureKind};
use super::merge::Setting;
use super::nearest;

/// The parsed command line.
#[derive(Debug, Default)]
pub(crate) struct CommandLine {
    pub flags: Vec<(&'static str, Value)>,
    pub words: Vec<String>,
    pub config: Option<PathBuf>,
    pub check: Option<Depth>,
    pub help: bool,
}

/// What a command accepts besides its settings and `--help`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Takes {
    /// `--config FILE`.
    pub config: bool,
    /// `--check` and `--check=deep`.
    pub check: bool,
    /// The number of positional arguments.
    pub words: usize,
}

/// Parses a command's arguments.
pub(crate) fn read<T>(
    command: &str,
    table: &[Setting<T>],
    takes: Takes,
    args: Vec<OsString>,
) -> Result<CommandLine, Failure> {
    let usage = |words: String| {
        Failure::new(
            FailureKind::Usage,
            format!("{} (`symple {command} --help` lists all flags)", words.trim_end_matches('.')),
        )
    };
    let mut line = CommandLine::default();
    let mut parser = Parser::from_args(args);
    loop {
        let arg = parser.next().map_err(|e| usage(e.to_string()))?;
        let name = match arg {
            None => return Ok(line),
            Some(Arg::Short('h')) => {
                line.help = true;
                continue;
            }
            Some(Arg::Value(word)) if line.words.len() < takes.words => {
                line.words.push(word.string().map_err(|e| usage(e.to_string()))?);
                continue;
            }
            Some(Arg::Value(word)) if word == "deep" && line.check == Some(Depth::Plain) => {
                return Err(usage("use --check=deep for a deep check".into()));
            }
            Some(Arg::Value(word)) => {
                return Err(usage(format!("unexpected argument \"{}\"", word.to_string_lossy())));
            }
            Some(Arg::Short(letter)) => return Err(usage(format!("unknown flag -{letter}"))),
            Some(Arg::Long(name)) => name.to_owned(),
        };
        match name.as_str() {
            "help" => line.help = true,
            "check" if takes.check => {
                let depth = parser.optional_value();
                line.check = Some(match depth.as_ref().map(|depth| depth.to_str()) {
                    None => Depth::Plain,
                    Some(Some("deep")) => Depth::Deep,
                    Some(_) => return Err(usage("--check takes no value except --check=deep".into())),
                });
            }
            "config" if takes.config => {
                line.config = Some(value(&mut parser, "--config").map_err(usage)?.into());
            }
            name => {
                let (key, on) = name.strip_prefix("no-").map_or((name, true), |key| (key, false));
                let named = |setting: &&Setting<T>| setting.flag()[2..] == *key;
                let Some(setting) = table.iter().find(named).filter(|s| on || s.value.is_empty()) else {
                    let mut known: Vec<String> = table.iter().map(Setting::flag).collect();
                    known.push("--help".into());
                    known.extend(takes.config.then(|| "--config".into()));
                    known.extend(takes.check.then(|| "--check".into()));
                    let hint = nearest::hint(&format!("--{name}"), known.iter().map(String::as_str));
                    return Err(usage(format!("unknown flag --{name}{hint}")));
                };
                let value = match (setting.value, on) {
                    ("", false) => Value::Bool(false),
                    ("", true) => match parser.optional_value() {
                        Some(value) => Value::String(value.string().map_err(|e| usage(e.to_string()))?),
                        None => Value::Bool(true),
                    },
                    _ => {
                        let value = value(&mut parser, &setting.flag()).map_err(usage)?;
                        Value::String(value.string().map_err(|e| usage(e.to_string()))?)
                    }
                };
                line.flags.push((setting.key, value));
            }
        }
    }
}

/// The value of a flag: what follows its `=`, or the next argument, unless that is a flag itself.
fn value(parser: &mut Parser, flag: &str) -> Result<OsString, String> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let next = parser.try_raw_args().and_then(|mut rest| rest.next());
    match next {
        None => Err(format!("{flag}: missing value")),
        Some(next) if next == "-h" || next.as_encoded_bytes().starts_with(b"--") => {
            Err(format!("{flag}: missing value; one that begins with -- is written {flag}=VALUE"))
        }
        Some(value) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &[Setting<()>] = &[
        Setting::new("max_connections", "N", "", |_, _| Ok(())),
        Setting::new("dynamic_rooms", "", "", |_, _| Ok(())),
    ];

    fn line(args: &[&str]) -> Result<CommandLine, String> {
        let takes = Takes { config: true, check: true, words: 1 };
        let args = args.iter().map(OsString::from).collect();
        read("serve", TABLE, takes, args).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::Usage);
            failure.words
        })
    }

    #[test]
    fn flags_are_read_in_every_spelling() {
        for (args, flags) in [
            (&["--max-connections", "5"][..], vec![("max_connections", json!("5"))]),
            (&["--max-connections=5"][..], vec![("max_connections", json!("5"))]),
            (&["--dynamic-rooms"][..], vec![("dynamic_rooms", json!(true))]),
            (&["--no-dynamic-rooms"][..], vec![("dynamic_rooms", json!(false))]),
            (&["--dynamic-rooms=off"][..], vec![("dynamic_rooms", json!("off"))]),
            (&["--max-connections", "-1"][..], vec![("max_connections", json!("-1"))]),
            (&["--max-connections", "-"][..], vec![("max_connections", json!("-"))]),
            (&["--max-connections=--check"][..], vec![("max_connections", json!("--check"))]),
        ] {
            assert_eq!(line(args).expect("right").flags, flags, "{args:?}");
        }
        let all = line(&["word", "--config", "a.toml", "--check", "-h"]).expect("right");
        assert!(all.help && all.words == ["word"] && all.config == Some("a.toml".into()));
        assert_eq!((all.check, line(&[]).expect("right").check), (Some(Depth::Plain), None));
        assert_eq!(line(&["--check=deep"]).expect("right").check, Some(Depth::Deep));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (args, words) in [
            (&["--max-conections", "5"][..], "did you mean \"--max-connections\"?"),
            (&["--no-max-connections"][..], "unknown flag --no-max-connections"),
            (&["--chekc"][..], "did you mean \"--check\"?"),
            (&["--max-connections"][..], "--max-connections: missing value"),
            (&["--max-connections", "--check"][..], "is written --max-connections=VALUE"),
            (&["--max-connections", "-h"][..], "--max-connections: missing value"),
            (&["--config", "--check"][..], "--config: missing value"),
            (&["-x"][..], "unknown flag -x"),
            (&["a", "b"][..], "unexpected argument \"b\""),
            (&["--check=shallow"][..], "--check=deep"),
            (&["a", "--check", "deep"][..], "--check=deep"),
        ] {
            let said = line(args).expect_err("wrong");
            assert!(said.contains(words) && said.contains("symple serve --help"), "{args:?}: {said}");
        }
    }
}
