//! What the machine says of itself, read from its files. Their root is an argument, so that a test can show
//! another machine.

use std::fs;
use std::path::Path;

use super::{ErrorKind, MediaError};
use crate::media::board::{self, Board, BoardInfo, Elements, Facts, Profile};

/// The profile to work by.
pub(super) fn board(
    root: &Path,
    wanted: &Board,
    elements: &Elements,
) -> Result<(Profile, BoardInfo), MediaError> {
    match wanted {
        Board::Auto => Ok(board::detect(&facts(root), elements)),
        Board::Named(name) => board::named(name, elements),
        Board::File(path) => {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| {
                MediaError::new(
                    ErrorKind::NoFile,
                    format!("the board profile {name} cannot be read: {error}"),
                )
            })?;
            board::written(&name, &text, elements)
        }
    }
}

/// Device tree and DMI, as far as there are any.
fn facts(root: &Path) -> Facts {
    // A device tree's texts end in a zero.
    let texts = |path: &str| -> Vec<String> {
        let bytes = fs::read(root.join(path)).unwrap_or_default();
        let texts =
            bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).trim().to_owned());
        texts.filter(|text| !text.is_empty()).collect()
    };
    Facts {
        model: texts("proc/device-tree/model").into_iter().next(),
        compatible: texts("proc/device-tree/compatible"),
        dmi: texts("sys/class/dmi/id/product_name").into_iter().next(),
        arch: std::env::consts::ARCH.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files, which goes with the test.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let root = std::env::temp_dir().join(format!("symple-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_board_is_known_by_its_device_tree() {
        let elements = board::elements();
        let pi = Root::new(
            "pi",
            &[
                ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
                ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
            ],
        );
        let (_, info) = super::board(&pi.0, &Board::Auto, &elements).expect("one fits");
        assert_eq!(info.file, "raspberry-pi-4");
        assert!(info.because.contains("Raspberry Pi 4 Model B Rev 1.4"), "{info}");
        let (_, info) = super::board(&pi.0, &Board::Named("rk3588".into()), &elements).expect("it is known");
        assert_eq!((info.file.as_str(), info.because.as_str()), ("rk3588", "as asked for"));
        let compatible = Root::new("cm4", &[("proc/device-tree/compatible", "acme,carrier\0brcm,bcm2711\0")]);
        let (_, info) = super::board(&compatible.0, &Board::Auto, &elements).expect("one fits");
        assert_eq!(info.file, "raspberry-pi-4");
        let bare = Root::new("bare", &[]);
        let (_, info) = super::board(&bare.0, &Board::Auto, &elements).expect("one fits");
        let expected = match std::env::consts::ARCH {
            "x86_64" => "x86-vaapi",
            "aarch64" => "generic-arm64",
            _ => "generic",
        };
        assert_eq!(info.file, expected);
    }

    #[test]
    fn ones_own_profile_is_read_from_its_file() {
        let elements = board::elements();
        let good = "name = 'mine'\nmeasured = 'not measured'\ntwo_encodes = false\n[match]\n[[encoder]]\nname = 'x264enc'\n";
        let root = Root::new("own", &[("mine.toml", good), ("bad.toml", "nme = 'mine'\n")]);
        let own = |name: &str| super::board(&root.0, &Board::File(root.0.join(name)), &elements);
        let (profile, info) = own("mine.toml").expect("it is right");
        assert!(info.file.ends_with("mine.toml") && info.name == "mine" && !profile.two_encodes);
        let bad = own("bad.toml").expect_err("a slip");
        assert!(bad.code() == "bad-settings" && bad.to_string().contains("did you mean \"name\"?"), "{bad}");
        assert_eq!(own("none.toml").expect_err("no such file").code(), "no-file");
    }
}
