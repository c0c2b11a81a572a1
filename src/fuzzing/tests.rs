//! Runs the seeds, and checks that the harness can fail.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::TARGETS;

/// Targets in the program's own modules, whose seeds its tests run.
const PROGRAM: [&str; 1] = ["config"];

/// The maximum size of all seeds in the repository.
const MAX_CORPUS: u64 = 1 << 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Cargo does not pack a crate into another.
fn is_packaged() -> bool {
    let packaged = !fuzz().exists();
    if packaged {
        println!("SKIPPED: fuzz/ is not part of the package");
    }
    packaged
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|e| e.expect("listed").file_name().into_string().expect("UTF-8")).collect();
    names.sort_unstable();
    names
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let seed = |name: String| (name.clone(), fs::read(folder.join(name)).expect("a seed is a file"));
    names(&folder).into_iter().map(seed).collect()
}

/// The seeds at which a target fails.
fn failures(name: &str, target: fn(&[u8]), seeds: &[(String, Vec<u8>)]) -> Vec<String> {
    let fails = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err();
    seeds.iter().filter(|(_, bytes)| fails(bytes)).map(|(seed, _)| format!("{name}/{seed}")).collect()
}

#[test]
fn every_seed_passes() {
    if is_packaged() {
        return;
    }
    let failed: Vec<String> =
        TARGETS.iter().flat_map(|(name, target)| failures(name, *target, &seeds(name))).collect();
    assert!(failed.is_empty(), "in fuzz/corpus: {failed:?}");
}

#[test]
fn a_wrong_target_fails_at_its_seeds() {
    if is_packaged() {
        return;
    }
    let wrong: fn(&[u8]) = |bytes| assert!(!bytes.contains(&b'{'), "intended by this test");
    let seeds = seeds("head");
    assert!(failures("head", wrong, &seeds).len() > 2, "of {}", seeds.len());
}

#[test]
fn every_target_is_listed_everywhere_and_has_seeds() {
    if is_packaged() {
        return;
    }
    let all = TARGETS.iter().map(|(name, _)| *name).chain(PROGRAM);
    let ours: BTreeSet<String> = all.clone().map(str::to_owned).collect();
    assert_eq!(ours.len(), TARGETS.len() + PROGRAM.len(), "a name is listed twice");
    let files = names(&fuzz().join("fuzz_targets"));
    assert_eq!(files, ours.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
    assert_eq!(names(&fuzz().join("corpus")), ours.iter().cloned().collect::<Vec<_>>());
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("there");
    let listed =
        manifest.lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), ours);
    for name in all.clone() {
        let text = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("listed above");
        let module = if PROGRAM.contains(&name) { "fuzz_config" } else { "symple::fuzzing" };
        assert!(text.contains(&format!("{module}::{name}(")), "{name}.rs drives another target");
        assert!(seeds(name).len() >= 3, "{name} has too few seeds");
    }
    let size: u64 = all.flat_map(seeds).map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(size < MAX_CORPUS, "{size} bytes of seeds: too many for a repository");
}
