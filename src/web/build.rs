//! Takes the comments out of the page's scripts and compresses its files at build time: most of a first visit over a bad
//! network is their transfer.

fn main() {
    println!("cargo::rerun-if-changed=src/web");
    #[cfg(feature = "web")]
    prepare();
}

#[cfg(feature = "web")]
fn prepare() {
    use std::io::Write;
    use std::path::Path;
    use std::{env, fs};

    let target = env::var_os("OUT_DIR").expect("cargo sets it");
    for entry in fs::read_dir("src/web").expect("the folder of this file") {
        let path = entry.expect("a readable folder").path();
        // Beside the page's parts lies what only the npm package of its modules has.
        let is_part =
            |extension: &std::ffi::OsStr| ["html", "css", "js", "svg"].iter().any(|part| extension == *part);
        if !path.extension().is_some_and(is_part) {
            continue;
        }
        let name = path.file_name().expect("a file has one").to_str().expect("an ASCII name");
        let body = fs::read_to_string(&path).expect("a readable file");
        let body = if name.ends_with(".js") { without_comments(&body) } else { body };
        let written = Path::new(&target).join(name);
        fs::write(&written, &body).expect("OUT_DIR is writable");
        let file =
            fs::File::create(written.with_file_name(format!("{name}.gz"))).expect("OUT_DIR is writable");
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        file.write_all(body.as_bytes()).expect("OUT_DIR has room");
        file.finish().expect("OUT_DIR has room");
    }
}

/// Leaves the lines of a script empty that hold nothing but a comment: types and their words are more than a quarter of
/// what travels. Lines keep their numbers.
#[cfg(feature = "web")]
fn without_comments(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    let mut inside = false;
    for line in script.lines() {
        let words = line.trim();
        let begins = !inside && words.starts_with("/*");
        if !(inside || begins || words.starts_with("//")) {
            out.push_str(line);
        }
        inside = (inside || begins) && !words.ends_with("*/");
        out.push('\n');
    }
    out
}
