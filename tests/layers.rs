//! The arrows between the layers go down only, and clocks, threads and sockets stay with the drivers.
//!
//! Reads the text of `src/`: every path that a file contains, in a `use` or elsewhere in the code, is checked against
//! the table of the design. Comments and strings are ignored, so doctests are not restricted.

use std::fs;
use std::path::Path;

/// A layer, and the paths below `crate` that it may use (a prefix includes everything below it).
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    // Token buckets.
    ("limit", &[]),
    ("client", &["proto", "limit"]),
    ("server", &["proto"]),
    ("call", &["proto", "limit"]),
    // Not the calls themselves: `rtc` works with other signalling, `call` with another WebRTC stack.
    ("rtc", &["call::body", "call::Candidate", "call::Description", "media"]),
    ("media", &[]),
    ("net", &["proto", "client", "server", "call", "rtc", "media", "web"]),
    ("web", &[]),
    // Independent of sources and cameras: of `media` it only uses frames and the commands for streams.
    ("calling", &["proto", "limit", "client", "call", "rtc", "media", "net"]),
    ("camera", &["proto", "limit", "client", "server", "call", "rtc", "media", "net", "web", "calling"]),
];

/// The folders of `media`, and which other folders each may use. Everything may use what `media` itself re-exports.
const INSIDE_MEDIA: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("frame", &["error"]),
    ("adapt", &["error", "frame"]),
    ("board", &["error", "adapt"]),
    ("echo", &[]),
    ("sound_system", &[]),
    ("sink", &["error", "frame", "echo", "sound_system"]),
    ("source", &["error", "frame", "adapt", "board", "echo", "sound_system"]),
];

/// Where clocks, threads and sockets are allowed. In `pushed`, the application's call is the capture time of a frame.
const DRIVERS: &[&str] =
    &["net", "media::source::gst", "media::source::v4l2", "media::source::pushed", "media::sink::gst"];

/// What reads a clock, starts a thread or opens a socket. A final `*` matches any rest of the word.
const IO: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::os::unix::net",
    "smol",
    "async_io",
];

/// The one file of `net` that reads the clock.
const CLOCK: &str = "net::time";

/// Crates that only these places may use.
const HIDDEN: &[(&str, &str)] = &[
    ("str0m", "rtc"),
    ("openssl", "rtc::crypto"),
    ("gstreamer", "media::source::gst"),
    ("gstreamer_app", "media::source::gst"),
    ("gstreamer", "media::sink::gst"),
    ("gstreamer_app", "media::sink::gst"),
    ("gstreamer_sdp", "media::source::gst"),
    ("v4l", "media::source::v4l2"),
    ("async_tungstenite", "net"),
    ("hyper", "net"),
    ("quinn_udp", "net"),
    ("if_addrs", "net"),
    ("futures_rustls", "net"),
    ("redis", "net::redis"),
    ("tokio", "net::redis"),
];

