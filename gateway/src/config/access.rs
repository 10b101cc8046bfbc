//! Settings of access: the first administrator, and the key of what is kept secret.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::SettingsError;

/// Checked settings of access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    pub first_admin: Option<FirstAdmin>,
    pub secret_key_file: Option<PathBuf>,
    /// A listener that others can reach, and its setting: there must be users.
    pub exposed: Option<(&'static str, SocketAddr)>,
}

/// Who is made where there is nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstAdmin {
    pub name: String,
    pub password: String,
}

/// Without the password.
impl fmt::Debug for FirstAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstAdmin").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AccessSettings {
    pub fn check(
        name: Option<String>,
        password_file: Option<PathBuf>,
        password: Option<String>,
        secret_key_file: Option<PathBuf>,
    ) -> Result<AccessSettings, SettingsError> {
        let wrong = |key, value: &str, why: &str| {
            Err(SettingsError::Value { key, value: value.to_owned(), why: why.to_owned() })
        };
        let password = match password_file {
            Some(path) => Some(password_in(&path)?),
            None => password,
        };
        let first_admin = match (name, password) {
            (None, None) => None,
            (Some(name), Some(password)) if !password.is_empty() => Some(FirstAdmin { name, password }),
            (Some(name), _) => {
                return wrong(
                    "admin-user",
                    &name,
                    "it needs a password: admin-password-file or MAILRAIL_ADMIN_PASSWORD",
                );
            }
            (None, Some(_)) => return wrong("admin-user", "", "a password is given, but no name"),
        };
        Ok(AccessSettings { first_admin, secret_key_file, exposed: None })
    }

    /// A listener is for others too: refused at once where there can be no users, else once the data was looked at.
    pub fn needs_users(
        &mut self,
        key: &'static str,
        value: SocketAddr,
        data: &Path,
    ) -> Result<(), SettingsError> {
        if self.first_admin.is_none() && !data.exists() {
            return Err(SettingsError::Exposed { key, value });
        }
        self.exposed.get_or_insert((key, value));
        Ok(())
    }
}

/// The password in a file, or with `-` on standard input: its first line.
pub fn password_in(path: &Path) -> Result<String, SettingsError> {
    let read = || {
        let mut text = String::new();
        match path.to_str() {
            Some("-") => std::io::stdin().read_to_string(&mut text).map(drop)?,
            _ => text = std::fs::read_to_string(path)?,
        }
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    read().map_err(|error| SettingsError::File { path: path.to_path_buf(), error })
}
