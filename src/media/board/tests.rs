//! All profiles, the choice among them, and the errors of a wrong one.

use std::collections::BTreeSet;
use std::path::Path;

use super::elements::{Encoder, Value};
use super::*;

fn start() -> Start<'static> {
    Start { bitrate: 1_500_000, key_interval: 300, level: "3.1", dmabuf: false }
}

fn facts(model: &str, compatible: &[&str], arch: &str) -> Facts {
    Facts {
        model: (!model.is_empty()).then(|| model.into()),
        compatible: compatible.iter().map(|name| (*name).into()).collect(),
        dmi: None,
        arch: arch.into(),
    }
}

#[test]
fn every_profile_in_the_folder_is_embedded_and_consistent() {
    let elements = elements();
    for (name, encoder) in &elements.encoder {
        encoder.check().unwrap_or_else(|words| panic!("{name}: {words}"));
        assert!(!encoder.source.is_empty() && !encoder.package.is_empty(), "{name}");
    }
    for (name, capture) in &elements.capture {
        capture.check().unwrap_or_else(|words| panic!("{name}: {words}"));
        let placeholders =
            |text: &str| ["{width}", "{height}", "{fps}"].iter().all(|part| text.contains(part));
        assert!(capture.csi.iter().all(|csi| placeholders(&csi.caps) && !csi.advice.is_empty()), "{name}");
        assert!(!capture.source.is_empty() && !capture.package.is_empty(), "{name}");
        for part in capture.csi.iter().flat_map(|csi| &csi.needs) {
            let after = capture.csi.as_ref().and_then(|csi| csi.after.as_deref()).unwrap_or_default();
            assert!(after.contains(part.as_str()), "{name}: {part} is not needed");
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let files = std::fs::read_dir(folder).expect("boards/ is there");
    let stems: BTreeSet<String> = files
        .map(|file| file.expect("it can be listed").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".toml").map(String::from))
        .filter(|name| name != "elements")
        .collect();
    assert_eq!(stems, names().map(String::from).collect(), "files and embedded profiles differ");
    for (name, text) in BOARDS {
        let profile = Profile::parse(text, &elements).unwrap_or_else(|words| panic!("{name}: {words}"));
        assert!(!profile.measured.is_empty(), "{name}");
        for quirk in &profile.quirk {
            assert!(quirk.source.starts_with("https://") && quirk.what.ends_with('.'), "{name}: {quirk:?}");
        }
        let steps = profile.heat.iter().filter(|heat| heat.step_down.is_some());
        assert!(
            steps.into_iter().all(|heat| heat.source.is_some()),
            "{name}: a temperature limit without a source"
        );
        let software = profile.encoder.iter().any(|choice| !elements.encoder[&choice.name].hardware);
        assert!(software, "{name}: no software encoder as the last resort");
        // The build reads these two with a plain text tool.
        let target = text.lines().filter(|line| line.starts_with("target = \"") && line.ends_with('"'));
        assert_eq!(target.count(), usize::from(*name != "generic"), "{name}");
    }
}

#[test]
fn the_best_match_is_chosen() {
    let elements = elements();
    let pi4 = ["raspberrypi,4-model-b", "brcm,bcm2711"];
    let table = [
        (facts("Raspberry Pi 4 Model B Rev 1.4", &pi4, "aarch64"), "raspberry-pi-4"),
        (
            facts("Raspberry Pi 400 Rev 1.0", &["raspberrypi,400", "brcm,bcm2711"], "aarch64"),
            "raspberry-pi-4",
        ),
        (facts("Raspberry Pi 3 Model B Plus Rev 1.3", &[], "aarch64"), "raspberry-pi-3b-plus"),
        (facts("Raspberry Pi 3 Model B+", &[], "aarch64"), "raspberry-pi-3b-plus"),
        (
            facts(
                "Raspberry Pi Zero 2 W Rev 1.0",
                &["raspberrypi,model-zero-2-w", "brcm,bcm2837"],
                "aarch64",
            ),
            "raspberry-pi-zero-2w",
        ),
        // Both have the same chip; the more specific name wins.
        (facts("", &["raspberrypi,model-zero-2-w", "brcm,bcm2837"], "aarch64"), "raspberry-pi-zero-2w"),
        (facts("A board with that chip", &["acme,board", "brcm,bcm2837"], "aarch64"), "raspberry-pi-3b-plus"),
        (
            facts("Raspberry Pi 5 Model B Rev 1.0", &["raspberrypi,5-model-b", "brcm,bcm2712"], "aarch64"),
            "raspberry-pi-5",
        ),
        (facts("Raspberry Pi 500 Rev 1.0", &["brcm,bcm2712"], "aarch64"), "raspberry-pi-5"),
        (facts("Raspberry Pi 50 of the future", &[], "aarch64"), "generic-arm64"),
        (facts("Radxa ROCK 5B", &["radxa,rock-5b", "rockchip,rk3588"], "aarch64"), "rk3588"),
        (facts("Orange Pi 5", &["xunlong,orangepi-5", "rockchip,rk3588s"], "aarch64"), "rk3588"),
        (facts("Radxa ZERO 3W", &["radxa,zero-3w", "rockchip,rk3566"], "aarch64"), "rk3566"),
        (
            facts(
                "NVIDIA Jetson Orin Nano Developer Kit",
                &["nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"],
                "aarch64",
            ),
            "jetson-orin-nano",
        ),
        (
            facts(
                "A carrier of another maker",
                &["acme,carrier", "nvidia,p3767-0000", "nvidia,tegra234"],
                "aarch64",
            ),
            "jetson-orin-nx",
        ),
        (facts("NXP i.MX8MPlus EVK board", &["fsl,imx8mp-evk", "fsl,imx8mp"], "aarch64"), "imx8mp"),
        (facts("", &[], "aarch64"), "generic-arm64"),
        (facts("", &[], "x86_64"), "x86-vaapi"),
        (facts("", &[], "riscv64"), "generic"),
    ];
    for (facts, expected) in table {
        let (profile, info) = detect(&facts, &elements);
        assert_eq!(info.file, expected, "{facts:?}: {info}");
        assert_eq!(info.name, profile.name);
    }
}

#[test]
fn each_encoder_becomes_a_chain_for_its_element() {
    let elements = elements();
    let chain = |board: &str, name: &str| {
        let (profile, _) = named(board, &elements).expect("a name of the list");
        let candidates = profile.candidates(&[], &elements);
        let (_, encoder) = candidates.into_iter().find(|(other, _)| other == name).expect("it is there");
        encoder.expect("it is known").chain(name, start())
    };
    let table = [
        (
            "raspberry-pi-4",
            "v4l2h264enc",
            "videoconvert ! v4l2h264enc name=enc extra-controls=controls,video_bitrate=1500000,\
             h264_i_frame_period=300,video_gop_size=300,repeat_sequence_header=1,video_bitrate_mode=1 ! \
             video/x-h264,profile=constrained-baseline,level=(string)3.1",
        ),
        (
            "rk3588",
            "mpph264enc",
            "videoconvert ! mpph264enc name=enc header-mode=each-idr profile=baseline qp-max=48 rc-mode=cbr \
             bps=1500000 gop=300 ! video/x-h264",
        ),
        (
            "jetson-orin-nx",
            "nvv4l2h264enc",
            "videoconvert ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc name=enc \
             control-rate=1 insert-sps-pps=true preset-level=1 profile=0 bitrate=1500000 iframeinterval=300 \
             idrinterval=300 ! video/x-h264",
        ),
        (
            "imx8mp",
            "vpuenc_h264",
            "videoconvert ! vpuenc_h264 name=enc bitrate=1500 gop-size=300 ! \
             video/x-h264,stream-format=byte-stream",
        ),
        (
            "x86-vaapi",
            "vah264enc",
            "videoconvert ! vah264enc name=enc b-frames=0 rate-control=cbr bitrate=1500 key-int-max=300 ! \
             video/x-h264,profile=constrained-baseline",
        ),
        (
            "raspberry-pi-5",
            "x264enc",
            "videoconvert ! x264enc name=enc option-string=\"scenecut=0\" speed-preset=superfast threads=3 \
             tune=zerolatency vbv-buf-capacity=300 bitrate=1500 key-int-max=300 ! \
             video/x-h264,profile=constrained-baseline,level=(string)3.1",
        ),
        (
            "generic",
            "openh264enc",
            "videoconvert ! openh264enc name=enc complexity=low enable-frame-skip=true \
             rate-control=bitrate usage-type=camera bitrate=1500000 gop-size=300 ! \
             video/x-h264,profile=constrained-baseline",
        ),
    ];
    for (board, name, expected) in table {
        assert_eq!(chain(board, name), expected, "{board}");
    }
}

#[test]
fn dma_buffers_are_configured_for_encoders_that_accept_them() {
    let elements = elements();
    let both = |name: &str| {
        let encoder = &elements.encoder[name];
        [false, true].map(|dmabuf| encoder.chain(name, Start { dmabuf, ..start() }))
    };
    let [without, with] = both("v4l2h264enc");
    assert!(!without.contains("io-mode"), "{without}");
    assert!(with.contains(" v4l2h264enc name=enc output-io-mode=dmabuf-import extra-controls="), "{with}");
    assert_eq!(without, with.replace(" output-io-mode=dmabuf-import", ""), "and nothing else changes");
    let [without, with] = both("x264enc");
    assert_eq!(with, without);
}

#[test]
fn encoders_follow_the_boards_order_or_the_users() {
    let elements = elements();
    let (nano, _) = named("jetson-orin-nano", &elements).expect("a name of the list");
    let names = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).into()).collect();
        let found = nano.candidates(&wanted, &elements);
        found.into_iter().map(|(name, encoder)| (name, encoder.is_ok())).collect::<Vec<_>>()
    };
    let own = [("x264enc".to_owned(), true), ("openh264enc".to_owned(), true)];
    assert_eq!(names(&[]), own, "no hardware encoder on a board without one");
    let asked = [("nvv4l2h264enc".to_owned(), true), ("x265enc".to_owned(), false)];
    assert_eq!(names(&["nvv4l2h264enc", "x265enc"]), asked, "but requested encoders are tried");
    let reason = nano.candidates(&["x265enc".into()], &elements).remove(0).1.expect_err("unknown");
    assert!(reason.contains("did you mean \"x264enc\"?"), "{reason}");
    // The board's settings still apply when the user names the encoder.
    let threads = |encoder: &Encoder| encoder.properties.get("threads").cloned();
    let x264 = nano.candidates(&["x264enc".into()], &elements).remove(0).1.expect("known");
    assert_eq!(threads(&x264), Some(Value::Int(4)));
    assert_eq!(threads(&elements.encoder["x264enc"]), None);
}

