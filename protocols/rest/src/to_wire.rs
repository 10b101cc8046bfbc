//! From the core's types to the documents of the API.

mod exchanges;
mod groups;
mod messages;
pub(crate) mod statistics;
mod topics;
pub(crate) mod trace;
mod users;

pub(crate) use self::exchanges::{binding_view, exchange_view};
pub(crate) use self::groups::{group_summary, group_view};
pub(crate) use self::messages::{
    Base64Text, Deliveries, Keys, MessageId, Messages, Place, is_compressed, message, open, open_one,
};
pub(crate) use self::topics::{durability_name, effective, topic_summary, topic_view};
pub(crate) use self::users::{change_view, permissions, user_view};
