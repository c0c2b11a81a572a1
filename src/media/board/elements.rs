//! GStreamer's encoders as data: their properties, units, and the pipeline chain for each.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Deserialize;

use super::controls;

/// The elements that a profile may use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Elements {
    pub encoder: BTreeMap<String, Encoder>,
    pub capture: BTreeMap<String, Capture>,
}

/// An H.264 encoder, from raw frames to any byte-stream that a parser accepts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encoder {
    /// Whether it encodes in hardware.
    pub hardware: bool,
    /// The package to install.
    pub package: String,
    /// Elements before it, in launch syntax.
    #[serde(default)]
    pub before: Option<String>,
    /// Its output caps, in launch syntax; `{level}` is replaced by the H.264 level.
    pub caps: String,
    pub bitrate: Knob,
    pub key_interval: Vec<Knob>,
    /// The control that forces a key frame; without one, GStreamer's event is used.
    #[serde(default)]
    pub key_frame: Option<String>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub controls: BTreeMap<String, i64>,
    /// Additional properties if the camera delivers DMA buffers, so that no frame is copied; empty if it accepts none.
    #[serde(default)]
    pub dmabuf: BTreeMap<String, Value>,
    /// The source of this information.
    #[allow(dead_code, reason = "for readers of the file; a test checks that it is present")]
    pub source: String,
    /// All documented properties.
    pub documented: Vec<String>,
}

/// A capture element.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    /// The package to install.
    pub package: String,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// How it opens a sensor at the board's own port; `None` if it needs the path of a device.
    #[serde(default)]
    pub csi: Option<Csi>,
    #[allow(dead_code, reason = "for readers of the file; a test checks that it is present")]
    pub source: String,
    pub documented: Vec<String>,
}

/// How a capture element opens a sensor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Csi {
    /// The property that selects the sensor; without it, the element opens the first.
    pub camera: String,
    /// Whether it identifies sensors by number, not by name.
    #[serde(default)]
    pub numbered: bool,
    /// Its output caps, in launch syntax; `{width}`, `{height}` and `{fps}` are replaced by the requested ones.
    pub caps: String,
    /// Elements after it that copy frames to ordinary memory, in launch syntax.
    #[serde(default)]
    pub after: Option<String>,
    /// The elements in `after`, which are in the same package.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What to do when no camera is found.
    pub advice: String,
}

/// The maximum frame size and rate to request from a sensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "bit/s")]
    Bits,
    #[serde(rename = "kbit/s")]
    Kilobits,
    #[serde(rename = "frames")]
    Frames,
}

impl Unit {
    /// Converts a bitrate, or a number of frames, to this unit.
    pub(crate) fn of(self, value: u32) -> u32 {
        match self {
            Unit::Kilobits => (value / 1000).max(1),
            Unit::Bits | Unit::Frames => value,
        }
    }
}

/// A setting of an encoder, at its start or while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawKnob")]
pub(crate) struct Knob {
    pub setting: Setting,
    pub unit: Unit,
}

