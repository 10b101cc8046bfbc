//! Typed requests: one file per family of request codes, all with a `parse` from the header (and body).
//!
//! Absent: what a request does, and defaults that depend on the broker. A request that cannot be read costs
//! itself only; the connection lives on.

pub mod cluster;
pub mod heartbeat;
pub mod lock;
pub mod members;
pub mod notify;
pub mod offset;
pub mod pull;
mod query;
mod read;
mod recall;
pub mod route;
pub mod send;
pub mod send_back;
pub mod transaction;

use super::body::BodyError;
use super::frame::Frame;
use super::request_code as request;

pub use heartbeat::{CheckClientConfig, Heartbeat, UnregisterClient};
pub use lock::LockQueues;
pub use members::ConsumerList;
pub use offset::{Boundary, QueryConsumerOffset, QueueOf, SearchOffset, UpdateConsumerOffset};
pub use pull::PullMessage;
pub use query::{QueryMessage, ViewMessage};
pub use recall::{RecallHandle, RecallMessage};
pub use route::GetRoute;
pub use send::SendMessage;
pub use send_back::SendMessageBack;
pub use transaction::EndTransaction;

/// A request whose header or body cannot be read. Scope: this request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("{} has no {field}", Named(*.request))]
    Missing { request: i32, field: &'static str },
    #[error("{} has {field} `{value}`, which is not {expected}", Named(*.request))]
    Invalid { request: i32, field: &'static str, value: String, expected: &'static str },
    #[error("{}: {source}", Named(*.request))]
    Body { request: i32, source: BodyError },
}

/// A request as the broker side sees it. Text is borrowed from the frame.
#[derive(Debug, Clone)]
pub enum Command<'a> {
    Send(SendMessage<'a>),
    Pull(PullMessage<'a>),
    QueryConsumerOffset(QueryConsumerOffset<'a>),
    UpdateConsumerOffset(UpdateConsumerOffset<'a>),
    SearchOffset(SearchOffset<'a>),
    MaxOffset(QueueOf<'a>),
    MinOffset(QueueOf<'a>),
    EarliestStoreTime(QueueOf<'a>),
    Heartbeat(Heartbeat),
    UnregisterClient(UnregisterClient<'a>),
    CheckClientConfig(CheckClientConfig),
    ConsumerList(ConsumerList<'a>),
    Lock(LockQueues),
    Unlock(LockQueues),
    SendBack(SendMessageBack<'a>),
    GetRoute(GetRoute<'a>),
    GetCluster,
    QueryMessage(QueryMessage<'a>),
    ViewMessage(ViewMessage),
    Recall(RecallMessage<'a>),
    EndTransaction(EndTransaction<'a>),
    /// Any other request code, known by name or not.
    Unsupported(i32),
}

impl<'a> Command<'a> {
    /// Reads the request in `frame`, which must not be a response.
    pub fn parse(frame: &'a Frame) -> Result<Command<'a>, CommandError> {
        let (header, body) = (&frame.header, &frame.body);
        Ok(match header.code {
            request::SEND_MESSAGE
            | request::SEND_MESSAGE_V2
            | request::SEND_BATCH_MESSAGE
            | request::SEND_REPLY_MESSAGE
            | request::SEND_REPLY_MESSAGE_V2 => Command::Send(SendMessage::parse(header)?),
            request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => Command::Pull(PullMessage::parse(header)?),
            request::QUERY_CONSUMER_OFFSET => {
                Command::QueryConsumerOffset(QueryConsumerOffset::parse(header)?)
            }
            request::UPDATE_CONSUMER_OFFSET => {
                Command::UpdateConsumerOffset(UpdateConsumerOffset::parse(header)?)
            }
            request::SEARCH_OFFSET_BY_TIMESTAMP => Command::SearchOffset(SearchOffset::parse(header)?),
            request::GET_MAX_OFFSET => Command::MaxOffset(QueueOf::parse(header)?),
            request::GET_MIN_OFFSET => Command::MinOffset(QueueOf::parse(header)?),
            request::GET_EARLIEST_MSG_STORETIME => Command::EarliestStoreTime(QueueOf::parse(header)?),
            request::HEART_BEAT => Command::Heartbeat(heartbeat::parse(header, body)?),
            request::UNREGISTER_CLIENT => Command::UnregisterClient(UnregisterClient::parse(header)?),
            request::CHECK_CLIENT_CONFIG => Command::CheckClientConfig(heartbeat::parse_check(header, body)?),
            request::GET_CONSUMER_LIST_BY_GROUP => Command::ConsumerList(ConsumerList::parse(header)?),
            request::LOCK_BATCH_MQ => Command::Lock(lock::parse(header, body)?),
            request::UNLOCK_BATCH_MQ => Command::Unlock(lock::parse(header, body)?),
            request::CONSUMER_SEND_MSG_BACK => Command::SendBack(SendMessageBack::parse(header)?),
            request::GET_ROUTEINFO_BY_TOPIC => Command::GetRoute(GetRoute::parse(header)?),
            request::GET_BROKER_CLUSTER_INFO => Command::GetCluster,
            request::QUERY_MESSAGE => Command::QueryMessage(QueryMessage::parse(header)?),
            request::VIEW_MESSAGE_BY_ID => Command::ViewMessage(ViewMessage::parse(header)?),
            request::END_TRANSACTION => Command::EndTransaction(EndTransaction::parse(header)?),
            request::RECALL_MESSAGE => Command::Recall(RecallMessage::parse(header)?),
            other => Command::Unsupported(other),
        })
    }
}

/// A request code with its name, where it has one.
pub struct Named(pub i32);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match request::name(self.0) {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "request code {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
