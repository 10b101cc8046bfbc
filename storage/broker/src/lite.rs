//! Light queues: topics of one queue each, many thousands under one parent topic, made when a message to the parent names
//! them and gone when nobody has used them for a while. A message is stored once, whatever it names. RocketMQ calls them
//! LMQ, and lite topics in its newer releases; their names begin with [`LITE_PREFIX`].

use std::collections::BTreeMap;

use mailrail_message::{StoredMessage, property};

use crate::directory::Topic;
use crate::error::Error;
use crate::limits::{LITE_QUEUES_MAX, MESSAGE_LITE_QUEUES_MAX, NAME_BYTES_MAX};
use crate::policy::{EXPIRES_MS, MESSAGE_TTL_MS};
use crate::settings::{Lifetime, Retention, TopicSettings};

/// How the name of every light queue begins, and no other topic's.
pub const LITE_PREFIX: &str = "%LMQ%";
/// Attribute of a topic that may have light queues: `true`.
pub const LITE: &str = "lite";
/// Attribute of such a topic: milliseconds without message, consumer or waiting reader after which a light queue goes.
pub const LITE_EXPIRES_MS: &str = "lite-expires-ms";
/// Attribute of a light queue: the name of its parent topic.
pub const LITE_OF: &str = "lite-of";
/// As long as messages are kept if nothing else is said.
pub const LITE_EXPIRES_MS_DEFAULT: u64 = 72 * 60 * 60 * 1_000;

/// Between the names of light queues in a message's property, as with RocketMQ.
const SEPARATOR: char = ',';

/// The light queues that a message names, in its order. Not checked.
pub fn names<'a>(message: &StoredMessage<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let named = message.properties().get(property::LITE_QUEUES).unwrap_or_default();
    named.split(SEPARATOR).filter(|name| !name.is_empty())
}

/// The property's value that names these light queues.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// What a parent's attributes say of when its light queues go; `None` where it may have none.
pub(crate) fn expires_ms(settings: &TopicSettings, asked: Option<u64>) -> Result<Option<u64>, Error> {
    let argument = |name, value: &str, allowed| Error::Argument { name, value: value.to_owned(), allowed };
    let is_parent = match settings.attributes.get(LITE).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(argument(LITE, other, "true or false")),
    };
    match asked {
        Some(ms) if !is_parent => {
            Err(argument(LITE_EXPIRES_MS, &ms.to_string(), "only on a topic that may have light queues"))
        }
        _ if !is_parent => Ok(None),
        _ if settings.attributes.contains_key(LITE_OF) => {
            Err(argument(LITE, "true", "on a topic that is no light queue itself"))
        }
        _ if settings.retention != Retention::TimeSize || settings.lifetime != Lifetime::Durable => {
            Err(argument(LITE, "true", "on a topic that lasts and keeps messages by time and size"))
        }
        asked => Ok(Some(asked.unwrap_or(LITE_EXPIRES_MS_DEFAULT))),
    }
}

/// Settings of a light queue, by those of its parent.
pub(crate) fn settings_of(parent: &str, settings: &TopicSettings, expires_ms: u64) -> TopicSettings {
    let mut attributes = BTreeMap::from([
        (LITE_OF.to_owned(), parent.to_owned()),
        (EXPIRES_MS.to_owned(), expires_ms.to_string()),
    ]);
    let ttl = settings.attributes.get(MESSAGE_TTL_MS);
    attributes.extend(ttl.map(|ttl| (MESSAGE_TTL_MS.to_owned(), ttl.clone())));
    TopicSettings { queues: 1, durability: settings.durability, attributes, ..TopicSettings::default() }
}

/// Refuses what cannot be the name of a light queue.
pub fn check_name(name: &str) -> Result<(), Error> {
    let why = match name.strip_prefix(LITE_PREFIX) {
        None => "it does not begin with %LMQ%",
        Some("") => "nothing follows %LMQ%",
        Some(rest) if rest.contains(SEPARATOR) => "it has a comma",
        Some(_) if name.len() > NAME_BYTES_MAX => "it is longer than 255 bytes",
        Some(_) => return Ok(()),
    };
    let name = name.chars().take(NAME_BYTES_MAX).collect();
    Err(Error::Name { what: "light queue", name, why })
}

/// Refuses names that a message may not have, whatever there is.
pub(crate) fn check_names(names: &[&str]) -> Result<(), Error> {
    limit("light queues that a message names", names.len(), MESSAGE_LITE_QUEUES_MAX)?;
    names.iter().try_for_each(|name| check_name(name))
}

/// Whether a topic may have so many light queues.
pub(crate) fn check_count(count: usize) -> Result<(), Error> {
    limit("light queues of a topic", count, LITE_QUEUES_MAX)
}

/// Whether a light queue belongs to a topic, and not to one that had its name before. Numbers go up, so what is under a
/// topic has a higher one.
pub(crate) fn is_under(lite: &Topic, parent: &Topic) -> bool {
    lite.lite_of.as_ref() == Some(&parent.name) && lite.id > parent.id
}

fn limit(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if value > max { Err(Error::Limit { what, value: number(value), max: number(max) }) } else { Ok(()) }
}
