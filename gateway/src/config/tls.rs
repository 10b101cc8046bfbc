//! Settings of TLS: whether it is spoken, and with which files.

use std::path::PathBuf;

use super::SettingsError;

/// Whether connections must be TLS. Without a certificate they cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Disabled,
    /// Both are served, on the same ports.
    Permissive,
    /// Plain connections are closed.
    Enforcing,
}

impl TlsMode {
    const NAMES: [(&'static str, TlsMode); 3] = [
        ("disabled", TlsMode::Disabled),
        ("permissive", TlsMode::Permissive),
        ("enforcing", TlsMode::Enforcing),
    ];
}

/// Checked settings of TLS; the files are read when the listeners open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub mode: TlsMode,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// Clients must have a certificate that one of these has signed.
    pub client_ca_file: Option<PathBuf>,
}

impl TlsSettings {
    pub fn check(
        mode: Option<String>,
        certificate_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
        client_ca_file: Option<PathBuf>,
    ) -> Result<Option<TlsSettings>, SettingsError> {
        let wrong =
            |key, value: String, why: &str| Err(SettingsError::Value { key, value, why: why.to_owned() });
        let found = mode.as_deref().map(|name| TlsMode::NAMES.iter().find(|(known, _)| *known == name));
        let given = match found {
            Some(None) => {
                let allowed = "disabled, permissive and enforcing are allowed";
                return wrong("tls-mode", mode.unwrap_or_default(), allowed);
            }
            Some(Some((_, mode))) => Some(*mode),
            None => None,
        };
        match (certificate_file, key_file) {
            (Some(certificate_file), Some(key_file)) => {
                let mode = given.unwrap_or(TlsMode::Permissive);
                Ok(Some(TlsSettings { mode, certificate_file, key_file, client_ca_file }))
            }
            (Some(_), None) => wrong("tls-key-file", String::new(), "the certificate needs its key"),
            (None, Some(_)) => wrong("tls-certificate-file", String::new(), "the key needs its certificate"),
            (None, None)
                if client_ca_file.is_some()
                    || matches!(given, Some(TlsMode::Permissive | TlsMode::Enforcing)) =>
            {
                wrong("tls-certificate-file", String::new(), "TLS needs a certificate and its key")
            }
            (None, None) => Ok(None),
        }
    }
}