#[test]
fn arrows_go_down_and_io_stays_with_the_drivers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut wrong = Vec::new();
    for (layer, _) in ARROWS {
        assert!(
            files.iter().any(|(name, _)| name.starts_with(&format!("{layer}/"))),
            "no file in src/{layer}"
        );
    }
    for (name, text) in &files {
        wrong.extend(violations(name, text));
    }
    assert!(wrong.is_empty(), "violations of the design's table of layers:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_rejects_violations_and_accepts_allowed_code() {
    // File, text, and a part of the complaint ("" if there is none).
    let table: &[(&str, &str, &str)] = &[
        ("proto/mod.rs", "use std::fmt;", ""),
        ("proto/mod.rs", "use crate::client::Client;", "proto may not use crate::client::Client"),
        ("proto/a.rs", "fn f() -> crate::net::Url { todo!() }", "crate::net::Url"),
        ("client/mod.rs", "use crate::proto::{Address, Head};", ""),
        ("client/a.rs", "use crate::{proto::Head, server::{Hub, Limits}};", "crate::server::Hub"),
        ("client/a.rs", "use crate::{proto::Head, server};", "crate::server"),
        ("call/mod.rs", "use super::rtc::Fanout;", "crate::rtc::Fanout"),
        ("call/a.rs", "use super::super::media;", "crate::media"),
        ("call/a.rs", "use super::body::Candidate;", ""),
        ("call/a/b.rs", "use super::super::body::Candidate;", ""),
        ("call/mod.rs", "mod tests { use super::body::Candidate; }", ""),
        ("call/mod.rs", "mod tests { use super::super::net::ws; }", "crate::net::ws"),
        (
            "rtc/mod.rs",
            "use crate::call::body::Candidate; use crate::media::{Frame, adapt::keyframes::KeyFrameReason};",
            "",
        ),
        ("rtc/mod.rs", "use crate::call::Calls;", "crate::call::Calls"),
        ("rtc/mod.rs", "use crate::media::source::gst::Pipeline;", "crate::media::source::gst::Pipeline"),
        (
            "media/queue.rs",
            "use super::Frame; use crate::media::source::gst::Pipeline;",
            "crate::media::source::gst::Pipeline",
        ),
        ("media/source/mod.rs", "pub mod gst; pub use gst::Pipeline;", ""),
        ("media/source/gst/mod.rs", "use crate::media::Frame; use std::thread; use gstreamer as gst;", ""),
        ("media/source/gst/mod.rs", "use crate::rtc::Fanout;", "crate::rtc::Fanout"),
        ("media/source/gst/camera.rs", "use crate::media::source::v4l2::Camera;", ""),
        ("media/source/gst/camera.rs", "use v4l::Device;", "v4l::Device"),
        (
            "media/frame/queue.rs",
            "use crate::media::source::v4l2::Camera;",
            "crate::media::source::v4l2::Camera",
        ),
        ("media/source/gst/branch.rs", "use crate::media::source::v4l2::encoder;", ""),
        (
            "media/adapt/rate.rs",
            "use crate::media::source::v4l2::encoder;",
            "crate::media::source::v4l2::encoder",
        ),
        ("media/adapt/rate.rs", "use crate::media::board::Board;", "media::adapt may not use"),
        ("media/frame/queue.rs", "use crate::media::source::Source;", "media::frame may not use"),
        ("media/sink/frames.rs", "use crate::media::{Frame, frame::jpeg};", ""),
        ("media/sink/frames.rs", "use crate::media::source::Source;", "media::sink may not use"),
        ("media/sink/frames.rs", "use crate::net::lock;", "crate::net::lock"),
        (
            "media/sink/gst/lane.rs",
            "use gstreamer as gst; fn f() { Instant::now(); std::thread::spawn(f); }",
            "",
        ),
        ("media/sink/gst/lane.rs", "use gstreamer::Element; use crate::media::sink::playout::Playout;", ""),
        ("media/sink/gst/lane.rs", "use crate::media::source::gst::Pipeline;", "media::sink may not use"),
        ("media/sink/playout/mod.rs", "fn f() { Instant::now(); }", "Instant::now"),
        (
            "media/sink/playout/mod.rs",
            "use gstreamer::Element;",
            "only media::source::gst, media::sink::gst may",
        ),
        ("media/source/gst/run.rs", "use crate::media::{StreamId, adapt::ladder::Quality};", ""),
        (
            "net/mod.rs",
            "use crate::{rtc, media::source::gst::Pipeline}; use smol::Async; fn f() { thread::spawn(f); }",
            "",
        ),
        ("net/time.rs", "fn now() { Instant::now(); }", ""),
        ("net/a.rs", "fn f() { Instant::now(); }", "in net only net::time may use"),
        ("net/a.rs", "fn f() { t.elapsed(); }", "in net only net::time may use"),
        ("net/a.rs", "#[cfg(test)] mod tests { fn f() { Instant::now(); } }", ""),
        ("net/mod.rs", "use crate::camera::Camera;", "crate::camera::Camera"),
        ("camera/core.rs", "use crate::calling::Core;", ""),
        ("calling/core.rs", "use crate::{call::Calls, rtc::Fanout};", ""),
        ("calling/core.rs", "use crate::camera::Event;", "crate::camera::Event"),
        ("call/calls.rs", "use crate::calling::Core;", "crate::calling::Core"),
        ("rtc/mod.rs", "use crate::calling::Core;", "crate::calling::Core"),
        ("net/mod.rs", "fn f() { crate::fuzzing::head(&[]) }", "crate::fuzzing::head"),
        ("fuzzing/rtc.rs", "use crate::rtc::demux; use str0m::Rtc; fn f() { Instant::now(); }", ""),
        ("web/mod.rs", "use crate::net;", "crate::net"),
        ("client/a.rs", "fn f() { let t = Instant::now(); }", "Instant::now"),
        ("client/a.rs", "fn f() { let t = std::time::SystemTime::now(); }", "SystemTime::now"),
        ("client/a.rs", "fn f(t: Instant) { t.elapsed(); }", "elapsed"),
        ("client/a.rs", "use std::{fmt, thread};", "std::thread"),
        ("client/a.rs", "use std::net::{IpAddr, TcpStream};", "std::net::TcpStream"),
        ("client/a.rs", "use std::net::{IpAddr, SocketAddr};", ""),
        ("camera/a.rs", "fn f() { smol::Timer::after(d); }", "smol::Timer::after"),
        ("rtc/a.rs", "use ::str0m::Rtc;", ""),
        ("camera/a.rs", "use str0m::Rtc;", "str0m::Rtc"),
        ("camera/a.rs", "fn f(gstreamer: u8) -> u8 { gstreamer }", ""),
        // Text that is not code, and tests.
        ("client/a.rs", "// Instant::now()\n/* crate::net /* nested */ */ /// crate::net::Url\n", ""),
        (
            "client/a.rs",
            r##"const A: &str = "crate::net::x \" "; const B: &str = r#"Instant::now " "#;"##,
            "",
        ),
        ("client/a.rs", r#"const C: char = '"'; fn f<'a>(x: &'a str) { Instant::now(); }"#, "Instant::now"),
        ("client/a.rs", "#[cfg(test)] mod tests { fn f() { Instant::now(); } } fn g() {}", ""),
        ("client/a.rs", "#[cfg(test)] mod tests { fn f() {} } fn g() { Instant::now(); }", "Instant::now"),
        ("client/a.rs", "#[cfg(test)] mod tests { use crate::net::Url; }", "crate::net::Url"),
        ("client/tests.rs", "fn f() { Instant::now(); }", ""),
        ("bin/symple/main.rs", "use crate::net::Url; fn f() { Instant::now(); }", ""),
    ];
    for (file, text, complaint) in table {
        let found = violations(file, text).join("\n");
        match complaint.is_empty() {
            true => assert_eq!(found, "", "{file}: {text}"),
            false => {
                assert!(found.contains(complaint), "{file}: {text}\nexpected {complaint:?}, found {found:?}")
            }
        }
    }
}

/// Folders whose files must not depend on each other in a circle: what two of them share is in a third.
const WITHOUT_CIRCLES: &[&str] = &["media/source/gst", "media/board", "calling", "camera"];

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    for folder in WITHOUT_CIRCLES {
        let edges = edges(folder, &files);
        assert!(edges.len() > 1, "{folder} has files that use each other");
        assert_eq!(circle(&edges), None, "{folder}");
    }
    let files = |texts: [&str; 3]| {
        let names = ["a/one.rs", "a/two.rs", "a/three.rs"];
        names.into_iter().map(String::from).zip(texts.map(String::from)).collect::<Vec<_>>()
    };
    let row = files(["use super::two::Two;", "use crate::a::three::Three;", ""]);
    assert_eq!(circle(&edges("a", &row)), None);
    let ring = files(["use super::two::Two;", "use crate::a::three::Three;", "fn f() { super::one::f() }"]);
    assert!(circle(&edges("a", &ring)).is_some_and(|files| files.len() == 3));
    let tested =
        files(["use super::two::Two;", "#[cfg(test)] mod tests { use super::super::one::One; }", ""]);
    assert_eq!(circle(&edges("a", &tested)), None, "tests may use everything");
    let mut hidden = files(["use super::Two;", "use super::one::One;", ""]);
    hidden.push(("a/mod.rs".into(), "mod one; mod two; pub use two::Two;".into()));
    assert!(circle(&edges("a", &hidden)).is_some(), "through mod.rs");
}

