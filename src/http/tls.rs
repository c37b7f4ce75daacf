//! TLS, with certificate files that may be renewed while the daemon runs.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};

use crate::model::TlsFiles;

/// Reason why TLS cannot start, or a new certificate is not used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {reason}; SSL_CERT_PATH and SSL_KEY_PATH must name PEM files")]
    File { path: String, reason: String },
    #[error(
        "the key in SSL_KEY_PATH ({key}) does not belong to the certificate in SSL_CERT_PATH ({certificates})"
    )]
    Strangers { certificates: String, key: String },
    #[error("the certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Checks that the files hold a certificate and its key.
///
/// # Errors
/// When a file cannot be read, or the key does not belong to the certificate.
pub fn check_tls(files: &TlsFiles) -> Result<(), TlsError> {
    read(files, &crypto::ring::default_provider()).map(|_| ())
}

/// Certificate in use, and the files it was read from.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
}

impl Certificates {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// When a file cannot be read, or the key does not fit the certificate.
    pub(super) fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        // rustls panics if the build contains two providers and none is chosen.
        let provider = Arc::new(crypto::ring::default_provider());
        let key = read(&files, &provider)?;
        Ok(Arc::new(Self {
            files,
            provider,
            current: ArcSwap::from_pointee(key),
        }))
    }

    /// Returns an acceptor that always uses the current certificate.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again whenever they change. An unusable pair leaves the old one in use.
    pub(super) async fn follow(self: Arc<Self>, every: std::time::Duration) {
        let mut seen = self.stamp();
        loop {
            tokio::time::sleep(every).await;
            let now = self.stamp();
            if now == seen {
                continue;
            }
            match read(&self.files, &self.provider) {
                Ok(key) => {
                    self.current.store(Arc::new(key));
                    tracing::info!("the renewed TLS certificate is in use");
                    seen = now;
                }
                // The next check tries again. A renewal writes two files, and one of them may still be
                // missing.
                Err(error) => {
                    tracing::warn!(%error, "the TLS files changed but are unusable; the old certificate stays in use")
                }
            }
        }
    }

    fn stamp(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.files.certificates, &self.files.key].map(|path| stamp(path).ok())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificates, &error))?;
    if chain.is_empty() {
        return Err(unreadable(
            &files.certificates,
            &"it holds no certificate in PEM",
        ));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Strangers {
            certificates: files.certificates.display().to_string(),
            key: files.key.display().to_string(),
        },
        error => TlsError::Unusable(error),
    })
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
