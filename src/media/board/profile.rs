//! A board's profile as written in its file, and the check that everything it names exists.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::elements::{self, Csi, Elements, Encoder, Value};
use super::{nearest, read};

/// A board's profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The Rust target of a cross build; used only by the build.
    #[serde(default, rename = "target")]
    _target: Option<String>,
    /// The features of a cross build; used only by the build.
    #[serde(default, rename = "features")]
    _features: Vec<String>,
    /// Its human-readable name.
    pub name: String,
    /// What was measured on the board, or `not measured`.
    pub measured: String,
    /// Whether the board can encode VP8 in software in addition to H.264.
    pub two_encodes: bool,
    #[serde(rename = "match")]
    pub matches: Match,
    /// Capture elements, in order of preference.
    #[serde(default)]
    pub capture: Vec<Capture>,
    /// H.264 encoders, in order of preference.
    pub encoder: Vec<Choice>,
    /// H.264 encoders for the small rendition beside the main one, in order of preference; none if the board cannot
    /// encode both.
    #[serde(default)]
    pub small: Vec<Choice>,
    #[serde(default)]
    pub heat: Option<Heat>,
    #[serde(default)]
    pub quirk: Vec<Quirk>,
    /// Encoders that only this profile defines.
    #[serde(default)]
    pub element: BTreeMap<String, Encoder>,
}

/// How the board is detected; an empty one matches every machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Match {
    /// Prefixes of the device tree's model.
    pub model: Vec<String>,
    /// Entries of the device tree's `compatible`.
    pub compatible: Vec<String>,
    /// Prefixes of the product's name in DMI.
    pub dmi: Vec<String>,
    /// The processor, as Rust names it.
    pub arch: Vec<String>,
}

/// A capture element.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    pub element: String,
    pub sensors: Sensors,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

/// What a capture element opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sensors {
    /// A sensor on the board's own camera port.
    Csi,
    /// A camera with a kernel driver, such as a USB camera.
    Usb,
}

impl fmt::Display for Sensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sensors::Csi => "csi",
            Sensors::Usb => "usb",
        })
    }
}

/// An encoder, and its settings that differ on this board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    pub name: String,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub controls: BTreeMap<String, i64>,
}

/// Where to read the board's temperature, and its limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heat {
    /// The `type` of its thermal zone.
    pub zone: String,
    /// A step down at this many °C; by default 5 °C below the zone's first passive trip point.
    #[serde(default)]
    pub step_down: Option<f32>,
    /// A step up below this many °C; by default 5 °C below `step_down`.
    #[serde(default)]
    pub step_up: Option<f32>,
    /// The firmware that reports throttling.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// The source of the limits.
    #[serde(default)]
    #[allow(dead_code, reason = "for readers of the file; a test checks that it is present")]
    pub source: Option<String>,
}

/// A firmware that reports throttling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Firmware {
    /// The file `get_throttled`.
    RaspberryPi,
}

/// A known quirk of the board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quirk {
    pub what: String,
    pub source: String,
}

impl Profile {
    /// Parses a profile, and checks it against the elements.
    pub(crate) fn parse(text: &str, elements: &Elements) -> Result<Profile, String> {
        let profile: Profile = read::read(text)?;
        profile.check(elements)?;
        Ok(profile)
    }

