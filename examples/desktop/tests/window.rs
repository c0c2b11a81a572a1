//! The program as people see it: on a virtual display, with a camera that shows the test pattern. The camera is the
//! program `symple` of the environment variable SYMPLE.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const SCREEN: (usize, usize) = (1000, 700);
/// Of the pattern's bars: 75 % of yellow, cyan, green, magenta, red and blue.
const BARS: [[u8; 3]; 6] =
    [[191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];

/// A process that ends with the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Running { child, lines }
    }

    /// Waits for a line that contains this.
    fn prints(&self, part: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} after {before:?}"));
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A display without a screen, whose pixels are in a file.
struct Display {
    name: String,
    file: PathBuf,
    _server: Running,
}

impl Display {
    fn start(folder: &Path) -> Display {
        let size = format!("{}x{}x24", SCREEN.0, SCREEN.1);
        let mut command = Command::new("Xvfb");
        command.args(["-screen", "0", &size, "-displayfd", "1", "-nolisten", "tcp", "-fbdir"]).arg(folder);
        let server = Running::start(command.stderr(Stdio::null()));
        let name = format!(":{}", server.prints(""));
        Display { name, file: folder.join("Xvfb_screen0"), _server: server }
    }

    /// Moves the pointer, types, and so on.
    fn act(&self, arguments: &[&str]) {
        let done = Command::new("xdotool").args(arguments).env("DISPLAY", &self.name).status();
        assert!(done.expect("xdotool is installed").success(), "{arguments:?}");
    }

    /// Red, green and blue of each pixel, row by row. The file is in the format of `xwd`.
    fn pixels(&self) -> Vec<[u8; 3]> {
        let file = std::fs::read(&self.file).expect("the display has written it");
        let field =
            |at: usize| u32::from_be_bytes(file[4 * at..4 * at + 4].try_into().expect("four bytes")) as usize;
        let (header, depth, row, colours) = (field(0), field(11), field(12), field(19));
        assert_eq!((field(4), field(5), depth), (SCREEN.0, SCREEN.1, 32));
        let pixels = &file[header + 12 * colours..];
        let rows = pixels.chunks_exact(row).take(SCREEN.1);
        let of_row = |row: &[u8]| -> Vec<[u8; 3]> {
            row.chunks_exact(4).take(SCREEN.0).map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect()
        };
        rows.flat_map(of_row).collect()
    }

    /// How many pixels have about the colour of each bar.
    fn bars(&self) -> [usize; 6] {
        let pixels = self.pixels();
        BARS.map(|bar| {
            let is_near = |pixel: &&[u8; 3]| pixel.iter().zip(bar).all(|(a, b)| a.abs_diff(b) < 30);
            pixels.iter().filter(is_near).count()
        })
    }

    /// Pixels of a part of the window that differ from those of before.
    fn changes(&self, before: &[[u8; 3]], columns: usize, rows: usize) -> usize {
        let now = self.pixels();
        let inside = |at: &usize| at % SCREEN.0 < columns && at / SCREEN.0 < rows;
        (0..now.len()).filter(inside).filter(|at| now[*at] != before[*at]).count()
    }

    /// The pixels, once something is drawn and stays.
    fn settled(&self) -> Vec<[u8; 3]> {
        let end = Instant::now() + PATIENCE;
        let mut last = self.pixels();
        loop {
            thread::sleep(Duration::from_millis(300));
            let pixels = self.pixels();
            let drawn = pixels.iter().filter(|pixel| **pixel != [0, 0, 0]).count();
            if pixels == last && drawn > 400_000 {
                return pixels;
            }
            assert!(Instant::now() < end, "nothing is drawn: {drawn} pixels");
            last = pixels;
        }
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}; {:?}", self.bars());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_camera_that_is_clicked_plays_in_the_window() {
    let symple = std::env::var("SYMPLE").expect("SYMPLE is the program `symple`, with a camera");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let display = Display::start(&folder);
    let server =
        Running::start(Command::new(&symple).args(["serve", "--listen", "127.0.0.1", "--port", "0"]));
    let line = server.prints("listening on ");
    let url = format!("ws://{}", line.rsplit('/').next().expect("an address"));
    let window = Running::start(
        Command::new(env!("CARGO_BIN_EXE_desktop"))
            .arg(&url)
            .env("DISPLAY", &display.name)
            .env_remove("WAYLAND_DISPLAY")
            .env("LIBGL_ALWAYS_SOFTWARE", "1"),
    );
    window.prints("online as desktop");
    let empty = display.settled();
    let camera = Running::start(Command::new(&symple).args([
        "camera",
        "--connect",
        &url,
        "--user",
        "door",
        "--name",
        "Front door",
        "--room",
        "public",
        "--size",
        "640x360",
    ]));
    window.prints("cameras: Front door");
    // The first entry of the list.
    display.until("its name is in the list", || display.changes(&empty, 170, 100) > 100);
    assert_eq!(display.bars().iter().filter(|count| **count > 500).count(), 0, "nothing plays yet");
    display.act(&["mousemove", "40", "42", "click", "1"]);
    window.prints("Video plays");
    display.until("the pattern is in the window", || display.bars().iter().all(|count| *count > 3_000));
    println!("pixels of each bar: {:?}", display.bars());
    // The line below the picture.
    display.act(&["mousemove", "300", "450", "click", "1"]);
    display.act(&["type", "good morning"]);
    display.act(&["key", "Return"]);
    window.prints("me: good morning");
    let shot = folder.join("window.ppm");
    let pixels = display.pixels().concat();
    let head = format!("P6\n{} {}\n255\n", SCREEN.0, SCREEN.1);
    std::fs::write(&shot, [head.as_bytes(), &pixels].concat()).expect("it can be written");
    drop(camera);
    display.until("the pattern is gone", || display.bars().iter().all(|count| *count < 500));
}
