//! Camera controls, and the check whether a value fits. Plain values, no I/O.

use std::fmt;

use serde::Serialize;

use crate::media::error::{ErrorKind, MediaError};

/// One camera control: exposure, gain, white balance, flip, focus …
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Control {
    /// The kernel's ID (`V4L2_CID_…`).
    pub id: u32,
    /// Its name here. Common controls have the same name on all kernels.
    pub name: String,
    /// The driver's name for it.
    pub label: String,
    /// Which values it takes.
    #[serde(flatten)]
    pub kind: ControlKind,
    /// The current value, if it can be read: 0 or 1 for a switch, the item's number for a menu.
    pub value: Option<i64>,
    /// The default value.
    pub default: i64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether another control overrides it now, such as `exposure_time` while `exposure_auto` is on.
    pub inactive: bool,
}

/// The type and range of a control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ControlKind {
    /// An integer.
    Integer {
        /// Minimum.
        min: i64,
        /// Maximum.
        max: i64,
        /// Step size, counted from `min`; at least 1.
        step: u64,
    },
    /// On or off.
    Switch,
    /// One item of a menu, by number or name.
    Menu {
        /// Number and name of each item.
        items: Vec<(i64, String)>,
    },
    /// Has no value; setting it triggers an action.
    Button,
    /// A bit mask.
    Bits {
        /// The bits that may be set.
        mask: i64,
    },
}

/// A value to set a control to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A number, a menu item's number, or 0 or 1 for a switch.
    Number(i64),
    /// On or off, for a switch.
    Switch(bool),
    /// A menu item's name, or any other value as text: `"12"`, `"on"`.
    Text(String),
    /// Presses a button.
    Press,
    /// Resets to the default.
    Default,
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(on: bool) -> Self {
        Value::Switch(on)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl Value {
    /// Converts from JSON: a number, a boolean, a string, or `null` for a button.
    ///
    /// Errors: any other type, or a number that is not an integer.
    pub fn from_json(json: &serde_json::Value) -> Result<Value, MediaError> {
        match json {
            serde_json::Value::Null => Ok(Value::Press),
            serde_json::Value::Bool(on) => Ok(Value::Switch(*on)),
            serde_json::Value::String(text) => Ok(Value::Text(text.clone())),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Value::Number)
                .ok_or_else(|| bad(format!("a control takes an integer, not {number}"))),
            _ => Err(bad("a control takes a number, true or false, or the name of a menu item")),
        }
    }
}