/// Which files of a folder use which others. `mod.rs`, which knows them all, is left out: a re-export from there counts
/// as coming from the file that defines it.
fn edges(folder: &str, files: &[(String, String)]) -> Vec<(String, String)> {
    let below = format!("crate::{}::", folder.replace('/', "::"));
    let inside = files.iter().filter_map(|(name, text)| {
        let file = name.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
        let counts = !file.contains('/') && file != "mod" && !file.ends_with("tests");
        counts.then_some((file, module_path(name), text))
    });
    let inside: Vec<_> = inside.collect();
    let is_file = |name: &str| inside.iter().any(|(file, ..)| *file == name);
    let table = files.iter().find(|(name, _)| name.strip_prefix(folder) == Some("/mod.rs"));
    let table = table.map(|(name, text)| paths(&tokens(text), &module_path(name))).unwrap_or_default();
    // `shared::Shared` and `self::shared::Shared` alike.
    let home = |item: &str| {
        table.iter().find_map(|named| {
            let path = named.path.strip_prefix(&below).unwrap_or(&named.path);
            let (file, rest) = path.split_once("::")?;
            (is_file(file) && rest.rsplit("::").next() == Some(item)).then(|| file.to_owned())
        })
    };
    let mut edges = Vec::new();
    for (file, module, text) in &inside {
        for named in paths(&tokens(text), module).into_iter().filter(|named| !named.test) {
            let other = named.path.strip_prefix(&below).and_then(|rest| rest.split("::").next());
            let other =
                other.and_then(|other| if is_file(other) { Some(other.to_owned()) } else { home(other) });
            if let Some(other) = other.filter(|other| other != file) {
                edges.push(((*file).to_owned(), other));
            }
        }
    }
    edges
}

