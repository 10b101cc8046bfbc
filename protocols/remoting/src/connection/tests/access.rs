//! Users over remoting: signatures as RocketMQ's clients make them, and what each request takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailrail_broker::{
    Action, Command, Effect, Event, PasswordHash, Pattern, ResourceKind, Rule, Token, UserChange,
};

use super::*;
use crate::codec::response_code as response;
use crate::login::UNSIGNED_VERSION_MAX;

impl House {
    fn let_in(&self, name: &str, change: UserChange) {
        let mut session = self.broker.connect_for_tidying();
        let command = Command::PutUser { token: Token(1), name: name.into(), change: Box::new(change) };
        session.submit(vec![command]);
        let (mut events, start) = (Vec::new(), Instant::now());
        while events.is_empty() && start.elapsed() < PATIENCE {
            session.take_events(&mut events);
            std::thread::yield_now();
        }
        assert!(matches!(events[..], [Event::Reply { result: Ok(_), .. }]), "{events:?}");
    }

    /// With an administrator, and ann, who signs with this secret and may do this.
    fn with_ann(secret: &str, rules: Vec<Rule>) -> House {
        let house = House::open();
        let password = Some(PasswordHash::of("root").unwrap());
        let signing_secret = Some(house.broker.seal("root", "root's secret").unwrap());
        let root = UserChange { admin: Some(true), password, signing_secret, ..UserChange::default() };
        house.let_in("root", root);
        let signing_secret = Some(house.broker.seal("ann", secret).unwrap());
        house.let_in("ann", UserChange { signing_secret, rules: Some(rules), ..UserChange::default() });
        house
    }
}

fn allow(action: Action, kind: ResourceKind, name: &str) -> Rule {
    Rule {
        effect: Effect::Allow,
        actions: vec![action],
        resources: vec![kind],
        names: Pattern::Literal(name.to_owned()),
        routing_keys: None,
        sources: Vec::new(),
    }
}

/// HMAC-SHA-1, written out: by RFC 2104 over the hash of RFC 3174.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut padded = [0; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner: Vec<u8> = padded.iter().map(|byte| byte ^ 0x36).chain(message.iter().copied()).collect();
    let outer: Vec<u8> = padded.iter().map(|byte| byte ^ 0x5c).chain(sha1(&inner)).collect();
    sha1(&outer)
}

fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = u32::from_be_bytes(bytes.try_into().unwrap());
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    digest.chunks_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    digest
}

/// Fields with an access key and a signature, as RocketMQ's hook adds them: over the values in the order of their
/// keys, and the body.
fn signed(fields: &[(&str, &str)], body: &[u8], name: &str, secret: &str) -> String {
    let mut all: std::collections::BTreeMap<&str, &str> = fields.iter().copied().collect();
    all.insert("AccessKey", name);
    let mut content: Vec<u8> = all.values().flat_map(|value| value.bytes()).collect();
    content.extend_from_slice(body);
    let signature = STANDARD.encode(hmac_sha1(secret.as_bytes(), &content));
    all.insert("Signature", &signature);
    let fields: Vec<String> = all.iter().map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect();
    fields.join(",")
}

