//! The history of a dead letter as AMQP clients know it: the headers `x-death`, `x-first-death-*` and `x-last-death-*`.

use bytes::BytesMut;
use mailrail_message::{Death, Deaths};

use crate::codec::properties::with_headers;
use crate::codec::{ArrayBuffer, ShortBytes, Table, TableBuffer, Value};

const DEATHS: &str = "x-death";
const FIRST: [&str; 3] = ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"];
const LAST: [&str; 3] = ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"];

/// Raw properties with the history among their headers, in place of any that was there, and without an expiry: all else
/// stays as it came. `None` where they cannot be read.
pub(crate) fn add(raw: &[u8], deaths: &Deaths) -> Option<BytesMut> {
    with_headers(raw, |headers| {
        let mut table = TableBuffer::from(without_history(headers.unwrap_or_default()));
        put(&mut table, deaths);
        table
    })
}

/// Adds the headers to a table that has none of them.
pub(crate) fn put(table: &mut TableBuffer, deaths: &Deaths) {
    let mut all = ArrayBuffer::default();
    deaths.all().iter().for_each(|death| all.push(Value::Table(one(death).as_table())));
    table.put(DEATHS, Value::Array(all.as_array()));
    for (names, death) in [(FIRST, deaths.first()), (LAST, deaths.all().first())] {
        let Some(death) = death else { continue };
        let values = [death.queue.as_str(), death.reason.name(), death.exchange.as_str()];
        for (name, value) in names.into_iter().zip(values) {
            table.put_text(name, value);
        }
    }
}

/// The exchange and the key through which the last death sent it.
pub(crate) fn way(deaths: &Deaths) -> (&str, ShortBytes<'_>) {
    (&deaths.exchange, deaths.key.as_str().into())
}

fn one(death: &Death) -> TableBuffer {
    let mut keys = ArrayBuffer::default();
    keys.push(Value::Text(death.key.as_bytes()));
    let mut table = TableBuffer::default();
    table.put("count", Value::I64(i64::try_from(death.count).unwrap_or(i64::MAX)));
    table.put_text("reason", death.reason.name()).put_text("queue", &death.queue);
    table.put("time", Value::Timestamp(death.first_ms / 1_000)).put_text("exchange", &death.exchange);
    table.put("routing-keys", Value::Array(keys.as_array()));
    if let Some(expiration) = &death.expiration {
        table.put_text("original-expiration", expiration);
    }
    table
}

/// The entries of a table but for those that tell of deaths, byte for byte.
fn without_history(headers: Table<'_>) -> Vec<u8> {
    let is_history = |name: &[u8]| {
        let mut own = std::iter::once(DEATHS).chain(FIRST).chain(LAST);
        own.any(|known| known.as_bytes() == name)
    };
    headers.without(is_history)
}

#[cfg(test)]
mod tests {
    use mailrail_message::DeathReason;

    use super::*;
    use crate::codec::BasicProperties;

    #[test]
    fn all_but_the_history_and_the_expiry_stays_as_it_came() {
        let mut headers = TableBuffer::default();
        headers.put("size", Value::I8(5)).put_text(DEATHS, "forged").put("wide", Value::I64(1));
        let sent = BasicProperties {
            content_type: Some("text/plain"),
            headers: Some(headers.as_table()),
            delivery_mode: Some(2),
            expiration: Some("1000".into()),
            message_id: Some("m"),
            ..BasicProperties::default()
        };
        let mut raw = BytesMut::new();
        sent.write(&mut raw);
        let mut deaths = Deaths::default();
        (deaths.exchange, deaths.key) = ("dlx".to_owned(), "k".to_owned());
        for (queue, reason) in [("q", DeathReason::Expired), ("r", DeathReason::Rejected)] {
            deaths.add(Death {
                queue: queue.to_owned(),
                reason,
                count: 1,
                first_ms: 1_700_000_000_999,
                exchange: "x".to_owned(),
                key: "key".to_owned(),
                expiration: (queue == "q").then(|| "1000".to_owned()),
                is_first: false,
            });
        }
        let raw = add(&raw, &deaths).unwrap();
        let found = BasicProperties::read(&raw).unwrap();
        let headers = found.headers.unwrap();
        assert_eq!(
            BasicProperties { headers: None, ..found },
            BasicProperties { headers: None, expiration: None, ..sent }
        );
        assert_eq!((headers.get("size"), headers.get("wide")), (Some(Value::I8(5)), Some(Value::I64(1))));
        let Some(Value::Array(all)) = headers.get(DEATHS) else { panic!("{headers:?}") };
        let all: Vec<Value<'_>> = all.iter().collect();
        let [Value::Table(newest), Value::Table(oldest)] = all[..] else { panic!("{all:?}") };
        assert_eq!(newest.get("queue"), Some(Value::Text(b"r")));
        assert_eq!(newest.get("original-expiration"), None);
        let expected = [
            ("queue", Value::Text(b"q")),
            ("reason", Value::Text(b"expired")),
            ("count", Value::I64(1)),
            ("time", Value::Timestamp(1_700_000_000)),
            ("exchange", Value::Text(b"x")),
            ("original-expiration", Value::Text(b"1000")),
        ];
        for (name, value) in expected {
            assert_eq!(oldest.get(name), Some(value), "{name}");
        }
        let Some(Value::Array(keys)) = oldest.get("routing-keys") else { panic!("{oldest:?}") };
        assert_eq!(keys.iter().collect::<Vec<_>>(), [Value::Text(b"key")]);
        assert_eq!(headers.get("x-first-death-queue"), Some(Value::Text(b"q")));
        assert_eq!(headers.get("x-last-death-reason"), Some(Value::Text(b"rejected")));
    }
}
