//! The formats of real cameras, as `v4l2-ctl --list-formats-ext` prints them, and the best choice for each.

use super::super::device::Role;
use super::*;

/// Sizes of one format that all have the same rates.
type Rows<'a> = &'a [(&'a [u8; 4], &'a [(u32, u32)], &'a [u32])];

fn camera(driver: &str, rows: Rows<'_>) -> Device {
    let mut formats: Vec<Format> = Vec::new();
    for (fourcc, sizes, rates) in rows {
        let fourcc = FourCc(**fourcc);
        let rates = match rates {
            [] => Rates::Unknown,
            rates => Rates::Some(rates.iter().filter_map(|&fps| FrameRate::new(fps, 1)).collect()),
        };
        let new = sizes.iter().map(|&size| Sizes::One { size, rates: rates.clone() });
        match formats.iter_mut().find(|format| format.fourcc == fourcc) {
            Some(format) => format.sizes.extend(new),
            None => {
                let mut format = Format::new(fourcc, "", fourcc.gst_name().is_none());
                format.sizes.extend(new);
                formats.push(format);
            }
        }
    }
    device(driver, formats)
}

fn device(driver: &str, formats: Vec<Format>) -> Device {
    Device {
        path: "/dev/video0".into(),
        link: None,
        card: "Camera".into(),
        driver: driver.into(),
        bus: "usb-1".into(),
        role: Role::Camera,
        formats,
        takes: vec![],
        controls: vec![],
    }
}

/// The older C920 (046d:082d), which has H.264.
fn c920() -> Device {
    let all: &[(u32, u32)] =
        &[(640, 480), (160, 90), (320, 180), (640, 360), (800, 448), (864, 480), (1024, 576)];
    let coded: &[(u32, u32)] = &[(1280, 720), (1920, 1080)];
    let rates: &[u32] = &[30, 24, 20, 15, 10, 7, 5];
    camera(
        "uvcvideo",
        &[
            (b"YUYV", all, rates),
            (b"YUYV", &[(1280, 720)], &[10, 7, 5]),
            (b"YUYV", &[(1600, 896)], &[7, 5]),
            (b"YUYV", &[(1920, 1080)], &[5]),
            (b"H264", all, rates),
            (b"H264", coded, rates),
            (b"MJPG", all, rates),
            (b"MJPG", coded, rates),
        ],
    )
}

/// A camera for ten euros: raw at VGA, JPEG for the rest.
fn cheap() -> Device {
    camera(
        "uvcvideo",
        &[
            (b"MJPG", &[(1280, 720), (800, 600), (640, 480), (320, 240)], &[30]),
            (b"YUYV", &[(640, 480), (352, 288), (320, 240)], &[30, 25, 20, 15, 10, 5]),
            (b"YUYV", &[(800, 600)], &[20, 10, 5]),
            (b"YUYV", &[(1280, 720)], &[5]),
        ],
    )
}

/// The same without JPEG.
fn raw_only() -> Device {
    camera("uvcvideo", &[(b"YUYV", &[(640, 480)], &[30, 15]), (b"YUYV", &[(1280, 720)], &[10, 5])])
}

/// The Pi's legacy camera driver: any size up to the sensor's, any rate, many formats.
fn pi_legacy() -> Device {
    let rate = |fps| FrameRate::new(fps, 1).expect("a rate");
    let rates = Rates::Range { min: rate(1), max: rate(90) };
    let format = |letters: &[u8; 4], coded| {
        let mut format = Format::new(FourCc(*letters), "", coded);
        let (max, rates) = ((2592, 1944), vec![((2592, 1944), rates.clone())]);
        format.sizes.push(Sizes::Range { min: (32, 32), max, step: (2, 2), rates });
        format
    };
    let raw = [b"YU12", b"YUYV", b"RGB3", b"NV12", b"BGR3"].map(|letters| format(letters, false));
    let coded = [b"JPEG", b"H264", b"MJPG"].map(|letters| format(letters, true));
    device("bm2835 mmal", raw.into_iter().chain(coded).collect())
}

/// The kernel's virtual camera as a webcam, as Linux 6.1 lists it: the larger the size, the slower.
fn vivid() -> Device {
    let rates: &[u32] = &[1, 2, 4, 5, 10, 15, 25, 30, 40, 50, 60];
    let sizes = [
        ((320, 180), 11),
        ((640, 360), 9),
        ((640, 480), 7),
        ((1280, 720), 5),
        ((1920, 1080), 4),
        ((3840, 2160), 2),
    ];
    let formats = [b"YUYV", b"UYVY", b"NV12", b"YU12", b"RGB3", b"GREY"].map(|letters| {
        let mut format = Format::new(FourCc(*letters), "", false);
        for (size, count) in sizes {
            let rates =
                Rates::Some(rates[..count].iter().filter_map(|&fps| FrameRate::new(fps, 1)).collect());
            format.sizes.push(Sizes::One { size, rates });
        }
        format
    });
    device("vivid", formats.to_vec())
}

/// A sensor behind a receiver without an ISP.
fn bayer() -> Device {
    camera("unicam", &[(b"pRAA", &[(3280, 2464), (1640, 1232)], &[]), (b"RG10", &[(1640, 1232)], &[])])
}

fn request(size: Size, fps: u32) -> CameraRequest {
    let encoder = Encoder { name: "x264enc".into(), formats: vec!["I420".into(), "NV12".into()] };
    CameraRequest { size, fps, pass_through: true, jpeg: true, encoder }
}

fn chosen(device: &Device, request: &CameraRequest) -> String {
    choose(device, request).map_or("nothing".into(), |choice| choice.to_string())
}

#[test]
fn the_best_format_of_real_cameras_is_chosen() {
    let hd = request((1280, 720), 30);
    let no_h264 = CameraRequest { pass_through: false, ..hd.clone() };
    let no_jpeg = CameraRequest { jpeg: false, ..no_h264.clone() };
    let table = [
        ("C920", c920(), hd.clone(), "H264 1280x720 at 30 fps, passed through"),
        ("C920, its H.264 refused", c920(), no_h264.clone(), "MJPG 1280x720 at 30 fps, decoded and encoded"),
        ("C920, raw alone", c920(), no_jpeg.clone(), "YUYV 1024x576 at 30 fps, encoded"),
        (
            "C920, small",
            c920(),
            CameraRequest { size: (640, 480), ..no_h264.clone() },
            "YUYV 640x480 at 30 fps, encoded",
        ),
        (
            "C920, slow",
            c920(),
            CameraRequest { fps: 8, ..no_h264.clone() },
            "YUYV 1280x720 at 10 fps, encoded",
        ),
        ("C920, a size between", c920(), request((700, 500), 30), "H264 640x480 at 30 fps, passed through"),
        (
            "only encoded and large",
            camera("uvcvideo", &[(b"H264", &[(1920, 1080)], &[30]), (b"MJPG", &[(1920, 1080)], &[30])]),
            hd.clone(),
            "MJPG 1920x1080 at 30 fps, decoded and encoded",
        ),
        ("cheap", cheap(), hd.clone(), "MJPG 1280x720 at 30 fps, decoded and encoded"),
        ("cheap, VGA", cheap(), request((640, 480), 30), "YUYV 640x480 at 30 fps, encoded"),
        ("cheap, 800x600 at 20", cheap(), request((800, 600), 20), "YUYV 800x600 at 20 fps, encoded"),
        (
            "cheap, 800x600 at 30",
            cheap(),
            request((800, 600), 30),
            "MJPG 800x600 at 30 fps, decoded and encoded",
        ),
        (
            "cheap, larger than it has",
            cheap(),
            request((1920, 1080), 60),
            "MJPG 1280x720 at 30 fps, decoded and encoded",
        ),
        ("cheap, smaller than it has", cheap(), request((160, 120), 5), "YUYV 320x240 at 5 fps, encoded"),
        ("raw alone, 720p", raw_only(), hd.clone(), "YUYV 640x480 at 30 fps, encoded"),
        ("raw alone, 720p slow", raw_only(), request((1280, 720), 12), "YUYV 1280x720 at 10 fps, encoded"),
        ("Pi, legacy driver", pi_legacy(), hd.clone(), "H264 1280x720 at 30 fps, passed through"),
        ("Pi, encoded here", pi_legacy(), no_h264.clone(), "YU12 1280x720 at 30 fps, encoded"),
        (
            "Pi, odd",
            pi_legacy(),
            CameraRequest { size: (1281, 721), fps: 120, ..no_h264.clone() },
            "YU12 1280x720 at 90 fps, encoded",
        ),
        ("vivid", vivid(), hd.clone(), "NV12 640x360 at 30 fps, encoded"),
        ("vivid, slow", vivid(), request((1280, 720), 10), "NV12 1280x720 at 10 fps, encoded"),
        ("vivid, full HD", vivid(), request((1920, 1080), 25), "NV12 640x480 at 25 fps, encoded"),
        ("a bare sensor", bayer(), hd.clone(), "nothing"),
        ("nothing at all", device("uvcvideo", vec![]), hd, "nothing"),
    ];
    for (name, device, request, expected) in table {
        assert_eq!(chosen(&device, &request), expected, "{name}");
    }
}

#[test]
fn the_choice_has_its_reason() {
    let hd = request((1280, 720), 30);
    let no_h264 = CameraRequest { pass_through: false, ..hd.clone() };
    let table = [
        (c920(), hd.clone(), "the camera encodes H.264 itself"),
        (
            c920(),
            no_h264,
            "JPEG, which must be decoded; raw frames of this size come at only 10 fps; its H.264 is not passed through",
        ),
        (
            cheap(),
            request((1920, 1080), 60),
            "JPEG, which must be decoded; raw frames of this size come at only 5 fps; it has no 1920x1080",
        ),
        (raw_only(), hd.clone(), "raw frames, converted for the encoder; 1280x720 comes at only 10 fps"),
        (
            raw_only(),
            request((1280, 720), 12),
            "raw frames, converted for the encoder; 12 fps requested, but this size has at most 10",
        ),
        (vivid(), hd, "raw frames that the encoder takes without conversion; 1280x720 comes at only 10 fps"),
    ];
    for (device, request, why) in table {
        assert_eq!(choose(&device, &request).map(|choice| choice.why).as_deref(), Some(why));
    }
}

#[test]
fn buffers_are_shared_between_known_drivers_and_encoders() {
    let hardware = Encoder { name: "v4l2h264enc".into(), formats: vec!["I420".into(), "NV12".into()] };
    let here = CameraRequest { pass_through: false, encoder: hardware, ..request((1280, 720), 30) };
    let io = |device: &Device, request: &CameraRequest| choose(device, request).map(|choice| choice.io);
    assert_eq!(io(&pi_legacy(), &here), Some(Io::DmaBuf));
    assert_eq!(
        io(&pi_legacy(), &CameraRequest { pass_through: true, ..here.clone() }),
        Some(Io::Mmap),
        "nothing to share it with"
    );
    assert_eq!(io(&cheap(), &here), Some(Io::Mmap), "USB");
    assert_eq!(
        io(&pi_legacy(), &CameraRequest { pass_through: false, ..request((1280, 720), 30) }),
        Some(Io::Mmap),
        "software"
    );
}

#[test]
fn nearly_reached_rates_count_as_reached_and_unknown_ones_are_accepted() {
    let ntsc = |letters: &[u8; 4], rates| {
        let mut format = Format::new(FourCc(*letters), "", false);
        format.sizes.push(Sizes::One { size: (1280, 720), rates });
        format
    };
    let rates =
        Rates::Some(vec![FrameRate { frames: 30000, seconds: 1001 }, FrameRate { frames: 60, seconds: 1 }]);
    let device = device("uvcvideo", vec![ntsc(b"YUYV", rates), ntsc(b"UYVY", Rates::Unknown)]);
    assert_eq!(chosen(&device, &request((1280, 720), 30)), "YUYV 1280x720 at 29.97 fps, encoded");
    let unknown = Device { formats: device.formats[1..].to_vec(), ..device };
    assert_eq!(chosen(&unknown, &request((1280, 720), 30)), "UYVY 1280x720, encoded");
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    fn rates() -> impl Strategy<Value = Rates> {
        let rate =
            || (any::<u32>(), any::<u32>()).prop_map(|(frames, seconds)| FrameRate { frames, seconds });
        prop_oneof![
            Just(Rates::Unknown),
            proptest::collection::vec(rate(), 0..4).prop_map(Rates::Some),
            (rate(), rate()).prop_map(|(min, max)| Rates::Range { min, max }),
        ]
    }

    fn sizes() -> impl Strategy<Value = Sizes> {
        let size = || (any::<u32>(), any::<u32>());
        prop_oneof![
            (size(), rates()).prop_map(|(size, rates)| Sizes::One { size, rates }),
            (size(), size(), size(), rates()).prop_map(|(min, max, step, rates)| {
                Sizes::Range { min, max, step, rates: vec![(max, rates)] }
            }),
        ]
    }

    proptest! {
        #[test]
        fn no_list_of_formats_causes_a_panic(all in proptest::collection::vec(sizes(), 0..6), size in any::<(u32, u32)>(), fps in any::<u32>()) {
            let mut formats = [*b"YUYV", *b"H264", *b"MJPG"].map(|letters| Format::new(FourCc(letters), "", false));
            for (at, sizes) in all.into_iter().enumerate() {
                formats[at % 3].sizes.push(sizes);
            }
            _ = choose(&device("uvcvideo", formats.to_vec()), &request(size, fps));
        }
    }
}
