//! Groups: settings, lag, seeks, lists.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

const GROUP: &str = "/v1/topics/t/groups/g";

async fn world() -> World {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 2})).await.expect(201);
    world
}

async fn received(world: &World) -> Vec<String> {
    let answer = world.post(&format!("{GROUP}/receive"), json!({"max": 100})).await.expect(200);
    let messages = answer["messages"].as_array().unwrap();
    let mut bodies: Vec<_> =
        messages.iter().map(|delivery| delivery["message"]["body"].as_str().unwrap().to_owned()).collect();
    bodies.sort();
    bodies
}

#[tokio::test]
async fn settings_are_made_changed_and_kept() {
    let world = world().await;
    let made = world.put(GROUP, json!({})).await.expect(201);
    assert_eq!((&made["max_attempts"], &made["dead_letter"]), (&json!(17), &json!("%DLQ%g")));
    assert_eq!(made["backoff_ms"][0], 10_000);
    let changed = world.put(GROUP, json!({"max_attempts": 3, "backoff_ms": [5]})).await.expect(200);
    assert_eq!((&changed["max_attempts"], &changed["backoff_ms"]), (&json!(3), &json!([5])));
    let changed = world.put(GROUP, json!({"max_attempts": null, "dead_letter": null})).await.expect(200);
    assert_eq!((&changed["max_attempts"], &changed["dead_letter"]), (&Value::Null, &Value::Null));
    assert_eq!(world.put(GROUP, json!({})).await.expect(200), changed);
    assert_eq!(world.get(GROUP).await.expect(200), changed);
    world.put(GROUP, json!({"max_attempts": 0})).await.problem(400, "invalid-request");
    world.put(GROUP, json!({"backoff_ms": [u64::MAX]})).await.problem(400, "limit-exceeded");
    world.put(GROUP, json!({"backoff_ms": vec![1; 65]})).await.problem(400, "invalid-request");
    world.put("/v1/topics/none/groups/g", json!({})).await.problem(404, "topic-not-found");
}

