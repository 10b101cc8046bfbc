//! Publishing in both forms, and what is refused before anything is stored.

use axum::body::Body;
use axum::extract::ConnectInfo;
use mailrail_message::StoredMessage;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const PATH: &str = "/v1/topics/t/messages";

async fn raw(world: &World, query: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = request("POST", &format!("{PATH}{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(body.into()).unwrap()).await
}

/// The message of a receipt, without what differs from run to run.
async fn stored(world: &World, receipt: &Value) -> Value {
    let mut message =
        world.get(&format!("/v1/messages/{}", receipt["id"].as_str().unwrap())).await.expect(200);
    let fields = message.as_object_mut().unwrap();
    for field in ["id", "topic", "queue", "offset", "born_at", "stored_at"] {
        assert!(fields.remove(field).is_some(), "{field} is missing");
    }
    message
}

#[tokio::test]
async fn curl_d_hello_is_one_message_in_a_new_topic() {
    let world = World::new();
    let curl = [("content-type", "application/x-www-form-urlencoded")];
    let answer = raw(&world, "", &curl, "hello").await.expect(201);
    let receipt = &answer["messages"][0];
    assert_eq!((&receipt["offset"], &receipt["durability"]), (&json!(0), &json!("disk")));
    assert_eq!(stored(&world, receipt).await, json!({"body": "hello"}));
    assert_eq!(world.get("/v1/topics/t").await.expect(200)["queues"], 4);
}

#[tokio::test]
async fn every_field_of_json_comes_back() {
    let world = World::new();
    let fields = json!({
        "body": "h\u{e9}llo \"quoted\"\n", "tag": "created", "keys": ["k1", "k2"], "unique_id": "u-1",
        "correlation_id": "c-1", "reply_to": "answers", "type": "order", "content_type": "text/plain",
        "content_encoding": "identity", "expires_in_ms": 60000, "priority": 9, "ordering_key": "customer-7",
        "properties": {"colour": "red", "Größe": "groß"},
    });
    let answer = world.post(PATH, json!({"messages": [fields]})).await.expect(201);
    assert_eq!(stored(&world, &answer["messages"][0]).await, fields);
    let born = json!({"messages": [{"born_at": "2020-01-02T03:04:05.678Z"}]});
    let answer = world.post(PATH, born).await.expect(201);
    let id = answer["messages"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.get(&format!("/v1/messages/{id}")).await.expect(200)["born_at"],
        "2020-01-02T03:04:05.678Z"
    );
}

#[tokio::test]
async fn every_field_of_a_raw_body_comes_back_from_query_and_headers() {
    let world = World::new();
    let expected = json!({
        "body": "hello", "tag": "created", "keys": ["k1", "k2"], "unique_id": "u-1", "correlation_id": "c-1",
        "reply_to": "answers", "type": "order", "content_type": "text/plain; charset=utf-8",
        "content_encoding": "identity", "expires_in_ms": 60000, "priority": 9, "ordering_key": "customer-7",
        "properties": {"colour": "red"},
    });
    let typed = [("content-type", "text/plain; charset=utf-8"), ("content-encoding", "identity")];
    let query = "?tag=created&keys=k1+k2&unique_id=u-1&correlation_id=c-1&reply_to=answers&type=order\
                 &expires_in_ms=60000&priority=9&ordering_key=customer-7&property.colour=red";
    let answer = raw(&world, query, &typed, "hello").await.expect(201);
    assert_eq!(stored(&world, &answer["messages"][0]).await, expected);
    let headers = [
        ("Mailrail-Tag", "loses against the query"),
        ("Mailrail-Keys", "k1 k2"),
        ("Mailrail-Unique-Id", "u-1"),
        ("Mailrail-Correlation-Id", "c-1"),
        ("Mailrail-Reply-To", "answers"),
        ("Mailrail-Type", "order"),
        ("Mailrail-Expires-In-Ms", "60000"),
        ("Mailrail-Priority", "9"),
        ("Mailrail-Ordering-Key", "customer-7"),
        ("Mailrail-Property-Colour", "red"),
    ];
    let headers = [&typed[..], &headers[..]].concat();
    let answer = raw(&world, "?tag=created", &headers, "hello").await.expect(201);
    assert_eq!(stored(&world, &answer["messages"][0]).await, expected);
}

#[tokio::test]
async fn bodies_are_bytes() {
    let world = World::new();
    for body in [vec![], vec![0], vec![0xFF, 0xFE], vec![b'x'; 4 * 1024 * 1024]] {
        use base64::Engine as _;
        let coded = base64::engine::general_purpose::STANDARD.encode(&body);
        let from_raw = raw(&world, "", &[], body.clone()).await.expect(201);
        let from_json = world.post(PATH, json!({"messages": [{"body_base64": coded}]})).await.expect(201);
        let expected = match String::from_utf8(body) {
            Ok(text) => json!({ "body": text }),
            Err(_) => json!({ "body_base64": coded }),
        };
        assert!(stored(&world, &from_raw["messages"][0]).await == expected);
        assert!(stored(&world, &from_json["messages"][0]).await == expected);
    }
    let long = vec![b'x'; 4 * 1024 * 1024 + 1];
    raw(&world, "", &[], long.clone()).await.problem(413, "too-large");
    let long = String::from_utf8(long).unwrap();
    let problem = world.post(PATH, json!({"messages": [{}, {"body": long}]})).await.problem(413, "too-large");
    assert_eq!(problem["index"], 1);
    raw(&world, "", &[], vec![0; 16 * 1024 * 1024 + 1]).await.problem(413, "too-large");
}

#[tokio::test]
async fn a_batch_is_stored_in_order_and_queues_are_chosen_as_asked() {
    let world = World::new();
    let messages: Vec<_> = (0..1_000).map(|n| json!({"body": n.to_string(), "queue": n % 2})).collect();
    let answer = world.post(PATH, json!({ "messages": messages })).await.expect(201);
    for (n, receipt) in answer["messages"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&receipt["queue"], &receipt["offset"]), (&json!(n % 2), &json!(n / 2)));
    }
    let too_many: Vec<_> = (0..1_001).map(|_| json!({})).collect();
    world.post(PATH, json!({ "messages": too_many })).await.problem(400, "invalid-request");
    // By the rule of RocketMQ's SelectMessageQueueByHash: |"customer-7".hashCode() % 4|.
    for _ in 0..3 {
        let keyed = json!({"messages": [{"ordering_key": "customer-7"}, {"ordering_key": "b"}]});
        let answer = world.post(PATH, keyed).await.expect(201);
        let queue = mailrail_message::tag_hash("customer-7").rem_euclid(4);
        let by_java = (mailrail_message::tag_hash("customer-7") % 4).abs();
        assert_eq!(answer["messages"][0]["queue"], by_java, "{queue}");
        assert_eq!(answer["messages"][1]["queue"], 98 % 4);
    }
}

