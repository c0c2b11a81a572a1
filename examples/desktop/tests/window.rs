//! The program as people see it: on a virtual display, with a camera that shows the test pattern. The camera is the
//! program `symple` of the environment variable SYMPLE.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const SCREEN: (usize, usize) = (1000, 700);
/// Columns of the list of cameras.
const LIST: usize = 160;
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

    /// The rows of pixels that each line of the list spans, from the top: the heading, a line for each camera, a rule
    /// and the status.
    fn list(&self) -> Vec<Range<usize>> {
        let pixels = self.pixels();
        let background = background(&pixels);
        let is_empty =
            |row: &[[u8; 3]]| row[..LIST].iter().all(|pixel| [background, [0, 0, 0]].contains(pixel));
        let mut lines: Vec<Range<usize>> = Vec::new();
        for (y, _) in pixels.chunks_exact(SCREEN.0).enumerate().filter(|(_, row)| !is_empty(row)) {
            match lines.last_mut().filter(|line| line.end == y) {
                Some(line) => line.end = y + 1,
                None => lines.push(y..y + 1),
            }
        }
        lines
    }

    /// A point in the field that one writes into: in the lowest row with a long stretch of a colour of its own.
    fn field(&self) -> Option<(usize, usize)> {
        let pixels = self.pixels();
        let background = background(&pixels);
        pixels.chunks_exact(SCREEN.0).enumerate().rev().find_map(|(y, row)| {
            let mut x = 0;
            let mut stretches = row.chunk_by(|a, b| a == b).map(|stretch| {
                x += stretch.len();
                (x - stretch.len() / 2, stretch)
            });
            let (x, _) = stretches
                .find(|(_, stretch)| stretch.len() > 200 && ![background, [0, 0, 0]].contains(&stretch[0]))?;
            Some((x, y))
        })
    }

    fn click(&self, (x, y): (usize, usize)) {
        self.act(&["mousemove", &x.to_string(), &y.to_string(), "click", "1"]);
    }

    /// Waits until the window is drawn and stays as it is.
    fn settles(&self) {
        let end = Instant::now() + PATIENCE;
        let mut last = self.pixels();
        loop {
            thread::sleep(Duration::from_millis(300));
            let pixels = self.pixels();
            let drawn = pixels.iter().filter(|pixel| **pixel != [0, 0, 0]).count();
            if pixels == last && drawn > 400_000 {
                return;
            }
            assert!(Instant::now() < end, "nothing is drawn: {drawn} pixels");
            last = pixels;
        }
    }

    /// Waits until something is seen, and returns it.
    fn until<T>(&self, what: &str, seen: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = seen() {
                return seen;
            }
            assert!(
                Instant::now() < end,
                "{what}: not within {PATIENCE:?}; bars {:?}, lines of the list {:?}",
                self.bars(),
                self.list()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The colour that most of a window has, which an empty one is.
fn background(pixels: &[[u8; 3]]) -> [u8; 3] {
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for pixel in pixels.iter().filter(|pixel| **pixel != [0, 0, 0]) {
        *counts.entry(*pixel).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or([0, 0, 0], |(colour, _)| colour)
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
    display.settles();
    let empty = display.list().len();
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
    window.prints("Front door is here");
    // Below the heading.
    let entry = display.until("its name is in the list", || {
        let list = display.list();
        (list.len() == empty + 1).then(|| list[1].clone())
    });
    assert_eq!(display.bars().iter().filter(|count| **count > 500).count(), 0, "nothing plays yet");
    display.click((40, entry.start.midpoint(entry.end)));
    window.prints("playing video");
    let bars = display.until("the pattern is in the window", || {
        Some(display.bars()).filter(|bars| bars.iter().all(|count| *count > 3_000))
    });
    println!("pixels of each bar: {bars:?}");
    let field = display.until("a field to write into", || display.field());
    display.click(field);
    // Which a window manager does; there is none on this display.
    display.act(&["search", "--name", "Symple cameras", "windowfocus"]);
    display.act(&["type", "good morning"]);
    display.act(&["key", "Return"]);
    window.prints("me: good morning");
    let shot = folder.join("window.ppm");
    let pixels = display.pixels().concat();
    let head = format!("P6\n{} {}\n255\n", SCREEN.0, SCREEN.1);
    std::fs::write(&shot, [head.as_bytes(), &pixels].concat()).expect("it can be written");
    drop(camera);
    display.until("the pattern is gone", || display.bars().iter().all(|count| *count < 500).then_some(()));
}