#[tokio::test]
async fn lag_counts_what_is_not_settled() {
    let world = world().await;
    world.publish("t", 0, &["a", "b"]).await;
    world.publish("t", 1, &["c"]).await;
    world.get(GROUP).await.problem(404, "group-not-found");
    let answer = world.post(&format!("{GROUP}/receive"), json!({"max": 2})).await.expect(200);
    let view = world.get(GROUP).await.expect(200);
    assert_eq!((&view["lag"], &view["ready"], &view["leased"]), (&json!(3), &json!(1), &json!(2)));
    let receipts: Vec<_> =
        answer["messages"].as_array().unwrap().iter().map(|delivery| delivery["receipt"].clone()).collect();
    world.post(&format!("{GROUP}/settle"), json!({ "ack": receipts })).await.expect(200);
    let view = world.get(GROUP).await.expect(200);
    assert_eq!((&view["lag"], &view["leased"]), (&json!(1), &json!(0)));
    let queues = view["queues"].as_array().unwrap();
    assert_eq!(queues.iter().map(|q| q["lag"].as_u64().unwrap()).sum::<u64>(), 1);
    assert_eq!((&queues[0]["min"], &queues[0]["max"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn a_group_seeks_anywhere() {
    let world = world().await;
    world.publish("t", 0, &["a"]).await;
    world.pass(Duration::from_secs(60));
    world.publish("t", 0, &["b"]).await;
    world.publish("t", 1, &["c"]).await;
    let page = world.get("/v1/topics/t/queues/0/messages?from=offset:1").await.expect(200);
    let late = page["messages"][0]["stored_at"].as_str().unwrap();
    let seek = format!("{GROUP}/seek");
    let moved = world.post(&seek, json!({"to": "latest"})).await.expect(200);
    assert_eq!(moved, json!({"queues": [{"queue": 0, "committed": 2}, {"queue": 1, "committed": 1}]}));
    assert_eq!(received(&world).await, [""; 0]);
    world.post(&seek, json!({"to": "earliest"})).await.expect(200);
    assert_eq!(received(&world).await, ["a", "b", "c"]);
    world.post(&seek, json!({"to": format!("time:{late}")})).await.expect(200);
    assert_eq!(received(&world).await, ["b", "c"]);
    world.post(&seek, json!({"time_ms": 0})).await.expect(200);
    assert_eq!(received(&world).await, ["a", "b", "c"], "a seek ends leases");
    world.post(&seek, json!({"to": "latest"})).await.expect(200);
    let moved = world.post(&seek, json!({"to": "offset:1", "queue": 0})).await.expect(200);
    assert_eq!(moved["queues"], json!([{"queue": 0, "committed": 1}, {"queue": 1, "committed": 1}]));
    assert_eq!(received(&world).await, ["b"]);
    let bad = [
        json!({}),
        json!({"to": "earliest", "time_ms": 1}),
        json!({"to": "offset:1"}),
        json!({"to": "latest", "queue": 0}),
        json!({"to": "somewhere"}),
    ];
    for asked in bad {
        world.post(&seek, asked).await.problem(400, "invalid-request");
    }
    world.post(&seek, json!({"to": "offset:0", "queue": 2})).await.problem(404, "queue-not-found");
    world
        .post("/v1/topics/none/groups/g/seek", json!({"to": "latest"}))
        .await
        .problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_topic_lists_the_groups_that_are_on_it() {
    let world = world().await;
    world.put("/v1/topics/other", json!({})).await.expect(201);
    world.publish("t", 0, &["a"]).await;
    for group in ["c", "a", "b"] {
        world.post(&format!("/v1/topics/t/groups/{group}/receive"), json!({})).await.expect(200);
    }
    world.put("/v1/topics/other/groups/elsewhere", json!({})).await.expect(201);
    let list = world.get("/v1/topics/t/groups").await.expect(200);
    let names: Vec<_> = list["groups"].as_array().unwrap().iter().map(|g| g["group"].clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((&list["groups"][0]["lag"], list.get("next")), (&json!(1), None));
    let first = world.get("/v1/topics/t/groups?max=1").await.expect(200);
    assert_eq!((&first["groups"][0]["group"], &first["next"]), (&json!("a"), &json!("a")));
    let rest = world.get("/v1/topics/t/groups?after=a").await.expect(200);
    assert_eq!(rest["groups"].as_array().unwrap().len(), 2);
    world.get("/v1/topics/none/groups").await.problem(404, "topic-not-found");
    world.get("/v1/topics/t/groups?max=0").await.problem(400, "limit-exceeded");
}

#[tokio::test]
async fn a_forgotten_group_begins_anew() {
    let world = world().await;
    world.publish("t", 0, &["a"]).await;
    let answer = world.post(&format!("{GROUP}/receive"), json!({})).await.expect(200);
    let receipt = answer["messages"][0]["receipt"].clone();
    world.post(&format!("{GROUP}/settle"), json!({"ack": [receipt]})).await.expect(200);
    assert_eq!(received(&world).await, [""; 0]);
    world.delete(GROUP).await.expect(204);
    assert_eq!(received(&world).await, ["a"]);
    world.delete("/v1/topics/t/groups/none").await.problem(404, "group-not-found");
    world.delete("/v1/topics/none/groups/g").await.problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_group_in_strict_order_receives_one_batch_of_a_key_at_a_time() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let made = world.put(GROUP, json!({"order": "ordering_key"})).await.expect(201);
    assert_eq!((&made["order"], &made["single_active"]), (&json!("ordering_key"), &json!(false)));
    assert_eq!(world.put(GROUP, json!({"backoff_ms": [0]})).await.expect(200)["order"], "ordering_key");
    let message = |body: &str, key: &str| json!({"body": body, "ordering_key": key});
    let messages = [message("a1", "a"), message("b1", "b"), message("a2", "a"), message("a3", "a")];
    world.post("/v1/topics/t/messages", json!({ "messages": messages })).await.expect(201);
    let receive = async |max: u32| {
        let answer = world.post(&format!("{GROUP}/receive"), json!({ "max": max })).await.expect(200);
        let got = answer["messages"].as_array().unwrap().iter();
        let seen = |one: &Value| {
            let body = one["message"]["body"].as_str().unwrap().to_owned();
            (body, one["attempt"].as_u64().unwrap(), one["receipt"].clone())
        };
        got.map(seen).collect::<Vec<_>>()
    };
    let bodies = |got: &[(String, u64, Value)]| got.iter().map(|(body, ..)| body.clone()).collect::<Vec<_>>();
    let a = receive(2).await;
    assert_eq!(bodies(&a), ["a1", "a2"]);
    assert_eq!(bodies(&receive(9).await), ["b1"]);
    let receipts: Vec<_> = a.iter().map(|(.., receipt)| receipt).collect();
    world
        .post(&format!("{GROUP}/settle"), json!({"ack": [receipts[1]], "requeue": [receipts[0]]}))
        .await
        .expect(200);
    let again = receive(9).await;
    assert_eq!(bodies(&again), ["a1", "a3"], "what was acknowledged does not come again");
    assert_eq!((again[0].1, again[1].1), (2, 1));
    let changed = world.put(GROUP, json!({"order": "any", "single_active": true})).await.expect(200);
    assert_eq!((&changed["order"], &changed["single_active"]), (&json!("any"), &json!(true)));
    world.put(GROUP, json!({"order": "strict"})).await.problem(400, "invalid-request");
}
