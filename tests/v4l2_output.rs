//! What a player gives to a V4L2 output arrives there: it is read back from the kernel's virtual device, `vivid`, whose
//! input can show what its output gets.
//!
//! `SYMPLE_TEST_OUTPUT` and `SYMPLE_TEST_INPUT` select its two nodes, such as `/dev/video1` and `/dev/video0`, as the
//! emulated machine of `tests/machine` has them after `insmod vivid.ko n_devs=1 node_types=0x101 num_inputs=1
//! input_types=3 num_outputs=1 output_types=1`; unplugging needs root. Elsewhere each test prints SKIPPED.
#![cfg(all(feature = "gst", feature = "v4l2", target_os = "linux"))]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use symple::media::playback::{Audio, Event, Playback, Settings, Stats, Video};
use symple::media::source::v4l2::Camera;
use symple::media::{Codec, Frame, VIDEO_H264};
use v4l::io::traits::CaptureStream;
use v4l::video::{Capture, Output};

/// Far longer than anything takes, in an emulator too: it only ends a test that would otherwise wait forever.
const PATIENCE: Duration = Duration::from_secs(100);
/// The smallest that the device takes.
const SIZE: (usize, usize) = (320, 180);
/// As many as differ by more than an encoder's error.
const PICTURES: usize = 10;
/// Of flat areas, whose values an encoder keeps almost as they are.
const ERROR: u8 = 6;
/// The format of the decoder, which the output takes as it is. The device only shows what it need not convert.
const I420: &[u8; 4] = b"YU12";

/// The device, for one test alone.
struct Looped {
    output: PathBuf,
    input: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// Makes the device show at its input what its output gets; prints SKIPPED if there is none.
fn looped(test: &str) -> Option<Looped> {
    static ALONE: Mutex<()> = Mutex::new(());
    let node = |name| std::env::var_os(name).map(PathBuf::from);
    let nodes = node("SYMPLE_TEST_OUTPUT").zip(node("SYMPLE_TEST_INPUT"));
    let Some((output, input)) = nodes else {
        println!("SKIPPED {test}: SYMPLE_TEST_OUTPUT and SYMPLE_TEST_INPUT name no V4L2 device");
        return None;
    };
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let controls = Camera::open(&input).expect("it opens");
    controls.set("loop_video", &true.into()).expect("vivid can");
    // Otherwise it writes on what it shows.
    controls.set("osd_text_mode", &"None".into()).expect("vivid can");
    Some(Looped { output, input, _alone: alone })
}

/// The brightness of a quarter of a picture.
fn luma(number: usize, quarter: usize) -> u8 {
    30 + 20 * ((number + 3 * quarter) % PICTURES) as u8
}

/// Blue and red of a picture.
fn chroma(number: usize) -> [u8; 2] {
    [if number.is_multiple_of(2) { 90 } else { 170 }, if number.is_multiple_of(3) { 160 } else { 100 }]
}

/// The quarter that a point is in.
fn quarter(x: usize, y: usize, (width, height): (usize, usize)) -> usize {
    usize::from(2 * x >= width) + 2 * usize::from(2 * y >= height)
}

/// A picture of four quarters, each of one brightness, in I420.
fn picture(number: usize, size: (usize, usize)) -> Vec<u8> {
    let (width, height) = size;
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| luma(number, quarter(x, y, size))));
    let [blue, red] = chroma(number).map(|value| vec![value; width * height / 4]);
    rows.chain(blue).chain(red).collect()
}

/// What a frame of the device shows.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// Nothing is played.
    Noise,
    Picture(usize),
    /// Neither.
    Other,
}

fn see(i420: &[u8]) -> Seen {
    let (width, height) = SIZE;
    let far = |pair: &&[u8]| pair[0].abs_diff(pair[1]) > 2 * ERROR;
    let noisy = |row: &[u8]| row.windows(2).filter(far).count() > width / 2;
    // Many of vivid's rows of noise are black, if it scales.
    if i420[..width * height].chunks(width).any(noisy) {
        return Seen::Noise;
    }
    recognize(i420).map_or(Seen::Other, Seen::Picture)
}

