//! Certificates: the user's, reloaded at SIGHUP, and a self-signed one that is created once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use rcgen::{CertificateParams, KeyPair, date_time_ymd, generate_simple_self_signed};
use rustix::process::Signal;
use symple::Client;
use symple::client::{Config, Event};
use symple::net::Roots;

use crate::world::{Folder, PATIENCE, Server, run};
#[cfg(target_os = "linux")]
use crate::world::{HERE, Program};

/// A client that trusts one certificate.
struct Peer {
    client: Client,
    heard: Receiver<Event>,
    run: Option<JoinHandle<()>>,
}

impl Peer {
    fn start(server: &Server, user: &str, trusted: &str) -> Peer {
        let url = format!("wss://localhost:{}", server.address.port());
        let config = Config { max_attempts: Some(1), ..Config::new(user) };
        let client = Client::new(&url, config).expect("a good address");
        client.trust(Roots::Pem(trusted.as_bytes().to_vec()));
        let (tell, heard) = channel();
        client.on(move |event| _ = tell.send(event));
        let run = client.run();
        Peer { client, heard, run: Some(std::thread::spawn(move || smol::block_on(run))) }
    }

    fn hears(&self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} was not heard"));
            if is(&event) {
                return event;
            }
        }
    }

    fn is_let_in(&self) {
        let first = self.hears("a beginning", |e| matches!(e, Event::Online { .. } | Event::Ended { .. }));
        assert!(matches!(first, Event::Online { .. }), "{first:?}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.client.close();
        self.run.take().map(JoinHandle::join);
    }
}

/// Variables under which a program believes it is early 1970, if this machine has the library for that.
fn in_1970() -> Option<[(&'static str, &'static str); 4]> {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let library: &str = library.leak();
    // Timers do not use the wall clock.
    let slow = ("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let zone = ("TZ", "UTC");
    fs::exists(library).is_ok_and(|there| there).then_some([
        ("LD_PRELOAD", library),
        ("FAKETIME", "@1970-01-01 00:00:30"),
        slow,
        zone,
    ])
}

/// A certificate for `localhost` and its key.
fn pair() -> (String, String) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a good name");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn sighup_reloads_the_certificate_and_keeps_connections() {
    let folder = Folder::new();
    let ((old, old_key), (new, new_key)) = (pair(), pair());
    let (cert, key) = (folder.write("cert.pem", &old), folder.write("key.pem", &old_key));
    let variables = [("SYMPLE_SSL_ENABLED", "true"), ("SYMPLE_SSL_CERT", &*cert), ("SYMPLE_SSL_KEY", &*key)];
    let server = Server::start(&["--rooms", "public"], &variables);
    let alice = Peer::start(&server, "alice", &old);
    alice.is_let_in();

    folder.write("cert.pem", &new);
    server.program.signal(Signal::HUP);
    server.program.logs("keeping the previous certificate"); // its key still belongs to the other
    folder.write("key.pem", &new_key);
    server.program.signal(Signal::HUP);
    server.program.logs("reloaded the certificate");

    let bob = Peer::start(&server, "bob", &new);
    bob.is_let_in();
    alice.hears(
        "bob, over the existing socket",
        |e| matches!(e, Event::PeerAdded { peer: p } if p.user == "bob"),
    );
    let carol = Peer::start(&server, "carol", &old);
    carol.hears("a refusal", |e| matches!(e, Event::Ended { .. }));
}

#[test]
fn a_self_signed_certificate_is_created_once_and_readable_by_its_owner_alone() {
    let folder = Folder::new();
    let state = folder.path("state");
    let args = ["--ssl-enabled", "--state-dir", &state];
    let server = Server::start(&args, &[]);
    server.program.logs("created a self-signed certificate");
    let file = folder.path("state/self-signed.pem");
    let made = fs::read_to_string(&file).expect("it is kept");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    Peer::start(&server, "alice", &made).is_let_in();
    drop(server);

    let server = Server::start(&args, &[]);
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), made);
    Peer::start(&server, "alice", &made).is_let_in();
}

