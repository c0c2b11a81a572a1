//! TLS by rustls with the `ring` provider: the certificates that a client trusts, and that of a server.

use std::fmt;
#[cfg(feature = "server")]
use std::ops::RangeInclusive;
use std::sync::Arc;
#[cfg(feature = "server")]
use std::time::SystemTime;

use futures_rustls::rustls::crypto::ring::default_provider;
use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::pki_types::pem::PemObject;
#[cfg(feature = "server")]
use futures_rustls::rustls::{self, pki_types::PrivateKeyDer};
#[cfg(feature = "client")]
use futures_rustls::rustls::{ClientConfig, RootCertStore};

#[cfg(feature = "server")]
mod validity;

/// The root certificates that a client trusts.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the system.
    #[default]
    System,
    /// Only these, in PEM: for a server with its own CA or a self-signed certificate.
    Pem(Vec<u8>),
}

/// An invalid certificate or key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

#[cfg(any(feature = "client", feature = "redis"))]
pub(crate) fn connector(roots: &Roots) -> Result<futures_rustls::TlsConnector, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(TlsError(
                    "The system has no root certificates: install ca-certificates, or specify roots".into(),
                ));
            }
        }
        Roots::Pem(pem) => {
            store.add_parsable_certificates(certificates(pem)?);
            if store.is_empty() {
                return Err(TlsError("None of the given roots is a usable certificate".into()));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// The certificate and key of a server.
#[cfg(feature = "server")]
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<rustls::ServerConfig>,
    validity: Option<RangeInclusive<SystemTime>>,
}

#[cfg(feature = "server")]
impl ServerTls {
    /// Loads a certificate chain, the server's own certificate first, and its private key (PKCS #8, PKCS #1 or SEC 1),
    /// both in PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| TlsError("The key is not a PEM private key (PKCS #8, PKCS #1 or SEC 1)".into()))?;
        let chain = certificates(chain)?;
        let validity = chain.first().and_then(|own| validity::of(own));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| TlsError(format!("Certificate and key do not match: {e}")))?;
        Ok(ServerTls { config: Arc::new(config), validity })
    }

    /// Whether both are copies of the same.
    #[cfg(feature = "camera")]
    pub(crate) fn is_same(&self, other: &ServerTls) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// The validity of the server's own certificate (RFC 5280, 4.1.2.5); `None` if it cannot be parsed. Only for
    /// reports: a server serves an expired certificate nevertheless, and its clients refuse it.
    pub fn validity(&self) -> Option<RangeInclusive<SystemTime>> {
        self.validity.clone()
    }
}

#[cfg(feature = "server")]
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError("There is no PEM certificate (-----BEGIN CERTIFICATE-----)".into())),
        Err(e) => Err(TlsError(format!("The certificates are not valid PEM: {e:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_input_is_refused_with_a_reason() {
        #[cfg(feature = "server")]
        let said = |r: Result<ServerTls, TlsError>| r.expect_err("bad input").to_string();
        #[cfg(feature = "server")]
        assert!(said(ServerTls::from_pem(b"", b"")).contains("not a PEM private key"));
        #[cfg(feature = "client")]
        assert!(
            connector(&Roots::Pem(b"x".to_vec())).is_err_and(|e| e.to_string().contains("BEGIN CERTIFICATE"))
        );
    }
}
