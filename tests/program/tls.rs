//! Certificates: the user's, read again at SIGHUP, and an own one that is made once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use rcgen::generate_simple_self_signed;
use rustix::process::Signal;
use symple::client::{Config, Event};
use symple::net::{Client, Roots};

use crate::world::{Folder, PATIENCE, Server};

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

/// A certificate for `localhost` and its key.
fn pair() -> (String, String) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a good name");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_hang_up_changes_the_certificate_and_nobody_is_lost() {
    let folder = Folder::new();
    let ((old, old_key), (new, new_key)) = (pair(), pair());
    let (cert, key) = (folder.write("cert.pem", &old), folder.write("key.pem", &old_key));
    let variables = [("SYMPLE_SSL_ENABLED", "true"), ("SYMPLE_SSL_CERT", &*cert), ("SYMPLE_SSL_KEY", &*key)];
    let server = Server::start(&["--rooms", "public"], &variables);
    let alice = Peer::start(&server, "alice", &old);
    alice.is_let_in();

    folder.write("cert.pem", &new);
    server.program.signal(Signal::HUP);
    server.program.logs("the certificate stays as it was"); // its key is still the other's
    folder.write("key.pem", &new_key);
    server.program.signal(Signal::HUP);
    server.program.logs("the certificate was read again");

    let bob = Peer::start(&server, "bob", &new);
    bob.is_let_in();
    alice.hears("bob, over the socket of before", |e| matches!(e, Event::PeerAdded(p) if p.user == "bob"));
    let carol = Peer::start(&server, "carol", &old);
    carol.hears("a refusal", |e| matches!(e, Event::Ended { .. }));
}

#[test]
fn an_own_certificate_is_made_once_and_kept_for_its_owner_alone() {
    let folder = Folder::new();
    let state = folder.path("state");
    let args = ["--ssl-enabled", "--state-dir", &state];
    let server = Server::start(&args, &[]);
    server.program.logs("made a self-signed certificate");
    let file = folder.path("state/self-signed.pem");
    let made = fs::read_to_string(&file).expect("it is kept");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    Peer::start(&server, "alice", &made).is_let_in();
    drop(server);

    let server = Server::start(&args, &[]);
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), made);
    Peer::start(&server, "alice", &made).is_let_in();
}
