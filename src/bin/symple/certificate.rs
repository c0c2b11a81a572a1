//! The certificate that a server shows: the user's, or one of its own that is made once and kept.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use symple::net::{Server, ServerTls};

use super::exit::{Failure, Kind};

/// How long an own certificate is good for. Whoever trusts it does so by hand, and should not have to again.
const VALID: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
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
        match (cert, key) {
            (Some(chain), Some(key)) => Ok(Certificate::Given { chain: chain.into(), key: key.into() }),
            (None, None) => {
                let folder = state_dir.map(PathBuf::from).or_else(default_state_dir).ok_or_else(|| {
                    Failure::new(
                        Kind::Config,
                        "A certificate of its own needs a folder to be kept in: give one with --state-dir, or \
                         give --ssl-cert and --ssl-key",
                    )
                })?;
                let addresses = listen.iter().filter(|ip| !ip.is_unspecified()).copied().collect();
                Ok(Certificate::Own { file: folder.join("self-signed.pem"), addresses })
            }
            (Some(_), None) => Err(Failure::new(Kind::Config, "ssl_cert is given without ssl_key")),
            (None, Some(_)) => Err(Failure::new(Kind::Config, "ssl_key is given without ssl_cert")),
        }
    }

    /// Reads it; an own one is made if it is not there.
    pub fn load(&self) -> Result<ServerTls, Failure> {
        let read = |path: &Path| fs::read(path).map_err(Failure::of(Kind::NoInput, path.display()));
        let (chain, key, named) = match self {
            Certificate::Given { chain, key } => (read(chain)?, read(key)?, chain),
            Certificate::Own { file, addresses } => {
                if !file.exists() {
                    make(file, addresses)?;
                    log::info!("made a self-signed certificate, kept in {}", file.display());
                }
                let both = read(file)?;
                (both.clone(), both, file)
            }
        };
        ServerTls::from_pem(&chain, &key).map_err(Failure::of(Kind::Config, named.display()))
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

    /// Says whether it could be loaded, without making anything.
    pub fn check(&self) -> Result<String, Failure> {
        match self {
            Certificate::Own { file, .. } if !file.exists() => {
                Ok(format!("self-signed, would be made and kept in {}", file.display()))
            }
            Certificate::Own { file, .. } => {
                self.load().map(|_| format!("self-signed, kept in {}", file.display()))
            }
            Certificate::Given { chain, .. } => self.load().map(|_| chain.display().to_string()),
        }
    }
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

fn make(file: &Path, addresses: &[IpAddr]) -> Result<(), Failure> {
    let failed =
        |e: rcgen::Error| Failure::new(Kind::System, format!("a certificate could not be made: {e}"));
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if let Some(host) = host_name() {
        names.extend([format!("{host}.local"), host]);
    }
    names.extend(addresses.iter().filter(|ip| !ip.is_loopback()).map(IpAddr::to_string));
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "symple, self-signed");
    let now = SystemTime::now();
    (params.not_before, params.not_after) = (now.into(), (now + VALID).into());
    let key = KeyPair::generate().map_err(failed)?;
    let pem = params.self_signed(&key).map_err(failed)?.pem() + &key.serialize_pem();
    keep(file, &pem).map_err(Failure::of(Kind::CantCreate, file.display()))
}

/// Whole or not at all, and for nobody else's eyes: it holds the key.
fn keep(file: &Path, pem: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&draft)?.write_all(pem.as_bytes())?;
    fs::rename(&draft, file)
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
}
