//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): both have an empty header and the same body.
//!
//! Leases of the locks are the broker's.

use super::CommandError;
use crate::codec::body;
use crate::codec::header::Header;

pub use crate::codec::body::lock::LockQueues;

pub(super) fn parse(header: &Header, body: &[u8]) -> Result<LockQueues, CommandError> {
    body::lock::parse(body).map_err(|source| CommandError::Body { request: header.code, source })
}
