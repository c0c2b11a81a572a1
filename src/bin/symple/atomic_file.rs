//! Files that are written atomically, and readable only by their owner.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Runs `act` while holding a lock on a folder, so that one program at a time does it. Creates a missing folder.
pub(crate) fn alone<T>(folder: &Path, act: impl FnOnce() -> T) -> io::Result<T> {
    fs::create_dir_all(folder)?;
    let lock = File::open(folder)?;
    // On a file system without locks, two programs that start at once may do it twice.
    if let Err(e) = lock.lock() {
        log::debug!("cannot lock {}: {e}", folder.display());
    }
    Ok(act())
}

/// Replaces `file` with what `fill` writes, synced to disk. If that fails, the file is unchanged and nothing else is
/// left behind. Call it within [`alone`] in the file's folder.
pub(crate) fn write(file: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let draft = file.with_extension("new");
    let written = draft_of(&draft, fill).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        // The error matters, not whether there was a draft.
        _ = fs::remove_file(&draft);
    } else if let Some(folder) = file.parent() {
        // Syncing the folder puts the new name on disk; some file systems do not support it.
        _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    written
}

fn draft_of(draft: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // It may be left over from a program that was killed.
    match fs::remove_file(draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(draft)?;
    fill(&mut opened)?;
    // A full disk may show only now.
    opened.sync_all()
}

/// Removes what killed programs have left next to `file`: `NAME.new` and `NAME.NUMBER.new`. Call it within [`alone`] in
/// the file's folder.
pub(crate) fn remove_drafts(file: &Path) {
    let (Some(folder), Some(stem)) = (file.parent(), file.file_stem().and_then(|stem| stem.to_str())) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let middle = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_suffix(".new"));
        let is_number =
            |middle: &str| middle.strip_prefix('.').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if middle.is_some_and(|middle| middle.is_empty() || is_number(middle)) {
            match fs::remove_file(entry.path()) {
                Ok(()) => log::info!("removed the unfinished file {}", entry.path().display()),
                Err(e) => log::warn!("cannot remove the unfinished file {}: {e}", entry.path().display()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    /// A folder of this test alone.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("symple-whole-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder for temporary files");
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("it is there").flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().into_string().expect("ASCII")).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_and_what_was_there() {
        let folder = Folder::new("full");
        let file = folder.0.join("a.pem");
        let full = |draft: &mut File| {
            draft.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let failed = write(&file, full).expect_err("the disk is full");
        assert_eq!((failed.kind(), folder.names()), (io::ErrorKind::StorageFull, vec![]));

        write(&file, |draft| draft.write_all(b"old")).expect("there is room");
        write(&file, full).expect_err("the disk is full");
        assert_eq!(
            (fs::read(&file).expect("it stays"), folder.names()),
            (b"old".to_vec(), vec!["a.pem".into()])
        );

        // The last step can fail too.
        let taken = folder.0.join("taken");
        fs::create_dir_all(taken.join("inside")).expect("a folder");
        write(&taken, |draft| draft.write_all(b"new")).expect_err("a folder is no file");
        assert_eq!(folder.names(), ["a.pem", "taken"]);
    }

    #[test]
    fn what_others_left_is_removed_and_nothing_else() {
        let folder = Folder::new("left");
        for name in ["a.new", "a.17.new", "a.x.new", "ab.new", "a.pem", "b.17.new", "a..new"] {
            fs::write(folder.0.join(name), "").expect("a file");
        }
        alone(&folder.0, || remove_drafts(&folder.0.join("a.pem"))).expect("a folder");
        assert_eq!(folder.names(), ["a.pem", "a.x.new", "ab.new", "b.17.new"]);
    }

    #[test]
    #[cfg(unix)]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("mode");
        let file = folder.0.join("a.pem");
        fs::write(folder.0.join("a.new"), "left over").expect("a file");
        write(&file, |draft| draft.write_all(b"new")).expect("there is room");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            (fs::read(&file).expect("it is there"), folder.names()),
            (b"new".to_vec(), vec!["a.pem".into()])
        );
    }
}
