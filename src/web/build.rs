//! Compresses the files of the page at build time, for browsers that accept gzip: most of a first visit over a bad
//! network is their transfer.

fn main() {
    println!("cargo::rerun-if-changed=src/web");
    #[cfg(feature = "web")]
    compress();
}

#[cfg(feature = "web")]
fn compress() {
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
        let file =
            fs::File::create(Path::new(&target).join(format!("{name}.gz"))).expect("OUT_DIR is writable");
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        file.write_all(&fs::read(&path).expect("a readable file")).expect("OUT_DIR has room");
        file.finish().expect("OUT_DIR has room");
    }
}
