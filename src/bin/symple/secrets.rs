//! Files that hold a key or a token are for their owner's eyes.

use std::path::Path;

use serde_json::{Map, Value};

use super::merge::{Kind, Setting};

/// Warns where every user of this machine can read a file that holds `what`.
pub fn warn_if_open(file: &Path, what: &str) {
    if is_open(file) {
        log::warn!(
            "every user of this machine can read {0}, which holds {what}: chmod 600 {0}",
            file.display()
        );
    }
}

/// The same for a file of settings, where one of them is secret.
pub fn warn_if_settings_are_open<T>(file: &Path, content: &Map<String, Value>, table: &[Setting<T>]) {
    let secret = table.iter().find(|s| s.kind == Kind::Secret && content.contains_key(s.key));
    if let Some(secret) = secret {
        warn_if_open(file, secret.key);
    }
}

/// A group may be meant to: Debian's `ssl-cert` is.
#[cfg(unix)]
fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o006 != 0)
}

#[cfg(not(unix))]
fn is_open(_: &Path) -> bool {
    false
}
