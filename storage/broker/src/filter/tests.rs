//! Filters over stored messages: the tag by hash and by name, properties, and the header of JMS; and what they cost.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mailrail_message::{Draft, property, tag_hash};

use super::*;

fn stored(pairs: &[(&str, &str)]) -> BytesMut {
    let mut properties = Vec::new();
    for (key, value) in pairs {
        assert!(property::push(&mut properties, key, value));
    }
    let host = "127.0.0.1:1".parse().unwrap();
    let draft = Draft {
        topic: "t",
        flag: 0,
        sys_flags: 0,
        born_ms: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        body: b"body",
        properties: &properties,
        more_properties: b"",
        annexes: &[],
    };
    let mut bytes = BytesMut::new();
    draft.encode(&mut bytes);
    bytes
}

fn passes(filter: &Filter, pairs: &[(&str, &str)]) -> bool {
    filter.passes(&stored(pairs))
}

#[test]
fn a_tag_must_be_the_one_and_not_only_hash_like_it() {
    let filter = Filter::tags("Aa || x").unwrap();
    assert_eq!(tag_hash("Aa"), tag_hash("BB"));
    assert!(filter.may_pass(tag_hash("BB")) && !passes(&filter, &[("TAGS", "BB")]));
    assert!(passes(&filter, &[("TAGS", "Aa")]) && passes(&filter, &[("TAGS", "x")]));
    assert!(!filter.may_pass(0) && !passes(&filter, &[]));
    assert!(Filter::all().is_all() && Filter::tags("*").unwrap().is_all());
    assert!(Filter::all().may_pass(7) && passes(&Filter::all(), &[]));
}

#[test]
fn tag_and_expression_must_both_pass() {
    let filter = Filter::tags("x").unwrap().and_sql("n > 3 AND TAGS = 'x'", Dialect::Rocketmq).unwrap();
    assert!(passes(&filter, &[("TAGS", "x"), ("n", "4")]));
    assert!(!passes(&filter, &[("TAGS", "y"), ("n", "4")]));
    assert!(!passes(&filter, &[("TAGS", "x"), ("n", "3")]));
    assert_eq!(filter.to_string(), "x and ((n > 3) AND (TAGS = 'x'))");
    let filter = Filter::all().and_sql("n > 3", Dialect::Rocketmq).unwrap();
    assert!(!filter.is_all() && filter.may_pass(7) && passes(&filter, &[("n", "4")]));
}

#[test]
fn what_is_no_message_is_left_to_whoever_opens_it() {
    assert!(Filter::tags("x").unwrap().passes(b"no message"));
}

#[test]
fn selectors_see_the_header_of_jms() {
    let says = |selector: &str, pairs: &[(&str, &str)]| {
        passes(&Filter::all().and_sql(selector, Dialect::Jms).unwrap(), pairs)
    };
    assert!(says("JMSPriority = 4 AND JMSDeliveryMode = 'PERSISTENT'", &[]));
    assert!(says("JMSPriority > 8", &[(property::PRIORITY, "9")]));
    assert!(says("JMSDeliveryMode = 'NON_PERSISTENT'", &[(property::WAIT, "false")]));
    assert!(says("JMSTimestamp = 1700000000000", &[]));
    assert!(says("JMSMessageID LIKE 'id-%'", &[(property::UNIQUE_ID, "id-7")]));
    assert!(says(
        "JMSCorrelationID = 'c' AND JMSType = 'order'",
        &[(property::CORRELATION_ID, "c"), (property::MESSAGE_TYPE, "order"),]
    ));
    assert!(says("JMSType IS NULL AND colour = 'red'", &[("colour", "red")]));
    let sql = Filter::all().and_sql("JMSPriority IS NULL", Dialect::Rocketmq).unwrap();
    assert!(passes(&sql, &[]), "a header field of JMS is no property");
}

/// `cargo test --release -p mailrail-broker filters_cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: only a release build means anything"]
fn filters_cost_little() {
    let tags = Filter::tags("red || green || blue").unwrap();
    let hashes: Vec<i32> = (0..1_024).map(|tag| tag_hash(&format!("tag-{tag}"))).collect();
    let tag = best(1_024, || hashes.iter().filter(|hash| tags.may_pass(**hash)).count());
    let message = stored(&[
        ("UNIQ_KEY", "7F0000010000269400000000001A40"),
        ("KEYS", "order-13"),
        ("TAGS", "green"),
        ("region", "eu-west-1"),
        ("customer", "c-4711"),
        ("amount", "250"),
        ("CLUSTER", "DefaultCluster"),
    ]);
    let name = best(1, || usize::from(tags.passes(black_box(&message))));
    let sql = "amount > 100 AND region IN ('eu-west-1', 'eu-west-2') AND customer <> 'c-1'";
    let sql = Filter::all().and_sql(sql, Dialect::Rocketmq).unwrap();
    assert!(sql.passes(&message));
    let three = best(1, || usize::from(sql.passes(black_box(&message))));
    println!("tag by hash {tag:?}, tag by name {name:?}, three terms {three:?}");
    assert!(tag < Duration::from_nanos(50) && three < Duration::from_micros(1));
}

/// What one of `count` took in the best of some rounds.
fn best(count: u32, work: impl Fn() -> usize) -> Duration {
    let rounds = (0..20).map(|_| {
        let begin = Instant::now();
        for _ in 0..1_000 {
            black_box(work());
        }
        begin.elapsed()
    });
    rounds.min().unwrap_or_default() / 1_000 / count
}
