//! The internal message model and its one stored byte layout.
//!
//! A stored message is the RocketMQ record (big-endian, as every RocketMQ SDK reads it from a pull response) followed
//! by annexes: what RocketMQ has no place for, and the queues the message went to. No IO, no clock, no protocol: the
//! adapters turn wire fields into a [`Draft`] and read a [`StoredMessage`] back.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod annex;
mod deaths;
mod draft;
mod header;
mod id;
mod layout;
mod place;
pub mod property;
mod read;
mod rewrite;
mod stored;
mod tag;
mod targets;

pub use annex::{Annex, AnnexKind, Annexes};
pub use deaths::{DEATHS_MAX, Death, DeathReason, Deaths};
pub use draft::{Draft, DraftError};
pub use header::{HEADER_NAME_BYTES_MAX, HeaderValue, Headers, push_header};
pub use id::{OffsetId, UniqueId};
pub use layout::{
    BODY_BYTES_MAX, Compression, MAGIC_V1, MAGIC_V2, PROPERTIES_BYTES_MAX, RECORD_MESSAGE_BYTES_MAX,
    TOPIC_BYTES_MAX, TargetSlot, sys_flag,
};
pub use place::{Placement, place, place_record};
pub use read::LayoutError;
pub use rewrite::{Rewrite, rewrite_into};
pub use stored::StoredMessage;
pub use tag::tag_hash;
pub use targets::{Target, targets_annex};