#[tokio::test]
async fn a_batch_that_is_stored_in_part_says_which() {
    let world = World::new();
    let mixed = json!({"messages": [{"body": "a", "queue": 0}, {"queue": 4}, {"body": "b", "queue": 0}]});
    let answer = world.post(PATH, mixed).await.expect(207);
    let stored: Vec<_> = answer["messages"].as_array().unwrap().iter().map(|m| m["index"].clone()).collect();
    assert_eq!(stored, [0, 2]);
    assert_eq!(answer["messages"][1]["offset"], 1);
    let error = &answer["errors"][0];
    assert_eq!((&error["index"], &error["status"]), (&json!(1), &json!(404)));
    assert_eq!(error["type"], "urn:mailrail:problem:queue-not-found");
    let none = world.post(PATH, json!({"messages": [{"queue": 4}, {"queue": 5}]})).await;
    let none = none.problem(404, "queue-not-found");
    assert_eq!(none["errors"].as_array().unwrap().len(), 2);
    raw(&world, "?queue=4", &[], "x").await.problem(404, "queue-not-found");
}

#[tokio::test]
async fn durability_is_what_was_asked_but_not_less_than_the_topics() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.put("/v1/topics/safe", json!({"queues": 1, "durability": "disk"})).await.expect(201);
    world.put("/v1/topics/brief", json!({"queues": 1, "lifetime": "transient"})).await.expect(201);
    let cases = [
        ("t", "", "disk"),
        ("t", "?durability=memory", "memory"),
        ("safe", "?durability=memory", "disk"),
        ("brief", "?durability=disk", "memory"),
    ];
    for (topic, query, expected) in cases {
        let path = format!("/v1/topics/{topic}/messages{query}");
        let answer = world.post(&path, json!({"messages": [{}]})).await.expect(201);
        assert_eq!(answer["messages"][0]["durability"], expected, "{topic} {query}");
    }
    let answer = raw(&world, "", &[("Mailrail-Durability", "memory")], "x").await.expect(201);
    assert_eq!(answer["messages"][0]["durability"], "memory");
    raw(&world, "?durability=quorum", &[], "x").await.problem(501, "not-supported");
    raw(&world, "?durability=none", &[], "x").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_delayed_message_appears_at_its_time() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 2})).await.expect(201);
    let answer =
        world.post(PATH, json!({"messages": [{"body": "late", "delay_ms": 60_000, "queue": 1}]})).await;
    let receipt = answer.expect(201)["messages"][0].clone();
    assert!(receipt.get("offset").is_none() && receipt.get("queue").is_none(), "{receipt}");
    assert!(receipt["deliver_at"].is_string());
    let page = "/v1/topics/t/queues/1/messages";
    assert_eq!(world.get(page).await.expect(200)["messages"], json!([]));
    world.pass(std::time::Duration::from_secs(61));
    let page = world.get(&format!("{page}?wait_ms=10000")).await.expect(200);
    assert_eq!(page["messages"][0]["body"], "late");
    // A time that has passed means now.
    let past = json!({"messages": [{"deliver_at": "2020-01-01T00:00:00Z", "queue": 0}, {"delay_ms": 0, "queue": 0}]});
    let answer = world.post(PATH, past).await.expect(201);
    assert_eq!((&answer["messages"][0]["offset"], &answer["messages"][1]["offset"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_delayed_message_is_recalled_once_and_before_its_time() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let late = |body| json!({"messages": [{"body": body, "delay_ms": 60_000}, {"body": "at once"}]});
    let first = world.post(PATH, late("recalled")).await.expect(201);
    let second = world.post(PATH, late("comes")).await.expect(201);
    let path = |receipt: &Value, index: usize| {
        format!("/v1/messages/{}", receipt["messages"][index]["id"].as_str().unwrap())
    };
    assert_eq!(world.delete(&path(&first, 0)).await.status, 204);
    world.delete(&path(&first, 0)).await.problem(409, "not-waiting");
    world.delete(&path(&first, 1)).await.problem(409, "not-waiting");
    world.delete("/v1/messages/0").await.problem(400, "invalid-request");
    world.pass(std::time::Duration::from_secs(61));
    let page = world.get("/v1/topics/t/queues/0/messages?from=offset:2&wait_ms=10000").await.expect(200);
    let bodies: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|m| &m["body"]).collect();
    assert_eq!(bodies, ["comes"]);
    world.delete(&path(&second, 0)).await.problem(409, "not-waiting");
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_nothing_is_stored() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let bad = |message: Value| json!({"messages": [{"body": "fine"}, message]});
    let cases = [
        (bad(json!({"body": "a", "body_base64": "YQ=="})), "invalid-request"),
        (bad(json!({"body_base64": "no base64"})), "invalid-request"),
        (bad(json!({"boddy": "a"})), "invalid-request"),
        (bad(json!({"body": 1})), "invalid-request"),
        (bad(json!({"tag": ""})), "invalid-request"),
        (bad(json!({"tag": "a\u{1}b"})), "invalid-request"),
        (bad(json!({"keys": ["a b"]})), "invalid-request"),
        (bad(json!({"keys": [""]})), "invalid-request"),
        (bad(json!({"properties": {"TAGS": "a"}})), "invalid-request"),
        (bad(json!({"properties": {"": "a"}})), "invalid-request"),
        (bad(json!({"properties": {"a": ""}})), "invalid-request"),
        (bad(json!({"properties": {"a": {"b": "c"}}})), "invalid-request"),
        (bad(json!({"priority": 256})), "invalid-request"),
        (bad(json!({"queue": -1})), "invalid-request"),
        (bad(json!({"delay_ms": 1, "deliver_at": "2030-01-01T00:00:00Z"})), "invalid-request"),
        (bad(json!({"deliver_at": "tomorrow"})), "invalid-request"),
        (bad(json!({"delay_ms": u64::MAX})), "limit-exceeded"),
        (bad(json!({"deliver_at": "9999-01-01T00:00:00Z"})), "limit-exceeded"),
        (json!({"messages": []}), "invalid-request"),
        (json!({}), "invalid-request"),
        (json!([]), "invalid-request"),
        (json!({"messages": [{}], "more": 1}), "invalid-request"),
    ];
    for (document, kind) in cases {
        world.post(PATH, document.clone()).await.problem(400, kind);
    }
    let long = bad(json!({"properties": {"a": "x".repeat(32_767)}}));
    assert_eq!(world.post(PATH, long).await.problem(413, "too-large")["index"], 1);
    for query in ["?tagg=a", "?queue=x", "?queue=-1", "?deliver_at=soon", "?property.TAGS=a", "?property.=a"]
    {
        raw(&world, query, &[], "x").await.problem(400, "invalid-request");
    }
    raw(&world, "", &[("Mailrail-Nonsense", "a")], "x").await.problem(400, "invalid-request");
    let json_type = ("content-type", "application/json");
    raw(&world, "?tag=a", &[json_type], r#"{"messages":[{}]}"#).await.problem(400, "invalid-request");
    raw(&world, "", &[json_type], r#"{"messages":[{}"#).await.problem(400, "invalid-request");
    raw(&world, "", &[json_type], "").await.problem(400, "invalid-request");
    let coded = [json_type, ("content-encoding", "gzip")];
    raw(&world, "", &coded, "x").await.problem(415, "unsupported-media-type");
    raw(&world, "", &[("Idempotency-Key", "k")], "x").await.problem(409, "no-deduplication");
    assert_eq!(world.get("/v1/topics/t").await.expect(200)["messages"], 0);
}

#[tokio::test]
async fn an_unknown_topic_is_made_only_where_that_is_wanted() {
    let world = World::with(|config| config.auto_create_topics = false);
    raw(&world, "", &[], "x").await.problem(404, "topic-not-found");
    let world = World::with(|config| config.topic_queues = 7);
    raw(&world, "", &[], "x").await.expect(201);
    assert_eq!(world.get("/v1/topics/t").await.expect(200)["queues"], 7);
}

#[tokio::test]
async fn the_stored_message_knows_where_it_came_from() {
    let world = World::new();
    let request = request("POST", PATH)
        .extension(ConnectInfo::<std::net::SocketAddr>("10.1.2.3:4567".parse().unwrap()));
    let answer = world.send(request.body("x".into()).unwrap()).await.expect(201);
    let queue = answer["messages"][0]["queue"].as_u64().unwrap() as u32;
    let topic = world.broker.directory().topic("t").unwrap();
    let read = mailrail_broker::ReadRequest {
        queue: topic.queue(queue).unwrap(),
        offset: 0,
        max_entries: 1,
        max_bytes: 1_000,
        filter: mailrail_broker::Filter::all(),
    };
    let batch = world.broker.connect().read(mailrail_broker::Token(1), read).unwrap().unwrap();
    let stored = StoredMessage::parse(&batch.entries[0].message).unwrap();
    assert_eq!(stored.born_host().to_string(), "10.1.2.3:4567");
    assert_eq!(stored.store_host().to_string(), crate::world::ADVERTISED);
}
