//! A PulseAudio server with a null sink `loop`: what it plays can be recorded from its monitor.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::world::{Folder, PATIENCE};

/// A sound server that ends with the test.
pub(crate) struct SoundServer {
    child: Child,
    folder: Folder,
}

impl SoundServer {
    /// Starts one with these modules; prints SKIPPED if that is not possible here.
    pub(crate) fn start(modules: &[&str]) -> Option<SoundServer> {
        gstreamer::init().expect("GStreamer");
        for element in ["pulsesink", "pulsesrc"] {
            if gstreamer::ElementFactory::find(element).is_none() {
                println!("SKIPPED: the GStreamer element {element} is not installed");
                return None;
            }
        }
        let folder = Folder::new();
        let socket = folder.path("socket");
        let protocol = format!("module-native-protocol-unix socket={socket} auth-anonymous=1");
        let mut command = Command::new("pulseaudio");
        command.args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm"]);
        for module in modules.iter().copied().chain([protocol.as_str()]) {
            command.args(["-L", module]);
        }
        let home = folder.path("home");
        std::fs::create_dir_all(&home).expect("the folder is ours");
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("PULSE_RUNTIME_PATH", &home);
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                println!("SKIPPED: pulseaudio is not installed");
                return None;
            }
            child => child.expect("it starts"),
        };
        let server = SoundServer { child, folder };
        let began = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "pulseaudio does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Some(server)
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.folder.path("socket"))
    }

    /// The variables by which a program finds it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let of = |name: &str, value: String| (name.to_owned(), value);
        let home = self.folder.path("home");
        vec![of("PULSE_SERVER", self.address()), of("HOME", home.clone()), of("XDG_RUNTIME_DIR", home)]
    }

    /// Ends it, as when it crashes.
    pub(crate) fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        self.kill();
    }
}