#[test]
fn the_small_rendition_has_encoders_where_the_board_can_encode_two() {
    let elements = elements();
    let expected = [
        ("raspberry-pi-zero-2w", ""),
        ("raspberry-pi-3b-plus", "x264enc openh264enc"),
        ("raspberry-pi-4", "v4l2h264enc x264enc openh264enc"),
        ("raspberry-pi-5", "x264enc openh264enc"),
        ("rk3588", "mpph264enc v4l2h264enc x264enc openh264enc"),
        ("rk3566", "mpph264enc"),
        ("jetson-orin-nano", "x264enc openh264enc"),
        ("jetson-orin-nx", "nvv4l2h264enc x264enc openh264enc"),
        ("imx8mp", "vpuenc_h264 v4l2h264enc x264enc openh264enc"),
        ("x86-vaapi", "vah264enc vah264lpenc vaapih264enc x264enc openh264enc"),
        ("generic-arm64", "x264enc openh264enc"),
        ("generic", "x264enc openh264enc"),
    ];
    assert!(expected.iter().map(|(board, _)| *board).eq(names()));
    for (board, small) in expected {
        let (profile, _) = named(board, &elements).expect("a name of the list");
        let all = profile.small_candidates(&elements);
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "), small, "{board}");
    }
    // The board's settings, except for those that the rendition has of its own.
    let (five, _) = named("raspberry-pi-5", &elements).expect("a name of the list");
    let (_, x264) = five.small_candidates(&elements).remove(0);
    let has = |name: &str| x264.properties.get(name).cloned();
    assert_eq!(has("threads"), Some(Value::Int(1)));
    assert_eq!(has("speed-preset"), Some(Value::Text("superfast".into())));
}