/// The target of a knob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// A property of the element.
    Property(String),
    /// A V4L2 control of the device behind it, by its name in `v4l2-ctl`.
    Control(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKnob {
    property: Option<String>,
    control: Option<String>,
    unit: Unit,
}

impl TryFrom<RawKnob> for Knob {
    type Error = &'static str;

    fn try_from(raw: RawKnob) -> Result<Self, Self::Error> {
        let setting = match (raw.property, raw.control) {
            (Some(name), None) => Setting::Property(name),
            (None, Some(name)) => Setting::Control(name),
            _ => return Err("must have either a property or a control"),
        };
        Ok(Knob { setting, unit: raw.unit })
    }
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(on) => on.fmt(f),
            Value::Int(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Text(text) => {
                // Text that launch syntax accepts as one word.
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_+./".contains(c);
                if !text.is_empty() && text.chars().all(plain) {
                    return f.write_str(text);
                }
                write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}

/// The settings with which an encoder starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// bit/s.
    pub bitrate: u32,
    /// Frames between two key frames.
    pub key_interval: u32,
    /// The H.264 level, such as `3.1`.
    pub level: &'a str,
    /// Frames arrive as DMA buffers.
    pub dmabuf: bool,
}

impl Encoder {
    /// From raw frames to H.264 in GStreamer's launch syntax; the element is named `enc`.
    pub(crate) fn chain(&self, name: &str, start: Start<'_>) -> String {
        let mut chain = String::from("videoconvert ! ");
        if let Some(before) = &self.before {
            chain += before;
            chain += " ! ";
        }
        chain += name;
        chain += " name=enc";
        let mut set = |name: &str, value: &dyn fmt::Display| {
            write!(chain, " {name}={value}").expect("writing to a String cannot fail");
        };
        let knobs = || {
            let bitrate = (&self.bitrate, self.bitrate.unit.of(start.bitrate));
            let intervals = self.key_interval.iter().map(|knob| (knob, knob.unit.of(start.key_interval)));
            std::iter::once(bitrate).chain(intervals)
        };
        for (name, value) in self.dmabuf.iter().filter(|_| start.dmabuf).chain(&self.properties) {
            set(name, value);
        }
        let mut controls = String::new();
        for (knob, value) in knobs() {
            match &knob.setting {
                Setting::Property(name) => set(name, &value),
                Setting::Control(name) => controls += &format!(",{name}={value}"),
            }
        }
        for (name, value) in &self.controls {
            controls += &format!(",{name}={value}");
        }
        if !controls.is_empty() {
            set("extra-controls", &format_args!("controls{controls}"));
        }
        chain += " ! ";
        chain += &self.caps.replace("{level}", start.level);
        chain
    }

    /// Returns what is wrong, if anything: a property or control that is not documented.
    pub(crate) fn check(&self) -> Result<(), String> {
        let knobs = || std::iter::once(&self.bitrate).chain(&self.key_interval);
        let properties = knobs().filter_map(|knob| match &knob.setting {
            Setting::Property(name) => Some(name),
            Setting::Control(_) => None,
        });
        for name in properties.chain(self.properties.keys()).chain(self.dmabuf.keys()) {
            documented(name, &self.documented)?;
        }
        let controls = knobs().filter_map(|knob| match &knob.setting {
            Setting::Control(name) => Some(name),
            Setting::Property(_) => None,
        });
        for name in controls.chain(self.controls.keys()).chain(&self.key_frame) {
            controls::id(name)?;
        }
        if self.bitrate.unit == Unit::Frames {
            return Err("the unit of a bitrate must be bit/s or kbit/s".into());
        }
        if let Some(knob) = self.key_interval.iter().find(|knob| knob.unit != Unit::Frames) {
            return Err(format!("the unit of a key frame interval must be frames, not {:?}", knob.unit));
        }
        Ok(())
    }
}

impl Capture {
    /// Returns what is wrong, if anything: a property that is not documented.
    pub(crate) fn check(&self) -> Result<(), String> {
        let camera = self.csi.iter().map(|csi| &csi.camera);
        camera.chain(self.properties.keys()).try_for_each(|name| documented(name, &self.documented))
    }
}

impl Csi {
    /// From the sensor to raw frames in GStreamer's launch syntax; the element is named `camera`.
    ///
    /// Errors: the element identifies sensors by number, and the camera's name is not one.
    pub(crate) fn head(
        &self,
        element: &str,
        properties: &BTreeMap<String, Value>,
        camera: Option<&str>,
        asked: Asked,
    ) -> Result<String, String> {
        let camera = match camera {
            Some(text) if self.numbered => {
                let number = text.parse::<u32>().map_err(|_| {
                    format!("{element} identifies cameras by number: use csi:0 or csi:1, not csi:{text}")
                })?;
                Some(Value::Int(number.into()))
            }
            other => other.map(|name| Value::Text(name.into())),
        };
        let mut properties = properties.clone();
        properties.extend(camera.map(|camera| (self.camera.clone(), camera)));
        let mut head = format!("{element} name=camera");
        for (name, value) in &properties {
            write!(head, " {name}={value}").expect("writing to a String cannot fail");
        }
        let Asked { width, height, fps } = asked;
        head += " ! ";
        head += &self
            .caps
            .replace("{width}", &width.to_string())
            .replace("{height}", &height.to_string())
            .replace("{fps}", &fps.to_string());
        if let Some(after) = &self.after {
            head += " ! ";
            head += after;
        }
        Ok(head)
    }
}

/// Checks that an element has this documented property; the error suggests a similar one.
pub(super) fn documented(name: &str, known: &[String]) -> Result<(), String> {
    if known.iter().any(|k| k == name) {
        return Ok(());
    }
    let hint = super::nearest::hint(name, known.iter().map(String::as_str));
    Err(format!("\"{name}\" is not a documented property{hint}"))
}
