//! `symple devices`: its output for this machine's devices, if any, and for paths that are not devices.

use crate::world::run;

#[test]
fn the_list_is_json_or_text_and_no_camera_is_no_error() {
    let (code, out, err) = run(&["devices", "--json"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let devices = list.as_array().expect("a list");
    let is_audio = |device: &serde_json::Value| device["role"] == "speaker" || device["role"] == "microphone";
    for device in devices.iter().filter(|device| is_audio(device)) {
        assert!(device["name"].is_string() && device["label"].is_string(), "{device}");
    }
    let devices: Vec<_> = devices.iter().filter(|device| !is_audio(device)).collect();
    for device in &devices {
        assert!(device["path"].as_str().is_some_and(|path| path.starts_with("/dev/video")), "{device}");
        assert!(device["role"].is_string() != device["error"]["code"].is_string(), "{device}");
    }
    let (code, out, _) = run(&["devices"], &[]);
    assert_eq!(code, 0);
    match devices.first() {
        Some(device) => assert!(out.contains(device["path"].as_str().expect("seen above")), "{out}"),
        None => assert!(out.starts_with("No video device found"), "{out}"),
    }
}

#[test]
fn a_path_that_is_not_a_camera_is_an_error() {
    for (args, code, part) in [
        (&["/dev/null"][..], 69, "/dev/null is not a video device"),
        (&["/dev/video9999"][..], 69, "camera /dev/video9999 not found"),
        (&["--set", "gain=1"][..], 64, "--set needs a device"),
        (&["/dev/video9999", "--set", "gain=1"][..], 69, "camera /dev/video9999 not found"),
        (&["--size", "big"][..], 64, "must look like 1280x720"),
    ] {
        let (found, out, err) = run(&[&["devices"], args].concat(), &[]);
        assert!(found == code && err.contains(part), "{args:?}: {found} {out}{err}");
    }
}
