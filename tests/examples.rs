//! The examples as people run them: `hello` and `terminal` connect to the server of `server`, and exchange messages.
#![cfg(all(feature = "client", feature = "server", feature = "tls"))]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running example; it ends with the test.
struct Example {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    said: Receiver<String>,
}

impl Example {
    fn start(name: &'static str, arguments: &[&str], variables: &[(&str, &str)]) -> Example {
        let mut child = Command::new(binary(name))
            .args(arguments)
            .env_remove("SYMPLE_TOKEN")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let (tell, said) = channel();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let input = child.stdin.take().expect("it is piped");
        Example { name, child, input, said }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    /// Waits for a line that contains these words, and returns it.
    fn says(&self, words: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("{} does not print {words:?}, but {before:?}", self.name),
            }
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
#[cfg(all(unix, feature = "camera-gst", feature = "web"))]
fn the_firmware_ends_at_sigterm() {
    let mut firmware = Example::start("firmware", &["127.0.0.1:0"], &[]);
    firmware.says("open http://127.0.0.1:");
    let killed = Command::new("kill").arg(firmware.child.id().to_string()).status().expect("kill is there");
    assert!(killed.success());
    let (tell, ended) = channel();
    let pid = firmware.child.id();
    let status = std::thread::scope(|scope| {
        let child = &mut firmware.child;
        scope.spawn(move || tell.send(child.wait()));
        ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            panic!("it does not end")
        })
    });
    assert!(status.expect("it is our child").success());
}

/// Cargo builds the examples with the tests, in the folder next to them; but `cargo test --test examples` uses those
/// from the last `cargo build --examples`.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let built = test.parent().and_then(|deps| deps.parent()).expect("a folder of the build");
    built.join("examples").join(name)
}

#[test]
fn clients_of_the_server_example_exchange_messages() {
    let server = Example::start("server", &[], &[("PORT", "0")]);
    let port = server.says("listening on port").rsplit(' ').next().expect("a number").to_owned();
    let url = format!("ws://127.0.0.1:{port}");

    let hello = Example::start("hello", &[&url, "alice", "wonderland"], &[]);
    hello.says("I am alice, in alice, public");
    let camera = Example::start("hello", &[&url, "camera"], &[("SYMPLE_TOKEN", "lens")]);
    camera.says("I am camera");
    hello.says("camera is here");
    let stranger = Example::start("hello", &[&url, "alice"], &[]);
    assert!(stranger.says("ended").contains("Authentication failed"));

    let mut terminal = Example::start("terminal", &[&url, "bob", "builder"], &[]);
    terminal.says("I am bob, in bob, public");
    terminal.says("alice is here");
    hello.says("bob is here");
    terminal.says("alice says \"hello\"");
    terminal.types("say alice how are you");
    terminal.says("1 got it");
    hello.says("bob says \"how are you\"");
    terminal.types("say public hello all");
    terminal.says("2 got it");
    terminal.types("say nobody anything");
    terminal.says("not delivered (nobody-there)");
    terminal.types("ask nobody lens zoom 2");
    terminal.says("no reply (nobody-there)");

    // Two terminals of one user send commands to each other.
    let mut second = Example::start("terminal", &[&url, "bob"], &[("SYMPLE_TOKEN", "builder")]);
    second.says("I am bob");
    terminal.says("bob is here");
    terminal.types("ask bob terminal ping");
    terminal.says("bob replies null");
    terminal.types("ask bob terminal dance {\"how\":\"slowly\"}");
    terminal.says("bob refuses with status 501");
    terminal.types("cameras");
    terminal.says("0 cameras");
    second.types("quit");
    second.says("ended: closed by this client");
    terminal.says("bob is gone");
    assert!(second.child.wait().expect("it ends").success());
}
