//! Boards: which encoders to try, in which order and with which settings, where to read the temperature, and known
//! quirks. All of it is data, in `boards/*.toml`.
//!
//! A profile is detected from the machine, selected by name, or read from the user's own file ([`Board`]). Only `host`
//! reads files: the machine's, and the user's profile.

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

/// The built-in profiles by file name. The last one fits any machine.
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
    /// The best match for this machine.
    #[default]
    Auto,
    /// A built-in profile, one of the [`names`].
    Named {
        /// The profile's name.
        name: String,
    },
    /// The user's own file, in the same format.
    File {
        /// The file path.
        path: PathBuf,
    },
}

impl FromStr for Board {
    type Err = MediaError;

    /// Parses `auto`, one of the [`names`], or a file path (with a `/` or ending in `.toml`).
    fn from_str(text: &str) -> Result<Self, MediaError> {
        match text.trim() {
            "auto" => Ok(Board::Auto),
            name if BOARDS.iter().any(|(known, _)| *known == name) => Ok(Board::Named { name: name.into() }),
            path if path.contains('/') || path.ends_with(".toml") => Ok(Board::File { path: path.into() }),
            other => Err(unknown(other)),
        }
    }
}

/// The names of the built-in profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    BOARDS.iter().map(|(name, _)| *name)
}

/// What identifies the machine.
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

/// The chosen profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardInfo {
    /// The built-in profile's name, or the path of the user's file.
    pub file: String,
    /// Human-readable board name.
    pub name: String,
    /// Why it was chosen, as text.
    pub because: String,
    /// Measurements on this board, or `not measured`.
    pub measured: String,
    /// The capture elements, in this order: `libcamerasrc (csi)`.
    pub capture: Vec<String>,
    /// Known quirks, each with its source.
    pub quirks: Vec<String>,
}

impl fmt::Display for BoardInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.name, self.file, self.because)
    }
}

/// The elements that profiles may use.
pub(crate) fn elements() -> Elements {
    read::read(ELEMENTS).expect("a test reads the same text")
}

/// The best matching profile.
pub(crate) fn detect(facts: &Facts, elements: &Elements) -> (Profile, BoardInfo) {
    let all = BOARDS.iter().map(|(file, text)| (file, embedded(text, elements)));
    let rated = all.filter_map(|(file, profile)| {
        let (fit, because) = fit(&profile.matches, facts)?;
        Some((fit, file, profile, because))
    });
    // Of equal matches, the first in the list.
    let best = rated.reduce(|best, other| if other.0 > best.0 { other } else { best });
    let (_, file, profile, because) = best.expect("the last profile fits any machine");
    let info = info(file, &profile, because);
    (profile, info)
}

/// A built-in profile.
pub(crate) fn named(name: &str, elements: &Elements) -> Result<(Profile, BoardInfo), MediaError> {
    let (file, text) = BOARDS.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name))?;
    let profile = embedded(text, elements);
    let info = info(file, &profile, "as configured".into());
    Ok((profile, info))
}

/// A user's own profile.
pub(crate) fn written(
    path: &str,
    text: &str,
    elements: &Elements,
) -> Result<(Profile, BoardInfo), MediaError> {
    let profile = Profile::parse(text, elements).map_err(|words| {
        MediaError::new(ErrorKind::BadSettings, format!("invalid board profile {path}: {words}"))
    })?;
    let info = info(path, &profile, "as configured".into());
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
    let words =
        format!("unknown board \"{name}\"{hint}; use auto, a file path, or one of {}", all.join(", "));
    MediaError::new(ErrorKind::BadSettings, words)
}

/// How well a profile matches (larger is better), and why; `None` if it does not.
fn fit(wanted: &profile::Match, facts: &Facts) -> Option<((u8, usize), String)> {
    // "Raspberry Pi 5" must not match "Raspberry Pi 500".
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
        return Some(((4, length), format!("the machine reports {model}")));
    }
    if let Some(length) = longest(&facts.dmi, &wanted.dmi) {
        let dmi = facts.dmi.as_deref().unwrap_or_default();
        return Some(((3, length), format!("the machine reports {dmi}")));
    }
    if let Some(at) = facts.compatible.iter().position(|name| wanted.compatible.contains(name)) {
        let words = format!("the device tree lists {}", facts.compatible[at]);
        return Some(((2, facts.compatible.len() - at), words));
    }
    if wanted.arch.contains(&facts.arch) {
        return Some(((1, 0), format!("the processor is {}", facts.arch)));
    }
    let any = wanted.model.is_empty()
        && wanted.dmi.is_empty()
        && wanted.compatible.is_empty()
        && wanted.arch.is_empty();
    any.then(|| ((0, 0), "no other profile matches".into()))
}
