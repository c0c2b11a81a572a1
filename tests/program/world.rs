//! A running program, and clients of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use futures_lite::{FutureExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use smol::{Async, Timer};

/// Far longer than anything here takes; a timeout, not a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

type Variables<'a> = &'a [(&'a str, &'a str)];

/// The program does not use this machine's settings.
fn command(args: &[&str], variables: Variables<'_>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symple"));
    command.args(args).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs it to its end: returns exit code, stdout and stderr.
pub(crate) fn run(args: &[&str], variables: Variables<'_>) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args, variables).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code().expect("no signal ended it"), text(stdout), text(stderr))
}

/// A program that is killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    out: Receiver<String>,
    log: Receiver<String>,
}

impl Program {
    pub(crate) fn start(args: &[&str], variables: Variables<'_>) -> Program {
        Program::spawn(command(args, variables))
    }

    /// Starts it with its output to a full disk.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_mute(args: &[&str]) -> Program {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >/dev/full", env!("CARGO_BIN_EXE_symple")]).args(args);
        shell.env_clear().stdin(Stdio::null());
        Program::spawn(shell)
    }

    /// Starts it with this soft limit on open files.
    pub(crate) fn start_limited(files: u32, args: &[&str]) -> Program {
        Program::start_with_limit("S", files, args)
    }

    /// Starts it with this limit on open files, which it cannot raise.
    pub(crate) fn start_bound(files: u32, args: &[&str]) -> Program {
        Program::start_with_limit("", files, args)
    }

    fn start_with_limit(which: &str, files: u32, args: &[&str]) -> Program {
        let mut shell = Command::new("/bin/sh");
        let script = format!("ulimit -{which}n {files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_symple")]).args(args).env_clear().stdin(Stdio::null());
        Program::spawn(shell)
    }

    /// Starts it in a network of its own with loopback and one cable, whose ends have these addresses, if this system
    /// allows us to create one.
    #[cfg(all(feature = "camera-gst", target_os = "linux"))]
    pub(crate) fn start_on_cable(ours: &str, theirs: &str, args: &[&str]) -> Option<Program> {
        let script = format!(
            "ip link set lo up && ip link add cable type veth peer name end && ip address add {ours} dev cable \
             && ip address add {theirs} dev end && ip link set end up && ip link set cable up || exit 99\n\
             [ $# = 0 ] || exec \"$0\" \"$@\""
        );
        let alone = |args: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]);
            command.arg(env!("CARGO_BIN_EXE_symple")).args(args).stdin(Stdio::null());
            command
        };
        let possible = alone(&[]).output().is_ok_and(|tried| tried.status.success());
        possible.then(|| Program::spawn(alone(args)))
    }

    /// Starts it with a disk of its own mounted at `folder`, full with one file `full`, as `--state-dir`, if this
    /// system allows us to mount one.
    #[cfg(target_os = "linux")]
    pub(crate) fn start_on_full_disk(folder: &str, args: &[&str]) -> Option<Program> {
        // A page is the smallest possible size.
        let script = "mount -t tmpfs -o size=4k tmpfs \"$1\" && folder=$1 && shift || exit 99\n\
                      head -c 4096 /dev/zero >\"$folder/full\" || exit 99\n\
                      [ $# = 0 ] || exec \"$0\" \"$@\" --state-dir \"$folder\"";
        let mounted = |args: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
            command.args([env!("CARGO_BIN_EXE_symple"), folder]).args(args).stdin(Stdio::null());
            command
        };
        let possible = mounted(&[]).output().is_ok_and(|tried| tried.status.success());
        possible.then(|| Program::spawn(mounted(args)))
    }

    /// Starts another program, if it is installed.
    #[cfg(feature = "redis")]
    pub(crate) fn start_other(name: &str, args: &[&str]) -> Option<Program> {
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            child => Some(Program::of(child.expect("it starts"))),
        }
    }

    fn spawn(mut command: Command) -> Program {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Program::of(child.expect("the program starts"))
    }

    fn of(mut child: Child) -> Program {
        let out = lines(child.stdout.take().expect("piped"));
        let log = lines(child.stderr.take().expect("piped"));
        Program { child, out, log }
    }

    /// The next line of its output that contains `part`.
    pub(crate) fn says(&self, part: &str) -> String {
        await_line(&self.out, part)
    }

    /// The next line of its log that contains `part`.
    pub(crate) fn logs(&self, part: &str) -> String {
        await_line(&self.log, part)
    }

    /// The rest of its log.
    pub(crate) fn rest_of_log(&self) -> String {
        let mut rest = String::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            rest += &(line + "\n");
        }
        rest
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Its folder in /proc.
    #[cfg(target_os = "linux")]
    pub(crate) fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// Waits for its end; returns the unread rest of both outputs.
    #[cfg(feature = "camera-gst")]
    pub(crate) fn rest(mut self) -> String {
        let lines: Vec<String> = self.log.iter().chain(self.out.iter()).collect();
        self.child.wait().expect("it was started");
        lines.join("\n")
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        // Its log ends when it does.
        while self.log.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().expect("it was started")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

fn await_line(lines: &Receiver<String>, part: &str) -> String {
    let mut before = String::new();
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {part:?} after:\n{before}"));
        if line.contains(part) {
            return line;
        }
        before += &(line + "\n");
    }
}

