//! The server's certificate: the user's, or a self-signed one that is created once and kept.
//!
//! Both are checked when they are loaded and once a day, since nobody may be watching a board: a self-signed
//! certificate is renewed before it expires; the user's is reloaded when it changes, and its expiry is logged.
//!
//! A self-signed one is valid from 1970 to 9999. A board without a battery creates it on 1 January 1970, before it gets
//! the time from the network, so neither its own clock nor a viewer's may matter; an end on 9999-12-31 means "no
//! expiration" in RFC 5280 (4.1.2.5). No authority signed it, so browsers warn about it whatever its dates are. The
//! maximum validity of 398 days applies to known authorities; Apple's of 825 days, which applies to all, only to
//! certificates that start after June 2019.

mod dates;
mod own;

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use symple::Server;
use symple::net::ServerTls;

use super::exit::{Failure, FailureKind};
use super::merge::{SettingSource, SettingSources};
use super::secrets;
use dates::{earliest, judge};

/// How often a running server checks its certificate.
const DAILY: Duration = Duration::from_secs(86_400);

/// A certificate: where it is, and what is in use.
pub(crate) struct Certificate {
    place: CertificateFiles,
    /// The chain and the key loaded last.
    shown: RefCell<Option<(Vec<u8>, Vec<u8>)>>,
}

/// Where a certificate comes from.
enum CertificateFiles {
    /// Two PEM files.
    Given { chain: PathBuf, key: PathBuf },
    /// One PEM file with both, created if missing, for these addresses besides this machine's names.
    Own { file: PathBuf, addresses: Vec<IpAddr> },
}

impl Certificate {
    /// From three settings: `cert` and `key`, or neither and a folder to keep a self-signed one in.
    pub(crate) fn choose(
        cert: Option<&Path>,
        key: Option<&Path>,
        state_dir: Option<&Path>,
        listen: &[IpAddr],
    ) -> Result<Certificate, Failure> {
        let place = match (cert, key) {
            (Some(chain), Some(key)) => CertificateFiles::Given { chain: chain.into(), key: key.into() },
            (None, None) => {
                let folder = state_dir.map(PathBuf::from).or_else(default_state_dir).ok_or_else(|| {
                    Failure::new(
                        FailureKind::Config,
                        "A self-signed certificate needs a folder to be kept in: set --state-dir, or \
                         give --ssl-cert and --ssl-key",
                    )
                })?;
                let addresses = listen.iter().filter(|ip| !ip.is_unspecified()).copied().collect();
                CertificateFiles::Own { file: folder.join("self-signed.pem"), addresses }
            }
            (Some(_), None) => {
                return Err(Failure::new(FailureKind::Config, "ssl_cert is set without ssl_key"));
            }
            (None, Some(_)) => {
                return Err(Failure::new(FailureKind::Config, "ssl_key is set without ssl_cert"));
            }
        };
        Ok(Certificate { place, shown: RefCell::default() })
    }

    /// Loads it; a self-signed one is created if it is missing or no longer usable.
    pub(crate) fn load(&self) -> Result<ServerTls, Failure> {
        self.load_at(SystemTime::now())
    }

    fn load_at(&self, now: SystemTime) -> Result<ServerTls, Failure> {
        self.warn_if_open();
        let pem = match &self.place {
            CertificateFiles::Given { chain, key } => (read(chain)?, read(key)?),
            CertificateFiles::Own { file, addresses } => {
                let shown = self.shown.borrow().as_ref().map(|(pem, _)| pem.clone());
                let both = own::get(file, addresses, shown.as_deref(), now)?;
                (both.clone(), both)
            }
        };
        let tls = parse(&pem.0, &pem.1, self.file())?;
        if let (CertificateFiles::Given { chain, .. }, Some(why)) = (&self.place, fault(&tls, now)) {
            log::warn!("{}: {why}; browsers refuse it outside its validity", chain.display());
        }
        self.shown.replace(Some(pem));
        Ok(tls)
    }

    /// Reloads it. The old one stays in use if the new one cannot be used.
    pub(crate) fn reload(&self, server: &Server) {
        match self.load() {
            Ok(tls) => {
                server.set_tls(tls);
                log::info!("reloaded the certificate");
            }
            Err(failure) => log::error!("keeping the previous certificate: {}", failure.words),
        }
    }

