//! TLS on the ports that are there anyway: a connection's first byte tells whether it is TLS, as with RocketMQ. The
//! certificate may be changed while connections are open; each keeps the one it began with.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::{TlsMode, TlsSettings};
use crate::stream::Stream;

/// First byte of a TLS connection: the type of a handshake record. No protocol here begins with it.
const HANDSHAKE: u8 = 0x16;
/// How long a peer may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer that may speak TLS or not may be silent at first.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the files of a certificate cannot be used: one line.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {why}", path.display())]
pub struct TlsError {
    what: &'static str,
    path: std::path::PathBuf,
    why: String,
}

/// What listeners offer; clones share it.
#[derive(Clone)]
pub struct Tls {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    settings: TlsSettings,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Without a certificate there is none.
    pub fn open(settings: Option<TlsSettings>) -> Result<Tls, TlsError> {
        let Some(settings) = settings.filter(|settings| settings.mode != TlsMode::Disabled) else {
            return Ok(Tls { inner: None });
        };
        let config = RwLock::new(Arc::new(read(&settings)?));
        Ok(Tls { inner: Some(Arc::new(Inner { settings, config })) })
    }

    /// Reads the files again, for connections that come from now on. Where that fails, what was read before stays.
    pub fn reload(&self) {
        let Some(inner) = &self.inner else { return };
        match read(&inner.settings) {
            Ok(config) => {
                *inner.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }

    /// Finds out how a peer speaks, and shakes hands where it is TLS.
    pub async fn enter(&self, socket: TcpStream) -> io::Result<Stream> {
        let Some(inner) = &self.inner else { return Ok(Stream::Plain(socket)) };
        let mut first = [0];
        let peeked = tokio::time::timeout(SILENCE_TIMEOUT, socket.peek(&mut first)).await;
        if peeked.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE] {
            return match inner.settings.mode {
                TlsMode::Enforcing => Err(io::Error::other("it does not speak TLS, which is enforced")),
                TlsMode::Permissive | TlsMode::Disabled => Ok(Stream::Plain(socket)),
            };
        }
        let config = inner.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let accepting = TlsAcceptor::from(config).accept(socket);
        let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting).await;
        Ok(Stream::Tls(Box::new(accepted.map_err(|_| io::ErrorKind::TimedOut)??)))
    }
}

fn read(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let certificates = certificates("tls-certificate-file", &settings.certificate_file)?;
    let failed =
        |what: &'static str, path: &Path, why: String| TlsError { what, path: path.to_path_buf(), why };
    let key_file = &settings.key_file;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| failed("tls-key-file", key_file, error.to_string()))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("tls-certificate-file", &settings.certificate_file, error.to_string()))?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let what = "tls-client-ca-file";
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(what, path)? {
                roots.add(certificate).map_err(|error| failed(what, path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder
                .with_client_cert_verifier(verifier.map_err(|error| failed(what, path, error.to_string()))?)
        }
    };
    builder
        .with_single_cert(certificates, key)
        .map_err(|error| failed("tls-key-file", key_file, error.to_string()))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: String| TlsError { what, path: path.to_path_buf(), why };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