/// The files of a circle, if there is one.
fn circle(edges: &[(String, String)]) -> Option<Vec<&str>> {
    let mut left: Vec<&str> = edges.iter().flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
    left.sort_unstable();
    left.dedup();
    // A file without remaining dependencies is in no circle.
    loop {
        let names = |file: &str| edges.iter().any(|(from, to)| from == file && left.contains(&to.as_str()));
        let kept: Vec<&str> = left.iter().copied().filter(|file| names(file)).collect();
        if kept.len() == left.len() {
            return (!left.is_empty()).then_some(left);
        }
        left = kept;
    }
}

/// Violations by one file. `name` is its path below `src/`, with slashes.
fn violations(name: &str, text: &str) -> Vec<String> {
    let module = module_path(name);
    let Some((_, allowed)) = ARROWS.iter().find(|(layer, _)| module.first().is_some_and(|m| m == layer))
    else {
        return Vec::new(); // lib.rs is the table of contents; a program in bin/ is a crate of its own
    };
    let layer = &module[0];
    let here = module.join("::");
    // Tests in a file of their own may use what those in the file may.
    let tests = module.iter().any(|m| m == "tests" || m == "test");
    let mut wrong = Vec::new();
    for Named { path, line, test } in paths(&tokens(text), &module) {
        let mut complain = |why: &str| wrong.push(format!("src/{name}:{line}: {why} {path}"));
        if let Some(inner) = path.strip_prefix("crate::") {
            let into = inner.split("::").next().unwrap_or(inner);
            // Like tests, fuzzing may use all layers.
            let known = into == "fuzzing" || ARROWS.iter().any(|(other, _)| *other == into);
            let io = DRIVERS.iter().find(|d| d.contains("::") && below(inner, d));
            let foreign = into != layer && !allowed.iter().any(|a| below(inner, a));
            // A folder of drivers inside a pure layer may be used by its parent, and by drivers beside and above.
            let beside = DRIVERS.iter().any(|d| below(&here, d));
            let reaches_io = io.is_some_and(|d| {
                !beside && here != d.rsplit_once("::").expect("checked above").0 && !drives(layer)
            });
            let inside =
                (layer == "media" && into == layer).then(|| inside_media(module.get(1), inner)).flatten();
            if let Some(folder) = inside.filter(|_| !test && !tests) {
                complain(&format!("media::{folder} may not use"));
            }
            if known && (foreign || reaches_io) {
                complain(&format!("{layer} may not use"));
            }
            continue;
        }
        let exempt = test || tests;
        let driver = DRIVERS.iter().any(|d| below(&here, d));
        let reads_clock = matches(&path, "Instant::now");
        if layer == "net" && !exempt && reads_clock && !below(&here, CLOCK) {
            complain(&format!("in net only {CLOCK} may use"));
        }
        if !driver && !exempt && IO.iter().any(|what| matches(&path, what)) {
            complain(&format!("only {} may use", DRIVERS.join(", ")));
        }
        let homes = HIDDEN.iter().filter(|(krate, _)| path.contains("::") && below(&path, krate));
        let homes: Vec<&str> = homes.map(|(_, home)| *home).collect();
        if !homes.is_empty() && !homes.iter().any(|home| below(&here, home)) {
            complain(&format!("only {} may use", homes.join(", ")));
        }
    }
    wrong
}

