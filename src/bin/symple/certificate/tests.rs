use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use futures_lite::FutureExt;
use rcgen::{CertificateParams, KeyPair};
use symple::net::ServerConfig;

use super::*;

const YEAR: u64 = 365 * 86_400;

/// A folder of this test alone, with an own certificate's file in it or not.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("symple-own-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder for temporary files");
        Folder(path)
    }

    fn own(&self) -> Certificate {
        Certificate::choose(None, None, Some(&self.0), &[]).expect("a folder is given")
    }

    fn file(&self) -> PathBuf {
        self.0.join("self-signed.pem")
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.file()).expect("it is kept")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn at(years: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(years * YEAR)
}

/// A certificate with its key, of these dates.
fn pem(start: SystemTime, end: SystemTime) -> Vec<u8> {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a good name");
    (params.not_before, params.not_after) = (start.into(), end.into());
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem()).into_bytes()
}

#[test]
fn one_that_is_made_in_1970_is_good_by_every_clock_and_made_once() {
    let folder = Folder::new();
    let made = folder.own().load_at(at(0)).expect("there is room");
    let content = folder.content();
    let years = made.validity().expect("it has dates");
    assert_eq!(
        (*years.start(), years.end().duration_since(UNIX_EPOCH).expect("later").as_secs()),
        (UNIX_EPOCH, 253_402_300_799)
    );
    for years in [0, 9, 56, 57, 136, 8000] {
        folder.own().load_at(at(years)).expect("it is kept");
        assert_eq!(folder.content(), content, "{years} years after 1970");
    }
}

#[test]
fn one_of_no_more_use_is_made_anew_once_by_whatever_clock() {
    for (what, old) in [
        ("made in 1970 for ten years", pem(at(0), at(10))),
        ("made by a clock far ahead", pem(at(100), at(110))),
        ("cut off by a loss of power", pem(at(0), at(10))[..300].to_vec()),
        ("empty", vec![]),
    ] {
        for years in [0, 57] {
            let folder = Folder::new();
            fs::write(folder.file(), &old).expect("a file");
            folder.own().load_at(at(years)).expect("there is room");
            let begins_later = what.contains("ahead") && years == 0;
            assert_eq!(folder.content() == old, begins_later, "{what}, {years} years after 1970");
            let content = folder.content();
            folder.own().load_at(at(years)).expect("it is kept");
            assert_eq!(folder.content(), content, "{what}: again");
        }
    }
}

#[test]
fn a_check_says_what_would_be_done_and_does_nothing() {
    let folder = Folder::new();
    let says = || folder.own().check().expect("it can be read");
    assert!(says().contains("would be created and kept in"), "{}", says());
    fs::write(folder.file(), pem(at(0), at(10))).expect("a file");
    assert!(says().contains("renewed (the certificate expired on 1979-12-30T00:00:00Z)"), "{}", says());
    assert_eq!(folder.own().check().expect("it can be read"), says());
    fs::write(folder.file(), pem(at(0), at(1000))).expect("a file");
    assert!(says().starts_with("self-signed, kept in"), "{}", says());
}

#[test]
fn a_server_that_runs_shows_another_one_when_the_old_one_has_ended() {
    let folder = Folder::new();
    let old = pem(at(0), at(60));
    fs::write(folder.file(), &old).expect("a file");
    let server = Server::bind(ServerConfig::default()).expect("it listens nowhere");
    let certificate = folder.own();
    certificate.load_at(at(58)).expect("it is kept");
    certificate.look(&server, at(59));
    assert_eq!(folder.content(), old, "it is good for a year");
    certificate.look(&server, at(61));
    let shown = certificate.shown.borrow().clone().expect("it was loaded").0;
    assert!(shown != old && shown == folder.content());
    certificate.look(&server, at(62));
    assert_eq!(folder.content(), shown);
}

#[test]
fn a_server_that_runs_shows_the_users_when_it_was_renewed() {
    let folder = Folder::new();
    let (file, renewed) = (folder.file(), pem(at(1), at(1000)));
    fs::write(&file, pem(at(0), at(1000))).expect("a file");
    let server = Server::bind(ServerConfig::default()).expect("it listens nowhere");
    let certificate = Certificate::choose(Some(&file), Some(&file), None, &[]).expect("both are given");
    certificate.load().expect("it is there");
    fs::write(&file, &renewed).expect("a file");
    let shown = async {
        while certificate.shown.borrow().as_ref().is_none_or(|(chain, _)| *chain != renewed) {
            smol::Timer::after(Duration::from_millis(1)).await;
        }
    };
    let late = async {
        smol::Timer::after(Duration::from_secs(30)).await;
        panic!("the old one is shown for good");
    };
    smol::block_on(shown.or(certificate.tend_each(Duration::from_millis(1), &server)).or(late));
}