/// Which picture this is.
fn recognize(i420: &[u8]) -> Option<usize> {
    let (width, height) = SIZE;
    let value = |index: usize| i420.get(index).copied();
    let number = usize::from(value(height / 4 * width + width / 4)?.saturating_sub(20) / 20);
    let near = |index: usize, expected: u8| value(index).is_some_and(|v| v.abs_diff(expected) <= ERROR);
    // Every eighth point, except for the edges between quarters, which an encoder blurs.
    let points = |size: usize| (4..size).step_by(8).filter(move |&at| (2 * at).abs_diff(size) > 16);
    let right = |x: usize, y: usize| near(y * width + x, luma(number, quarter(x, y, SIZE)));
    let bright = points(height).all(|y| points(width).all(|x| right(x, y)));
    let (all, plane) = (width * height, width * height / 4);
    let [blue, red] = chroma(number);
    let coloured = (0..plane).step_by(31).all(|at| near(all + at, blue) && near(all + plane + at, red));
    (number < PICTURES && bright && coloured).then_some(number)
}

/// What the input shows. Each change of it is received once.
struct Screen<T> {
    changes: Receiver<T>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    output: PathBuf,
}

impl<T: Clone + PartialEq + std::fmt::Debug + Send + 'static> Screen<T> {
    fn watch(device: &Looped, see: fn(&[u8]) -> T) -> Screen<T> {
        let input = v4l::Device::with_path(&device.input).expect("it opens");
        let format = v4l::Format::new(SIZE.0 as u32, SIZE.1 as u32, v4l::FourCC::new(I420));
        let set = Capture::set_format(&input, &format).expect("it has formats");
        assert_eq!((set.width, set.height, &set.fourcc.repr), (format.width, format.height, I420));
        let mut stream = v4l::io::mmap::Stream::with_buffers(&input, v4l::buffer::Type::VideoCapture, 4)
            .expect("nobody else uses it");
        stream.set_timeout(PATIENCE);
        let over = Arc::<AtomicBool>::default();
        let (tell, changes) = channel();
        let ends = over.clone();
        let thread = thread::spawn(move || {
            let mut last = None;
            while !ends.load(Ordering::Relaxed) {
                // An error if it is unplugged.
                let Ok((bytes, _)) = stream.next() else { return };
                let seen = see(bytes);
                if last.as_ref() != Some(&seen) {
                    last = Some(seen.clone());
                    _ = tell.send(seen);
                }
            }
        });
        Screen { changes, over, thread: Some(thread), output: device.output.clone() }
    }

    /// The next change.
    fn next(&self, what: &str) -> T {
        self.changes.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let output = v4l::Device::with_path(&self.output);
            let format = output.and_then(|output| Output::format(&output));
            panic!("timed out waiting for {what}; the output's format is {format:?}")
        })
    }
}

impl<T> Drop for Screen<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Encodes pictures, one in `key_every` of them as a key frame.
struct Encoder {
    pipeline: gst::Pipeline,
    size: (usize, usize),
}