const MINE: &str = "
name = 'mine'
measured = 'not measured'
two_encodes = false
[match]
[[encoder]]
name = 'x264enc'
[heat]
zone = 'cpu-thermal'
step_down = 75
";

#[test]
fn a_wrong_profile_is_refused_with_its_key_and_a_suggestion() {
    let elements = elements();
    let change = |from: &str, to: &str| MINE.replace(from, to);
    assert!(written("mine.toml", MINE, &elements).is_ok());
    let own = format!(
        "{}\n[element.acmeenc]\nhardware = true\npackage = 'acme'\ncaps = 'video/x-h264'\nsource = 'a book'\n\
         documented = ['rate', 'gop']\nbitrate = {{ property = 'rate', unit = 'kbit/s' }}\n\
         key_interval = [{{ property = 'gop', unit = 'frames' }}]\n",
        change("'x264enc'", "'acmeenc'")
    );
    let (acme, _) = written("mine.toml", &own, &elements).expect("an encoder of one's own");
    let chain = acme.candidates(&[], &elements).remove(0).1.expect("described").chain("acmeenc", start());
    assert_eq!(chain, "videoconvert ! acmeenc name=enc rate=1500 gop=300 ! video/x-h264");
    for (text, part) in [
        (change("two_encodes", "two_encode"), "unknown key \"two_encode\"; did you mean \"two_encodes\"?"),
        (
            change("step_down = 75", "step_dwon = 75"),
            "heat: unknown key \"step_dwon\"; did you mean \"step_down\"?",
        ),
        (change("step_down = 75", "step_down = 'hot'"), "heat.step_down: invalid type"),
        (change("step_down = 75", "step_down = 750"), "heat.step_down: 750 °C"),
        (change("step_down = 75", "step_down = 75\nstep_up = 80"), "must be lower than step_down"),
        (change("step_down = 75", "step_up = 70"), "heat.step_up: requires step_down"),
        (
            change("'x264enc'", "'x246enc'"),
            "encoder.[1]: unknown encoder \"x246enc\"; did you mean \"x264enc\"?",
        ),
        (
            change("'x264enc'", "'x264enc'\nproperties = { thread = 3 }"),
            "encoder.[1]: \"thread\" is not a documented property; did you mean \"threads\"?",
        ),
        (
            change("'x264enc'", "'v4l2h264enc'\ncontrols = { video_bitrat = 3 }"),
            "did you mean \"video_bitrate\"?",
        ),
        (
            change("'x264enc'", "'v4l2h264enc'\ncontrols = { video_bitrate = 'much' }"),
            "encoder.[1].controls.video_bitrate: invalid type",
        ),
        (
            change("[heat]", "[[small]]\nname = 'x246enc'\n[heat]"),
            "small.[1]: unknown encoder \"x246enc\"; did you mean \"x264enc\"?",
        ),
        (
            change("[heat]", "[[capture]]\nelement = 'libcamerasource'\nsensors = 'csi'\n[heat]"),
            "did you mean \"libcamerasrc\"?",
        ),
        (
            change("[heat]", "[[capture]]\nelement = 'v4l2src'\nsensors = 'usbb'\n[heat]"),
            "capture.[1].sensors: must be one of csi, usb, not \"usbb\"; did you mean \"usb\"?",
        ),
        (
            change(
                "[heat]",
                "[[capture]]\nelement = 'v4l2src'\nsensors = 'usb'\nproperties = { iomode = 2 }\n[heat]",
            ),
            "did you mean \"io-mode\"?",
        ),
        (change("[match]\n[[encoder]]\nname = 'x264enc'", "encoder = []\n[match]"), "name at least one"),
        (
            own.replace("'kbit/s'", "'kbit'"),
            "element.acmeenc.bitrate.unit: must be one of bit/s, kbit/s, frames, not \"kbit\"; did you mean \"kbit/s\"?",
        ),
        (own.replace("'kbit/s'", "'frames'"), "element.acmeenc: the unit of a bitrate"),
        (own.replace("unit = 'frames'", "unit = 'bit/s'"), "the unit of a key frame interval"),
        (
            own.replace("property = 'rate',", ""),
            "element.acmeenc.bitrate: must have either a property or a control",
        ),
        ("name = ".into(), "invalid TOML"),
    ] {
        let error = written("mine.toml", &text, &elements).expect_err(part);
        let words = error.to_string();
        assert!(words.contains(part) && words.contains("mine.toml"), "{part}\n{words}");
        assert_eq!(error.code(), "bad-settings");
    }
}

#[test]
fn a_board_is_a_name_or_a_path() {
    for (text, board) in [
        ("auto", Board::Auto),
        (" rk3588 ", Board::Named { name: "rk3588".into() }),
        ("./rk3588", Board::File { path: "./rk3588".into() }),
        ("mine.toml", Board::File { path: "mine.toml".into() }),
    ] {
        assert_eq!(text.parse::<Board>().expect(text), board);
    }
    let error = "rasberry-pi-4".parse::<Board>().expect_err("a slip").to_string();
    assert!(error.contains("did you mean \"raspberry-pi-4\"?") && error.contains("imx8mp"), "{error}");
    assert_eq!(named("pi", &elements()).expect_err("unknown").code(), "bad-settings");
}
