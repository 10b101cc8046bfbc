//! A client's course from an unknown topic to a committed offset, and what it asks for that is not there.

use super::*;

#[test]
fn a_java_session_from_unknown_topic_to_committed_offset() {
    let house = House::open();
    let mut client = house.client();
    let unknown = client.call(105, 0, r#""topic":"T""#, b"");
    assert_eq!(unknown.code, 17);
    assert!(unknown.remark.unwrap().starts_with("No topic route info in name server for the topic: T\nSee "));
    let template = client.call(105, 3, r#""topic":"TBW102""#, b"");
    assert_eq!(
        template.body,
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:9876"},"brokerName":"mailrail","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"mailrail","perm":7,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#
    );
    let retry = client.call(105, 4, r#""topic":"%RETRY%g""#, b"");
    assert!(
        std::str::from_utf8(&retry.body).unwrap().contains(r#""perm":6,"readQueueNums":1"#),
        "before it is there"
    );
    let sent = client.send(5, "T", 2, "KEYS=k;UNIQ_KEY=FD00;WAIT=true;TAGS=tag-A;", b"hello");
    let names: Vec<&str> = sent.fields.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["queueId", "transactionId", "msgId", "TRACE_ON", "MSG_REGION", "queueOffset"]);
    assert_eq!((field(&sent, "queueId"), field(&sent, "queueOffset")), (Some("2"), Some("0")));
    assert_eq!(field(&sent, "transactionId"), Some("FD00"));
    let id: OffsetId = field(&sent, "msgId").unwrap().parse().unwrap();
    assert_eq!(id.host, house.config.advertised);

    let beat = client.call(34, 6, "", heartbeat("c1", "g", "T", "tag-A", 9).as_bytes());
    assert_eq!(field(&beat, "IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    let route = client.call(105, 7, r#""topic":"%RETRY%g""#, b"");
    assert!(std::str::from_utf8(&route.body).unwrap().contains(r#""readQueueNums":1"#));
    let list = client.call(38, 8, r#""consumerGroup":"g""#, b"");
    assert_eq!(list.body, r#"{"consumerIdList":["c1"]}"#);
    let queue = |queue: i32| format!(r#""consumerGroup":"g","topic":"T","queueId":"{queue}""#);
    assert_eq!(field(&client.call(14, 9, &queue(2), b""), "offset"), Some("0"));
    assert_eq!(client.call(14, 10, &queue(1), b"").code, 22);

    let pull = |offset: i32, version: i32| {
        format!(
            r#"{},"queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"2","commitOffset":"0","suspendTimeoutMillis":"15000","subVersion":"{version}""#,
            queue(2)
        )
    };
    let found = client.call(11, 11, &pull(0, 9), b"");
    let names: Vec<&str> = found.fields.iter().map(|(key, _)| key.as_str()).collect();
    let expected =
        ["suggestWhichBrokerId", "groupSysFlag", "nextBeginOffset", "maxOffset", "minOffset", "topicSysFlag"];
    assert_eq!(names, expected);
    assert_eq!((field(&found, "nextBeginOffset"), field(&found, "maxOffset")), (Some("1"), Some("1")));
    let message = messages(&found)[0];
    assert_eq!((message.body(), message.topic(), message.flag()), (&b"hello"[..], "T", 7));
    assert_eq!((message.queue_index(), message.queue_offset(), message.position()), (2, 0, id.position));
    assert_eq!(
        (message.born_ms(), message.born_host().to_string().as_str()),
        (1_795_336_144_547, "192.0.2.7:40001")
    );
    for (key, value) in
        [("TAGS", "tag-A"), ("KEYS", "k"), ("MSG_REGION", "DefaultRegion"), ("CLUSTER", "DefaultCluster")]
    {
        assert_eq!(message.properties().get(key), Some(value));
    }
    assert_eq!(client.call(11, 12, &pull(0, 10), b"").code, 25, "a newer subscription than the heartbeat's");

    client.input(&mut request(15, 13, 2, &format!(r#"{},"commitOffset":"1""#, queue(2)), b""));
    assert_eq!(field(&client.call(14, 14, &queue(2), b""), "offset"), Some("1"));
    // A client that has no position writes -1.
    let without = client.call(15, 18, &format!(r#"{},"commitOffset":-1"#, queue(2)), b"");
    assert_eq!((without.code, without.fields.len()), (0, 0), "{without:?}");
    assert_eq!(field(&client.call(14, 19, &queue(2), b""), "offset"), Some("1"), "the position stays");
    let left = client.call(35, 15, r#""clientID":"c1","consumerGroup":"g""#, b"");
    assert_eq!((left.code, left.fields.len()), (0, 0));
    assert_eq!(client.call(38, 16, r#""consumerGroup":"g""#, b"").code, 1);
    assert_eq!(client.call(11, 17, &pull(1, 9), b"").code, 24, "the group has no members any more");
}

#[test]
fn what_is_not_there_yet_is_refused_and_one_way_requests_get_nothing() {
    let house = House::open();
    let mut client = house.client();
    for code in [17, 323, 200_050, 4_242] {
        let refused = client.call(code, 1, "", b"");
        assert_eq!(refused.code, 3);
        assert_eq!(refused.remark, Some(format!(" request type {code} not supported")));
    }
    client.input(&mut request(323, 2, 2, "", b""));
    client.input(&mut request(310, 3, 2, r#""b":"T""#, b"no queue id"));
    client.input(&mut request(0, 4, 1, "", b"a response to nobody"));
    assert_eq!(client.call(310, 5, r#""b":"T""#, b"").code, 1, "the only answer of the four");
    let cluster = client.call(106, 8, "", b"");
    assert!(
        std::str::from_utf8(&cluster.body)
            .unwrap()
            .contains(r#""clusterAddrTable":{"DefaultCluster":["mailrail"]}"#)
    );
}