impl Encoder {
    fn new(size: (usize, usize), key_every: u32) -> Encoder {
        gst::init().expect("GStreamer starts");
        let (width, height) = size;
        let line = format!(
            "appsrc name=in format=time caps=video/x-raw,format=I420,width={width},height={height},framerate=10/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast key-int-max={key_every} ! \
             video/x-h264,profile=baseline,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&line).expect("elements").downcast().expect("a pipeline");
        let encoder = Encoder { pipeline, size };
        encoder.pipeline.set_state(gst::State::Playing).expect("it plays");
        encoder
    }

    /// Encodes a picture that is captured now.
    fn frame(&self, number: usize) -> Frame {
        static ZERO: Mutex<Option<Instant>> = Mutex::new(None);
        let captured = Instant::now();
        let zero = *ZERO.lock().expect("nothing panics there").get_or_insert(captured);
        let pts = captured - zero;
        let source = self.pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("named above");
        let sink = self.pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
        let mut buffer = gst::Buffer::from_slice(picture(number, self.size));
        buffer.get_mut().expect("just made").set_pts(gst::ClockTime::try_from(pts).ok());
        source.push_buffer(buffer).expect("it takes frames");
        let sample = sink.pull_sample().expect("a frame for each");
        let buffer = sample.buffer().expect("a sample has one");
        Frame {
            stream: VIDEO_H264,
            codec: Codec::H264,
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            captured,
            pts,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: buffer.map_readable().expect("in memory").as_slice().into(),
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

struct Player {
    playback: Playback,
    events: Receiver<Event>,
}

impl Player {
    fn start(output: &Path) -> Player {
        let video: Video = output.to_str().expect("ASCII").parse().expect("a path");
        let playback = Playback::start(Settings { video, audio: Audio::None, ..Settings::default() });
        let playback = playback.expect("nothing is missing");
        let (tell, events) = channel();
        playback.on(move |event| {
            println!("{event:?}");
            _ = tell.send(event);
        });
        Player { playback, events }
    }

    /// Pushes key frames of a picture until it plays, or fails: returns the error then. It tries again with each.
    fn tries(&self, encoder: &Encoder, number: usize) -> Result<(), symple::media::error::MediaError> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.playback.push(&encoder.frame(number));
            let next = Instant::now() + Duration::from_millis(500);
            while let Ok(event) = self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                match event {
                    Event::Playing { .. } => return Ok(()),
                    Event::Failed { error, .. } => return Err(error),
                    _ => {}
                }
            }
            assert!(Instant::now() < end, "it neither plays nor fails: {:?}", self.playback.stats());
        }
    }

    /// Waits until so many frames have reached the output.
    fn shown(&self, count: u64) -> Stats {
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = self.playback.stats();
            if stats.shown >= count {
                return stats;
            }
            assert!(Instant::now() < end, "too few frames: {stats:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn pictures_arrive_once_each_in_order_and_nothing_else() {
    let Some(device) = looped("pictures_arrive_once_each_in_order_and_nothing_else") else { return };
    let screen = Screen::watch(&device, see);
    assert_eq!(screen.next("the first frame"), Seen::Noise);
    let encoder = Encoder::new(SIZE, 4);
    let player = Player::start(&device.output);
    for number in 0..PICTURES {
        // Each once the one before it is seen, however slow this machine is.
        player.playback.push(&encoder.frame(number));
        assert_eq!(screen.next(&format!("picture {number}")), Seen::Picture(number));
    }
    let stats = player.shown(PICTURES as u64);
    assert_eq!((stats.shown, stats.late, stats.overflow), (PICTURES as u64, 0, 0), "{stats:?}");
    drop(player);
    assert_eq!(screen.next("the end"), Seen::Noise);
}

#[test]
fn an_output_in_use_is_reported_and_played_to_once_it_is_free() {
    let Some(device) = looped("an_output_in_use_is_reported_and_played_to_once_it_is_free") else { return };
    let screen = Screen::watch(&device, see);
    assert_eq!(screen.next("the first frame"), Seen::Noise);
    let (encoder, other_size) = (Encoder::new(SIZE, 1), Encoder::new((640, 360), 1));
    let first = Player::start(&device.output);
    first.tries(&encoder, 0).expect("it is free");
    assert_eq!(screen.next("the first player"), Seen::Picture(0));
    let busy = |encoder: &Encoder| {
        let other = Player::start(&device.output);
        let error = other.tries(encoder, 1).expect_err("it is in use");
        assert_eq!(error.code(), "output-busy", "{error}");
        assert!(error.to_string().contains(&format!("fuser {}", device.output.display())), "{error}");
        other
    };
    // A device in use accepts no other format, and has no buffers for the same one.
    busy(&other_size);
    let second = busy(&encoder);
    first.playback.push(&encoder.frame(2));
    assert_eq!(screen.next("the first player again"), Seen::Picture(2), "it was not disturbed");
    drop(first);
    assert_eq!(screen.next("the end of the first"), Seen::Noise);
    while let Err(error) = second.tries(&encoder, 3) {
        assert_eq!(error.code(), "output-busy", "{error}");
    }
    assert_eq!(screen.next("the second player"), Seen::Picture(3));
}

#[test]
fn what_is_no_output_has_its_reason() {
    let Some(device) = looped("what_is_no_output_has_its_reason") else { return };
    let encoder = Encoder::new(SIZE, 1);
    for (path, code, words) in [
        (&*device.input, "not-an-output", "is not a video output"),
        (Path::new("/dev/video99"), "no-output", "/dev/video99 not found"),
    ] {
        let error = Player::start(path).tries(&encoder, 0).expect_err("it is no output");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Must be the last one, as what is plugged in again has other numbers.
#[test]
fn when_unplugged_it_is_reported() {
    let test = "when_unplugged_it_is_reported";
    let Some(device) = looped(test) else { return };
    let driver = Path::new("/sys/bus/platform/drivers/vivid");
    if let Err(error) = std::fs::OpenOptions::new().write(true).open(driver.join("unbind")) {
        println!("SKIPPED {test}: {} cannot be written: {error}", driver.display());
        return;
    }
    let encoder = Encoder::new(SIZE, 1);
    let player = Player::start(&device.output);
    player.tries(&encoder, 0).expect("it is free");
    std::fs::write(driver.join("unbind"), "vivid.0").expect("it is unplugged");
    // It is tried again, and missing then.
    for words in ["is gone (unplugged?)", "not found"] {
        let error = player.tries(&encoder, 1).expect_err("it is gone");
        assert_eq!(error.code(), "no-output", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[cfg(all(feature = "calls", feature = "camera-gst", feature = "program"))]
mod program {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};
    use symple::media::source::gst::pattern;

    use super::*;

    /// How many frames are seen.
    const SOME: usize = 20;

    /// A program that is killed when it is dropped.
    struct Program {
        child: Child,
        out: BufReader<ChildStdout>,
    }

    impl Program {
        fn start(program: &str, args: &[&str]) -> Program {
            let command =
                Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
            let mut child = command.expect("the program starts");
            let out = BufReader::new(child.stdout.take().expect("piped"));
            Program { child, out }
        }

        /// The next line that contains `part`.
        fn says(&mut self, part: &str) -> String {
            let found = self.out.by_ref().lines().map_while(Result::ok).find(|line| line.contains(part));
            found.unwrap_or_else(|| panic!("it ended without saying {part:?}"))
        }

        /// Ends it as Ctrl-C does; returns its exit code and the rest of what it says.
        fn interrupt(mut self) -> (Option<i32>, String) {
            kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
            let mut rest = String::new();
            self.out.read_to_string(&mut rest).expect("UTF-8");
            (self.child.wait().expect("it was started").code(), rest)
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }

    fn number(i420: &[u8]) -> Option<u16> {
        pattern::read(i420, SIZE.0, SIZE.0, SIZE.1).map(|burned| burned.frame)
    }

    #[test]
    fn a_call_is_played_by_the_program() {
        let Some(device) = looped("a_call_is_played_by_the_program") else { return };
        let built = option_env!("CARGO_BIN_EXE_symple").map(String::from);
        let program = std::env::var("SYMPLE_TEST_PROGRAM").ok().or(built).expect("built with this test");
        let size = format!("{}x{}", SIZE.0, SIZE.1);
        let args = ["--source", "test", "--size", &size, "--fps", "5", "--no-audio", "--port", "0"];
        let mut camera = Program::start(&program, &[&["camera"][..], &args].concat());
        let line = camera.says("open http://127.0.0.1:");
        let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
        let screen = Screen::watch(&device, number);
        assert_eq!(screen.next("the first frame"), None, "nothing plays");
        let output = device.output.to_str().expect("ASCII");
        let args = ["--play", "camera", "--video-output", output, "--audio-output", "none"];
        let mut watch = Program::start(&program, &[&["watch", &*url][..], &args].concat());
        watch.says("video plays");
        let seen: Vec<_> = (0..SOME).map(|_| screen.next("a frame of the camera")).collect();
        println!("{seen:?}");
        let numbers: Vec<u16> = seen.iter().flatten().copied().collect();
        assert_eq!(numbers.len(), SOME, "nothing else was there: {seen:?}");
        // The counter has 16 bits; a slow machine encodes less than all.
        let later = |pair: &[u16]| (1..100).contains(&pair[1].wrapping_sub(pair[0]));
        assert!(numbers.windows(2).all(later), "{numbers:?}");
        let (code, rest) = watch.interrupt();
        assert_eq!(code, Some(0), "{rest}");
        let shown = rest.lines().find_map(|line| line.split(" frames shown").next()?.parse::<usize>().ok());
        // The last one may not be counted yet.
        assert!(shown.is_some_and(|shown| shown + 1 >= SOME), "{rest}");
        while screen.next("the end").is_some() {}
    }
}
