//! `--help`.

use super::merge::Setting;

/// The help of the program.
pub(crate) fn overview<'a>(commands: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let list: String = commands.map(|(name, line)| format!("  {name:10}{line}\n")).collect();
    format!(
        "\
symple: real-time messaging, presence and cameras over WebSocket and WebRTC

Usage: symple COMMAND [FLAGS]

Commands:
{list}
`symple COMMAND --help` explains a command. Try:
  symple serve                                  a server on port 4500
  symple watch                                  see who connects to it

Every setting has one name: `max_connections` in a TOML file is SYMPLE_MAX_CONNECTIONS in the
environment and --max-connections as a flag. Flags override the environment, which overrides the
file.

Exit codes: 0 success; 1 not found; 64 wrong command line; 65 invalid input data; 66 a file cannot
be read; 69 a server, port, source or device cannot be used; 71 a system error; 73 a file cannot be
written; 77 permission denied; 78 a wrong setting in a file or in the environment.
"
    )
}

/// The help of a command: an introduction, its settings in groups, and an end.
pub(crate) fn command<T>(introduction: &str, groups: &[(&str, &[Setting<T>])], end: &str) -> String {
    let mut out = introduction.trim_start().to_owned();
    for (title, settings) in groups {
        out += &format!("\n{title}:\n");
        for setting in *settings {
            let mut name = setting.flag();
            if !setting.value.is_empty() {
                name += &format!(" {}", setting.value);
            }
            let others: Vec<String> =
                [setting.also.0, setting.also.1].concat().iter().map(|v| (*v).into()).collect();
            let mut help = setting.help.to_owned();
            if !others.is_empty() {
                help += &format!(" [also {}]", others.join(", "));
            }
            out += &entry(&name, &help);
        }
    }
    out + end
}

/// A flag, with its description in a column of its own.
pub(crate) fn entry(name: &str, words: &str) -> String {
    const COLUMN: usize = 30;
    const WIDTH: usize = 100;
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let last = lines.last_mut().expect("one is there from the start");
        if last.is_empty() {
            *last = word.to_owned();
        } else if COLUMN + last.chars().count() + 1 + word.chars().count() <= WIDTH {
            *last += &format!(" {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        let left = if at == 0 { format!("  {name}") } else { String::new() };
        if left.len() >= COLUMN {
            out += &format!("{left}\n{:COLUMN$}{line}\n", "");
        } else {
            out += &format!("{left:COLUMN$}{line}\n");
        }
    }
    out
}
