//! Messages that are sent again: by key, by sequence number, and by the key of a request.

use std::time::Duration;

use mailrail_broker::limits::{DEDUPLICATION_KEY_BYTES_MAX, DEDUPLICATION_WINDOW_MS_MAX};
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const PATH: &str = "/v1/topics/t/messages";

async fn world() -> World {
    let world = World::new();
    let made = world.put("/v1/topics/t", json!({"queues": 1, "deduplication_window_ms": 60_000})).await;
    assert_eq!(made.expect(201)["deduplication_window_ms"], 60_000);
    world
}

async fn publish(world: &World, path: &str, key: &str, request_body: Value) -> Answer {
    let request = request("POST", path).header("content-type", "application/json");
    world.send(request.header("Idempotency-Key", key).body(request_body.to_string().into()).unwrap()).await
}

async fn bodies(world: &World, topic: &str) -> Vec<String> {
    let read = world.get(&format!("/v1/topics/{topic}/queues/0/messages?from=earliest")).await.expect(200);
    let messages = read["messages"].as_array().unwrap();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

/// The receipts that say the same as the first ones, and that they are duplicates.
#[track_caller]
fn check_duplicates(first: &Value, again: &Value) {
    let mut expected = first.clone();
    for message in expected["messages"].as_array_mut().unwrap() {
        assert_eq!(message["duplicate"], Value::Null, "{first}");
        message["duplicate"] = json!(true);
    }
    assert_eq!(*again, expected);
}

#[tokio::test]
async fn a_message_with_a_key_is_stored_once_within_the_window() {
    let world = world().await;
    let message = json!({"messages": [{"body": "paid", "deduplication_key": "order-13"}]});
    let first = world.post(PATH, message.clone()).await.expect(201);
    check_duplicates(&first, &world.post(PATH, message.clone()).await.expect(201));
    // The other form of the same publish has the same key.
    let raw =
        request("POST", PATH).header("Mailrail-Deduplication-Key", "order-13").body("paid".into()).unwrap();
    check_duplicates(&first, &world.send(raw).await.expect(201));
    let raw = request("POST", &format!("{PATH}?deduplication_key=order-13")).body("paid".into()).unwrap();
    check_duplicates(&first, &world.send(raw).await.expect(201));
    world.post(PATH, json!({"messages": [{"body": "without"}, {"body": "without"}]})).await.expect(201);
    assert_eq!(bodies(&world, "t").await, ["paid", "without", "without"]);
    world.pass(Duration::from_secs(60));
    let later = world.post(PATH, message).await.expect(201);
    assert_eq!(
        (&later["messages"][0]["offset"], &later["messages"][0]["duplicate"]),
        (&json!(3), &Value::Null)
    );
}

#[tokio::test]
async fn the_key_of_a_request_covers_each_of_its_messages_by_its_place() {
    let world = world().await;
    let two = json!({"messages": [{"body": "a"}, {"body": "b"}]});
    let first = publish(&world, PATH, "k", two.clone()).await.expect(201);
    assert_eq!(first["messages"].as_array().unwrap().len(), 2);
    check_duplicates(&first, &publish(&world, PATH, "k", two.clone()).await.expect(201));
    let three = json!({"messages": [{"body": "a"}, {"body": "b"}, {"body": "c"}]});
    let more = publish(&world, PATH, "k", three).await.expect(201);
    let duplicates: Vec<bool> =
        more["messages"].as_array().unwrap().iter().map(|message| message["duplicate"] == true).collect();
    assert_eq!(duplicates, [true, true, false]);
    publish(&world, PATH, "another", two).await.expect(201);
    // What has a key of its own is known by that.
    let own = json!({"messages": [{"body": "own", "deduplication_key": "k"}]});
    for key in ["k", "third"] {
        publish(&world, PATH, key, own.clone()).await.expect(201);
    }
    assert_eq!(bodies(&world, "t").await, ["a", "b", "c", "a", "b", "own"]);
}

#[tokio::test]
async fn a_producers_numbers_are_stored_once_and_only_upwards() {
    let world = world().await;
    let send = async |sequence: u64, body: &str| {
        let message = json!({"body": body, "producer_id": "p", "sequence": sequence});
        world.post(PATH, json!({ "messages": [message] })).await
    };
    let first = send(10, "10").await.expect(201);
    check_duplicates(&first, &send(10, "10 again").await.expect(201));
    send(12, "12").await.expect(201);
    send(11, "11 was not stored").await.problem(409, "out-of-sequence");
    let old = send(3, "3").await.expect(201);
    assert_eq!(old["messages"], json!([{"duplicate": true, "durability": "disk"}]), "nobody knows where");
    assert_eq!(bodies(&world, "t").await, ["10", "12"]);
}

#[tokio::test]
async fn an_exchange_a_transaction_and_a_publish_to_several_topics_know_what_is_sent_again() {
    let world = world().await;
    world.put("/v1/exchanges/x", json!({"kind": "fanout"})).await.expect(201);
    world.post("/v1/exchanges/x/bindings", json!({"topic": "t"})).await;
    let routed = json!({"messages": [{"body": "routed"}]});
    let first = publish(&world, "/v1/exchanges/x/messages", "k", routed.clone()).await.expect(201);
    let again = publish(&world, "/v1/exchanges/x/messages", "k", routed).await.expect(201);
    assert_eq!(again["messages"][0]["id"], first["messages"][0]["id"]);
    assert_eq!(again["messages"][0]["duplicate"], true);

    world.put("/v1/topics/u", json!({"queues": 1, "deduplication_window_ms": 60_000})).await.expect(201);
    let together = json!({"messages": [
        {"topic": "t", "message": {"body": "of t"}}, {"topic": "u", "message": {"body": "of u"}},
    ]});
    let first = publish(&world, "/v1/messages", "together", together.clone()).await.expect(201);
    check_duplicates(
        &first,
        &publish(&world, "/v1/messages", "together", together.clone()).await.expect(201),
    );
    world.put("/v1/topics/plain", json!({"queues": 1})).await.expect(201);
    let mixed = json!({"messages": [
        {"topic": "t", "message": {"body": "none of it"}}, {"topic": "plain", "message": {"body": "none of it"}},
    ]});
    publish(&world, "/v1/messages", "mixed", mixed).await.problem(409, "no-deduplication");

    let half = json!({"topic": "u", "group": "g", "message": {"body": "half", "deduplication_key": "half"}});
    let begun = world.post("/v1/transactions", half.clone()).await.expect(201);
    let again = world.post("/v1/transactions", half.clone()).await.expect(201);
    assert_eq!(again, json!({"id": begun["id"], "duplicate": true}));
    let commit = format!("/v1/transactions/{}/commit", begun["id"].as_str().unwrap());
    world.post(&commit, Value::Null).await.expect(200);
    assert_eq!(world.post("/v1/transactions", half).await.expect(201)["duplicate"], true);
    assert_eq!(bodies(&world, "t").await, ["routed", "of t"]);
    assert_eq!(bodies(&world, "u").await, ["of u", "half"]);
}

#[tokio::test]
async fn a_topic_without_a_window_refuses_keys_and_is_not_made_for_them() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    for topic in ["t", "new"] {
        let path = format!("/v1/topics/{topic}/messages");
        let message = json!({"messages": [{"body": "x", "deduplication_key": "k"}]});
        let problem = world.post(&path, message).await.problem(409, "no-deduplication");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("{topic:?}")), "{problem}");
        let numbered = json!({"messages": [{"body": "x", "producer_id": "p", "sequence": 1}]});
        world.post(&path, numbered).await.problem(409, "no-deduplication");
        publish(&world, &path, "k", json!({"messages": [{"body": "x"}]}))
            .await
            .problem(409, "no-deduplication");
    }
    assert!(bodies(&world, "t").await.is_empty());
    world.get("/v1/topics/new").await.problem(404, "topic-not-found");
    assert_eq!(world.get("/v1/topics/t").await.expect(200)["deduplication_window_ms"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_stored() {
    let world = world().await;
    let longest = "k".repeat(DEDUPLICATION_KEY_BYTES_MAX);
    for message in [
        json!({"deduplication_key": "k", "producer_id": "p", "sequence": 1}),
        json!({"deduplication_key": "k", "sequence": 1}),
        json!({"producer_id": "p"}),
        json!({"sequence": 1}),
        json!({"deduplication_key": ""}),
        json!({"producer_id": "", "sequence": 1}),
        json!({"producer_id": "p", "sequence": -1}),
    ] {
        let answer = world.post(PATH, json!({"messages": [{"body": "x"}, message]})).await;
        answer.problem(400, "invalid-request");
    }
    let longer = format!("{longest}k");
    let named = json!({"messages": [{"deduplication_key": longer}]});
    let problem = world.post(PATH, named).await.problem(400, "limit-exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("is 1025; at most 1024"), "{problem}");
    let empty = json!({"messages": [{}]});
    publish(&world, PATH, &longer, empty.clone()).await.problem(400, "limit-exceeded");
    publish(&world, PATH, "", empty.clone()).await.problem(400, "invalid-request");
    let twice = request("POST", PATH).header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    world.send(twice.body("x".into()).unwrap()).await.problem(400, "invalid-request");
    assert!(bodies(&world, "t").await.is_empty());
    publish(&world, PATH, &longest, empty).await.expect(201);
    let too_long = json!({"deduplication_window_ms": DEDUPLICATION_WINDOW_MS_MAX + 1});
    world.put("/v1/topics/u", too_long).await.problem(400, "limit-exceeded");
    let longest = json!({"deduplication_window_ms": DEDUPLICATION_WINDOW_MS_MAX});
    world.put("/v1/topics/u", longest).await.expect(201);
    world.put("/v1/topics/u", json!({"deduplication_window_ms": 1})).await.problem(409, "differs");
}
