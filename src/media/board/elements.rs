//! GStreamer's encoders as data: what is set on each, in which units, and the chain that it becomes.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Deserialize;

use super::controls;

/// The elements that a profile may name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Elements {
    pub encoder: BTreeMap<String, Encoder>,
    pub capture: BTreeMap<String, Capture>,
}

/// An H.264 encoder, from raw pictures to whatever byte-stream a parser takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encoder {
    /// Whether it is hardware, not the CPU, that encodes.
    pub hardware: bool,
    /// What to install.
    pub package: String,
    /// What must stand before it, in launch syntax.
    #[serde(default)]
    pub before: Option<String>,
    /// What it is asked for, in launch syntax, `{level}` being the H.264 level.
    pub caps: String,
    pub bitrate: Knob,
    pub key_interval: Vec<Knob>,
    /// The control that forces a key frame; without one GStreamer's event does.
    #[serde(default)]
    pub key_frame: Option<String>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub controls: BTreeMap<String, i64>,
    /// What is set too where the camera gives DMA buffers, so that no frame is copied; empty where it takes none.
    #[serde(default)]
    pub dmabuf: BTreeMap<String, Value>,
    /// Where this is written.
    #[allow(dead_code, reason = "for who reads the file; a test holds that it is there")]
    pub source: String,
    /// All properties that its documentation has.
    pub documented: Vec<String>,
}

/// What pictures are captured with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    /// What to install.
    pub package: String,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// How it opens a sensor at the board's own port by itself; `None` where a device's path is needed.
    #[serde(default)]
    pub csi: Option<Csi>,
    #[allow(dead_code, reason = "for who reads the file; a test holds that it is there")]
    pub source: String,
    pub documented: Vec<String>,
}

/// How a capture element opens a sensor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Csi {
    /// The property that says which sensor; without it the element takes the first.
    pub camera: String,
    /// Whether sensors have numbers there, not names.
    #[serde(default)]
    pub numbered: bool,
    /// What it is asked for, in launch syntax; `{width}`, `{height}`, `{fps}` are what is wanted.
    pub caps: String,
    /// What must stand after it to have pictures in ordinary memory, in launch syntax.
    #[serde(default)]
    pub after: Option<String>,
    /// The elements of `after`, of the same package.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What to do when no camera is found.
    pub advice: String,
}

/// The largest pictures that are asked of a sensor, and how many a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

/// What a number is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "bit/s")]
    Bits,
    #[serde(rename = "kbit/s")]
    Kilobits,
    #[serde(rename = "pictures")]
    Pictures,
}

impl Unit {
    /// A bitrate, or a number of pictures, in this unit.
    pub(crate) fn of(self, value: u32) -> u32 {
        match self {
            Unit::Kilobits => (value / 1000).max(1),
            Unit::Bits | Unit::Pictures => value,
        }
    }
}

/// Something to turn on an encoder, at its start or while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawKnob")]
pub(crate) struct Knob {
    pub setting: Setting,
    pub unit: Unit,
}

/// What a knob sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// A property of the element.
    Property(String),
    /// A V4L2 control of the device behind it, by the name that `v4l2-ctl` has for it.
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

/// What a property is set to.
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
                // What launch syntax takes for one word.
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_+./".contains(c);
                if !text.is_empty() && text.chars().all(plain) {
                    return f.write_str(text);
                }
                write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}

/// What an encoder is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// bit/s.
    pub bitrate: u32,
    /// Pictures between two key frames.
    pub key_interval: u32,
    /// The H.264 level, `3.1`.
    pub level: &'a str,
    /// Frames come as DMA buffers.
    pub dmabuf: bool,
}

impl Encoder {
    /// From raw pictures to H.264 in GStreamer's launch syntax; the element is named `enc`.
    pub(crate) fn chain(&self, name: &str, start: Start<'_>) -> String {
        let mut chain = String::from("videoconvert ! ");
        if let Some(before) = &self.before {
            chain += before;
            chain += " ! ";
        }
        chain += name;
        chain += " name=enc";
        let mut set = |name: &str, value: &dyn fmt::Display| {
            write!(chain, " {name}={value}").expect("a String takes everything");
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

    /// What is wrong with it, if anything: a property or control that nobody documented.
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
        if self.bitrate.unit == Unit::Pictures {
            return Err("the unit of a bitrate must be bit/s or kbit/s".into());
        }
        if let Some(knob) = self.key_interval.iter().find(|knob| knob.unit != Unit::Pictures) {
            return Err(format!("the unit of a key frame interval must be pictures, not {:?}", knob.unit));
        }
        Ok(())
    }
}

impl Capture {
    /// What is wrong with it, if anything: a property that nobody documented.
    pub(crate) fn check(&self) -> Result<(), String> {
        let camera = self.csi.iter().map(|csi| &csi.camera);
        camera.chain(self.properties.keys()).try_for_each(|name| documented(name, &self.documented))
    }
}

impl Csi {
    /// From the sensor to raw pictures in GStreamer's launch syntax; the element is named `camera`.
    ///
    /// Errors: where sensors have numbers, a camera that is none.
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
            write!(head, " {name}={value}").expect("a String takes everything");
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

/// Whether an element has this property by its documentation; else what is near.
pub(super) fn documented(name: &str, known: &[String]) -> Result<(), String> {
    if known.iter().any(|k| k == name) {
        return Ok(());
    }
    let hint = super::nearest::hint(name, known.iter().map(String::as_str));
    Err(format!("\"{name}\" is not a documented property{hint}"))
}
