//! Passwords as they are stored: PBKDF2 with HMAC-SHA-512, from ring. Unlike Argon2 it needs no memory, which a broker
//! within a few dozen MiB has not to give away to whoever tries to log in.

use std::num::NonZeroU32;

use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::PASSWORD_BYTES_MAX;

static ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
/// What OWASP asks for with this algorithm; each takes a tenth of a second or so.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).unwrap();

/// A salted hash of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    iterations: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PasswordHash {
    /// Hashes a password, with a salt of its own. Takes long: neither for the shard's thread nor for an async one.
    pub fn of(password: &str) -> Result<PasswordHash, Error> {
        check_length(password)?;
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| Error::Random)?;
        let mut hash = [0; 32];
        pbkdf2::derive(ALGORITHM, ITERATIONS, &salt, password.as_bytes(), &mut hash);
        Ok(PasswordHash { iterations: ITERATIONS.get(), salt, hash })
    }

    /// Takes as long.
    pub fn verify(&self, password: &str) -> bool {
        let iterations = NonZeroU32::new(self.iterations).unwrap_or(ITERATIONS);
        let wanted = pbkdf2::verify(ALGORITHM, iterations, &self.salt, password.as_bytes(), &self.hash);
        check_length(password).is_ok() && wanted.is_ok()
    }

    /// What a password is checked against where there is none, so that its absence takes as long to find out.
    pub(super) fn decoy() -> PasswordHash {
        PasswordHash { iterations: ITERATIONS.get(), salt: [0; 16], hash: [0; 32] }
    }

    #[cfg(test)]
    pub(super) fn iterations(&self) -> u32 {
        self.iterations
    }
}

fn check_length(password: &str) -> Result<(), Error> {
    if password.is_empty() {
        return Err(Error::Argument {
            name: "password",
            value: String::new(),
            allowed: "at least one character",
        });
    }
    let (value, max) = (password.len(), PASSWORD_BYTES_MAX);
    if value > max {
        let wide = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        return Err(Error::Limit { what: "bytes of a password", value: wide(value), max: wide(max) });
    }
    Ok(())
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}