impl Control {
    /// Creates a control without a value.
    pub fn new(id: u32, label: &str, kind: ControlKind) -> Self {
        let name = match NAMES.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => (*name).into(),
            None => plain(label),
        };
        let (value, default) = (None, 0);
        Control { id, name, label: label.into(), kind, value, default, read_only: false, inactive: false }
    }

    /// Finds a control by our name or the name that `v4l2-ctl` prints.
    pub fn find<'a>(controls: &'a [Control], name: &str) -> Option<&'a Control> {
        let by = |has: &dyn Fn(&Control) -> bool| controls.iter().find(|control| has(control));
        by(&|c| c.name == name).or_else(|| by(&|c| plain(&c.label) == name))
    }

    /// Converts a value to the kernel's number for it.
    ///
    /// Errors: out of range, of the wrong type, or the control is read-only; the message has the valid range.
    pub fn number(&self, value: &Value) -> Result<i64, MediaError> {
        let name = &self.name;
        if self.read_only {
            return Err(bad(format!("{name} is read-only")));
        }
        let fits = || format!("{name} takes {}", self.kind);
        let number = match (&self.kind, value) {
            (ControlKind::Button, Value::Press | Value::Switch(true)) => return Ok(0),
            (ControlKind::Button, _) => return Err(bad(fits())),
            (_, Value::Press) => return Err(bad(format!("{name} is not a button: it takes {}", self.kind))),
            (_, Value::Default) => return Ok(self.default),
            (ControlKind::Menu { items }, Value::Text(text)) => {
                let named =
                    |(_, item): &&(i64, String)| item.eq_ignore_ascii_case(text) || plain(item) == *text;
                match items.iter().find(named) {
                    Some((number, _)) => *number,
                    None => text.trim().parse().map_err(|_| bad(fits()))?,
                }
            }
            (ControlKind::Switch, Value::Text(text)) => match text.trim() {
                "on" | "true" | "yes" | "1" => 1,
                "off" | "false" | "no" | "0" => 0,
                _ => return Err(bad(fits())),
            },
            (_, Value::Text(text)) => text.trim().parse().map_err(|_| bad(fits()))?,
            (ControlKind::Switch, Value::Switch(on)) => i64::from(*on),
            (_, Value::Switch(_)) => return Err(bad(fits())),
            (_, Value::Number(number)) => *number,
        };
        let right = match &self.kind {
            ControlKind::Integer { min, max, step } => {
                (*min..=*max).contains(&number) && number.abs_diff(*min).is_multiple_of((*step).max(1))
            }
            ControlKind::Switch => number == 0 || number == 1,
            ControlKind::Menu { items } => items.iter().any(|(item, _)| *item == number),
            ControlKind::Bits { mask } => number & !mask == 0,
            ControlKind::Button => true,
        };
        if right { Ok(number) } else { Err(bad(format!("{}, not {number}", fits()))) }
    }

    /// The current value as text, for display.
    pub fn value_text(&self) -> String {
        match (&self.kind, self.value) {
            (ControlKind::Button, _) => String::new(),
            (_, None) => "?".into(),
            (ControlKind::Switch, Some(value)) => if value == 0 { "off" } else { "on" }.into(),
            (ControlKind::Menu { items }, Some(value)) => {
                let item = items.iter().find(|(number, _)| *number == value);
                item.map_or_else(|| value.to_string(), |(_, name)| name.clone())
            }
            (ControlKind::Bits { .. }, Some(value)) => format!("{value:#x}"),
            (ControlKind::Integer { .. }, Some(value)) => value.to_string(),
        }
    }
}