/// Arguments for any port on loopback.
pub(crate) const HERE: [&str; 5] = ["serve", "--listen", "127.0.0.1", "--port", "0"];

/// `symple serve` on a loopback port.
pub(crate) struct Server {
    pub program: Program,
    pub address: SocketAddr,
}

impl Server {
    pub(crate) fn start(args: &[&str], variables: Variables<'_>) -> Server {
        Server::of(Program::start(&[&HERE, args].concat(), variables))
    }

    /// A program that was started with [`HERE`].
    pub(crate) fn of(program: Program) -> Server {
        let line = program.says("listening on ");
        let address = line.rsplit('/').next().and_then(|a| a.parse().ok()).expect("an address");
        Server { program, address }
    }

    /// Status, head and body of a GET.
    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> (u16, String, String) {
        let mut tcp = self.tcp();
        let token = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n")
            .expect("it listens");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, head.to_owned(), body.to_owned())
    }

    /// A socket that sends nothing by itself.
    pub(crate) fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
        tcp
    }

    /// A WebSocket on which nothing was sent yet.
    pub(crate) fn socket(&self) -> Socket {
        self.socket_with(&[])
    }

    /// The same, with additional headers in the request.
    pub(crate) fn socket_with(&self, headers: &[(&'static str, &str)]) -> Socket {
        smol::block_on(async {
            let tcp = Async::<TcpStream>::connect(self.address).await.expect("it listens");
            let mut request =
                format!("ws://{}/", self.address).into_client_request().expect("a good address");
            for (name, value) in headers {
                request.headers_mut().append(*name, value.parse().expect("a header's value"));
            }
            let (ws, _) = async_tungstenite::client_async(request, tcp).await.expect("it speaks WebSocket");
            Socket { ws }
        })
    }

    /// A peer that is admitted.
    pub(crate) fn peer(&self, auth: &str) -> Socket {
        let mut socket = self.socket();
        socket.send(auth);
        socket.text("welcome");
        socket
    }
}

/// A WebSocket, frame by frame.
pub(crate) struct Socket {
    ws: WebSocketStream<Async<TcpStream>>,
}

impl Socket {
    pub(crate) fn send(&mut self, text: &str) {
        smol::block_on(self.ws.send(Message::text(text))).expect("it is open");
    }

    /// Whether it could be sent.
    pub(crate) fn try_send(&mut self, text: &str) -> bool {
        smol::block_on(self.ws.send(Message::text(text))).is_ok()
    }

    /// The next frame of any kind; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let late = async {
            Timer::after(PATIENCE).await;
            panic!("nothing came");
        };
        smol::block_on(self.ws.next().or(late))?.ok()
    }

    /// The next text frame that contains `part`.
    pub(crate) fn text(&mut self, part: &str) -> String {
        loop {
            match self.next() {
                Some(Message::Text(text)) if text.contains(part) => return text.to_string(),
                Some(Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?} arrived before {part:?}"),
            }
        }
    }
}

/// A folder for this test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("symple-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("an ASCII path").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("it can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