/// The folder of `media` that may not use `path`, which is below `crate`.
fn inside_media<'a>(from: Option<&'a String>, path: &str) -> Option<&'a str> {
    let folder = from?;
    let (_, allowed) = INSIDE_MEDIA.iter().find(|(name, _)| name == folder)?;
    let into = path.split("::").nth(1)?;
    let known = INSIDE_MEDIA.iter().any(|(name, _)| *name == into);
    (known && into != folder && !allowed.contains(&into)).then_some(folder.as_str())
}

/// The layers that may own a pipeline or a device: the drivers, and the facade over them.
fn drives(layer: &str) -> bool {
    layer == "net" || layer == "camera"
}

/// Whether `path` is `prefix` or under it.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether `path` starts with `what`, or contains it later (`std::time::Instant::now`).
fn matches(path: &str, what: &str) -> bool {
    if let Some(stem) = what.strip_suffix('*') {
        return path.starts_with(stem);
    }
    let later = what.contains("::")
        && (path.contains(&format!("::{what}::")) || path.ends_with(&format!("::{what}")));
    below(path, what) || later || (what == "Instant::now" && path == ".elapsed")
}

fn module_path(name: &str) -> Vec<String> {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    let name = name.strip_suffix("/mod").unwrap_or(name);
    name.split('/').map(str::to_owned).collect()
}

fn collect(dir: &Path, files: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(dir).expect("src/ is there") {
        let path = entry.expect("src/ can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(&root).expect("found under it").to_string_lossy().replace('\\', "/");
            files.push((name, fs::read_to_string(&path).expect("source is UTF-8")));
        }
    }
}

/// A path in the code, with `self` and `super` resolved to `crate::…`.
struct Named {
    path: String,
    line: usize,
    /// Inside a module under `#[cfg(test)]`.
    test: bool,
}

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Words, `::` and single punctuation marks, without comments, strings and numbers.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => i = (i..chars.len()).find(|&j| at(j) == '\n').unwrap_or(chars.len()),
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            ('r', '"' | '#') if raw_string_end(&chars, i + 1).is_some() => {
                i = raw_string_end(&chars, i + 1).expect("asked above");
            }
            ('"', _) => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            // 'a' and '\n' are characters, 'a is a lifetime.
            ('\'', '\\') => i = (i + 3..chars.len()).find(|&j| at(j) == '\'').unwrap_or(chars.len()) + 1,
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('\'', _) => i += 1,
            (':', ':') => {
                out.push(Token { text: "::".into(), line });
                i += 2;
            }
            (c, _) if c.is_alphabetic() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                // The prefix of a byte or C string belongs to it.
                let word: String = chars[start..i].iter().collect();
                if !(at(i) == '"' && matches!(word.as_str(), "b" | "c")) {
                    out.push(Token { text: word, line });
                }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    out.push(Token { text: c.to_string(), line });
                }
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

