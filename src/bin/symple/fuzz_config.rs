//! The config file of the server as anybody may write it: a target of the fuzzer (`fuzz/run config`), whose seeds the
//! tests walk.

use serde_json::Value;

use crate::merge::{self, SettingKind, Written};
use crate::serve::settings::{self, Settings};

/// What is wrong is told with the file's name, what is right can be shown, and neither shows a secret.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let content = match merge::content(text) {
        Ok(content) => content,
        Err(words) => {
            return assert!(words.starts_with("is not valid TOML: line ") || words.starts_with("contains "));
        }
    };
    let table = settings::table();
    let mut settings = Settings::default();
    let file = Some(("symple.toml", &content));
    let written = Written { file, environment: &|_| None, flags: &[] };
    let sources = match merge::merge(&table, &written, &mut settings) {
        Ok(sources) => sources,
        Err(wrong) => {
            assert!(!wrong.is_empty() && wrong.iter().all(|(source, _)| source.to_string() == "symple.toml"));
            return;
        }
    };
    assert!(content.keys().eq(sources.keys().copied()), "each key is a setting, and counts");
    let shown = merge::set_by(&table, &sources);
    for (key, value) in &content {
        let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("{key} ")));
        let line = line.expect("each is shown");
        let secret = table.iter().any(|setting| setting.key == key && setting.kind == SettingKind::Secret);
        assert!(!secret || line == format!("  {key:19} …  (symple.toml)"), "{line}");
        if let Value::String(text) = value
            && let Some((login, place)) = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
            && login.len() > 3
            && !place.contains(login)
        {
            assert!(!line.contains(login), "{line}");
        }
    }
    _ = (settings.authenticates(), settings.redis_url(&sources));
}

#[cfg(test)]
#[test]
fn every_seed_of_a_config_file_passes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    if !folder.exists() {
        return println!("SKIPPED: fuzz/ is not part of the package");
    }
    let seeds = std::fs::read_dir(&folder).expect("a folder");
    let walked =
        seeds.map(|seed| config(&std::fs::read(seed.expect("listed").path()).expect("a file"))).count();
    assert!(walked >= 3, "{walked} seeds");
}
