//! Warns of secrets that others can see: in readable files, and in the arguments of the process.

use std::path::Path;

use serde_json::{Map, Value};

use super::merge::{Setting, SettingKind, SettingSource, SettingSources};

/// Warns if every user of this machine can read a file that contains `what`.
pub(crate) fn warn_if_open(file: &Path, what: &str) {
    if is_open(file) {
        log::warn!(
            "every user of this machine can read {0}, which contains {what}: chmod 600 {0}",
            file.display()
        );
    }
}

/// The same for a settings file, if one of its settings is secret.
pub(crate) fn warn_if_settings_are_open<T>(file: &Path, content: &Map<String, Value>, table: &[Setting<T>]) {
    let secret = table.iter().find(|s| content.get(s.key).is_some_and(|value| is_secret(s.kind, value)));
    if let Some(secret) = secret {
        warn_if_open(file, secret.key);
    }
}

/// Warns of secrets among the arguments; `config` says whether the command reads a file.
pub(crate) fn warn_of_arguments<T>(
    sources: &SettingSources,
    words: &[String],
    table: &[Setting<T>],
    config: bool,
) {
    let file = if config { " or the file of --config" } else { "" };
    for setting in table {
        if let Some((SettingSource::Flag(flag), value)) = sources.get(setting.key)
            && is_secret(setting.kind, value)
        {
            let variable = setting.variable();
            log::warn!("every user of this machine can read the value of {flag} (ps): use {variable}{file}");
        }
    }
    if words.iter().any(|word| has_login(word)) {
        log::warn!("every user of this machine can read the login in the address (ps)");
    }
}

/// A URL is only secret if it contains a credential.
pub(crate) fn is_secret(kind: SettingKind, value: &Value) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.contains("://") {
        has_login(&text)
    } else {
        kind == SettingKind::Secret || text.contains("credential")
    }
}

/// Whether a URL has a login before its host, or a password anywhere.
fn has_login(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let login = rest.rsplit_once('@').map(|(login, _)| login);
    login.is_some_and(|login| login.contains(':') || !login.contains('/')) || has_password(text)
}

/// Whether a text names a password: network cameras accept one in the path or the query, and an ICE server has it as
/// its `credential`.
pub(crate) fn has_password(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["pass", "pwd", "credential"].iter().any(|name| text.contains(name))
}

/// Read access for a group may be intended: Debian's `ssl-cert` is such a group.
#[cfg(unix)]
fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o006 != 0)
}

#[cfg(not(unix))]
fn is_open(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_secret_where_a_login_is_in_it() {
        for (kind, value, secret) in [
            (SettingKind::Plain, json!("rtsp://me:hunter2@192.0.2.1/stream"), true),
            (SettingKind::Plain, json!("rtsp://me@192.0.2.1/stream"), true),
            (SettingKind::Plain, json!("rtsp://me:pa/ss@192.0.2.1/stream"), true),
            (SettingKind::Plain, json!("rtsp://192.0.2.1/user=me&password=hunter2"), true),
            (SettingKind::Plain, json!("rtsp://192.0.2.1/cam?usr=me&PWD=hunter2"), true),
            (SettingKind::Plain, json!("rtsp://192.0.2.1/stream"), false),
            (SettingKind::Plain, json!("rtsp://192.0.2.1/stream@2"), false),
            (SettingKind::Plain, json!("/home/me@work/film.mp4"), false),
            (SettingKind::List, json!([{"urls": "turn:t", "credential": "hunter2"}]), true),
            (SettingKind::List, json!(["[{\"urls\":\"turn://t\",\"credential\":\"hunter2\"}]"]), true),
            (SettingKind::Secret, json!("hunter2"), true),
            (SettingKind::Secret, json!("redis://localhost:6379/0"), false),
            (SettingKind::Secret, json!("redis://:hunter2@localhost:6379/0"), true),
        ] {
            assert_eq!(is_secret(kind, &value), secret, "{value}");
        }
    }
}
