//! Secrets that must be had back as they were, since others sign with them: sealed with a key that lies in a file of its
//! own, so that neither the log nor a backup of it gives them away.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::SIGNING_SECRET_BYTES_MAX;

const KEY_BYTES: usize = 32;
/// A longer file is no key either.
const READ_BYTES: u64 = 33;

/// A secret that only the key file opens, and only for the user it was sealed for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealedSecret(..)")
    }
}

/// The key, and where it lies: 32 random bytes, for its owner's eyes only. Made when the first secret is sealed.
#[derive(Debug)]
pub struct SecretKeyFile {
    path: PathBuf,
    key: Mutex<Option<LessSafeKey>>,
}

impl SecretKeyFile {
    pub fn at(path: PathBuf) -> Self {
        SecretKeyFile { path, key: Mutex::new(None) }
    }

    /// Seals a user's secret.
    pub(crate) fn seal(&self, user: &str, secret: &str) -> Result<SealedSecret, Error> {
        let (value, max) = (secret.len(), SIGNING_SECRET_BYTES_MAX);
        if value == 0 || value > max {
            let wide = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
            return Err(Error::Limit {
                what: "bytes of a signing secret",
                value: wide(value),
                max: wide(max),
            });
        }
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Random)?;
        let mut sealed = secret.as_bytes().to_vec();
        self.with_key(true, |key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(user.as_bytes()), &mut sealed)
                .map_err(|_| Error::SecretKey("it cannot seal".to_owned()))
        })?;
        Ok(SealedSecret { nonce, sealed })
    }

    /// A user's secret as it was.
    pub(crate) fn unseal(&self, user: &str, secret: &SealedSecret) -> Result<Vec<u8>, Error> {
        let mut opened = secret.sealed.clone();
        let length = self.with_key(false, |key| {
            let nonce = Nonce::assume_unique_for_key(secret.nonce);
            let opened = key.open_in_place(nonce, Aad::from(user.as_bytes()), &mut opened);
            let length = opened.map(|opened| opened.len());
            length.map_err(|_| {
                Error::SecretKey(format!("{} is another key than it was sealed with", self.path.display()))
            })
        })?;
        opened.truncate(length);
        Ok(opened)
    }

    fn with_key<T>(
        &self,
        may_make: bool,
        work: impl FnOnce(&LessSafeKey) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if key.is_none() {
            let wrong = |error: std::io::Error| Error::SecretKey(format!("{}: {error}", self.path.display()));
            let bytes = match read(&self.path) {
                Err(error) if may_make && error.kind() == std::io::ErrorKind::NotFound => {
                    make(&self.path).map_err(wrong)?
                }
                read => read.map_err(wrong)?,
            };
            let unbound = UnboundKey::new(&AES_256_GCM, &bytes);
            *key = Some(LessSafeKey::new(unbound.map_err(|_| Error::SecretKey("it is no key".to_owned()))?));
        }
        key.as_ref().map_or_else(|| Err(Error::SecretKey("there is none".to_owned())), work)
    }
}

fn read(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    File::open(path)?.take(READ_BYTES).read_to_end(&mut bytes)?;
    let wrong = |_| std::io::Error::other(format!("it has not the {KEY_BYTES} bytes of a key"));
    bytes.try_into().map_err(wrong)
}

/// Writes a new key beside its place and moves it there once it is on the disk: half a key would lose all secrets.
fn make(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(key)
}
