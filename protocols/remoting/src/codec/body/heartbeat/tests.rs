//! Heartbeats as SDKs write them.

use super::*;

fn subscription(topic: &str, expression: &str, expression_type: &str, version: i64) -> Subscription {
    Subscription {
        topic: topic.into(),
        expression: expression.into(),
        expression_type: expression_type.into(),
        version,
        class_filter_mode: false,
    }
}

#[test]
fn a_java_heartbeat_has_names() {
    let body = br#"{"clientID":"192.0.2.2@9994#33","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g-1","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[114581],"expressionType":"TAG","subString":"tag-A","subVersion":1795336145942,"tagsSet":["tag-A"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":-12,"producerDataSet":[{"groupName":"p-1"},{"groupName":"CLIENT_INNER_PRODUCER"}],"withoutSub":true}"#;
    let heartbeat = parse(body).unwrap();
    assert_eq!(heartbeat.client_id, "192.0.2.2@9994#33");
    assert_eq!((heartbeat.fingerprint, heartbeat.without_subscriptions), (-12, true));
    let producers: Vec<&str> = heartbeat.producers.iter().map(|producer| producer.group.as_str()).collect();
    assert_eq!(producers, ["p-1", "CLIENT_INNER_PRODUCER"]);
    let expected = Consumer {
        group: "g-1".into(),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Clustering,
        consume_from_where: ConsumeFrom::First,
        unit_mode: false,
        subscriptions: vec![subscription("T", "tag-A", "TAG", 1_795_336_145_942)],
    };
    assert_eq!(heartbeat.consumers, [expected]);
}

#[test]
fn a_cpp_heartbeat_has_ordinals_text_and_a_newline() {
    let body = b"{\"clientID\":\"15723-127.0.0.1@ci\",\"consumerDataSet\":[{\"consumeFromWhere\":4,\"consumeType\":1,\"groupName\":\"g\",\"messageModel\":0,\"subscriptionDataSet\":[{\"subString\":\"*\",\"subVersion\":\"1795334853753\",\"topic\":\"T\"}]}]}\n";
    let heartbeat = parse(body).unwrap();
    assert_eq!(heartbeat.producers, []);
    let expected = Consumer {
        group: "g".into(),
        consume_type: ConsumeType::Passively,
        message_model: MessageModel::Broadcasting,
        consume_from_where: ConsumeFrom::First,
        unit_mode: false,
        subscriptions: vec![subscription("T", "*", "", 1_795_334_853_753)],
    };
    assert_eq!(heartbeat.consumers, [expected]);
}

#[test]
fn lists_may_be_null_names_in_any_case_and_go_versions_in_nanoseconds() {
    let body = br#"{"clientID":"c","producerDataSet":null,"consumerDataSet":[{"groupName":"g","consumeType":"consume_pop","subscriptionDataSet":null},{"groupName":"h","subscriptionDataSet":[{"topic":"T","subVersion":1795334852527495359,"new":{"a":1}}]}]}"#;
    let heartbeat = parse(body).unwrap();
    assert_eq!(heartbeat.consumers[0].consume_type, ConsumeType::Pop);
    assert_eq!(heartbeat.consumers[0].message_model, MessageModel::Clustering);
    assert_eq!(heartbeat.consumers[1].subscriptions, [subscription("T", "", "", 1_795_334_852_527_495_359)]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (body, expected) in [
        (&b""[..], "EOF"),
        (b"{}", "missing field `clientID`"),
        (br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":9}]}"#, "no consumeType"),
        (
            br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","messageModel":"BOTH"}]}"#,
            "no messageModel",
        ),
        (br#"{"clientID":"c","heartbeatFingerprint":"x"}"#, "`x` is no integer"),
        (br#"{"clientID":"c","heartbeatFingerprint":4294967296}"#, "4294967296 is out of range"),
    ] {
        let error = parse(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} is not about {expected}");
    }
}

#[test]
fn groups_and_subscriptions_are_counted() {
    let producers = |count: usize| {
        let list = vec![r#"{"groupName":"p"}"#; count].join(",");
        format!(r#"{{"clientID":"c","producerDataSet":[{list}]}}"#)
    };
    assert!(parse(producers(4_096).as_bytes()).is_ok());
    let error = parse(producers(4_097).as_bytes()).unwrap_err();
    assert_eq!(error, BodyError::TooMany { what: "groups", count: 4_097, max: 4_096 });
    let list = vec![r#"{"topic":"T"}"#; 4_097].join(",");
    let body = format!(
        r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{list}]}}]}}"#
    );
    let error = parse(body.as_bytes()).unwrap_err();
    assert_eq!(error, BodyError::TooMany { what: "subscriptions", count: 4_097, max: 4_096 });
}

#[test]
fn a_client_check_names_one_subscription() {
    let body = br#"{"clientId":"c","group":"g","subscriptionData":{"topic":"T","subString":"a > 1","expressionType":"SQL92","subVersion":1,"classFilterMode":false,"tagsSet":[],"codeSet":[]},"namespace":""}"#;
    let check = parse_check(body).unwrap();
    assert_eq!(check.subscription_data, Some(subscription("T", "a > 1", "SQL92", 1)));
    assert_eq!((check.client_id.as_str(), check.group.as_str()), ("c", "g"));
}

#[test]
fn a_heartbeat_names_at_most_so_many_groups() {
    // Producers and consumers count together.
    let body = |groups: usize| {
        let named = |count: usize| vec![r#"{"groupName":"g"}"#; count].join(",");
        let (producers, consumers) = (named(groups - 1), named(1));
        format!(r#"{{"clientID":"c","producerDataSet":[{producers}],"consumerDataSet":[{consumers}]}}"#)
    };
    let heartbeat = parse(body(HEARTBEAT_GROUPS_COUNT_MAX).as_bytes()).unwrap();
    assert_eq!(heartbeat.producers.len() + heartbeat.consumers.len(), HEARTBEAT_GROUPS_COUNT_MAX);
    let error = parse(body(HEARTBEAT_GROUPS_COUNT_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "4097 groups are over the limit of 4096");
}

#[test]
fn a_group_of_a_heartbeat_has_at_most_so_many_subscriptions() {
    let body = |count: usize| {
        let subscriptions = vec![r#"{"topic":"T"}"#; count].join(",");
        format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{subscriptions}]}}]}}"#
        )
    };
    let heartbeat = parse(body(HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX).as_bytes()).unwrap();
    assert_eq!(heartbeat.consumers[0].subscriptions.len(), HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX);
    let error = parse(body(HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "4097 subscriptions are over the limit of 4096");
}
