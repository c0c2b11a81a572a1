//! The certificate that a server shows: the user's, or one of its own that is made once and kept.
//!
//! Both are looked at when they are read and once a day, since who runs a board may not be there: a certificate of
//! ours is made anew before it ends, the user's is read again when it changed, and its end is told in the log.
//!
//! An own one holds from 1970 to 9999. A board without a battery makes it at the first of January 1970, before the
//! network has told it the time, and neither its own clock nor a viewer's may matter then; an end at 9999-12-31 is
//! what RFC 5280 (4.1.2.5) has for "no end". Nobody's authority signed it, so browsers ask about it whatever its
//! dates are, and limits on how long a certificate may last (398 days) are for known authorities; Apple's of
//! 825 days, which is for all, is for those that begin after June 2019.

mod dates;
mod own;

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use symple::net::{Server, ServerTls};

use super::exit::{Failure, Kind};
use super::secrets;
use dates::{earliest, judge};

/// How often the certificate of a server that runs is looked at.
const DAILY: Duration = Duration::from_secs(86_400);

/// A certificate, from its place to what is shown of it.
pub struct Certificate {
    place: Place,
    /// What was read last: the chain and the key.
    shown: RefCell<Option<(Vec<u8>, Vec<u8>)>>,
}

/// Where a certificate comes from.
enum Place {
    /// Two PEM files.
    Given { chain: PathBuf, key: PathBuf },
    /// One PEM file with both, made when it is not there, for these addresses beside this machine's names.
    Own { file: PathBuf, addresses: Vec<IpAddr> },
}

impl Certificate {
    /// By three settings: `cert` and `key`, or neither and a folder to keep an own one in.
    pub fn choose(
        cert: Option<&Path>,
        key: Option<&Path>,
        state_dir: Option<&Path>,
        listen: &[IpAddr],
    ) -> Result<Certificate, Failure> {
        let place = match (cert, key) {
            (Some(chain), Some(key)) => Place::Given { chain: chain.into(), key: key.into() },
            (None, None) => {
                let folder = state_dir.map(PathBuf::from).or_else(default_state_dir).ok_or_else(|| {
                    Failure::new(
                        Kind::Config,
                        "A certificate of its own needs a folder to be kept in: give one with --state-dir, or \
                         give --ssl-cert and --ssl-key",
                    )
                })?;
                let addresses = listen.iter().filter(|ip| !ip.is_unspecified()).copied().collect();
                Place::Own { file: folder.join("self-signed.pem"), addresses }
            }
            (Some(_), None) => return Err(Failure::new(Kind::Config, "ssl_cert is given without ssl_key")),
            (None, Some(_)) => return Err(Failure::new(Kind::Config, "ssl_key is given without ssl_cert")),
        };
        Ok(Certificate { place, shown: RefCell::default() })
    }

    /// Reads it; an own one is made if it is not there, or is of no use any more.
    pub fn load(&self) -> Result<ServerTls, Failure> {
        self.load_at(SystemTime::now())
    }

    fn load_at(&self, now: SystemTime) -> Result<ServerTls, Failure> {
        self.warn_if_open();
        let pem = match &self.place {
            Place::Given { chain, key } => (read(chain)?, read(key)?),
            Place::Own { file, addresses } => {
                let shown = self.shown.borrow().as_ref().map(|(pem, _)| pem.clone());
                let both = own::get(file, addresses, shown.as_deref(), now)?;
                (both.clone(), both)
            }
        };
        let tls = parse(&pem.0, &pem.1, self.file())?;
        if let (Place::Given { chain, .. }, Some(why)) = (&self.place, fault(&tls, now)) {
            log::warn!("{}: {why}; browsers refuse it outside of its dates", chain.display());
        }
        self.shown.replace(Some(pem));
        Ok(tls)
    }

    /// Reads it again. The old one stays where the new one is no good.
    pub fn reload(&self, server: &Server) {
        match self.load() {
            Ok(tls) => {
                server.set_tls(tls);
                log::info!("the certificate was read again");
            }
            Err(failure) => log::error!("the certificate stays as it was: {}", failure.words),
        }
    }

    async fn tend_each(&self, time: Duration, server: &Server) {
        loop {
            // By a clock that nobody sets: a board's jumps by decades when the network comes.
            smol::Timer::after(time).await;
            self.look(server, SystemTime::now());
        }
    }

    /// Shows what is there now, if that is another one.
    fn look(&self, server: &Server, now: SystemTime) {
        let before = self.shown.borrow().clone();
        match self.load_at(now) {
            Ok(_) if *self.shown.borrow() == before => {}
            Ok(tls) => {
                server.set_tls(tls);
                log::info!("{} changed: the new certificate is shown from now on", self.file().display());
            }
            Err(failure) => log::error!("the certificate stays as it was: {}", failure.words),
        }
    }

    /// Says whether it could be loaded, without making anything.
    pub fn check(&self) -> Result<String, Failure> {
        self.warn_if_open();
        let now = SystemTime::now();
        match &self.place {
            Place::Own { file, .. } => own::describe(file, now),
            Place::Given { chain, key } => {
                let tls = parse(&read(chain)?, &read(key)?, chain)?;
                let why = fault(&tls, now).map(|why| format!(" ({why})")).unwrap_or_default();
                Ok(format!("{}{why}", chain.display()))
            }
        }
    }

    /// Whoever can read the private key can pose as this server.
    fn warn_if_open(&self) {
        let (Place::Given { key: file, .. } | Place::Own { file, .. }) = &self.place;
        secrets::warn_if_open(file, "the private key");
    }

    /// The file that a failure names.
    fn file(&self) -> &Path {
        match &self.place {
            Place::Given { chain: file, .. } | Place::Own { file, .. } => file,
        }
    }
}

/// Looks at a certificate once a day, for as long as this is polled, where a server shows one.
pub async fn tend(certificate: Option<&Certificate>, server: Option<&Server>) {
    if let (Some(certificate), Some(server)) = (certificate, server) {
        certificate.tend_each(DAILY, server).await;
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::of(Kind::NoInput, path.display()))
}

fn parse(chain: &[u8], key: &[u8], file: &Path) -> Result<ServerTls, Failure> {
    ServerTls::from_pem(chain, key).map_err(Failure::of(Kind::Config, file.display()))
}

/// What is wrong with its dates.
fn fault(tls: &ServerTls, now: SystemTime) -> Option<String> {
    judge(tls.validity(), now, earliest()).fault()
}

/// systemd's, or the user's own.
fn default_state_dir() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // systemd may name several, with colons.
    let systemd = var("STATE_DIRECTORY").and_then(|list| Some(list.to_str()?.split(':').next()?.into()));
    systemd
        .or_else(|| var("XDG_STATE_HOME").map(|dir| dir.join("symple")))
        .or_else(|| var("HOME").map(|dir| dir.join(".local/state/symple")))
}

#[cfg(test)]
mod tests;
