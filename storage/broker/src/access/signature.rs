//! Requests that are signed one by one, with a secret that both sides have.

use metrics::counter;
use ring::hmac;

use super::secret::SecretKeyFile;
use super::user::User;
use crate::error::Error;

/// Checks the HMAC-SHA-1 of all parts, one after the other. Who is unknown is refused with as much work.
pub(crate) fn check_signature<'a>(
    user: Option<&User>,
    key: &SecretKeyFile,
    parts: impl Iterator<Item = &'a [u8]>,
    signature: &[u8],
) -> Result<(), Error> {
    let secret = user.filter(|user| user.settings.enabled).and_then(|user| user.signing_secret(key));
    let known = secret.as_deref().unwrap_or(b"nobody's");
    let mut said = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, known));
    parts.for_each(|part| said.update(part));
    let is_right = is_equal(said.sign().as_ref(), signature);
    if secret.is_some() && is_right {
        return Ok(());
    }
    counter!("mailrail_logins_total", "outcome" => "refused").increment(1);
    Err(Error::Login)
}

/// Looks at all bytes, wherever the first difference is.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && differ == 0
}
