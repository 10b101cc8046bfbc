//! GET_BROKER_CLUSTER_INFO (106): has no header fields of its own.
//!
//! The answer's body is written in `body::cluster`.

use crate::codec::body::route::KeyStyle;
use crate::codec::header::Header;

/// How the asking client reads integer keys in the answer.
pub fn keys(header: &Header) -> KeyStyle {
    KeyStyle::of_version(header.version)
}
