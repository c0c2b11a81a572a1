//! The example `monitor` as people run it: into elements without a display, and into a window of a virtual one.
#![cfg(all(feature = "camera-gst", feature = "web"))]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Waits until both play, or for a line with the other words.
fn play(video: &str, audio: &str, display: Option<&str>, other: &str) {
    let mut test = std::env::current_exe().expect("it runs");
    test.pop();
    test.pop();
    let path: PathBuf = test.join("examples/monitor");
    let mut command = Command::new(path);
    command.args(["127.0.0.1:0", video, audio]).env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
    if let Some(display) = display {
        command.env("DISPLAY", display);
    }
    let child = command.stdout(Stdio::piped()).spawn().expect("the example is built");
    let mut running = Running(child);
    let output = BufReader::new(running.0.stdout.take().expect("it is piped"));
    let (sender, lines) = channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut wanted = match other.is_empty() {
        true => vec!["playing: Playing { kind: Video }", "playing: Playing { kind: Audio }"],
        false => vec![other],
    };
    let mut seen = Vec::new();
    while !wanted.is_empty() {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {wanted:?} in {seen:?}"));
        wanted.retain(|words| !line.contains(words));
        seen.push(line);
    }
}

#[test]
fn a_camera_shows_itself_without_a_display() {
    play("fakesink sync=true", "fakesink sync=true", None, "");
}

#[test]
fn without_a_display_it_explains_why_there_is_no_window() {
    play("window", "none", None, "no-output: Failed");
}

#[test]
fn a_camera_shows_itself_in_a_window() {
    gstreamer::init().expect("GStreamer");
    if gstreamer::ElementFactory::find("ximagesink").is_none() {
        println!("SKIPPED: the GStreamer element ximagesink is not installed");
        return;
    }
    let screen = ["-screen", "0", "800x600x24", "-displayfd", "1", "-nolisten", "tcp"];
    let Ok(mut server) =
        Command::new("Xvfb").args(screen).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    else {
        println!("SKIPPED: Xvfb is not installed");
        return;
    };
    let mut output = server.stdout.take().expect("it is piped");
    let _server = Running(server);
    let mut number = Vec::new();
    let mut byte = [0];
    while output.read(&mut byte).is_ok_and(|read| read == 1) && byte != *b"\n" {
        number.extend(byte);
    }
    let display = format!(":{}", String::from_utf8_lossy(&number));
    play("window", "fakesink sync=true", Some(&display), "");
}
