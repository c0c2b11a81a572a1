//! `symple devices`: the V4L2 devices, their capabilities, and what `symple camera` would choose; speakers and
//! microphones.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use symple::media::error::{ErrorKind, MediaError};
use symple::media::source::controls::{Control, Value};
use symple::media::source::v4l2::choose::{CameraRequest, Encoder, choose};
use symple::media::source::v4l2::device::{Device, Format, Rates, Role, Sizes};
use symple::media::source::v4l2::{self, Camera};

use crate::args::Takes;
use crate::exit::{self, Failure, FailureKind};
use crate::merge::Setting;
use crate::value::{count, list, set, switch, text};
use crate::{files, help};

struct Settings {
    json: bool,
    size: (u32, u32),
    fps: u32,
    set: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { json: false, size: (1280, 720), fps: 30, set: Vec::new() }
    }
}

type S = Settings;

const GROUPS: &[(&str, &[Setting<Settings>])] = &[("Flags", FLAGS)];

const FLAGS: &[Setting<Settings>] = &[
    Setting::new("json", "", "Print a JSON list of all devices", |s: &mut S, v| set(&mut s.json, switch(v))),
    Setting::new("size", "WxH", "Show the best choice for this size. Default: 1280x720", |s: &mut S, v| {
        let text = text(v)?;
        let sides =
            text.split_once('x').and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
        s.size = sides.ok_or("must look like 1280x720")?;
        Ok(())
    }),
    Setting::new("fps", "N", "Show the best choice for this frame rate. Default: 30", |s: &mut S, v| {
        set(&mut s.fps, count(v, 1).and_then(|n| u32::try_from(n).map_err(|_| "is too large".into())))
    }),
    Setting::new("set", "NAME=VALUE", "Set a control of DEVICE first; may be repeated", |s: &mut S, v| {
        set(&mut s.set, list(v))
    })
    .list(),
];

const INTRODUCTION: &str = "
symple devices: the V4L2 cameras and codecs of this machine and their capabilities, its speakers
and microphones

Usage: symple devices [DEVICE] [FLAGS]

  symple devices                                all devices
  symple devices /dev/video0 --set brightness=10 --set exposure_auto=manual_mode
  symple devices --json | jq '.[] | select(.role == \"camera\") | .path'

In JSON each device has `path`, `link`, `card`, `driver`, `bus`, `role`, `formats`, `takes` and
`controls`, and a camera has `best`. A device that cannot be opened has `path` and `error` with
`code` and `message`. A speaker or microphone has `role`, `name` (which settings accept) and `label`.
If there are no devices, the list is empty and the exit code is 0.
";

/// Runs the command.
pub(crate) fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let table: Vec<Setting<Settings>> =
        GROUPS.iter().flat_map(|(_, settings)| settings.iter().map(|s| Setting { ..*s })).collect();
    let Some(loaded) = files::load("devices", &table, Takes { config: false, check: false, words: 1 }, args)?
    else {
        return exit::print(&help::command(INTRODUCTION, GROUPS, ""));
    };
    let settings = loaded.settings;
    let found = match loaded.line.words.first() {
        Some(path) => {
            let path = Path::new(path);
            set_controls(path, &settings.set)?;
            vec![(path.to_owned(), Ok(v4l2::probe(path).map_err(unusable)?))]
        }
        None if settings.set.is_empty() => v4l2::devices(),
        None => {
            return Err(Failure::new(
                FailureKind::Usage,
                "--set needs a device: symple devices DEVICE --set …",
            ));
        }
    };
    let request = CameraRequest {
        size: settings.size,
        fps: settings.fps,
        pass_through: true,
        jpeg: true,
        encoder: Encoder::default(),
    };
    // Only in the list of all.
    let audio = if loaded.line.words.is_empty() { audio() } else { Vec::new() };
    exit::print(&match settings.json {
        true => json_of(&found, &audio, &request),
        false => words_of(&found, &request) + &audio_words(&audio),
    })
}

fn unusable(error: MediaError) -> Failure {
    let kind = match error.kind() {
        ErrorKind::NotAllowed => FailureKind::NoPermission,
        ErrorKind::BadValue | ErrorKind::NoControl => FailureKind::Usage,
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, error.to_string())
}

fn set_controls(path: &Path, wishes: &[String]) -> Result<(), Failure> {
    if wishes.is_empty() {
        return Ok(());
    }
    let camera = Camera::open(path).map_err(unusable)?;
    for wish in wishes {
        let (name, value) = match wish.split_once('=') {
            Some((name, "default")) => (name, Value::Default),
            Some((name, value)) => (name, value.into()),
            None => (wish.as_str(), Value::Press),
        };
        camera.set(name.trim(), &value).map_err(unusable)?;
    }
    Ok(())
}

type Found = (PathBuf, Result<Device, MediaError>);

fn json_of(found: &[Found], audio: &[Audio], request: &CameraRequest) -> String {
    let devices = found.iter().map(|(path, device)| match device {
        Ok(device) => {
            let mut json = serde_json::to_value(device).expect("plain values");
            if device.role == Role::Camera {
                json["best"] = serde_json::to_value(choose(device, request)).expect("plain values");
            }
            json
        }
        Err(error) => {
            json!({ "path": path, "error": { "code": error.code(), "message": error.to_string() } })
        }
    });
    let audio = audio.iter().map(|a| json!({ "role": a.role, "name": a.name, "label": a.label }));
    format!("{:#}\n", devices.chain(audio).collect::<Json>())
}

/// A speaker or microphone.
struct Audio {
    role: &'static str,
    name: String,
    label: String,
}