fn send_to(topic: &str) -> Vec<(&'static str, String)> {
    [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "0"),
        ("producerGroup", "p"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec()
}

const SEND: i32 = 10;
const PULL: i32 = 11;
const HEARTBEAT: i32 = 34;

fn send_as(client: &mut Client, topic: &str, (name, secret): (&str, &str)) -> Seen {
    let fields = send_to(topic);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
    client.call(SEND, 7, &signed(&fields, b"x", name, secret), b"x")
}

const ANN: (&str, &str) = ("ann", "sesame");
const ROOT: (&str, &str) = ("root", "root's secret");

#[test]
fn the_test_s_own_hmac_is_the_one_of_the_rfc() {
    let digest = hmac_sha1(b"key", b"The quick brown fox jumps over the lazy dog");
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9");
}

#[test]
fn a_request_is_taken_with_the_right_signature_only() {
    let house = House::with_ann("sesame", vec![allow(Action::Publish, ResourceKind::Topic, "t")]);
    assert_eq!(send_as(&mut house.client(), "t", ROOT).code, response::SUCCESS, "it makes the topic");
    let mut client = house.client();
    assert_eq!(send_as(&mut client, "t", ANN).code, response::SUCCESS);
    assert_eq!(send_as(&mut client, "t", ANN).code, response::SUCCESS);
    for who in [("ann", "wrong"), ("ben", "sesame"), ("", "sesame"), ("root", "sesame")] {
        let refused = send_as(&mut house.client(), "t", who);
        assert_eq!(refused.code, response::NO_PERMISSION, "{who:?}: {refused:?}");
        assert!(refused.remark.is_some_and(|remark| remark.contains("AccessKey")), "{who:?}");
    }
    // What was signed is not what came.
    let fields = signed(&[("topic", "t"), ("queueId", "0")], b"x", "ann", "sesame");
    assert_eq!(house.client().call(SEND, 1, &fields, b"y").code, response::NO_PERMISSION);
    assert_eq!(
        house.client().call(SEND, 1, &fields.replace("\"t\"", "\"u\""), b"x").code,
        response::NO_PERMISSION
    );
    // Without a signature nothing is answered, whatever it asks for.
    for code in [SEND, PULL, HEARTBEAT, 105, 106, 12345] {
        assert_eq!(
            house.client().call(code, 1, "\"topic\":\"t\"", b"").code,
            response::NO_PERMISSION,
            "{code}"
        );
    }
    house.let_in("ann", UserChange { enabled: Some(false), ..UserChange::default() });
    assert_eq!(
        send_as(&mut client, "t", ANN).code,
        response::NO_PERMISSION,
        "of a user that is disabled now"
    );
}

#[test]
fn all_requests_of_a_connection_are_one_user_s() {
    let house = House::with_ann("sesame", vec![allow(Action::Publish, ResourceKind::Topic, "t")]);
    let mut client = house.client();
    assert_eq!(send_as(&mut client, "t", ROOT).code, response::SUCCESS);
    assert_eq!(send_as(&mut client, "t", ANN).code, response::NO_PERMISSION);
    assert_eq!(send_as(&mut client, "t", ROOT).code, response::SUCCESS);
}

#[test]
fn old_clients_do_not_sign_what_they_add_later() {
    let house = House::with_ann("sesame", Vec::new());
    let fields = signed(&[("topic", "t")], b"", "root", "root's secret") + ",\"_UNIQUE_KEY_QUERY\":\"true\"";
    let ask = |version: i32, fields: &str| {
        let header = format!(
            r#"{{"code":105,"extFields":{{{fields}}},"flag":0,"language":"JAVA","opaque":1,"version":{version}}}"#
        );
        let mut client = house.client();
        client.input(&mut json_bytes(&header, b""));
        client.next().code
    };
    assert_eq!(ask(UNSIGNED_VERSION_MAX, &fields), response::TOPIC_NOT_EXIST, "the signature is right");
    assert_eq!(ask(UNSIGNED_VERSION_MAX + 1, &fields), response::NO_PERMISSION);
    assert_eq!(
        ask(UNSIGNED_VERSION_MAX, &fields.replace("_UNIQUE_KEY_QUERY", "_ANOTHER")),
        response::NO_PERMISSION
    );
}

#[test]
fn what_no_rule_allows_is_refused_with_the_reason() {
    let rules = vec![
        allow(Action::Publish, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Group, "g"),
    ];
    let house = House::with_ann("sesame", rules);
    for topic in ["t", "other"] {
        assert_eq!(send_as(&mut house.client(), topic, ROOT).code, response::SUCCESS);
    }
    let mut client = house.client();
    for (topic, verb) in [("other", "publish to topic"), ("new", "configure topic")] {
        let refused = send_as(&mut client, topic, ANN);
        assert_eq!(refused.code, response::NO_PERMISSION, "{refused:?}");
        let remark = refused.remark.unwrap();
        assert!(
            remark.contains(&format!("user \"ann\" may not {verb} \"{topic}\": no rule allows it")),
            "{remark}"
        );
    }
    let heartbeat = |group: &str, topic: &str| {
        format!(
            "{{\"clientID\":\"c\",\"producerDataSet\":[],\"consumerDataSet\":[{{\"groupName\":\"{group}\",\
             \"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\",\"consumeFromWhere\":\
             \"CONSUME_FROM_FIRST_OFFSET\",\"unitMode\":false,\"subscriptionDataSet\":[{{\"topic\":\"{topic}\",\
             \"subString\":\"*\",\"tagsSet\":[],\"codeSet\":[],\"subVersion\":1,\"expressionType\":\"TAG\"}}]}}]}}"
        )
    };
    for (group, topic, code) in [
        ("g", "t", response::SUCCESS),
        ("h", "t", response::NO_PERMISSION),
        ("g", "other", response::NO_PERMISSION),
    ] {
        let body = heartbeat(group, topic);
        let fields = signed(&[], body.as_bytes(), "ann", "sesame");
        let answer = client.call(HEARTBEAT, 1, &fields, body.as_bytes());
        assert_eq!(answer.code, code, "{group} {topic}: {answer:?}");
        let pull = [
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "1"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "1"),
            ("expressionType", "TAG"),
        ];
        let answer = client.call(PULL, 2, &signed(&pull, b"", "ann", "sesame"), b"");
        assert_eq!(answer.code, code, "{group} {topic}: {answer:?}");
        let commit = [("consumerGroup", group), ("topic", topic), ("queueId", "0"), ("commitOffset", "1")];
        let answer = client.call(15, 3, &signed(&commit, b"", "ann", "sesame"), b"");
        assert_eq!(answer.code, code, "{group} {topic}: {answer:?}");
    }
    let bound = [("topic", "other"), ("queueId", "0")];
    assert_eq!(client.call(30, 4, &signed(&bound, b"", "ann", "sesame"), b"").code, response::NO_PERMISSION);
}