#[test]
fn an_expired_self_signed_certificate_from_1970_is_recreated() {
    let folder = Folder::new();
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a good name");
    (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(1979, 12, 30));
    let key = KeyPair::generate().expect("a key");
    let old = params.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem();
    let file = folder.write("self-signed.pem", &old);
    // Left by a program that a full disk ended.
    let left = folder.write("self-signed.4711.new", "");
    let args = ["--ssl-enabled", "--state-dir", &folder.path("")];
    let server = Server::start(&args, &[]);
    server.program.logs("the certificate expired on 1979-12-30T00:00:00Z");
    let made = fs::read_to_string(&file).expect("it is kept");
    assert!(made != old, "a browser refuses the old one for good");
    assert!(!fs::exists(&left).expect("the folder is there"), "it is removed");
    Peer::start(&server, "alice", &made).is_let_in();
    drop(server);
    let server = Server::start(&args, &[]);
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), made);
    Peer::start(&server, "alice", &made).is_let_in();
}

#[test]
fn a_self_signed_certificate_created_before_the_clock_is_set_stays_valid() {
    let Some(in_1970) = in_1970() else { return eprintln!("SKIPPED: no libfaketime (package faketime)") };
    let folder = Folder::new();
    let args = ["--ssl-enabled", "--log", "info", "--state-dir", &folder.path("")];
    let server = Server::start(&args, &in_1970);
    assert!(server.program.logs("created a self-signed certificate").starts_with("1970-01-01T00:00:"));
    let file = folder.path("self-signed.pem");
    let made = fs::read_to_string(&file).expect("it is kept");
    // The client's clock is right.
    Peer::start(&server, "alice", &made).is_let_in();
    drop(server);
    for variables in [&in_1970[..], &[], &in_1970[..]] {
        let server = Server::start(&args, variables);
        Peer::start(&server, "alice", &made).is_let_in();
        assert_eq!(fs::read_to_string(&file).expect("it is kept"), made);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_full_disk_it_serves_and_leaves_no_files() {
    let folder = Folder::new();
    let state = folder.path("");
    let Some(program) = Program::start_on_full_disk(&state, &[&HERE[..], &["--ssl-enabled"]].concat()) else {
        return eprintln!("SKIPPED: no file system can be mounted here");
    };
    let disk = program.proc().join("root").join(state.trim_start_matches('/'));
    let names = || -> Vec<_> {
        fs::read_dir(&disk).expect("it is mounted").flatten().map(|entry| entry.file_name()).collect()
    };
    let server = Server::of(program);
    server.program.logs("cannot keep the self-signed certificate in");
    assert_eq!(names(), ["full"]);
    let untrusting = Peer::start(&server, "alice", &pair().0);
    untrusting.hears("a response with its certificate", |e| matches!(e, Event::Ended { .. }));
    server.program.signal(Signal::HUP);
    server.program.logs("cannot keep the self-signed certificate in");
    server.program.logs("reloaded the certificate");
    assert_eq!(names(), ["full"]);

    // Once there is space, the certificate in use is stored: nobody has to trust another one.
    fs::remove_file(disk.join("full")).expect("it is there");
    server.program.signal(Signal::HUP);
    server.program.logs("reloaded the certificate");
    assert_eq!(names(), ["self-signed.pem"]);
    let kept = fs::read_to_string(disk.join("self-signed.pem")).expect("it is kept");
    Peer::start(&server, "alice", &kept).is_let_in();
}

#[test]
fn a_secret_that_others_can_read_causes_a_warning() {
    let folder = Folder::new();
    let (chain, key) = pair();
    let (cert, key) = (folder.write("cert.pem", &chain), folder.write("key.pem", &key));
    let file = folder.write("symple.toml", "token = 's3cret'\n");
    let args = [
        &["serve", "--check", "--config", &file, "--ssl-enabled"][..],
        &["--ssl-cert", &cert, "--ssl-key", &key],
    ]
    .concat();
    let set = |mode| {
        for file in [&key, &file] {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
    };
    for (mode, told) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        set(mode);
        let (code, _, err) = run(&args, &[]);
        assert_eq!(code, 0, "{err}");
        for cure in [format!("chmod 600 {key}"), format!("chmod 600 {file}")] {
            assert_eq!(err.contains(&cure), told, "{mode:o}: {err}");
        }
        assert!(!err.contains("s3cret"), "{err}");
    }
    // A settings file without a secret may be readable by everybody.
    fs::write(&file, "port = 1\n").expect("it can be written");
    set(0o644);
    assert!(!run(&args, &[]).2.contains("symple.toml"));
}
