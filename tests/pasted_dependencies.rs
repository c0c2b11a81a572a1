//! A program that is pasted from the README or the examples compiles with the `[dependencies]` shown with it: their
//! features exist and suffice, and no crate is missing, superfluous, or of another version than the one tested here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A dependency as it is written: `"0.1"`, or a table of one line.
#[derive(Debug, Default)]
struct Dependency {
    version: String,
    features: Vec<String>,
    default_features: bool,
}

/// The quoted strings of a text.
fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn list(line: &str, key: &str) -> Vec<String> {
    let rest = line.split_once(&format!("{key} = [")).map_or("", |(_, rest)| rest);
    quoted(rest.split(']').next().unwrap_or_default())
}

/// The lines `name = value` of the tables with these headers.
fn table<'a>(text: &'a str, headers: &[&str]) -> Vec<(&'a str, &'a str)> {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        if line.starts_with('[') {
            inside = headers.contains(line);
        }
        inside
    });
    lines.filter_map(|line| line.split_once(" = ")).collect()
}

fn dependencies(text: &str, headers: &[&str]) -> BTreeMap<String, Dependency> {
    let parse = |(name, value): (&str, &str)| {
        let version = match value.strip_prefix('{') {
            None => value.to_owned(),
            Some(table) => table.split_once("version = ").map_or("", |(_, rest)| rest).to_owned(),
        };
        let dependency = Dependency {
            version: quoted(&version).into_iter().next().unwrap_or_default(),
            features: list(value, "features"),
            default_features: !value.contains("default-features = false"),
        };
        (name.to_owned(), dependency)
    };
    table(text, headers).into_iter().map(parse).collect()
}

/// These features, and all that they turn on.
fn closure(features: &BTreeMap<String, Vec<String>>, wanted: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut rest = wanted.to_vec();
    while let Some(feature) = rest.pop() {
        if all.insert(feature.clone()) {
            rest.extend(features.get(&feature).into_iter().flatten().cloned());
        }
    }
    all
}

/// What is wrong with dependencies for a program.
fn complaints(shown: &str, program: &str, required: &[String], manifest: &str) -> Vec<String> {
    let ours = dependencies(manifest, &["[dependencies]", "[dev-dependencies]"]);
    let features: BTreeMap<String, Vec<String>> =
        table(manifest, &["[features]"]).iter().map(|(name, on)| ((*name).to_owned(), quoted(on))).collect();
    let shown = dependencies(shown, &["[dependencies]"]);
    let mut wrong = Vec::new();
    let Some(symple) = shown.get("symple") else { return vec!["no symple".into()] };
    let version = table(manifest, &["[package]"]).into_iter().find(|(name, _)| *name == "version");
    if !version.is_some_and(|(_, version)| quoted(version)[0].starts_with(&symple.version)) {
        wrong.push(format!("symple {} is not ours", symple.version));
    }
    wrong.extend(
        symple.features.iter().filter(|f| !features.contains_key(*f)).map(|f| format!("no feature {f}")),
    );
    let mut on = symple.features.clone();
    on.extend(symple.default_features.then(|| "default".to_owned()));
    let on = closure(&features, &on);
    wrong.extend(required.iter().filter(|f| !on.contains(*f)).map(|f| format!("feature {f} is missing")));
    let code: Vec<&str> = program.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let uses = |name: &str| {
        let path = format!("{}::", name.replace('-', "_"));
        code.match_indices(&path)
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)))
    };
    for name in ours.keys().filter(|name| uses(name) && !shown.contains_key(*name)) {
        wrong.push(format!("{name} is missing"));
    }
    for (name, dependency) in shown.iter().filter(|(name, _)| *name != "symple") {
        match ours.get(name) {
            None => wrong.push(format!("{name} is not tested here")),
            Some(tested) if !tested.version.starts_with(&dependency.version) => {
                wrong.push(format!("{name} {}, but {} is tested here", dependency.version, tested.version));
            }
            Some(_) if !uses(name) => wrong.push(format!("{name} is not used")),
            Some(_) => {}
        }
    }
    wrong
}

/// The first block of this language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let rest = text.split_once(&format!("```{language}")).map_or("", |(_, rest)| rest);
    rest.split("```").next().unwrap_or_default().trim_start_matches(|c| c != '\n')
}

#[test]
fn the_readme_has_what_its_program_needs() {
    let readme = read("README.md");
    let wrong =
        complaints(block(&readme, "toml"), block(&readme, "rust"), &["gst".into()], &read("Cargo.toml"));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_example_has_what_it_needs() {
    let (manifest, text) = (read("Cargo.toml"), read("examples/README.md"));
    let mut sections = 0;
    for section in text.split("\n## ").skip(1) {
        let Some((name, _)) = section.split_once(".rs:") else { continue };
        sections += 1;
        let declared =
            manifest.split("[[example]]").find(|part| part.contains(&format!("name = \"{name}\"")));
        let required = declared.map_or(vec![], |part| list(part, "required-features"));
        let program = read(&format!("examples/{name}.rs"));
        let wrong = complaints(block(section, "toml"), &program, &required, &manifest);
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
    }
    let programs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("it is there");
    let programs =
        programs.filter(|e| e.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|e| e == "rs")));
    assert_eq!(sections, programs.count(), "each example has its section");
}

#[test]
fn what_is_wrong_is_seen() {
    let manifest = "[package]\nversion = \"0.1.0\"\n[features]\ndefault = [\"client\"]\nclient = []\nweb = []\n\
        [dependencies]\nsmol = { version = \"2\", optional = true }\nserde_json = \"1.0\"\n";
    let program = "use symple::Client;\n// serde_json::json\nfn main() { smol::block_on(async {}) }\n";
    let table = [
        ("symple = \"0.1\"\nsmol = \"2\"", ""),
        ("symple = \"0.1\"", "smol is missing"),
        ("symple = \"0.2\"\nsmol = \"2\"", "symple 0.2 is not ours"),
        ("symple = \"0.1\"\nsmol = \"1\"", "smol 1, but 2 is tested here"),
        ("symple = \"0.1\"\nsmol = \"2\"\nserde_json = \"1\"", "serde_json is not used"),
        ("symple = \"0.1\"\nsmol = \"2\"\nrand = \"1\"", "rand is not tested here"),
        (
            "symple = { version = \"0.1\", default-features = false }\nsmol = \"2\"",
            "feature client is missing",
        ),
        ("symple = { version = \"0.1\", features = [\"wbe\"] }\nsmol = \"2\"", "no feature wbe"),
    ];
    for (shown, expected) in table {
        let shown = format!("[dependencies]\n{shown}\n");
        let wrong = complaints(&shown, program, &["client".into()], manifest);
        assert_eq!(wrong.join("; "), expected, "{shown}");
    }
}
