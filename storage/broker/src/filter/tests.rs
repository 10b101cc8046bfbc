//! Filters over stored messages: the tag by hash and by name, properties, and the header of JMS.

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
