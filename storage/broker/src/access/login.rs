//! Checking passwords: on a thread of its own, since it takes long, one after the other, and only so many wait. What was
//! found out is remembered for as long as no user changes, so that who says the same again is answered at once.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Sender, TrySendError};
use metrics::counter;
use ring::hmac;
use ring::rand::SystemRandom;
use rustc_hash::FxHashMap;

use super::password::PasswordHash;
use super::{Access, Identity, User};
use crate::command::Name;
use crate::error::Error;
use crate::limits::{LOGINS_REMEMBERED_MAX, LOGINS_WAITING_MAX};

type Job = Box<dyn FnOnce() + Send>;
type Digest = [u8; 32];

/// Where logins are checked.
pub(crate) struct Logins {
    jobs: Sender<Job>,
    checker: Arc<Checker>,
}

/// Remembers outcomes by a digest of what was said, under a key that goes with the process.
struct Checker {
    key: hmac::Key,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    version: u64,
    outcomes: FxHashMap<Digest, bool>,
}

/// Who says to be whom.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub name: Name,
    pub password: String,
    pub from: IpAddr,
}

impl Logins {
    pub fn start() -> Result<Logins, String> {
        let (jobs, waiting) = crossbeam_channel::bounded::<Job>(LOGINS_WAITING_MAX);
        let work = move || waiting.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name("login".into()).spawn(work);
        thread.map_err(|error| error.to_string())?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| Error::Random.to_string())?;
        Ok(Logins { jobs, checker: Arc::new(Checker { key, remembered: Mutex::default() }) })
    }

    /// Checks a claim, and calls `answer` with the outcome: at once where it is known, else later on the login thread.
    pub fn check(
        &self,
        access: &Access,
        claim: Claim,
        answer: impl FnOnce(Result<Identity, Error>) + Send + 'static,
    ) {
        if access.is_open() {
            return answer(Ok(Identity::anonymous(claim.from)));
        }
        let (version, user) = (access.version(), access.user(&claim.name));
        let digest = self.checker.digest(&claim);
        if let Some(is_right) = self.checker.recall(version, &digest) {
            return answer(outcome(is_right, claim));
        }
        let checker = self.checker.clone();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let later = answer.clone();
        let job = move || {
            // Somebody may have said the same in the meantime.
            let is_right =
                checker.recall(version, &digest).unwrap_or_else(|| verify(user.as_deref(), &claim));
            checker.remember(version, digest, is_right);
            take(&later).into_iter().for_each(|answer| answer(outcome(is_right, claim.clone())));
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.jobs.try_send(Box::new(job))
        {
            take(&answer).into_iter().for_each(|answer| answer(Err(Error::Busy { bytes: 0 })));
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// As much work for a user that there is not, or that has no password.
fn verify(user: Option<&User>, claim: &Claim) -> bool {
    let stored = user.and_then(|user| user.settings.password.clone());
    let is_there = stored.is_some();
    let is_right = stored.unwrap_or_else(PasswordHash::decoy).verify(&claim.password);
    is_right && is_there && user.is_some_and(|user| user.settings.enabled)
}

fn outcome(is_right: bool, claim: Claim) -> Result<Identity, Error> {
    counter!("mailrail_logins_total", "outcome" => if is_right { "ok" } else { "refused" }).increment(1);
    if is_right { Ok(Identity::user(claim.name, claim.from)) } else { Err(Error::Login) }
}

impl Checker {
    fn digest(&self, claim: &Claim) -> Digest {
        let mut said = hmac::Context::with_key(&self.key);
        let name = claim.name.as_bytes();
        said.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
        said.update(name);
        said.update(claim.password.as_bytes());
        let mut digest = Digest::default();
        digest.iter_mut().zip(said.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn recall(&self, version: u64, digest: &Digest) -> Option<bool> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        (remembered.version == version).then(|| remembered.outcomes.get(digest).copied()).flatten()
    }

    fn remember(&self, version: u64, digest: Digest, is_right: bool) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.version > version {
            return;
        }
        if remembered.version < version || remembered.outcomes.len() >= LOGINS_REMEMBERED_MAX {
            *remembered = Remembered { version, outcomes: FxHashMap::default() };
        }
        remembered.outcomes.insert(digest, is_right);
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_outcomes_are_remembered_and_no_more() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let checker = Checker { key, remembered: Mutex::default() };
        let claim = |number: usize| Claim {
            name: "ann".into(),
            password: number.to_string(),
            from: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let remember = |number| checker.remember(1, checker.digest(&claim(number)), number % 2 == 0);
        let recall = |version, number| checker.recall(version, &checker.digest(&claim(number)));
        (0..LOGINS_REMEMBERED_MAX).for_each(remember);
        assert_eq!((recall(1, 0), recall(1, LOGINS_REMEMBERED_MAX - 1)), (Some(true), Some(false)));
        remember(LOGINS_REMEMBERED_MAX);
        assert_eq!((recall(1, 0), recall(1, LOGINS_REMEMBERED_MAX)), (None, Some(true)), "the others went");
        assert_eq!(recall(2, LOGINS_REMEMBERED_MAX), None, "users have changed");
        checker.remember(0, checker.digest(&claim(3)), true);
        assert_eq!(recall(1, 3), None, "an answer about users as they were is worth nothing");
    }
}
