//! Headers: those of the message against those of the binding; the routing key is not looked at.
//!
//! As with RabbitMQ, a header without a value in the binding is one that must be there, whatever it holds, and names
//! beginning with `x-` count only where `x-match` says so. Integers are equal by value, whatever their width.

use std::collections::BTreeSet;

use mailrail_commitlog::record::RECORD_HEADER_BYTES;
use mailrail_message::{HeaderValue, Headers, StoredMessage};
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::record::{Binding, RouteEnd};

const MATCH: &str = "x-match";
const OWN_PREFIX: &str = "x-";
const MATCHES: &str = "one of all, any, all-with-x and any-with-x";

/// Headers of a message by name.
pub(super) type Found<'a> = FxHashMap<&'a str, HeaderValue<'a>>;

/// The headers of the message in a record.
pub(super) fn found(record: &[u8]) -> Found<'_> {
    let stored = record.get(RECORD_HEADER_BYTES..).and_then(|bytes| StoredMessage::parse(bytes).ok());
    stored.into_iter().flat_map(|stored| stored.headers()).collect()
}

/// How many headers must be equal, and whether those with names of our own count.
#[derive(Clone, Copy)]
struct Rule {
    is_all: bool,
    is_with_x: bool,
}

impl Rule {
    fn read(attributes: &[u8]) -> Result<Rule, Error> {
        let rule = |is_all, is_with_x| Ok(Rule { is_all, is_with_x });
        match Headers::new(attributes).find(|(name, _)| *name == MATCH).map(|(_, value)| value) {
            None | Some(HeaderValue::Text(b"all")) => rule(true, false),
            Some(HeaderValue::Text(b"any")) => rule(false, false),
            Some(HeaderValue::Text(b"all-with-x")) => rule(true, true),
            Some(HeaderValue::Text(b"any-with-x")) => rule(false, true),
            Some(HeaderValue::Text(other)) => {
                let value = format!("{:?}", String::from_utf8_lossy(other));
                Err(Error::Argument { name: MATCH, value, allowed: MATCHES })
            }
            Some(other) => {
                Err(Error::Argument { name: MATCH, value: format!("{other:?}"), allowed: MATCHES })
            }
        }
    }

    fn counts(self, name: &str) -> bool {
        name != MATCH && (self.is_with_x || !name.starts_with(OWN_PREFIX))
    }
}

/// Whether attributes can be a binding's.
pub(super) fn check(attributes: &[u8]) -> Result<(), Error> {
    Headers::check(attributes).map_err(|error| Error::Argument {
        name: "the table of headers",
        value: error.to_string(),
        allowed: "a table of names and values",
    })?;
    Rule::read(attributes).map(|_| ())
}

pub(super) fn targets(bindings: &BTreeSet<Binding>, message: &Found<'_>, found: &mut Vec<RouteEnd>) {
    let fitting = bindings.iter().filter(|binding| fits(&binding.attributes, message));
    found.extend(fitting.map(|binding| binding.target));
}

fn fits(attributes: &[u8], message: &Found<'_>) -> bool {
    let Ok(rule) = Rule::read(attributes) else { return false };
    let mut wanted = Headers::new(attributes).filter(|(name, _)| rule.counts(name));
    let has = |(name, value): (&str, HeaderValue<'_>)| {
        message.get(name).is_some_and(|found| value == HeaderValue::Void || value.equals(found))
    };
    if rule.is_all { wanted.all(has) } else { wanted.any(has) }
}

#[cfg(test)]
mod tests {
    use mailrail_message::push_header;

    use super::*;

    const EU: (&str, HeaderValue<'_>) = ("region", HeaderValue::Text(b"eu"));
    const FIVE: (&str, HeaderValue<'_>) = ("size", HeaderValue::Integer(5));
    const OWN: (&str, HeaderValue<'_>) = ("x-own", HeaderValue::Bool(true));

    fn table(mode: Option<&str>, headers: &[(&str, HeaderValue<'_>)]) -> Vec<u8> {
        let mut table = Vec::new();
        let mode = mode.map(|mode| (MATCH, HeaderValue::Text(mode.as_bytes())));
        for (name, value) in mode.iter().chain(headers) {
            assert!(push_header(&mut table, name, value));
        }
        table
    }

    #[test]
    fn modes_match_as_in_rabbitmq() {
        type Message<'a> = &'a [(&'a str, HeaderValue<'a>)];
        let other = ("size", HeaderValue::Integer(6));
        let text = ("size", HeaderValue::Text(b"5"));
        let untyped = ("size", HeaderValue::Untyped("5"));
        let present = ("size", HeaderValue::Void);
        let cases: &[(Option<&str>, Message<'_>, Message<'_>, bool)] = &[
            (None, &[EU, FIVE], &[FIVE, EU], true),
            (Some("all"), &[EU, FIVE], &[EU], false),
            (Some("all"), &[EU, FIVE], &[EU, other], false),
            (Some("all"), &[], &[], true),
            (Some("any"), &[], &[EU], false),
            (Some("any"), &[EU, FIVE], &[EU, other], true),
            (Some("any"), &[EU, FIVE], &[other], false),
            (Some("all"), &[EU, present], &[EU, other], true),
            (Some("all"), &[EU, present], &[EU], false),
            (Some("all"), &[FIVE], &[text], false),
            (Some("all"), &[FIVE], &[untyped], true),
            (Some("all"), &[EU, OWN], &[EU], true),
            (Some("any"), &[OWN], &[OWN], false),
            (Some("all-with-x"), &[EU, OWN], &[EU], false),
            (Some("all-with-x"), &[EU, OWN], &[EU, OWN], true),
            (Some("any-with-x"), &[OWN], &[EU, OWN], true),
            (Some("any-with-x"), &[OWN], &[EU], false),
        ];
        for (mode, wanted, message, expected) in cases {
            let attributes = table(*mode, wanted);
            assert_eq!(check(&attributes), Ok(()));
            let found: Found<'_> = message.iter().copied().collect();
            assert_eq!(fits(&attributes, &found), *expected, "{mode:?} {wanted:?} {message:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let refusal = |table: &[u8]| check(table).unwrap_err().to_string();
        let odd = refusal(&table(Some("most"), &[]));
        assert_eq!(odd, "x-match is \"most\"; one of all, any, all-with-x and any-with-x is allowed");
        assert!(refusal(&table(None, &[(MATCH, HeaderValue::Integer(1))])).contains("Integer(1)"));
        assert!(refusal(b"\x05abc").contains("table"));
    }
}
