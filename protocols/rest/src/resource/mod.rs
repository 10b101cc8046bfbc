//! One file per resource or verb of the API: take the request apart, ask the broker, answer. Decides nothing about
//! messages.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bindings;
pub(crate) mod events;
pub(crate) mod exchanges;
pub(crate) mod find;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod lite;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod recall;
pub(crate) mod receive;
pub(crate) mod settle;
pub(crate) mod statistics;
pub(crate) mod topics;
pub(crate) mod trace;
pub(crate) mod transactions;
pub(crate) mod users;

use std::sync::Arc;

use mailrail_broker::{Action, Command, Error, Exchange, Group, Name, Resource, Topic};

use crate::ask::Line;
use crate::problem::{Refusal, refusals};
use crate::state::RestState;

refusals! {
    /// What any operation may answer.
    Refused: [InvalidRequest, Unauthenticated, AccessDenied, Internal, Stopping];
    /// What lists may answer, which show what whoever asks may see.
    Listed: [InvalidRequest, Unauthenticated, Internal, Stopping];
    /// What operations that ask the broker's shard may answer too.
    Asked: [InvalidRequest, Unauthenticated, AccessDenied, Internal, Stopping, ReadOnly, NoAnswer];
    /// What operations with a JSON body may answer too.
    AskedWithBody: [
        InvalidRequest, Unauthenticated, AccessDenied, InvalidName, LimitExceeded, RequestTimeout, TooLarge, UnsupportedMediaType, Internal,
        Stopping, Overloaded, ReadOnly, NoAnswer,
    ];
}

/// The topic of a path.
fn topic_of(state: &RestState, name: &str) -> Result<Arc<Topic>, Refusal> {
    state.check(Action::Describe, Resource::topic(name))?;
    state.broker().directory().topic(name).ok_or_else(|| Refusal::no_topic(name))
}

/// The exchange of a path.
fn exchange_of(state: &RestState, name: &str) -> Result<Arc<Exchange>, Refusal> {
    state.check(Action::Describe, Resource::exchange(name))?;
    state.broker().directory().exchange(name).ok_or_else(|| Error::NoExchange(name.to_owned()).into())
}

/// The group of a path; made when it is missing, as every consumer's first step makes it.
async fn group_for_consumer(state: &RestState, line: &mut Line, name: &str) -> Result<Arc<Group>, Refusal> {
    if let Some(group) = state.broker().directory().group(name) {
        return Ok(group);
    }
    line.ask(|token| Command::PutGroup { token, name: Name::from(name), settings: None }).await?;
    let missing = || mailrail_broker::Error::NoGroup { group: name.to_owned(), topic: String::new() };
    state.broker().directory().group(name).ok_or_else(|| missing().into())
}

/// How many items of a list to show.
fn list_items(asked: Option<usize>) -> Result<usize, Refusal> {
    let items = asked.unwrap_or(crate::limits::LIST_ITEMS_DEFAULT);
    in_range("max", items, crate::limits::LIST_ITEMS_MAX)
}

/// How many messages to return.
fn page_messages(asked: u32) -> Result<u32, Refusal> {
    in_range("max", asked, crate::limits::PAGE_MESSAGES_MAX)
}

fn in_range<T: Copy + Ord + From<u8> + std::fmt::Display>(
    name: &str,
    value: T,
    max: T,
) -> Result<T, Refusal> {
    if value < T::from(1) || value > max {
        let detail = format!("{name} is {value}; 1 to {max} are allowed");
        return Err(Refusal::new(crate::problem::Kind::LimitExceeded, detail));
    }
    Ok(value)
}