#[cfg(feature = "gst")]
fn audio() -> Vec<Audio> {
    use symple::media::playback::{Direction, audio_devices};

    let found = audio_devices().unwrap_or_else(|error| {
        eprintln!("symple: {error}");
        Vec::new()
    });
    let role = |direction| if direction == Direction::Microphone { "microphone" } else { "speaker" };
    found.into_iter().map(|d| Audio { role: role(d.direction), name: d.name, label: d.label }).collect()
}

/// GStreamer finds them.
#[cfg(not(feature = "gst"))]
fn audio() -> Vec<Audio> {
    Vec::new()
}

fn audio_words(audio: &[Audio]) -> String {
    audio.iter().map(|a| format!("{}  {} ({})\n", a.name, a.label, a.role)).collect()
}

fn words_of(found: &[Found], request: &CameraRequest) -> String {
    if found.is_empty() {
        return "No video device found. Check the camera's cable and power; `sudo dmesg` shows what the kernel \
                detected.\nIn a container, check that /dev/video0 is passed through. A CSI camera must be enabled \
                in the board's configuration.\n"
            .into();
    }
    let mut out = String::new();
    for (path, device) in found {
        // Writing to a string never fails.
        _ = match device {
            Ok(device) => describe(&mut out, device, request),
            Err(error) => writeln!(out, "{}\n  cannot be used: {error}", path.display()),
        };
    }
    if found.iter().any(|(_, d)| d.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotAllowed)) {
        out += "\nTo use these devices, add the user to the group `video`; for a service, set SupplementaryGroups=video.\n";
    }
    out
}

fn describe(out: &mut String, device: &Device, request: &CameraRequest) -> std::fmt::Result {
    writeln!(out, "{}  {} ({})", device.path.display(), device.card, device.role)?;
    writeln!(out, "  driver {}, bus {}", device.driver, device.bus)?;
    if let Some(link) = &device.link {
        writeln!(out, "  stable path: {}", link.display())?;
    }
    if device.role == Role::Camera {
        let ((width, height), fps) = (request.size, request.fps);
        match choose(device, request) {
            Some(choice) => {
                writeln!(out, "  best for {width} x {height} at {fps} fps: {choice} ({})", choice.why)?;
            }
            None => writeln!(out, "  no format is usable without an ISP: try libcamera")?,
        }
    }
    for (what, formats) in [("outputs", &device.formats), ("accepts", &device.takes)] {
        for format in formats {
            write!(out, "  {what} {} ({})", format.fourcc, format.description)?;
            sizes(out, format)?;
        }
    }
    for control in &device.controls {
        line(out, control)?;
    }
    Ok(())
}

fn sizes(out: &mut String, format: &Format) -> std::fmt::Result {
    for sizes in &format.sizes {
        match sizes {
            Sizes::One { size: (width, height), rates } => {
                write!(out, "\n    {width} x {height}{}", rates_text(rates))?;
            }
            Sizes::Range { min, max, step, rates } => {
                let (min, max, step) = (pair(*min), pair(*max), pair(*step));
                write!(out, "\n    {min} to {max} in steps of {step}")?;
                for (size, rates) in rates.iter().filter(|(_, rates)| *rates != Rates::Unknown) {
                    write!(out, "\n      {}{}", pair(*size), rates_text(rates))?;
                }
            }
            _ => write!(out, "\n    other sizes")?,
        }
    }
    out.write_char('\n')
}

fn pair((width, height): (u32, u32)) -> String {
    format!("{width} x {height}")
}

fn rates_text(rates: &Rates) -> String {
    match rates {
        Rates::Unknown => String::new(),
        Rates::Range { min, max } => format!(": {min} to {max} fps"),
        Rates::Some(rates) => {
            let rates: Vec<String> = rates.iter().map(ToString::to_string).collect();
            format!(": {} fps", rates.join(", "))
        }
        _ => String::new(),
    }
}

fn line(out: &mut String, control: &Control) -> std::fmt::Result {
    let Control { name, kind, default, .. } = control;
    write!(out, "  {name} = {}  ({kind}; default {default}", control.value_text())?;
    if control.read_only {
        out.push_str("; read only");
    }
    if control.inactive {
        out.push_str("; inactive");
    }
    out.push_str(")\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CameraRequest {
        CameraRequest {
            size: (1280, 720),
            fps: 30,
            pass_through: true,
            jpeg: true,
            encoder: Encoder::default(),
        }
    }

    #[test]
    fn no_camera_is_an_empty_list_and_words() {
        assert_eq!(json_of(&[], &[], &request()), "[]\n");
        assert!(words_of(&[], &request()).starts_with("No video device found. Check the camera's cable"));
    }

    #[test]
    fn speakers_are_listed_by_the_name_that_settings_accept() {
        let audio = [Audio { role: "speaker", name: "alsa:hw:0,0".into(), label: "Headphones".into() }];
        let json: Json = serde_json::from_str(&json_of(&[], &audio, &request())).expect("JSON");
        assert_eq!(json, json!([{ "role": "speaker", "name": "alsa:hw:0,0", "label": "Headphones" }]));
        assert_eq!(audio_words(&audio), "alsa:hw:0,0  Headphones (speaker)\n");
    }

    #[test]
    fn one_that_may_not_be_opened_tells_the_cure() {
        let error = MediaError::new(ErrorKind::NotAllowed, "this user may not open /dev/video0");
        let found = [(PathBuf::from("/dev/video0"), Err(error))];
        let words = words_of(&found, &request());
        assert!(words.contains("this user may not open") && words.contains("group `video`"), "{words}");
        let json: Json = serde_json::from_str(&json_of(&found, &[], &request())).expect("JSON");
        let expected = json!([{ "path": "/dev/video0", "error": {
            "code": "not-allowed", "message": "this user may not open /dev/video0" } }]);
        assert_eq!(json, expected);
    }
}
