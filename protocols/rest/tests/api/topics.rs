//! Topics: made, shown, compared, listed, deleted.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_topic_is_made_once_and_compared_afterwards() {
    let world = World::new();
    let made = world.put("/v1/topics/orders", json!({"queues": 2, "durability": "disk"})).await.expect(201);
    let expected = json!({
        "topic": "orders", "queues": 2, "retention": "time_size", "durability": "disk", "lifetime": "durable",
        "readable": true, "writable": true, "messages": 0, "attributes": {},
        "queue_offsets": [{"queue": 0, "min": 0, "max": 0}, {"queue": 1, "min": 0, "max": 0}],
    });
    assert_eq!(made, expected);
    assert_eq!(world.put("/v1/topics/orders", json!({"queues": 2})).await.expect(200), expected);
    assert_eq!(world.put("/v1/topics/orders", json!({})).await.expect(200), expected);
    assert_eq!(world.get("/v1/topics/orders").await.expect(200), expected);
    let differs = world.put("/v1/topics/orders", json!({"queues": 3})).await.problem(409, "differs");
    assert!(differs["detail"].as_str().unwrap().contains("queues"), "{differs}");
}

#[tokio::test]
async fn settings_become_the_brokers() {
    let world = World::new();
    let settings = json!({"queues": 1, "retention": "until_settled", "lifetime": "transient"});
    let made = world.put("/v1/topics/t", settings).await.expect(201);
    assert_eq!((&made["retention"], &made["lifetime"]), (&json!("until_settled"), &json!("transient")));
    let settings = world.broker.directory().topic("t").unwrap().settings();
    assert_eq!(settings.retention, mailrail_broker::Retention::UntilSettled);
    assert_eq!(settings.lifetime, mailrail_broker::Lifetime::Transient);
}

#[tokio::test]
async fn names_are_any_text_that_fits() {
    let world = World::new();
    for (path, name) in
        [("a%2Fb", "a/b"), ("%C3%A4%20%E2%82%AC", "ä €"), (&"x".repeat(255), &"x".repeat(255))]
    {
        let made = world.put(&format!("/v1/topics/{path}"), json!({})).await.expect(201);
        assert_eq!(made["topic"], name);
        assert_eq!(world.get(&format!("/v1/topics/{path}")).await.expect(200)["topic"], name);
    }
    let long = format!("/v1/topics/{}", "x".repeat(256));
    world.put(&long, json!({})).await.problem(400, "invalid-name");
    world.put("/v1/topics/%FF", json!({})).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_list_comes_in_pages_sorted_by_name() {
    let world = World::new();
    for name in ["c", "a", "b"] {
        world.put(&format!("/v1/topics/{name}"), json!({"queues": 1})).await.expect(201);
    }
    world.publish("b", 0, &["one", "two"]).await;
    let all = world.get("/v1/topics").await.expect(200);
    let names: Vec<_> = all["topics"].as_array().unwrap().iter().map(|t| t["topic"].clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((all["topics"][1]["messages"].as_u64(), all.get("next")), (Some(2), None));
    let first = world.get("/v1/topics?max=2").await.expect(200);
    assert_eq!((first["topics"].as_array().unwrap().len(), &first["next"]), (2, &json!("b")));
    let second = world.get("/v1/topics?max=2&after=b").await.expect(200);
    assert_eq!((&second["topics"][0]["topic"], second.get("next")), (&json!("c"), None));
    for max in ["0", "1001"] {
        world.get(&format!("/v1/topics?max={max}")).await.problem(400, "limit-exceeded");
    }
}

#[tokio::test]
async fn a_deleted_topic_is_gone_with_its_messages() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let ids = world.publish("t", 0, &["one"]).await;
    world.delete("/v1/topics/t?if_empty=true").await.problem(409, "not-empty");
    assert_eq!(world.delete("/v1/topics/t").await.expect(200), json!({"messages": 1}));
    world.get("/v1/topics/t").await.problem(404, "topic-not-found");
    world.get(&format!("/v1/messages/{}", ids[0])).await.problem(404, "message-not-found");
    world.delete("/v1/topics/t").await.problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_topic_of_an_amqp_connection_is_not_for_others() {
    let world = World::new();
    let mut owner = world.broker.connect();
    let settings = mailrail_broker::TopicSettings {
        lifetime: mailrail_broker::Lifetime::Session,
        ..mailrail_broker::TopicSettings::settled_queue()
    };
    let token = mailrail_broker::Token(1);
    owner.submit(vec![mailrail_broker::Command::PutTopic {
        token,
        name: "mine".into(),
        settings,
        adopt: false,
    }]);
    owner.next_events().await;
    assert_eq!(world.get("/v1/topics/mine").await.expect(200)["lifetime"], "session");
    world.delete("/v1/topics/mine").await.problem(409, "locked");
    world.put("/v1/topics/mine", json!({})).await.problem(409, "locked");
    world.post("/v1/topics/mine/groups/g/receive", json!({})).await.problem(409, "locked");
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_newest_of_each_key_and_takes_no_message_without_one() {
    let world = World::new();
    let settings = json!({"queues": 1, "retention": "compacted", "compaction_lag_ms": 1_000});
    let made = world.put("/v1/topics/t", settings).await.expect(201);
    let told = (&made["retention"], &made["compaction_lag_ms"], &made["tombstone_ms"]);
    assert_eq!(told, (&json!("compacted"), &json!(1_000), &json!(24 * 60 * 60 * 1_000)));
    let message = |key: &str, body: &str| json!({"keys": [key], "body": body});
    let messages = json!({"messages": [message("a", "1"), message("b", "2"), message("a", "3")]});
    world.post("/v1/topics/t/messages", messages).await.expect(201);
    let keyless = json!({"messages": [{"body": "x"}]});
    let problem = world.post("/v1/topics/t/messages", keyless).await.problem(400, "invalid-request");
    assert!(problem["detail"].as_str().unwrap().contains("required message key is missing"), "{problem}");
    world.put("/v1/topics/u", json!({"tombstone_ms": 7})).await.problem(400, "invalid-request");
    let read = async || {
        let page = world.get("/v1/topics/t/queues/0/messages?from=earliest").await.expect(200);
        let of = |message: &serde_json::Value| (message["offset"].as_u64(), message["body"].clone());
        page["messages"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(read().await.len(), 3);
    for _ in 0..200 {
        world.pass(std::time::Duration::from_secs(120));
        if read().await.len() < 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(read().await, [(Some(1), json!("2")), (Some(2), json!("3"))]);
    assert_eq!(world.get("/v1/topics/t").await.expect(200)["messages"], 2);
}