impl fmt::Display for ControlKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlKind::Integer { min, max, step: 0 | 1 } => write!(f, "{min} to {max}"),
            ControlKind::Integer { min, max, step } => write!(f, "{min} to {max} in steps of {step}"),
            ControlKind::Switch => f.write_str("on or off"),
            ControlKind::Button => f.write_str("no value"),
            ControlKind::Bits { mask } => write!(f, "bits of {mask:#x}"),
            ControlKind::Menu { items } => {
                f.write_str("one of ")?;
                for (at, (number, name)) in items.iter().enumerate() {
                    write!(f, "{}{number} ({name})", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// The error for an unknown control. Lists the ones that exist.
pub fn unknown(controls: &[Control], name: &str) -> MediaError {
    let names: Vec<&str> = controls.iter().map(|control| control.name.as_str()).collect();
    let there = match names.as_slice() {
        [] => "it has none".into(),
        names => format!("it has {}", names.join(", ")),
    };
    // What a peer wrote is shown, but not all of it.
    let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    MediaError::new(ErrorKind::NoControl, format!("the camera has no control {name}: {there}"))
}

/// IDs of the controls of a camera's built-in H.264 encoder (linux/v4l2-controls.h).
pub mod codec {
    /// Bitrate in bit/s.
    pub const BITRATE: u32 = 0x0099_09cf;
    /// Repeats the parameter sets before each key frame.
    pub const REPEAT_HEADERS: u32 = 0x0099_09e2;
    /// A button: makes the next frame a key frame.
    pub const FORCE_KEY_FRAME: u32 = 0x0099_09e5;
    /// Frames from one key frame to the next.
    pub const KEY_INTERVAL: u32 = 0x0099_0a66;
    /// The profile, a menu; see the next two.
    pub const PROFILE: u32 = 0x0099_0a6b;
    /// The profile that all browsers decode.
    pub const CONSTRAINED_BASELINE: i64 = 1;
    /// Equivalent for browsers.
    pub const BASELINE: i64 = 0;
}

fn bad(words: impl Into<String>) -> MediaError {
    MediaError::new(ErrorKind::BadValue, words)
}

/// The names of common controls by their numbers (linux/v4l2-controls.h), because kernels call them
/// differently: "Exposure, Auto" became "Auto Exposure" with 5.19, for instance.
const NAMES: [(u32, &str); 26] = [
    (0x0098_0900, "brightness"),
    (0x0098_0901, "contrast"),
    (0x0098_0902, "saturation"),
    (0x0098_0903, "hue"),
    (0x0098_090c, "white_balance_auto"),
    (0x0098_090e, "red_balance"),
    (0x0098_090f, "blue_balance"),
    (0x0098_0910, "gamma"),
    (0x0098_0911, "exposure"),
    (0x0098_0912, "gain_auto"),
    (0x0098_0913, "gain"),
    (0x0098_0914, "flip_horizontal"),
    (0x0098_0915, "flip_vertical"),
    (0x0098_0918, "power_line_frequency"),
    (0x0098_091a, "white_balance_temperature"),
    (0x0098_091b, "sharpness"),
    (0x0098_091c, "backlight_compensation"),
    (0x0098_0922, "rotate"),
    (0x009a_0901, "exposure_auto"),
    (0x009a_0902, "exposure_time"),
    (0x009a_0903, "exposure_auto_priority"),
    (0x009a_0908, "pan"),
    (0x009a_0909, "tilt"),
    (0x009a_090a, "focus"),
    (0x009a_090c, "focus_auto"),
    (0x009a_090d, "zoom"),
];

/// As `v4l2-ctl` writes it: lower case, `_` for all that is neither letter nor digit, none at the ends.
fn plain(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    for c in label.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u32, label: &str, kind: ControlKind) -> Control {
        Control { value: Some(0), default: 3, ..Control::new(id, label, kind) }
    }

    #[test]
    fn values_are_taken_as_people_and_programs_write_them() {
        let gain = control(0x0098_0913, "Gain", ControlKind::Integer { min: 0, max: 255, step: 1 });
        let kelvin = control(
            0x0098_091a,
            "White Balance Temperature",
            ControlKind::Integer { min: 2800, max: 6500, step: 10 },
        );
        let flip = control(0x0098_0914, "Horizontal Flip", ControlKind::Switch);
        let items = vec![(1, "Manual Mode".to_owned()), (3, "Aperture Priority Mode".to_owned())];
        let auto = control(0x009a_0901, "Auto Exposure", ControlKind::Menu { items });
        let push = control(0x0098_0916, "Do It", ControlKind::Button);
        let bits = control(0x0098_0917, "Bits", ControlKind::Bits { mask: 0b101 });
        let table = [
            (&gain, Value::Number(255), Ok(255)),
            (&gain, Value::from("12"), Ok(12)),
            (&gain, Value::Default, Ok(3)),
            (&gain, Value::Number(256), Err("gain takes 0 to 255, not 256")),
            (&gain, Value::from("much"), Err("gain takes 0 to 255")),
            (&gain, Value::Switch(true), Err("gain takes 0 to 255")),
            (&gain, Value::Press, Err("gain is not a button: it takes 0 to 255")),
            (&kelvin, Value::Number(2810), Ok(2810)),
            (
                &kelvin,
                Value::Number(2815),
                Err("white_balance_temperature takes 2800 to 6500 in steps of 10, not 2815"),
            ),
            (&flip, Value::Switch(true), Ok(1)),
            (&flip, Value::from("off"), Ok(0)),
            (&flip, Value::Number(2), Err("flip_horizontal takes on or off, not 2")),
            (&auto, Value::from("manual mode"), Ok(1)),
            (&auto, Value::from("aperture_priority_mode"), Ok(3)),
            (&auto, Value::from("3"), Ok(3)),
            (
                &auto,
                Value::Number(2),
                Err("exposure_auto takes one of 1 (Manual Mode), 3 (Aperture Priority Mode), not 2"),
            ),
            (&push, Value::Press, Ok(0)),
            (&push, Value::Number(1), Err("do_it takes no value")),
            (&bits, Value::Number(4), Ok(4)),
            (&bits, Value::Number(6), Err("bits takes bits of 0x5, not 6")),
        ];
        for (control, value, expected) in table {
            let number = control.number(&value).map_err(|error| error.to_string());
            assert_eq!(number, expected.map_err(str::to_owned), "{} {value:?}", control.name);
        }
        let fixed = Control { read_only: true, ..gain };
        let error = fixed.number(&Value::Number(1)).expect_err("read only");
        assert_eq!((error.code(), error.to_string().as_str()), ("bad-value", "gain is read-only"));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let all = control(1, "All", ControlKind::Integer { min: i64::MIN, max: i64::MAX, step: u64::MAX });
        assert_eq!(all.number(&Value::Number(i64::MAX)), Ok(i64::MAX), "a whole step from the least");
        assert!(all.number(&Value::Number(0)).is_err());
        let none = control(1, "None", ControlKind::Integer { min: 1, max: 0, step: 0 });
        assert!(none.number(&Value::Number(0)).is_err());
    }

    #[test]
    fn a_control_has_one_name_on_every_kernel_and_answers_to_the_others() {
        let table = [
            (0x009a_0901, "Exposure, Auto", "exposure_auto", "exposure_auto"),
            (0x009a_0901, "Auto Exposure", "exposure_auto", "auto_exposure"),
            (0x009a_0902, "Exposure Time, Absolute", "exposure_time", "exposure_time_absolute"),
            (0x00f0_0001, " LED1 Mode (x) ", "led1_mode_x", "led1_mode_x"),
        ];
        for (id, label, name, other) in table {
            let controls = [control(id, label, ControlKind::Switch)];
            for asked in [name, other] {
                assert_eq!(Control::find(&controls, asked).map(|c| c.name.as_str()), Some(name), "{label}");
            }
        }
        let error = unknown(&[control(1, "Gain", ControlKind::Switch)], "zoom\n");
        assert_eq!(error.to_string(), "the camera has no control zoom: it has gain");
        assert_eq!(error.code(), "no-control");
    }

    #[test]
    fn json_tells_what_a_control_takes() {
        let items = vec![(1, "Manual".to_owned())];
        let table = [
            (
                ControlKind::Integer { min: 0, max: 9, step: 1 },
                r#""kind":"integer","min":0,"max":9,"step":1"#,
            ),
            (ControlKind::Switch, r#""kind":"switch""#),
            (ControlKind::Menu { items }, r#""kind":"menu","items":[[1,"Manual"]]"#),
            (ControlKind::Button, r#""kind":"button""#),
        ];
        for (kind, part) in table {
            let json = serde_json::to_string(&control(0x0098_0913, "Gain", kind)).expect("plain values");
            let expected = format!(
                r#"{{"id":9963795,"name":"gain","label":"Gain",{part},"value":0,"default":3,"read_only":false,"inactive":false}}"#
            );
            assert_eq!(json, expected);
        }
        for (json, value) in [
            ("3", Some(3.into())),
            ("true", Some(true.into())),
            (r#""x""#, Some("x".into())),
            ("null", Some(Value::Press)),
            ("1.5", None),
            ("[]", None),
            ("1e99", None),
        ] {
            let json = serde_json::from_str(json).expect("JSON");
            assert_eq!(Value::from_json(&json).ok(), value, "{json}");
        }
    }
}
