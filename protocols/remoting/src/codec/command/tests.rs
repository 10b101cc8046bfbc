//! Requests as real SDKs sent them, one per family and peculiarity.

use std::time::Duration;

use super::*;
use crate::codec::body::route::KeyStyle;
use crate::codec::testing::json_frame;

/// Parses a header (and body) and hands the command to `look`.
fn with(header: &str, body: &str, look: impl FnOnce(Command<'_>)) {
    let frame = json_frame(header, body.as_bytes()).unwrap();
    look(Command::parse(&frame).unwrap_or_else(|error| panic!("{header}: {error}")));
}

fn refuse(header: &str, body: &str, expected: &str) {
    let frame = json_frame(header, body.as_bytes()).unwrap();
    assert_eq!(Command::parse(&frame).unwrap_err().to_string(), expected, "{header}");
}

fn java_send<'a>() -> SendMessage<'a> {
    SendMessage {
        producer_group: "p-1",
        topic: "T",
        default_topic: "TBW102",
        default_topic_queues: 4,
        queue_id: 2,
        sys_flag: 0,
        born_timestamp: 1_795_336_144_547,
        flag: 0,
        properties: "KEYS\u{1}k\u{2}WAIT\u{1}true\u{2}",
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: Some("broker-a"),
        reply: false,
    }
}

#[test]
fn sends_of_four_sdks_mean_the_same() {
    let java = r#"{"code":310,"extFields":{"a":"p-1","b":"T","c":"TBW102","d":"4","e":"2","f":"0","g":"1795336144547","h":"0","i":"KEYS\u0001k\u0002WAIT\u0001true\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":5,"version":513}"#;
    let node = r#"{"code":310,"language":"JAVA","opaque":2,"flag":0,"version":121,"extFields":{"a":"p-1","b":"T","c":"TBW102","d":4,"e":2,"f":0,"g":1795336144547,"h":0,"i":"KEYS\u0001k\u0002WAIT\u0001true\u0002","j":0,"k":false}}"#;
    let cpp1 = "{\"code\":10,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":\"ALIYUN\",\"Signature\":\"YTT6kZ=\",\"batch\":\"0\",\"bornTimestamp\":\"1795336144547\",\"defaultTopic\":\"TBW102\",\"defaultTopicQueueNums\":4,\"flag\":0,\"producerGroup\":\"p-1\",\"properties\":\"KEYS\\u0001k\\u0002WAIT\\u0001true\\u0002\",\"queueId\":2,\"reconsumeTimes\":\"0\",\"sysFlag\":0,\"topic\":\"T\",\"unitMode\":\"0\"},\"flag\":0,\"language\":\"CPP\",\"opaque\":1,\"remark\":\"\",\"version\":63}\n";
    let cpp2 = r#"{"code":310,"extFields":{"a":"p-1","b":"T","c":"TBW102","d":"4","e":"2","f":"0","g":"1795336144547","h":"0","i":"KEYS\u0001k\u0002WAIT\u0001true\u0002","j":"0","k":"false","l":"1","m":"false"},"flag":0,"language":"CPP","opaque":2,"remark":"","version":333}"#;
    let bare = SendMessage { broker_name: None, ..java_send() };
    for (header, expected) in [
        (java, java_send()),
        (node, bare.clone()),
        (cpp1, bare.clone()),
        (cpp2, SendMessage { max_reconsume_times: Some(1), ..bare }),
    ] {
        with(header, "", |command| {
            assert!(matches!(&command, Command::Send(send) if *send == expected), "{command:?}");
        });
    }
}

#[test]
fn the_flag_makes_a_batch_and_the_code_a_reply() {
    for (code, fields, batch, reply) in [
        (320, r#""b":"T","e":"1","m":"true""#, true, false),
        (320, r#""topic":"T","queueId":"1","batch":"false""#, false, false),
        (10, r#""topic":"T","queueId":"1","batch":"1""#, true, false),
        (324, r#""topic":"T","queueId":"1""#, false, true),
        (325, r#""b":"T","e":"1""#, false, true),
    ] {
        with(&format!(r#"{{"code":{code},"extFields":{{{fields}}}}}"#), "", |command| match command {
            Command::Send(send) => assert_eq!((send.batch, send.reply), (batch, reply), "{code} {fields}"),
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn pulls_of_three_sdks() {
    let java = r#"{"code":11,"extFields":{"queueId":"3","maxMsgBytes":"262144","maxMsgNums":"32","sysFlag":"2","suspendTimeoutMillis":"15000","commitOffset":"7","bname":"broker-a","topic":"T","queueOffset":"9","expressionType":"TAG","subVersion":"1795336145942","consumerGroup":"g"}}"#;
    let expected = PullMessage {
        consumer_group: "g",
        topic: "T",
        queue_id: 3,
        queue_offset: 9,
        max_messages: 32,
        max_message_bytes: Some(262_144),
        sys_flag: 2,
        commit_offset: 7,
        suspend_timeout_millis: 15_000,
        sub_version: 1_795_336_145_942,
        subscription: None,
        expression_type: Some("TAG"),
    };
    with(java, "", |command| {
        assert!(matches!(&command, Command::Pull(pull) if *pull == expected), "{command:?}");
    });
    assert_eq!((expected.hold(), expected.commits()), (Some(Duration::from_secs(15)), None));
    assert!(!expected.carries_subscription() && !expected.is_lite());
    let node = r#"{"code":11,"extFields":{"consumerGroup":"g","topic":"T","queueId":0,"queueOffset":2,"maxMsgNums":32,"sysFlag":7,"commitOffset":2,"suspendTimeoutMillis":15000,"subscription":"*","subVersion":1795334856625}}"#;
    with(node, "", |command| match command {
        Command::Pull(pull) => {
            assert_eq!((pull.commits(), pull.subscription), (Some(2), Some("*")));
            assert!(pull.carries_subscription());
        }
        other => panic!("{other:?}"),
    });
    let old_go = r#"{"code":361,"extFields":{"consumerGroup":"g","topic":"T","queueId":"0","queueOffset":"0","sysFlag":"18","suspendTimeoutMillis":"20000000000"}}"#;
    with(old_go, "", |command| match command {
        Command::Pull(pull) => {
            assert_eq!(pull.hold(), Some(Duration::from_secs(30)));
            assert!(pull.is_lite());
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn offsets_are_asked_for_and_set() {
    let queue = QueueOf { topic: "T", queue_id: 3 };
    let fields = r#""queueId":3,"topic":"T","consumerGroup":"g","commitOffset":"8","timestamp":"77","setZeroIfNotFound":"false""#;
    let header = |code: i32| format!(r#"{{"code":{code},"extFields":{{{fields}}}}}"#);
    with(&header(14), "", |command| {
        let expected = QueryConsumerOffset {
            consumer_group: "g",
            queue: queue.clone(),
            set_zero_if_not_found: Some(false),
        };
        assert!(matches!(&command, Command::QueryConsumerOffset(query) if *query == expected), "{command:?}");
    });
    with(&header(15), "", |command| {
        let expected = UpdateConsumerOffset { consumer_group: "g", queue: queue.clone(), commit_offset: 8 };
        assert!(
            matches!(&command, Command::UpdateConsumerOffset(update) if *update == expected),
            "{command:?}"
        );
    });
    with(&header(29), "", |command| {
        let expected = SearchOffset { queue: queue.clone(), timestamp: 77, boundary: Boundary::Lower };
        assert!(matches!(&command, Command::SearchOffset(search) if *search == expected), "{command:?}");
    });
    with(&header(30), "", |command| assert!(matches!(command, Command::MaxOffset(q) if q == queue)));
    with(&header(31), "", |command| assert!(matches!(command, Command::MinOffset(q) if q == queue)));
    with(&header(32), "", |command| assert!(matches!(command, Command::EarliestStoreTime(q) if q == queue)));
}

#[test]
fn clients_come_and_go() {
    with(r#"{"code":34,"extFields":{}}"#, "{\"clientID\":\"c\"}\n", |command| {
        assert!(matches!(command, Command::Heartbeat(heartbeat) if heartbeat.client_id == "c"));
    });
    let cpp =
        r#"{"code":35,"extFields":{"AccessKey":"","clientID":"c","consumerGroup":"","producerGroup":"p"}}"#;
    with(cpp, "", |command| {
        let expected = UnregisterClient { client_id: "c", producer_group: Some("p"), consumer_group: None };
        assert!(matches!(&command, Command::UnregisterClient(leave) if *leave == expected), "{command:?}");
    });
    with(r#"{"code":38,"extFields":{"consumerGroup":"g"}}"#, "", |command| {
        assert!(matches!(command, Command::ConsumerList(ConsumerList { consumer_group: "g" })));
    });
    let body = r#"{"clientId":"c","consumerGroup":"g","mqSet":[]}"#;
    with(r#"{"code":41}"#, body, |command| assert!(matches!(command, Command::Lock(_))));
    with(r#"{"code":42}"#, body, |command| assert!(matches!(command, Command::Unlock(_))));
    with(r#"{"code":46}"#, r#"{"clientId":"c"}"#, |command| {
        assert!(matches!(command, Command::CheckClientConfig(check) if check.subscription_data.is_none()));
    });
}

#[test]
fn a_message_is_sent_back() {
    let java = r#"{"code":36,"extFields":{"offset":"45034","originMsgId":"FD00","delayLevel":"0","originTopic":"T","group":"g","unitMode":"false","maxReconsumeTimes":"16"}}"#;
    with(java, "", |command| {
        let expected = SendMessageBack {
            position: 45_034,
            group: "g",
            delay_level: 0,
            origin_msg_id: Some("FD00"),
            origin_topic: Some("T"),
            unit_mode: false,
            max_reconsume_times: Some(16),
        };
        assert!(matches!(&command, Command::SendBack(back) if *back == expected), "{command:?}");
    });
}

#[test]
fn routes_are_answered_in_the_keys_the_client_reads() {
    for (header, keys) in [
        (r#"{"code":105,"extFields":{"topic":"T"},"version":513}"#, KeyStyle::Quoted),
        (r#"{"code":105,"extFields":{"topic":"T"},"version":317}"#, KeyStyle::Bare),
        (
            r#"{"code":105,"extFields":{"topic":"T","acceptStandardJsonOnly":"true"},"version":1}"#,
            KeyStyle::Quoted,
        ),
    ] {
        with(header, "", |command| {
            assert!(matches!(&command, Command::GetRoute(route) if route.keys == keys), "{header}");
        });
    }
    with(r#"{"code":106,"extFields":null}"#, "", |command| assert!(matches!(command, Command::GetCluster)));
}

#[test]
fn refusals_name_request_field_and_value() {
    refuse(r#"{"code":310,"extFields":{"e":"1"}}"#, "", "SEND_MESSAGE_V2 (310) has no topic");
    refuse(r#"{"code":310,"extFields":{"b":"T"}}"#, "", "SEND_MESSAGE_V2 (310) has no queueId");
    refuse(
        r#"{"code":10,"extFields":{"topic":"T","queueId":"one"}}"#,
        "",
        "SEND_MESSAGE (10) has queueId `one`, which is not an integer in range",
    );
    refuse(
        r#"{"code":11,"extFields":{"topic":"T","queueId":"4294967296"}}"#,
        "",
        "PULL_MESSAGE (11) has queueId `4294967296`, which is not an integer in range",
    );
    refuse(r#"{"code":14,"extFields":{"topic":"T"}}"#, "", "QUERY_CONSUMER_OFFSET (14) has no consumerGroup");
    refuse(
        r#"{"code":29,"extFields":{"topic":"T","queueId":"0","timestamp":"1","boundaryType":"MIDDLE"}}"#,
        "",
        "SEARCH_OFFSET_BY_TIMESTAMP (29) has boundaryType `MIDDLE`, which is not LOWER or UPPER",
    );
    refuse(
        r#"{"code":34}"#,
        "[]",
        "HEART_BEAT (34): body is not the JSON that was expected: invalid length 0, expected struct Heartbeat with 5 elements at line 1 column 2",
    );
    let long = format!(r#"{{"code":30,"extFields":{{"topic":"T","queueId":"{}"}}}}"#, "x".repeat(500));
    let frame = json_frame(&long, b"").unwrap();
    let text = Command::parse(&frame).unwrap_err().to_string();
    assert!(text.len() < 150, "a refused value is cut short: {text}");
}

#[test]
fn other_codes_are_kept_for_the_refusal() {
    for code in [17, 323, 9_999, -1] {
        with(&format!(r#"{{"code":{code}}}"#), "", |command| {
            assert!(matches!(command, Command::Unsupported(other) if other == code));
        });
    }
    assert_eq!(Named(37).to_string(), "END_TRANSACTION (37)");
    assert_eq!(Named(9_999).to_string(), "request code 9999");
}