    async fn tend_each(&self, time: Duration, server: &Server) {
        loop {
            // A monotonic clock: a board's wall clock jumps by decades once the network is up.
            smol::Timer::after(time).await;
            self.look(server, SystemTime::now());
        }
    }

    /// Uses the current certificate, if it has changed.
    fn look(&self, server: &Server, now: SystemTime) {
        let before = self.shown.borrow().clone();
        match self.load_at(now) {
            Ok(_) if *self.shown.borrow() == before => {}
            Ok(tls) => {
                server.set_tls(tls);
                log::info!("{} changed: using the new certificate from now on", self.file().display());
            }
            Err(failure) => log::error!("keeping the previous certificate: {}", failure.words),
        }
    }

    /// Checks whether it can be loaded, without creating anything.
    pub(crate) fn check(&self) -> Result<String, Failure> {
        self.warn_if_open();
        let now = SystemTime::now();
        match &self.place {
            CertificateFiles::Own { file, .. } => own::describe(file, now),
            CertificateFiles::Given { chain, key } => {
                let tls = parse(&read(chain)?, &read(key)?, chain)?;
                let why = fault(&tls, now).map(|why| format!(" ({why})")).unwrap_or_default();
                Ok(format!("{}{why}", chain.display()))
            }
        }
    }

    /// Anyone who can read the private key can impersonate this server.
    fn warn_if_open(&self) {
        let (CertificateFiles::Given { key: file, .. } | CertificateFiles::Own { file, .. }) = &self.place;
        secrets::warn_if_open(file, "the private key");
    }

    /// The file that a failure names.
    fn file(&self) -> &Path {
        match &self.place {
            CertificateFiles::Given { chain: file, .. } | CertificateFiles::Own { file, .. } => file,
        }
    }
}

/// Checks a certificate once a day for as long as this is polled, if a server uses one.
pub(crate) async fn tend(certificate: Option<&Certificate>, server: Option<&Server>) {
    if let (Some(certificate), Some(server)) = (certificate, server) {
        certificate.tend_each(DAILY, server).await;
    }
}

/// Fails if a certificate is set that would not be used, unless a setting turns TLS off.
pub(crate) fn refuse_unused(sources: &SettingSources) -> Result<(), Failure> {
    let set = ["ssl_cert", "ssl_key"].iter().find_map(|key| Some((key, &sources.get(key)?.0)));
    let Some((key, source)) = set.filter(|_| !sources.contains_key("ssl_enabled")) else { return Ok(()) };
    let (kind, what, on, off) = match source {
        SettingSource::Flag(flag) => (FailureKind::Usage, flag.clone(), "--ssl-enabled", "--no-ssl-enabled"),
        SettingSource::Environment(name) => {
            (FailureKind::Config, name.clone(), "SYMPLE_SSL_ENABLED=true", "SYMPLE_SSL_ENABLED=false")
        }
        SettingSource::File(name) => {
            let what = format!("{name}: \"{key}\"");
            (FailureKind::Config, what, "ssl_enabled = true", "ssl_enabled = false")
        }
    };
    let words = format!("{what} is not used without TLS; add {on}, or {off} to serve without it");
    Err(Failure::new(kind, words))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::of(FailureKind::NoInput, path.display()))
}

fn parse(chain: &[u8], key: &[u8], file: &Path) -> Result<ServerTls, Failure> {
    ServerTls::from_pem(chain, key).map_err(Failure::of(FailureKind::Config, file.display()))
}

/// What is wrong with its dates.
fn fault(tls: &ServerTls, now: SystemTime) -> Option<String> {
    judge(tls.validity(), now, earliest()).fault()
}

/// systemd's folder, or the user's own.
fn default_state_dir() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // systemd may give several, separated by colons.
    let systemd = var("STATE_DIRECTORY").and_then(|list| Some(list.to_str()?.split(':').next()?.into()));
    systemd
        .or_else(|| var("XDG_STATE_HOME").map(|dir| dir.join("symple")))
        .or_else(|| var("HOME").map(|dir| dir.join(".local/state/symple")))
}

#[cfg(test)]
mod tests;
