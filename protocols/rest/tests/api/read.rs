//! Reading by offset, by time, by id; filters, waits, and bodies that RocketMQ producers compressed.

use std::time::Duration;

use mailrail_broker::{Command, Destination, Durability, PublishBatch, Token};
use mailrail_message::{Draft, property, tag_hash};
use serde_json::{Value, json};

use crate::world::{ADVERTISED, World};

const PAGE: &str = "/v1/topics/t/queues/0/messages";

async fn world_with(bodies: &[&str]) -> World {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    if !bodies.is_empty() {
        world.publish("t", 0, bodies).await;
    }
    world
}

fn bodies(page: &Value) -> Vec<&str> {
    page["messages"].as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_one_another() {
    let world = world_with(&["a", "b", "c", "d", "e"]).await;
    let mut from = "earliest".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = world.get(&format!("{PAGE}?from={from}&max=2")).await.expect(200);
        assert_eq!((&page["min"], &page["max"]), (&json!(0), &json!(5)));
        if bodies(&page).is_empty() {
            break;
        }
        seen.extend(bodies(&page).iter().map(|body| body.to_string()));
        from = page["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(from, "offset:5");
    let cases =
        [("offset:3", vec!["d", "e"]), ("offset:5", vec![]), ("offset:99", vec![]), ("latest", vec![])];
    for (from, expected) in cases {
        assert_eq!(bodies(&world.get(&format!("{PAGE}?from={from}")).await.expect(200)), expected, "{from}");
    }
    let message = &world.get(&format!("{PAGE}?from=offset:3&max=1")).await.expect(200)["messages"][0];
    assert_eq!(
        (&message["topic"], &message["queue"], &message["offset"]),
        (&json!("t"), &json!(0), &json!(3))
    );
}

#[tokio::test]
async fn a_time_finds_the_first_message_stored_then() {
    let world = world_with(&["before"]).await;
    world.pass(Duration::from_secs(60));
    world.publish("t", 0, &["after"]).await;
    let page = world.get(PAGE).await.expect(200);
    let after = page["messages"][1]["stored_at"].as_str().unwrap();
    let cases = [
        ("1970-01-01T00:00:00Z", 2),
        (after, 1),
        ("9999-01-01T00:00:00%2B01:00", 0),
        ("9999-01-01T00:00:00+01:00", 0),
    ];
    for (time, count) in cases {
        let page = world.get(&format!("{PAGE}?from=time:{time}")).await.expect(200);
        assert_eq!(bodies(&page).len(), count, "{time}");
    }
}

#[tokio::test]
async fn a_filter_lets_its_tags_through() {
    let world = world_with(&[]).await;
    let tagged = |tag: &str| json!({"body": tag, "tag": tag});
    // "Aa" and "BB" have the same hash.
    let messages =
        json!({"messages": [tagged("a"), tagged("Aa"), {"body": "none"}, tagged("BB"), tagged("a")]});
    world.post("/v1/topics/t/messages", messages).await.expect(201);
    let cases = [
        ("a", vec!["a", "a"]),
        ("Aa", vec!["Aa"]),
        ("a||BB", vec!["a", "BB", "a"]),
        ("*", vec!["a", "Aa", "none", "BB", "a"]),
        ("absent", vec![]),
    ];
    for (tag, expected) in cases {
        let page = world.get(&format!("{PAGE}?tag={tag}")).await.expect(200);
        assert_eq!(bodies(&page), expected, "{tag}");
        assert_eq!(page["next"], "offset:5", "{tag}");
    }
}

#[tokio::test]
async fn an_expression_lets_through_what_it_is_true_of() {
    let world = world_with(&[]).await;
    let with = |tag: &str, n: &str| json!({"body": format!("{tag}{n}"), "tag": tag, "properties": {"n": n}});
    let messages = [with("a", "1"), with("b", "2"), with("a", "3"), with("b", "x"), json!({"body": "bare"})];
    world.post("/v1/topics/t/messages", json!({"messages": messages})).await.expect(201);
    let cases = [
        ("sql=n%20%3E%201", vec!["b2", "a3"]),
        ("sql=n%3E1&tag=a", vec!["a3"]),
        ("sql=TAGS%3D'b'%20OR%20n%20IS%20NULL", vec!["b2", "bx", "bare"]),
        ("sql=n+NOT+BETWEEN+1+AND+9", vec![]),
    ];
    for (query, expected) in cases {
        let page = world.get(&format!("{PAGE}?{query}")).await.expect(200);
        assert_eq!(bodies(&page), expected, "{query}");
        assert_eq!(page["next"], "offset:5", "{query}");
    }
    let wrong = world.get(&format!("{PAGE}?sql=n%20%3E")).await;
    let problem = wrong.problem(400, "invalid-request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("at byte 3") && detail.contains("a property, a literal or ("), "{detail}");
    world.get(&format!("{PAGE}?sql=")).await.problem(400, "invalid-request");
    world.get(&format!("{PAGE}?tag=%7C%7C")).await.problem(400, "invalid-request");
    let deep = "(".repeat(1_000);
    world.get(&format!("{PAGE}?sql={deep}")).await.problem(400, "limit-exceeded");
}

#[tokio::test]
async fn a_wait_ends_with_the_first_message_and_not_before() {
    let world = world_with(&["old"]).await;
    let latest = format!("{PAGE}?from=latest&wait_ms=30000");
    let read = world.get(&latest);
    let publish = async {
        // The read is polled first, so it waits by now.
        world.publish("t", 0, &["new"]).await
    };
    let (page, _) = tokio::join!(biased_first(read), publish);
    assert_eq!(bodies(&page.expect(200)), ["new"]);
    let empty = world.get(&format!("{PAGE}?from=latest&wait_ms=1")).await.expect(200);
    assert_eq!((bodies(&empty).len(), &empty["next"]), (0, &json!("offset:2")));
    let (page, _) = tokio::join!(biased_first(world.get(&latest)), async {
        world.state.stop();
    });
    assert_eq!(bodies(&page.expect(200)).len(), 0, "a stop ends waits");
}

#[tokio::test]
async fn a_read_that_waits_holds_up_no_other() {
    let world = World::with(|config| config.reads_max = 1);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let ids = world.publish("t", 0, &["old"]).await;
    let latest = format!("{PAGE}?from=latest&wait_ms=30000");
    let waiting = world.get(&latest);
    let others = async {
        assert_eq!(bodies(&world.get(PAGE).await.expect(200)), ["old"]);
        world.get(&format!("/v1/messages/{}", ids[0])).await.expect(200);
        world.get("/v1/messages/7F000001000026940000000000000000").await.expect(404);
        world.publish("t", 0, &["new"]).await
    };
    let (page, _) = tokio::join!(biased_first(waiting), others);
    assert_eq!(bodies(&page.expect(200)), ["new"]);
}

/// `join!` polls in order; this says that a test counts on it.
async fn biased_first<T>(future: impl Future<Output = T>) -> T {
    future.await
}

#[tokio::test]
async fn a_wait_on_a_topic_that_goes_ends_with_that() {
    let world = world_with(&[]).await;
    let waiting = format!("{PAGE}?wait_ms=30000");
    let read = world.get(&waiting);
    let (page, _) = tokio::join!(biased_first(read), world.delete("/v1/topics/t"));
    page.problem(404, "topic-not-found");
}

#[tokio::test]
async fn keys_and_the_client_s_id_find_messages_the_newest_first() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 2})).await.expect(201);
    world.put("/v1/topics/other", json!({"queues": 1})).await.expect(201);
    for (topic, body) in [("t", "one"), ("other", "elsewhere"), ("t", "two")] {
        let message = json!({"body": body, "keys": ["shared", body]});
        let path = format!("/v1/topics/{topic}/messages");
        world.post(&path, json!({"messages": [message]})).await.expect(201);
        world.pass(Duration::from_secs(1));
    }
    let found = |query: &str| {
        let path = format!("/v1/messages?{query}");
        let world = &world;
        async move { world.get(&path).await.expect(200) }
    };
    let shared = found("topic=t&key=shared").await;
    assert_eq!(bodies(&shared), ["two", "one"]);
    let one = &shared["messages"][1];
    assert_eq!(bodies(&found("topic=t&key=one").await), ["one"]);
    let (queue, offset) = (&one["queue"], &one["offset"]);
    let page =
        world.get(&format!("/v1/topics/t/queues/{queue}/messages?from=offset:{offset}")).await.expect(200);
    assert_eq!(page["messages"][0]["id"], one["id"], "where it says it lies");
    let at = one["stored_at"].as_str().unwrap();
    assert_eq!(bodies(&found(&format!("topic=t&key=shared&until={at}")).await), ["one"]);
    assert_eq!(bodies(&found(&format!("topic=t&key=shared&since={at}&max=1")).await), ["two"]);
    assert_eq!(bodies(&found("topic=t&key=absent").await), [] as [&str; 0]);
    for (query, status) in [
        ("topic=absent&key=one", 404),
        ("topic=t&key=", 400),
        ("topic=t", 400),
        ("topic=t&key=one&max=0", 400),
        ("topic=t&key=one&since=yesterday", 400),
    ] {
        world.get(&format!("/v1/messages?{query}")).await.expect(status);
    }
}

