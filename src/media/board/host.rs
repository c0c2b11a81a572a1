//! Facts about the host: which board it is, its temperature, and whether it throttles. All are read from files below a
//! root, which is an argument so that tests can provide another machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Board, BoardInfo, Elements, Facts, Firmware, Profile};
use crate::media::adapt::temperature::{Reading, TemperatureLimits, Throttled};
use crate::media::board;
use crate::media::error::{ErrorKind, MediaError};

/// How far below the kernel's own trip point quality is reduced, and how far below that it is restored, in °C.
const MARGIN: f32 = 5.0;

/// Returns the profile to use.
pub(in crate::media) fn board(
    root: &Path,
    wanted: &Board,
    elements: &Elements,
) -> Result<(Profile, BoardInfo), MediaError> {
    match wanted {
        Board::Auto => Ok(board::detect(&facts(root), elements)),
        Board::Named { name } => board::named(name, elements),
        Board::File { path } => {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| {
                MediaError::new(ErrorKind::NoFile, format!("cannot read the board profile {name}: {error}"))
            })?;
            board::written(&name, &text, elements)
        }
    }
}

/// Device tree and DMI, if present.
fn facts(root: &Path) -> Facts {
    // Texts in a device tree end in a zero. A service may not see its path in /proc.
    let texts = |path: &str| -> Vec<String> {
        let elsewhere = path.replace("proc/device-tree", "sys/firmware/devicetree/base");
        let read = |path: &str| fs::read(root.join(path)).ok();
        let bytes = read(path).or_else(|| read(&elsewhere)).unwrap_or_default();
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

/// Where to read a board's temperature, according to its profile.
#[derive(Clone, Debug)]
pub struct Thermometer {
    /// The file with the zone's temperature, in thousandths of a °C.
    temperature: Option<PathBuf>,
    /// The file with the firmware's flags, in hexadecimal.
    flags: Option<PathBuf>,
    /// The temperature limits.
    pub limits: TemperatureLimits,
}

impl Thermometer {
    /// Finds the one that a profile names; `None` if the machine lacks it or its limits are unknown.
    pub(in crate::media) fn find(root: &Path, heat: &board::Heat) -> Option<Thermometer> {
        let zone = zone(root, &heat.zone);
        let flags = match heat.firmware {
            Some(Firmware::RaspberryPi) => throttled(root),
            None => None,
        };
        let trip = || zone.as_deref().and_then(passive).map(|celsius| celsius - MARGIN);
        let Some(step_down) = heat.step_down.or_else(trip) else {
            log::debug!("thermal zone {} not found, or it has no passive trip point", heat.zone);
            return None;
        };
        let limits = TemperatureLimits { step_down, step_up: heat.step_up.unwrap_or(step_down - MARGIN) };
        let temperature = zone.map(|zone| zone.join("temp"));
        (temperature.is_some() || flags.is_some()).then_some(Thermometer { temperature, flags, limits })
    }

    /// Reads the temperature now. Two short kernel files: a few microseconds, or a millisecond if the firmware is
    /// queried.
    pub fn read(&self) -> Reading {
        let text = |path: &Option<PathBuf>| fs::read_to_string(path.as_ref()?).ok();
        let thousandths = text(&self.temperature).and_then(|text| text.trim().parse::<f32>().ok());
        let bits = text(&self.flags).and_then(|text| {
            let text = text.trim();
            u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
        });
        Reading {
            celsius: thousandths.map(|number| number / 1000.0),
            throttled: bits.map(Throttled::from_bits),
        }
    }
}

/// The folder of the thermal zone of a `type`.
fn zone(root: &Path, kind: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(root.join("sys/class/thermal")).ok()?;
    let mut zones: Vec<PathBuf> = folders
        .flatten()
        .filter(|folder| folder.file_name().to_string_lossy().starts_with("thermal_zone"))
        .map(|folder| folder.path())
        .filter(|zone| fs::read_to_string(zone.join("type")).is_ok_and(|text| text.trim() == kind))
        .collect();
    zones.sort_unstable();
    zones.into_iter().next()
}

/// The lowest temperature at which the kernel slows the machine down, in °C.
fn passive(zone: &Path) -> Option<f32> {
    let trip = |number: u32| {
        let text = |what: &str| fs::read_to_string(zone.join(format!("trip_point_{number}_{what}"))).ok();
        (text("type")?.trim() == "passive").then_some(())?;
        let celsius = text("temp")?.trim().parse::<f32>().ok()? / 1000.0;
        // Some have a trip point that is not set.
        (40.0..=120.0).contains(&celsius).then_some(celsius)
    };
    (0..12).filter_map(trip).min_by(f32::total_cmp)
}

/// `get_throttled` of the Raspberry Pi's firmware, wherever the kernel provides that device.
fn throttled(root: &Path) -> Option<PathBuf> {
    let platform = root.join("sys/devices/platform");
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let firmware = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with("firmware") && path.join("get_throttled").is_file()
    };
    let near = folders(&platform);
    let buses =
        near.iter().filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("soc")));
    let below = buses.flat_map(|bus| folders(bus)).collect::<Vec<_>>();
    let found = near.iter().chain(&below).find(|path| firmware(path))?;
    Some(found.join("get_throttled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files, which is removed after the test.
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
    fn a_board_is_detected_by_its_device_tree() {
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
        let (_, info) =
            super::board(&pi.0, &Board::Named { name: "rk3588".into() }, &elements).expect("it is known");
        assert_eq!((info.file.as_str(), info.because.as_str()), ("rk3588", "as configured"));
        let path = "sys/firmware/devicetree/base/compatible";
        let compatible = Root::new("cm4", &[(path, "acme,carrier\0brcm,bcm2711\0")]);
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
    fn a_users_own_profile_is_read_from_its_file() {
        let elements = board::elements();
        let good = "name = 'mine'\nmeasured = 'not measured'\ntwo_encodes = false\n[match]\n[[encoder]]\nname = 'x264enc'\n";
        let root = Root::new("own", &[("mine.toml", good), ("bad.toml", "nme = 'mine'\n")]);
        let own = |name: &str| super::board(&root.0, &Board::File { path: root.0.join(name) }, &elements);
        let (profile, info) = own("mine.toml").expect("it is right");
        assert!(info.file.ends_with("mine.toml") && info.name == "mine" && !profile.two_encodes);
        let bad = own("bad.toml").expect_err("a slip");
        assert!(bad.code() == "bad-settings" && bad.to_string().contains("did you mean \"name\"?"), "{bad}");
        assert_eq!(own("none.toml").expect_err("no such file").code(), "no-file");
    }

    const PI: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

    fn heat(zone: &str, text: &str) -> board::Heat {
        let profile = format!(
            "name = 'a'\nmeasured = 'no'\ntwo_encodes = true\n[match]\n[[encoder]]\nname = 'x264enc'\n\
             [heat]\nzone = '{zone}'\n{text}"
        );
        let (profile, _) = board::written("a.toml", &profile, &board::elements()).expect("a profile");
        profile.heat.expect("written above")
    }

    #[test]
    fn temperature_and_flags_are_read() {
        let root = Root::new(
            "heat",
            &[
                ("sys/class/thermal/cooling_device0/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/temp", "99000\n"),
                ("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone1/temp", "61322\n"),
                (PI, "50005\n"),
            ],
        );
        let pi = heat("cpu-thermal", "step_down = 75\nstep_up = 68\nfirmware = 'raspberrypi'");
        let thermometer = Thermometer::find(&root.0, &pi).expect("it is there");
        assert_eq!(thermometer.limits, TemperatureLimits { step_down: 75.0, step_up: 68.0 });
        let flags = Throttled { under_voltage: true, throttled: true, ..Throttled::default() };
        assert_eq!(thermometer.read(), Reading { celsius: Some(61.322), throttled: Some(flags) });
        fs::write(root.0.join(PI), "0x0\n").expect("a file");
        assert_eq!(thermometer.read().throttled, Some(Throttled::default()));
        // A file that disappears or contains nonsense means no reading, not a failure.
        fs::write(root.0.join("sys/class/thermal/thermal_zone1/temp"), "hot\n").expect("a file");
        fs::remove_file(root.0.join(PI)).expect("it was there");
        assert_eq!(thermometer.read(), Reading::default());
        let other = heat("cpu-thermal", "step_down = 75");
        assert_eq!(Thermometer::find(&root.0, &other).expect("a zone").limits.step_up, 70.0);
    }

    #[test]
    fn without_limits_in_the_profile_the_kernels_trip_point_counts() {
        let zone = |trips: &[(&str, &str)]| {
            let mut files = vec![("sys/class/thermal/thermal_zone0/type", "soc\n")];
            files.extend_from_slice(trips);
            let root = Root::new("trips", &files);
            Thermometer::find(&root.0, &heat("soc", "")).map(|found| found.limits.step_down)
        };
        let passive = [
            ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "60000\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_1_type", "passive\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_1_temp", "95000\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_2_type", "passive\n"),
            ("sys/class/thermal/thermal_zone0/trip_point_2_temp", "-274000\n"),
        ];
        assert_eq!(zone(&passive), Some(90.0));
        assert_eq!(zone(&passive[..2]), None, "a critical point is too late");
        assert_eq!(zone(&[]), None, "no limit is known");
        let bare = Root::new("no-zone", &[]);
        assert!(Thermometer::find(&bare.0, &heat("soc", "step_down = 75")).is_none());
    }

    #[test]
    fn the_firmware_is_found_at_its_path_in_other_kernels() {
        let pi = heat("cpu-thermal", "step_down = 75\nfirmware = 'raspberrypi'");
        for (name, path) in
            [("soc", PI), ("flat", "sys/devices/platform/soc@107c000000:firmware/get_throttled")]
        {
            let root = Root::new(name, &[(path, "4\n")]);
            let found = Thermometer::find(&root.0, &pi).expect("the flags alone are enough");
            assert!(found.read().throttled.is_some_and(|flags| flags.throttled), "{path}");
        }
    }
}
