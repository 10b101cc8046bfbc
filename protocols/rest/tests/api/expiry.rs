//! Topics that end messages and themselves: their settings, what they refuse, and the deaths that readers see.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

async fn receive(world: &World, topic: &str) -> Vec<Value> {
    let path = format!("/v1/topics/{topic}/groups/{topic}/receive");
    world.post(&path, json!({"max": 10})).await.expect(200)["messages"].as_array().unwrap().clone()
}

fn bodies(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery["message"]["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn settings_are_shown_as_they_were_asked_and_compared_afterwards() {
    let world = World::new();
    let settings = json!({
        "queues": 1, "retention": "until_settled", "message_ttl_ms": 60000, "expires_ms": 3600000, "length_max": 10,
        "length_bytes_max": 1000, "overflow": "reject_publish_dlx", "dead_letter": {"exchange": "dlx", "key": "k"},
    });
    let made = world.put("/v1/topics/q", settings.clone()).await.expect(201);
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(made["attributes"], json!({}));
    assert_eq!(world.put("/v1/topics/q", settings).await.expect(200), made);
    assert_eq!(world.put("/v1/topics/q", json!({"length_max": 10})).await.expect(200), made);
    world.put("/v1/topics/q", json!({"length_max": 11})).await.problem(409, "differs");
    let other = json!({"dead_letter": {"topic": "dead"}});
    world.put("/v1/topics/q", other).await.problem(409, "differs");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_value_and_what_is_allowed() {
    let world = World::new();
    let queue = |field: &str, value: Value| json!({"queues": 1, "retention": "until_settled", field: value, "length_max": 1});
    let cases = [
        (json!({"length_max": 5}), "invalid-request", "length-max is 5; only on a topic whose messages go"),
        (json!({"dead_letter": {"topic": "d"}}), "invalid-request", "only on a topic whose messages go"),
        (queue("queues", json!(2)), "invalid-request", "queues is 2; with a length limit only 1"),
        (queue("expires_ms", json!(0)), "invalid-request", "expires-ms is 0; 1 or more"),
        (queue("message_ttl_ms", json!(1u64 << 60)), "limit-exceeded", "at most 316224000000"),
        (queue("dead_letter", json!({"key": "k"})), "invalid-request", "dead-letter-key is k;"),
        (queue("dead_letter", json!({"topic": "d", "key": "k"})), "invalid-request", "either a topic, or"),
        (queue("overflow", json!("drop_tail")), "invalid-request", "drop_tail"),
        (queue("message_ttl_ms", json!(-1)), "invalid-request", "-1"),
        (queue("dead_letter", json!({"queue": "d"})), "invalid-request", "queue"),
    ];
    for (settings, kind, text) in cases {
        let problem = world.put("/v1/topics/q", settings.clone()).await.problem(400, kind);
        assert!(problem["detail"].as_str().unwrap().contains(text), "{settings}: {problem}");
    }
    assert!(world.broker.directory().topic("q").is_none());
}

#[tokio::test]
async fn an_expired_message_is_read_by_nobody_and_tells_its_death() {
    let world = World::new();
    let settings = json!({"queues": 1, "retention": "until_settled", "dead_letter": {"topic": "dead"}});
    world.put("/v1/topics/q", settings).await.expect(201);
    let messages =
        json!({"messages": [{"body": "stays"}, {"body": "goes", "expires_in_ms": 5000}, {"body": "last"}]});
    world.post("/v1/topics/q/messages", messages).await.expect(201);
    world.pass(Duration::from_secs(5));
    let path = "/v1/topics/dead/queues/0/messages?from=earliest&wait_ms=20000";
    while world.broker.directory().topic("dead").is_none() {
        tokio::task::yield_now().await;
    }
    let dead = world.get(path).await.expect(200);
    let message = &dead["messages"][0];
    assert_eq!((&message["body"], message.get("expires_in_ms")), (&json!("goes"), None));
    let death = &message["deaths"][0];
    for (name, value) in
        [("topic", json!("q")), ("reason", json!("expired")), ("count", json!(1)), ("key", json!("q"))]
    {
        assert_eq!(death[name], value, "{name}");
    }
    let read = world.get("/v1/topics/q/queues/0/messages?from=earliest").await.expect(200);
    assert_eq!(read["messages"].as_array().unwrap().len(), 2);
    assert_eq!(bodies(&receive(&world, "q").await), ["stays", "last"]);
}

#[tokio::test]
async fn a_topic_that_keeps_messages_shows_none_whose_time_is_over() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1, "message_ttl_ms": 5000})).await.expect(201);
    world.publish("t", 0, &["old"; 20]).await;
    world.pass(Duration::from_secs(5));
    world.publish("t", 0, &["new"]).await;
    let page = world.get("/v1/topics/t/queues/0/messages?from=earliest&max=3").await.expect(200);
    let found: Vec<_> = page["messages"].as_array().unwrap().iter().map(|m| m["body"].clone()).collect();
    assert_eq!((found, &page["next"]), (vec![json!("new")], &json!("offset:21")));
}

#[tokio::test]
async fn a_full_topic_answers_429_and_takes_what_it_has_room_for() {
    let world = World::new();
    let settings =
        json!({"queues": 1, "retention": "until_settled", "length_max": 1, "overflow": "reject_publish"});
    world.put("/v1/topics/q", settings).await.expect(201);
    world.publish("q", 0, &["a"]).await;
    let full = world.post("/v1/topics/q/messages", json!({"messages": [{"body": "b"}]})).await;
    assert!(full.headers.contains_key("retry-after"));
    let problem = full.problem(429, "full");
    let text = "topic \"q\" is full: its ready entries would be 2; at most 1 is allowed";
    assert!(problem["detail"].as_str().unwrap().contains(text), "{problem}");
    assert_eq!(bodies(&receive(&world, "q").await), ["a"]);
    world.publish("q", 0, &["c"]).await;
}

#[tokio::test]
async fn a_topic_that_nobody_uses_goes() {
    let world = World::new();
    let settings = json!({"queues": 1, "retention": "until_settled", "expires_ms": 5000});
    world.put("/v1/topics/q", settings).await.expect(201);
    world.pass(Duration::from_secs(5));
    while world.broker.directory().topic("q").is_some() {
        tokio::task::yield_now().await;
    }
    world.get("/v1/topics/q").await.problem(404, "topic-not-found");
}