/// The end of the raw string whose hashes or quote begin at `i`.
fn raw_string_end(chars: &[char], i: usize) -> Option<usize> {
    let hashes = chars[i..].iter().take_while(|&&c| c == '#').count();
    if chars.get(i + hashes) != Some(&'"') {
        return None;
    }
    let close = |j: &usize| {
        chars[*j] == '"' && chars[*j + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let quote = (i + hashes + 1..chars.len()).find(close)?;
    Some(quote + 1 + hashes)
}

/// Every path of a `use` tree and in the code; those in inline modules are resolved from there.
fn paths(tokens: &[Token], module: &[String]) -> Vec<Named> {
    let word = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let ident = |i: usize| word(i).starts_with(|c: char| c.is_alphabetic() || c == '_');
    // Open inline modules: name, depth of braces at the beginning, whether they are tests.
    let mut inline: Vec<(String, usize, bool)> = Vec::new();
    let (mut out, mut depth, mut i, mut cfg_test) = (Vec::new(), 0, 0, false);
    while i < tokens.len() {
        let line = tokens[i].line;
        let mut here: Vec<&str> = module.iter().map(String::as_str).collect();
        here.extend(inline.iter().map(|(name, ..)| name.as_str()));
        let test = inline.iter().any(|(.., test)| *test);
        match word(i) {
            "cfg" if word(i + 1) == "(" && word(i + 2) == "test" => (cfg_test, i) = (true, i + 3),
            "mod" if word(i + 2) == "{" => {
                inline.push((word(i + 1).to_owned(), depth, cfg_test));
                (depth, i, cfg_test) = (depth + 1, i + 3, false);
            }
            "use" if ident(i + 1) || matches!(word(i + 1), "::" | "{") => {
                let end = (i..tokens.len()).find(|&j| word(j) == ";").unwrap_or(tokens.len());
                let words: Vec<&str> = tokens[i + 1..end].iter().map(|t| t.text.as_str()).collect();
                for path in use_tree(&words) {
                    out.push(Named { path: resolve(&path, &here), line, test });
                }
                (i, cfg_test) = (end, false);
            }
            "{" => (depth, i, cfg_test) = (depth + 1, i + 1, false),
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, opened, _)| *opened < depth);
                i += 1;
            }
            "." if word(i + 1) == "elapsed" && word(i + 2) == "(" => {
                out.push(Named { path: ".elapsed".into(), line, test });
                i += 2;
            }
            _ if ident(i) && word(i + 1) == "::" => {
                let mut path = vec![word(i)];
                while word(i + 1) == "::" && ident(i + 2) {
                    path.push(word(i + 2));
                    i += 2;
                }
                out.push(Named { path: resolve(&path, &here), line, test });
                i += 1;
            }
            _ => i += 1,
        }
    }
    out
}

/// `a::{b, c::{d, e}}` → `a::b`, `a::c::d`, `a::c::e`.
fn use_tree<'a>(words: &[&'a str]) -> Vec<Vec<&'a str>> {
    let (mut out, mut stack, mut path) = (Vec::new(), Vec::new(), Vec::new());
    let mut renamed = false;
    for &word in words.iter().chain([&","]) {
        match word {
            "::" => {}
            "{" => stack.push(path.clone()),
            "," | "}" => {
                if path.len() > stack.last().map_or(0, Vec::len) {
                    out.push(path.clone());
                }
                if word == "}" {
                    stack.pop();
                    path = stack.last().cloned().unwrap_or_default();
                } else {
                    path = stack.last().cloned().unwrap_or_default();
                }
                renamed = false;
            }
            "as" => renamed = true,
            _ if renamed => {}
            _ => path.push(word),
        }
    }
    out
}

fn resolve(path: &[&str], here: &[&str]) -> String {
    let ups = path.iter().take_while(|p| **p == "super").count();
    let rest = match path.first() {
        Some(&"super") => [&here[..here.len().saturating_sub(ups)], &path[ups..]].concat(),
        Some(&"self") => [here, &path[1..]].concat(),
        _ => return path.join("::"),
    };
    format!("crate::{}", rest.join("::"))
}
