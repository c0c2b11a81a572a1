//! Boards: which encoders to try, in which order and with which settings, where their heat is read, what is
//! known to be odd. All of it is data, in `boards/*.toml` of the source.
//!
//! A profile is chosen by what the machine says of itself, by its name, or is a file of the
//! user's own ([`Board`]). Only `host` reads files: of the machine, and the user's profile.

mod controls;
mod elements;
pub(in crate::media) mod host;
mod nearest;
mod profile;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(all(feature = "v4l2", target_os = "linux"))]
pub(crate) use controls::id as control_id;
pub(crate) use elements::{Asked, Elements, Encoder, Knob, Setting, Start, Unit};
pub use host::Thermometer;
pub(crate) use profile::{Firmware, Heat, Profile};

use crate::media::error::{ErrorKind, MediaError};

const ELEMENTS: &str = include_str!("../../../boards/elements.toml");

macro_rules! boards {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../boards/", $name, ".toml")))),*]
    };
}

/// The profiles that come with the library, by the names of their files. The last one fits any machine.
const BOARDS: &[(&str, &str)] = boards![
    "raspberry-pi-zero-2w",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "rk3588",
    "rk3566",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "imx8mp",
    "x86-vaapi",
    "generic-arm64",
    "generic",
];

/// Which profile to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Board {
    /// The one that fits the machine best.
    #[default]
    Auto,
    /// One of the [`names`].
    Named {
        /// The profile's name.
        name: String,
    },
    /// A file of one's own, written as those are.
    File {
        /// Where it is.
        path: PathBuf,
    },
}

impl FromStr for Board {
    type Err = MediaError;

    /// `auto`, one of the [`names`], or the path of a file (with a `/` or ending in `.toml`).
    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text.trim() {
            "auto" => Ok(Board::Auto),
            name if BOARDS.iter().any(|(known, _)| *known == name) => Ok(Board::Named { name: name.into() }),
            path if path.contains('/') || path.ends_with(".toml") => Ok(Board::File { path: path.into() }),
            other => Err(unknown(other)),
        }
    }
}

/// The names of the profiles that come with the library.
pub fn names() -> impl Iterator<Item = &'static str> {
    BOARDS.iter().map(|(name, _)| *name)
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The device tree's model, such as `Raspberry Pi 4 Model B Rev 1.4`.
    pub model: Option<String>,
    /// The device tree's `compatible`, from the most special to the most general.
    pub compatible: Vec<String>,
    /// The product's name in DMI.
    pub dmi: Option<String>,
    /// The processor: `aarch64`, `x86_64`.
    pub arch: String,
}

/// The profile that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardInfo {
    /// The name of its file, or the path of one's own.
    pub file: String,
    /// The board's name for people.
    pub name: String,
    /// Why this one, in words.
    pub because: String,
    /// What was measured on such a board, or `not measured`.
    pub measured: String,
    /// What pictures are captured with there, in this order: `libcamerasrc (csi)`.
    pub capture: Vec<String>,
    /// What is odd about it, each with its source.
    pub quirks: Vec<String>,
}

impl fmt::Display for BoardInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.name, self.file, self.because)
    }
}

/// The elements that profiles may name.
pub(crate) fn elements() -> Elements {
    read::read(ELEMENTS).expect("a test reads the same text")
}

/// The profile that fits best.
pub(crate) fn detect(facts: &Facts, elements: &Elements) -> (Profile, BoardInfo) {
    let all = BOARDS.iter().map(|(file, text)| (file, embedded(text, elements)));
    let rated = all.filter_map(|(file, profile)| {
        let (fit, because) = fit(&profile.matches, facts)?;
        Some((fit, file, profile, because))
    });
    // Of equals the first in the list.
    let best = rated.reduce(|best, other| if other.0 > best.0 { other } else { best });
    let (_, file, profile, because) = best.expect("the last profile fits any machine");
    let info = info(file, &profile, because);
    (profile, info)
}

/// One of those that come with the library.
pub(crate) fn named(name: &str, elements: &Elements) -> Result<(Profile, BoardInfo), MediaError> {
    let (file, text) = BOARDS.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name))?;
    let profile = embedded(text, elements);
    let info = info(file, &profile, "as asked for".into());
    Ok((profile, info))
}

/// One of the user's own.
pub(crate) fn written(
    path: &str,
    text: &str,
    elements: &Elements,
) -> Result<(Profile, BoardInfo), MediaError> {
    let profile = Profile::parse(text, elements).map_err(|words| {
        MediaError::new(ErrorKind::BadSettings, format!("the board profile {path} cannot be used: {words}"))
    })?;
    let info = info(path, &profile, "as asked for".into());
    Ok((profile, info))
}

fn embedded(text: &str, elements: &Elements) -> Profile {
    Profile::parse(text, elements).expect("a test reads the same text")
}

fn info(file: &str, profile: &Profile, because: String) -> BoardInfo {
    let Profile { name, measured, .. } = profile;
    let capture = profile.capture.iter().map(|c| format!("{} ({})", c.element, c.sensors));
    let quirks = profile.quirk.iter().map(|quirk| format!("{} ({})", quirk.what, quirk.source));
    BoardInfo {
        file: file.into(),
        name: name.clone(),
        because,
        measured: measured.clone(),
        capture: capture.collect(),
        quirks: quirks.collect(),
    }
}

fn unknown(name: &str) -> MediaError {
    let hint = nearest::hint(name, names());
    let all: Vec<&str> = names().collect();
    let words = format!(
        "\"{name}\" is no board that is known{hint}; give auto, the path of a file, or one of {}",
        all.join(", ")
    );
    MediaError::new(ErrorKind::BadSettings, words)
}

/// How well a profile fits, larger being better, and why; `None` when it does not.
fn fit(wanted: &profile::Match, facts: &Facts) -> Option<((u8, usize), String)> {
    // "Raspberry Pi 5" is not the beginning of "Raspberry Pi 500".
    let begins = |text: &str, start: &str| {
        let rest = text.strip_prefix(start);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    let longest = |text: &Option<String>, starts: &[String]| {
        let text = text.as_deref()?;
        starts.iter().filter(|start| begins(text, start)).map(String::len).max()
    };
    if let Some(length) = longest(&facts.model, &wanted.model) {
        let model = facts.model.as_deref().unwrap_or_default();
        return Some(((4, length), format!("the machine says that it is a {model}")));
    }
    if let Some(length) = longest(&facts.dmi, &wanted.dmi) {
        let dmi = facts.dmi.as_deref().unwrap_or_default();
        return Some(((3, length), format!("the machine says that it is a {dmi}")));
    }
    if let Some(at) = facts.compatible.iter().position(|name| wanted.compatible.contains(name)) {
        let words = format!("the device tree says {}", facts.compatible[at]);
        return Some(((2, facts.compatible.len() - at), words));
    }
    if wanted.arch.contains(&facts.arch) {
        return Some(((1, 0), format!("the processor is {}", facts.arch)));
    }
    let any = wanted.model.is_empty()
        && wanted.dmi.is_empty()
        && wanted.compatible.is_empty()
        && wanted.arch.is_empty();
    any.then(|| ((0, 0), "no other fits".into()))
}