#[tokio::test]
async fn an_id_finds_its_message_and_nothing_else() {
    let world = world_with(&[]).await;
    let ids = world.publish("t", 0, &["one", "two"]).await;
    for (id, body) in ids.iter().zip(["one", "two"]) {
        let message = world.get(&format!("/v1/messages/{id}")).await.expect(200);
        assert_eq!((&message["body"], &message["id"]), (&json!(body), &json!(id)));
    }
    let foreign = format!("0A000001{}", &ids[0][8..]);
    let off_by_one = format!("{}{:016X}", &ids[0][..16], u64::from_str_radix(&ids[0][16..], 16).unwrap() + 1);
    let far = format!("{}{:016X}", &ids[0][..16], u64::MAX);
    for id in [foreign, off_by_one, far] {
        world.get(&format!("/v1/messages/{id}")).await.problem(404, "message-not-found");
    }
    for id in ["x", &ids[0][1..], "ZZ00000100002694000000000000000A"] {
        world.get(&format!("/v1/messages/{id}")).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn what_does_not_exist_or_is_out_of_range_is_said() {
    let world = world_with(&[]).await;
    world.get("/v1/topics/none/queues/0/messages").await.problem(404, "topic-not-found");
    world.get("/v1/topics/t/queues/1/messages").await.problem(404, "queue-not-found");
    world.get("/v1/topics/t/queues/x/messages").await.problem(400, "invalid-request");
    for query in ["from=now", "from=offset:-1", "from=time:now", "from=offset:", "nonsense=1", "max=x"] {
        world.get(&format!("{PAGE}?{query}")).await.problem(400, "invalid-request");
    }
    for query in ["max=0", "max=1001", "wait_ms=60001"] {
        world.get(&format!("{PAGE}?{query}")).await.problem(400, "limit-exceeded");
    }
}

/// Stores a message as a RocketMQ producer would have it.
async fn store(world: &World, sys_flags: u32, body: &[u8], properties: &[(&str, &str)]) {
    let mut text = Vec::new();
    for (key, value) in properties {
        assert!(property::push(&mut text, key, value));
    }
    let draft = Draft {
        topic: "t",
        flag: 0,
        sys_flags,
        born_ms: 1,
        born_host: ADVERTISED.parse().unwrap(),
        store_host: ADVERTISED.parse().unwrap(),
        reconsume_times: 0,
        body,
        properties: &text,
        more_properties: &[],
        annexes: &[],
    };
    let topic = world.broker.directory().topic("t").unwrap().id;
    let mut batch = PublishBatch::default();
    let to = Destination::Topic { topic, queue_index: Some(0) };
    batch.push(&draft, to, tag_hash(""), Durability::Disk).unwrap();
    let mut session = world.broker.connect();
    session.submit(vec![Command::Publish { token: Token(1), batch }]);
    session.next_events().await;
}

#[tokio::test]
async fn compressed_bodies_are_decompressed_or_named() {
    use std::io::Write as _;
    let world = world_with(&[]).await;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(b"hello zlib").unwrap();
    store(&world, 0x1, &zlib.finish().unwrap(), &[]).await;
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(b"hello lz4").unwrap();
    store(&world, 0x101, &lz4.finish().unwrap(), &[]).await;
    let zstd =
        ruzstd::encoding::compress_to_vec(&b"hello zstd"[..], ruzstd::encoding::CompressionLevel::Fastest);
    store(&world, 0x201, &zstd, &[]).await;
    store(&world, 0x1, b"not zlib", &[("content-encoding", "gzip")]).await;
    let page = world.get(PAGE).await.expect(200);
    let messages = page["messages"].as_array().unwrap();
    let texts: Vec<_> = messages[..3].iter().map(|message| message["body"].as_str().unwrap()).collect();
    assert_eq!(texts, ["hello zlib", "hello lz4", "hello zstd"]);
    assert!(messages[..3].iter().all(|message| message.get("content_encoding").is_none()));
    assert_eq!(messages[3]["content_encoding"], "gzip, deflate");
    assert_eq!(messages[3]["body_base64"], "bm90IHpsaWI=");
}

#[tokio::test]
async fn a_page_stays_within_the_answers_limit_however_small_the_stored_bodies() {
    use std::io::Write as _;
    let world = world_with(&[]).await;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&vec![b'x'; 3 * 1024 * 1024]).unwrap();
    let small = zlib.finish().unwrap();
    for _ in 0..4 {
        store(&world, 0x1, &small, &[]).await;
    }
    let page = world.get(PAGE).await.expect(200);
    assert_eq!((bodies(&page).len(), &page["next"]), (2, &json!("offset:2")));
    let page = world.get(&format!("{PAGE}?from=offset:2")).await.expect(200);
    assert_eq!((bodies(&page).len(), &page["next"]), (2, &json!("offset:4")));
}

#[tokio::test]
async fn properties_of_other_protocols_have_their_fields() {
    let world = world_with(&[]).await;
    let properties = [
        ("TAGS", "a"),
        ("TAGS", "b"),
        ("KEYS", "k1 k2"),
        ("UNIQ_KEY", "u"),
        ("MSG_REGION", "DefaultRegion"),
        ("TRACE_ON", "true"),
        ("TTL", "5000"),
        ("_SYS_MSG_PRIORITY_", "7"),
        ("DLQ_ORIGIN_TOPIC", "orders"),
        ("DLQ_ORIGIN_MESSAGE_ID", "7F"),
        ("colour", "red"),
    ];
    store(&world, 0, b"x", &properties).await;
    let mut message = world.get(PAGE).await.expect(200)["messages"][0].clone();
    let fields = message.as_object_mut().unwrap();
    fields.retain(|field, _| !["id", "topic", "queue", "offset", "born_at", "stored_at"].contains(&&**field));
    let expected = json!({
        "body": "x", "tag": "b", "keys": ["k1", "k2"], "unique_id": "u", "expires_in_ms": 5000, "priority": 7,
        "dead_letter_topic": "orders", "dead_letter_id": "7F", "properties": {"colour": "red"},
    });
    assert_eq!(message, expected);
}
