//! A self-signed certificate: created, kept, and renewed when it is no longer usable.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::parse;
use crate::atomic_file;
use crate::exit::{Failure, FailureKind};

/// From 1970 to the last second of 9999.
const NO_END: Duration = Duration::from_secs(253_402_300_799);

/// The certificate and key in `file`; otherwise the one `shown` already or a new one, which is then kept there. A full
/// disk does not prevent serving.
pub(super) fn get(
    file: &Path,
    addresses: &[IpAddr],
    shown: Option<&[u8]>,
    now: SystemTime,
) -> Result<Vec<u8>, Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = || match shown {
        Some(pem) if flaw(file, pem, now).is_none() => Ok(pem.to_vec()),
        _ => make(addresses),
    };
    let kept_or_made = || {
        atomic_file::remove_drafts(file);
        if let Some(pem) = kept(file, now)? {
            return Ok(pem);
        }
        let pem = fresh()?;
        match atomic_file::write(file, |draft| draft.write_all(&pem)) {
            Ok(()) => {
                log::info!("created a self-signed certificate in {}", file.display());
                Ok(pem)
            }
            Err(e) => not_kept(file, pem, &e),
        }
    };
    match atomic_file::alone(folder, kept_or_made) {
        Ok(done) => done,
        // There is no folder to keep it in, or the folder cannot be listed.
        Err(e) => match kept(file, now)? {
            Some(pem) => Ok(pem),
            None => not_kept(file, fresh()?, &e),
        },
    }
}

/// Describes it for a check, without creating anything.
pub(super) fn describe(file: &Path, now: SystemTime) -> Result<String, Failure> {
    let place = file.display();
    match fs::read(file) {
        Ok(pem) => Ok(match flaw(file, &pem, now) {
            Some(why) => format!("self-signed, would be renewed ({why}) and kept in {place}"),
            None => format!("self-signed, kept in {place}"),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Ok(format!("self-signed, would be created and kept in {place}"))
        }
        Err(e) => Err(Failure::of(FailureKind::NoInput, place)(e)),
    }
}

fn kept(file: &Path, now: SystemTime) -> Result<Option<Vec<u8>>, Failure> {
    let pem = match fs::read(file) {
        Ok(pem) => pem,
        // If the folder is missing too, creating it fails with a better message.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(Failure::of(FailureKind::NoInput, file.display())(e)),
    };
    Ok(match flaw(file, &pem, now) {
        None => Some(pem),
        Some(why) => {
            log::warn!("{}: {why}; replacing it", file.display());
            None
        }
    })
}

/// Why it is no longer usable. One that cannot be parsed was truncated by a power loss, or edited.
fn flaw(file: &Path, pem: &[u8], now: SystemTime) -> Option<String> {
    match parse(pem, pem, file) {
        Ok(tls) => super::fault(&tls, now),
        Err(_) => Some("it does not contain a certificate with its key".into()),
    }
}

/// A camera on a board whose disk is full or has become read-only still serves.
fn not_kept(file: &Path, pem: Vec<u8>, e: &io::Error) -> Result<Vec<u8>, Failure> {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if matches!(e.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) {
        log::error!(
            "cannot keep the self-signed certificate in {} ({e}): the next start creates another one, which \
             browsers ask about again",
            file.display()
        );
        return Ok(pem);
    }
    Err(Failure::of(FailureKind::CantCreate, file.display())(e))
}

fn make(addresses: &[IpAddr]) -> Result<Vec<u8>, Failure> {
    let failed =
        |e: rcgen::Error| Failure::new(FailureKind::System, format!("cannot create a certificate: {e}"));
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if let Some(host) = host_name() {
        names.extend([format!("{host}.local"), host]);
    }
    names.extend(addresses.iter().filter(|ip| !ip.is_loopback()).map(IpAddr::to_string));
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "symple, self-signed");
    params.not_before = SystemTime::UNIX_EPOCH.into();
    params.not_after = (SystemTime::UNIX_EPOCH + NO_END).into();
    let key = KeyPair::generate().map_err(failed)?;
    Ok((params.self_signed(&key).map_err(failed)?.pem() + &key.serialize_pem()).into_bytes())
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
}