    fn check(&self, elements: &Elements) -> Result<(), String> {
        for (name, encoder) in &self.element {
            encoder.check().map_err(|words| format!("element.{name}: {words}"))?;
        }
        if self.encoder.is_empty() {
            return Err("encoder: name at least one".into());
        }
        for (key, choices) in [("encoder", &self.encoder), ("small", &self.small)] {
            for (choice, at) in choices.iter().zip(1..) {
                let encoder = self.described(&choice.name, elements);
                let found = encoder.map(|encoder| choice.on(encoder).check());
                found.and_then(|checked| checked).map_err(|words| format!("{key}.[{at}]: {words}"))?;
            }
        }
        for (capture, at) in self.capture.iter().zip(1..) {
            let words = |words| format!("capture.[{at}]: {words}");
            let known = elements.capture.get(&capture.element).ok_or_else(|| {
                let hint = nearest::hint(&capture.element, elements.capture.keys().map(String::as_str));
                words(format!("unknown capture element \"{}\"{hint}", capture.element))
            })?;
            known.check().map_err(words)?;
            for name in capture.properties.keys() {
                elements::documented(name, &known.documented).map_err(words)?;
            }
        }
        match &self.heat {
            Some(Heat { step_down: None, step_up: Some(_), .. }) => {
                Err("heat.step_up: requires step_down".into())
            }
            Some(Heat { step_down: Some(down), step_up: Some(up), .. }) if up >= down => {
                Err(format!("heat.step_up: {up} °C must be lower than step_down, {down} °C"))
            }
            Some(Heat { step_down: Some(down), .. }) if !(20.0..=120.0).contains(down) => {
                Err(format!("heat.step_down: {down} °C is out of range; use 20 to 120"))
            }
            _ => Ok(()),
        }
    }

    fn described<'a>(&'a self, name: &str, elements: &'a Elements) -> Result<&'a Encoder, String> {
        self.element.get(name).or_else(|| elements.encoder.get(name)).ok_or_else(|| {
            let known: Vec<&str> =
                elements.encoder.keys().chain(self.element.keys()).map(String::as_str).collect();
            let hint = nearest::hint(name, known.iter().copied());
            let known = known.join(", ");
            format!("unknown encoder \"{name}\"{hint}; known encoders: {known}")
        })
    }

    /// The encoders to try, each with this board's settings. `wanted` selects others, or another order; for an unknown
    /// one, the result is the reason.
    pub(crate) fn candidates(
        &self,
        wanted: &[String],
        elements: &Elements,
    ) -> Vec<(String, Result<Encoder, String>)> {
        let of = |name: &str| self.on_board(name, elements);
        let own = self.encoder.iter().map(|choice| choice.name.as_str());
        let names: Vec<&str> =
            if wanted.is_empty() { own.collect() } else { wanted.iter().map(String::as_str).collect() };
        names.into_iter().map(|name| (name.to_owned(), of(name))).collect()
    }

    /// The encoders for the small rendition: each with this board's settings for it, and those that only apply here.
    pub(crate) fn small_candidates(&self, elements: &Elements) -> Vec<(String, Encoder)> {
        let of = |choice: &Choice| {
            let encoder = self.on_board(&choice.name, elements).ok()?;
            Some((choice.name.clone(), choice.on(&encoder)))
        };
        self.small.iter().filter_map(of).collect()
    }

    /// An encoder with this board's settings.
    fn on_board(&self, name: &str, elements: &Elements) -> Result<Encoder, String> {
        let described = self.described(name, elements)?;
        let choice = self.encoder.iter().find(|choice| choice.name == name);
        Ok(choice.map_or_else(|| described.clone(), |choice| choice.on(described)))
    }
}

impl Profile {
    /// Capture elements for sensors at the board's own port, in order of preference.
    pub(crate) fn csi<'a>(&'a self, elements: &'a Elements) -> impl Iterator<Item = CsiElement<'a>> {
        let csi = self.capture.iter().filter(|capture| capture.sensors == Sensors::Csi);
        csi.filter_map(|capture| {
            let known = elements.capture.get(&capture.element)?;
            let mut properties = known.properties.clone();
            properties.extend(capture.properties.clone());
            let (name, package) = (capture.element.as_str(), known.package.as_str());
            Some(CsiElement { name, package, properties, csi: known.csi.as_ref()? })
        })
    }
}

/// An element that opens a sensor, with the board's settings.
pub(crate) struct CsiElement<'a> {
    pub name: &'a str,
    /// The package to install.
    pub package: &'a str,
    pub properties: BTreeMap<String, Value>,
    pub csi: &'a Csi,
}

impl Choice {
    /// The encoder with the settings of this entry.
    fn on(&self, encoder: &Encoder) -> Encoder {
        let mut encoder = encoder.clone();
        encoder.properties.extend(self.properties.clone());
        encoder.controls.extend(self.controls.clone());
        encoder
    }
}
