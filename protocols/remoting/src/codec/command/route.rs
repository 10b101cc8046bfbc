//! GET_ROUTEINFO_BY_TOPIC (105): where the queues of a topic are.
//!
//! The answer's body is written in `body::route`.

use super::CommandError;
use super::read::Fields;
use crate::codec::body::route::KeyStyle;
use crate::codec::header::Header;

/// 105.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRoute<'a> {
    pub topic: &'a str,
    /// How this client reads integer keys in the answer.
    pub keys: KeyStyle,
}

impl<'a> GetRoute<'a> {
    pub fn parse(header: &'a Header) -> Result<GetRoute<'a>, CommandError> {
        let fields = Fields { header };
        let standard = fields.flag("acceptStandardJsonOnly").unwrap_or(false);
        let keys = if standard { KeyStyle::Quoted } else { KeyStyle::of_version(header.version) };
        Ok(GetRoute { topic: fields.needed("topic")?, keys })
    }
}
