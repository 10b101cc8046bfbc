//! Transactions, and messages that are stored together.

use std::time::Duration;

use mailrail_broker::limits::{HALF_FIRST_CHECK_MS, HALF_FIRST_CHECK_MS_MAX, HALF_UNASKED_MS_MAX};
use serde_json::{Value, json};

use crate::world::World;

async fn begin(world: &World, group: &str, body: &str) -> String {
    let request = json!({"topic": "t", "group": group, "message": {"body": body, "queue": 0}});
    let begun = world.post("/v1/transactions", request).await.expect(201);
    begun["id"].as_str().unwrap().to_owned()
}

async fn end(world: &World, id: &str, how: &str) -> crate::world::Answer {
    world.post(&format!("/v1/transactions/{id}/{how}"), Value::Null).await
}

async fn seen(world: &World, topic: &str) -> Vec<String> {
    let read = world.get(&format!("/v1/topics/{topic}/queues/0/messages?from=earliest")).await.expect(200);
    let messages = read["messages"].as_array().unwrap();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_message_is_seen_once_it_is_committed_and_never_after_a_rollback() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let (kept, gone) = (begin(&world, "g", "kept").await, begin(&world, "g", "gone").await);
    assert!(seen(&world, "t").await.is_empty());
    world.get(&format!("/v1/messages/{kept}")).await.problem(404, "message-not-found");
    end(&world, &gone, "rollback").await.expect(204);
    let stored = end(&world, &kept, "commit").await.expect(200);
    assert_eq!(
        (&stored["queue"], &stored["offset"], &stored["durability"]),
        (&json!(0), &json!(0), &json!("disk"))
    );
    assert_eq!(seen(&world, "t").await, ["kept"]);
    let message = world.get(&format!("/v1/messages/{}", stored["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&message["body"], &message["properties"]), (&json!("kept"), &Value::Null));
    for (id, how) in [(&kept, "commit"), (&kept, "rollback"), (&gone, "commit"), (&gone, "rollback")] {
        end(&world, id, how).await.problem(404, "transaction-not-found");
    }
    end(&world, &kept.replacen("7F", "0A", 1), "commit").await.problem(404, "transaction-not-found");
    end(&world, "no-id", "commit").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn open_transactions_are_listed_by_group_and_in_pages() {
    let world = World::new();
    let ids = [begin(&world, "g", "1").await, begin(&world, "h", "2").await, begin(&world, "g", "3").await];
    let list = async |query: &str| {
        let found = world.get(&format!("/v1/transactions{query}")).await.expect(200);
        let found = found["transactions"].as_array().unwrap().clone();
        found.iter().map(|open| open["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ids);
    assert_eq!(list("?group=g&max=1").await, ids[..1]);
    assert_eq!(list(&format!("?group=g&after={}", ids[0])).await, ids[2..]);
    let open = world.get("/v1/transactions?group=h").await.expect(200)["transactions"][0].clone();
    assert_eq!((&open["group"], &open["checks"]), (&json!("h"), &json!(0)));
    assert!(open["next_check_at"].is_string());
    world.get("/v1/transactions?max=1001").await.problem(400, "limit-exceeded");
    world.get("/v1/transactions?after=x").await.problem(400, "invalid-request");
    // What nobody decides on is not kept for ever.
    world.pass(Duration::from_millis(HALF_FIRST_CHECK_MS + HALF_UNASKED_MS_MAX));
    for _ in 0..500 {
        let undecided =
            world.get("/v1/topics/TRANS_CHECK_MAX_TIME_TOPIC/queues/0/messages?from=earliest").await;
        if undecided.status == 200 && undecided.json()["messages"].as_array().unwrap().len() == 3 {
            assert!(list("").await.is_empty());
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("they stay open");
}

#[tokio::test]
async fn a_transaction_that_cannot_be_begun_says_why() {
    let world = World::new();
    let request = |change: &dyn Fn(&mut Value)| {
        let mut request = json!({"topic": "t", "group": "g", "message": {"body": "x"}});
        change(&mut request);
        world.post("/v1/transactions", request)
    };
    for delay in [json!({"delay_ms": 1}), json!({"deliver_at": "2030-01-01T00:00:00Z"})] {
        request(&|asked| asked["message"] = delay.clone()).await.problem(400, "invalid-request");
    }
    request(&|asked| asked["message"] = json!({"routing_key": "k"})).await.problem(400, "invalid-request");
    request(&|asked| asked["message"] = json!({"queue": 99})).await.problem(404, "queue-not-found");
    request(&|asked| asked["group"] = json!("")).await.problem(400, "invalid-request");
    request(&|asked| asked["group"] = json!("g".repeat(300))).await.problem(400, "limit-exceeded");
    for (check_after_ms, status) in
        [(0, 400), (1, 201), (HALF_FIRST_CHECK_MS_MAX, 201), (HALF_FIRST_CHECK_MS_MAX + 1, 400)]
    {
        request(&|asked| asked["check_after_ms"] = json!(check_after_ms)).await.expect(status);
    }
}

#[tokio::test]
async fn messages_to_several_topics_are_stored_together_or_not_at_all() {
    let world = World::new();
    for topic in ["a", "b"] {
        world.put(&format!("/v1/topics/{topic}"), json!({"queues": 1})).await.expect(201);
    }
    let short =
        json!({"queues": 1, "retention": "until_settled", "length_max": 1, "overflow": "reject_publish"});
    world.put("/v1/topics/short", short).await.expect(201);
    let together = |messages: &[(&str, &str)]| {
        let messages: Vec<Value> =
            messages.iter().map(|(topic, body)| json!({"topic": topic, "message": {"body": body}})).collect();
        world.post("/v1/messages", json!({ "messages": messages }))
    };
    let stored = together(&[("a", "1"), ("b", "2"), ("a", "3")]).await.expect(201);
    let offsets: Vec<&Value> = stored["messages"].as_array().unwrap().iter().map(|m| &m["offset"]).collect();
    assert_eq!(offsets, [&json!(0), &json!(0), &json!(1)]);
    together(&[("a", "4"), ("short", "5"), ("short", "6")]).await.problem(429, "full");
    together(&[]).await.problem(400, "invalid-request");
    assert_eq!(
        (seen(&world, "a").await, seen(&world, "b").await),
        (vec!["1".into(), "3".into()], vec!["2".to_owned()])
    );
    assert!(seen(&world, "short").await.is_empty());
    let malformed =
        json!({"messages": [{"topic": "a", "message": {}}, {"topic": "a", "message": {"routing_key": "k"}}]});
    let problem = world.post("/v1/messages", malformed).await.problem(400, "invalid-request");
    assert!(problem["detail"].as_str().unwrap().contains("routing_key"), "{problem}");
    let delayed = json!({"messages": [{"topic": "a", "message": {"delay_ms": 3_600_000}}, {"topic": "new", "message": {}}]});
    let stored = world.post("/v1/messages", delayed).await.expect(201);
    assert!(
        stored["messages"][0]["deliver_at"].is_string() && stored["messages"][1]["offset"] == 0,
        "{stored}"
    );
}
