//! Traces over HTTP: what they show, to whom, and how far they follow copies.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailrail_broker::{TRACE_TOPIC, TopicSettings};
use mailrail_rest::limits::TRACED_COPIES_MAX;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

/// Steps that a test knows to be written, once they are.
async fn events(world: &World, id: &str, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        world.pass(Duration::from_millis(60));
        let trace = world.get(&format!("/v1/messages/{id}/trace")).await.expect(200);
        assert_eq!(trace["id"], id);
        let events = trace["events"].as_array().unwrap().clone();
        if events.len() >= count {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} steps of {id} did not come");
}

fn stages(events: &[Value]) -> Vec<String> {
    let text = |event: &Value, name: &str| event[name].as_str().map(str::to_owned);
    events
        .iter()
        .map(|event| {
            [text(event, "stage"), text(event, "how")].into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

async fn receive(world: &World, topic: &str, group: &str) -> Vec<Value> {
    let path = format!("/v1/topics/{topic}/groups/{group}/receive");
    let answer = world.post(&path, json!({"max": 10})).await.expect(200);
    answer["messages"].as_array().unwrap().iter().map(|delivery| delivery["receipt"].clone()).collect()
}

#[tokio::test]
async fn the_steps_of_a_message_come_in_order_and_say_what_happened() {
    let world = World::new();
    let view = world.put("/v1/topics/t", json!({"queues": 1, "trace_sample": 1_000_000})).await.expect(201);
    assert_eq!(view["trace_sample"], 1_000_000);
    let ids = world.publish("t", 0, &["a", "b"]).await;
    let receipts = receive(&world, "t", "g").await;
    let settle = json!({"ack": [receipts[0]], "requeue": [receipts[1]]});
    world.post("/v1/topics/t/groups/g/settle", settle).await.expect(200);
    let first = events(&world, &ids[0], 3).await;
    assert_eq!(stages(&first), ["stored", "handed_out", "settled ack"]);
    for event in &first {
        assert_eq!((&event["topic"], &event["queue"], &event["offset"]), (&json!("t"), &json!(0), &json!(0)));
        assert_eq!(event["id"], ids[0]);
    }
    assert_eq!((&first[1]["group"], &first[1]["attempt"]), (&json!("g"), &json!(1)));
    assert_eq!(stages(&events(&world, &ids[1], 3).await), ["stored", "handed_out", "settled retry"]);
    // The same lies in a topic.
    let found = world
        .get(&format!("/v1/messages?topic=MAILRAIL_SYS_TRACE_TOPIC&key={}", &ids[0][16..]))
        .await
        .expect(200);
    assert_eq!(found["messages"].as_array().unwrap().len(), 3);
    assert_eq!(found["messages"][0]["tag"], "settled");
    world
        .post("/v1/topics/MAILRAIL_SYS_TRACE_TOPIC/messages", json!({"messages": [{}]}))
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn the_sample_may_be_changed_and_what_is_not_traced_has_no_steps() {
    let world = World::new();
    let put = async |request: Value| world.put("/v1/topics/t", request).await;
    let view = put(json!({"queues": 1})).await.expect(201);
    assert_eq!(view["trace_sample"], Value::Null);
    let before = world.publish("t", 0, &["m"]).await.remove(0);
    let none = world.get(&format!("/v1/messages/{before}/trace")).await.expect(200);
    assert_eq!(none, json!({"id": before, "events": []}));
    assert_eq!(put(json!({"trace_sample": 1_000_000})).await.expect(200)["trace_sample"], 1_000_000);
    let traced = world.publish("t", 0, &["m"]).await.remove(0);
    assert_eq!(stages(&events(&world, &traced, 1).await), ["stored"]);
    assert_eq!(put(json!({})).await.expect(200)["trace_sample"], 1_000_000);
    put(json!({"trace_sample": 1_000_001})).await.problem(400, "limit-exceeded");
    assert_eq!(put(json!({"trace_sample": 0})).await.expect(200)["trace_sample"], Value::Null);
    assert_eq!(events(&world, &before, 0).await, [json!(null); 0]);
    world.get("/v1/messages/nonsense/trace").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_trace_follows_copies_so_far_and_no_farther() {
    let world = World::new();
    let settled = |to: &str| json!({"queues": 1, "retention": "until_settled", "trace_sample": 1_000_000, "dead_letter": {"topic": to}});
    world.put("/v1/topics/a", settled("b")).await.expect(201);
    world.put("/v1/topics/b", settled("a")).await.expect(201);
    let id = world.publish("a", 0, &["m"]).await.remove(0);
    for step in 0..=TRACED_COPIES_MAX {
        let topic = if step % 2 == 0 { "a" } else { "b" };
        let receipt = loop {
            if let Some(receipt) = receive(&world, topic, topic).await.pop() {
                break receipt;
            }
        };
        let path = format!("/v1/topics/{topic}/groups/{topic}/settle");
        world.post(&path, json!({"reject": [receipt]})).await.expect(200);
        // Stored, handed out, settled, given up, dead-lettered: of each, and of the last copy that it is stored.
        let messages = (step + 1).min(TRACED_COPIES_MAX + 1);
        let found = events(&world, &id, messages * 5).await;
        let dead = found.iter().filter(|event| event["stage"] == "dead_lettered").count();
        assert_eq!(dead, messages, "after {step}");
    }
    let all = events(&world, &id, 0).await;
    let mut ids: Vec<_> = all.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), TRACED_COPIES_MAX + 1, "the message and so many copies, though there is one more");
    assert_eq!(all[0]["id"], id);
    assert!(all.iter().all(|event| event["stage"] != "dead_lettered" || event["copy_id"].is_string()));
}

#[tokio::test]
async fn whoever_may_see_a_topic_may_see_its_traces_and_nobody_else() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1, "trace_sample": 1_000_000})).await.expect(201);
    let id = world.publish("t", 0, &["m"]).await.remove(0);
    events(&world, &id, 1).await;
    world.put("/v1/users/root", json!({"password": "secret", "admin": true})).await.expect(201);
    let send = async |who: &str, method: &str, path: &str, document: Value| -> Answer {
        let request =
            request(method, path).header("authorization", format!("Basic {}", STANDARD.encode(who)));
        let request = request.header("content-type", "application/json");
        let body = if document.is_null() { Body::empty() } else { document.to_string().into() };
        world.send(request.body(body).unwrap()).await
    };
    for (user, action, name, status) in
        [("ann", "consume", "t", 200), ("bob", "describe", "t", 200), ("eve", "consume", "other", 403)]
    {
        let permissions =
            json!([{"effect": "allow", "actions": [action], "resources": ["topic"], "name": name}]);
        let made = json!({"password": "secret", "permissions": permissions});
        send("root:secret", "PUT", &format!("/v1/users/{user}"), made).await.expect(201);
        let who = format!("{user}:secret");
        let answer = send(&who, "GET", &format!("/v1/messages/{id}/trace"), Value::Null).await;
        assert_eq!(answer.status, status, "{user}");
        // The topic of all traces is a topic like others.
        let all = "/v1/topics/MAILRAIL_SYS_TRACE_TOPIC/queues/0/messages?from=earliest";
        send(&who, "GET", all, Value::Null).await.problem(403, "access-denied");
    }
}

/// Sends as a user, with a document or without.
async fn send_as(world: &World, user: &str, method: &str, path: &str, document: Option<Value>) -> Answer {
    let who = format!("Basic {}", STANDARD.encode(format!("{user}:secret")));
    let request =
        request(method, path).header("authorization", who).header("content-type", "application/json");
    let body = document.map_or_else(Body::empty, |document| document.to_string().into());
    world.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_read_is_by_whoever_reads() {
    let world = World::new();
    for user in ["root", "ann"] {
        let made = json!({"password": "secret", "admin": true});
        let path = format!("/v1/users/{user}");
        let answer = if user == "root" {
            world.put(&path, made).await
        } else {
            send_as(&world, "root", "PUT", &path, Some(made)).await
        };
        answer.expect(201);
    }
    let settings = json!({"queues": 1, "trace_sample": 1_000_000});
    send_as(&world, "root", "PUT", "/v1/topics/t", Some(settings)).await.expect(201);
    let messages = json!({"messages": [{"body": "m"}]});
    let sent = send_as(&world, "root", "POST", "/v1/topics/t/messages", Some(messages)).await.expect(201);
    let id = sent["messages"][0]["id"].as_str().unwrap();
    send_as(&world, "ann", "GET", "/v1/topics/t/queues/0/messages?from=earliest", None).await.expect(200);
    let path = format!("/v1/messages/{id}/trace");
    for _ in 0..200 {
        world.pass(Duration::from_millis(60));
        let trace = send_as(&world, "root", "GET", &path, None).await.expect(200);
        let by = |event: &Value| format!("{} {}", event["stage"], event["by"]["user"]).replace('"', "");
        let steps: Vec<_> = trace["events"].as_array().unwrap().iter().map(by).collect();
        if steps.len() == 2 {
            return assert_eq!(steps, ["stored root", "read ann"]);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the steps did not come");
}

#[tokio::test]
async fn nobody_makes_the_topic_of_traces_writable() {
    let world = World::new();
    let path = format!("/v1/topics/{TRACE_TOPIC}");
    world.put(&path, json!({"queues": 4, "retention": "compacted"})).await.expect(201);
    let settings = world.broker.directory().topic(TRACE_TOPIC).unwrap().settings();
    assert_eq!(*settings, TopicSettings { queues: 1, writable: false, ..TopicSettings::default() });
    world.post(&format!("{path}/messages"), json!({"messages": [{}]})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn what_a_producer_calls_a_message_puts_it_into_no_other_ones_trace() {
    let world = World::new();
    for topic in ["t", "other"] {
        let settings = json!({"queues": 1, "trace_sample": 1_000_000});
        world.put(&format!("/v1/topics/{topic}"), settings).await.expect(201);
    }
    let id = world.publish("t", 0, &["m"]).await.remove(0);
    let foreign = json!({"messages": [{"body": "n", "unique_id": &id[16..]}]});
    let sent = world.post("/v1/topics/other/messages", foreign).await.expect(201);
    // Once its own trace is there, what was written before it is too.
    events(&world, sent["messages"][0]["id"].as_str().unwrap(), 1).await;
    let all = events(&world, &id, 1).await;
    assert_eq!(all.iter().map(|event| &event["topic"]).collect::<Vec<_>>(), ["t"]);
}

#[tokio::test]
async fn a_trace_takes_room_among_the_answers() {
    let mut world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1, "trace_sample": 1_000_000})).await.expect(201);
    let id = world.publish("t", 0, &["m"]).await.remove(0);
    events(&world, &id, 1).await;
    world.configure(|config| config.answer_bytes_max = 10);
    world.get(&format!("/v1/messages/{id}/trace")).await.problem(503, "overloaded");
    assert_eq!(world.state.answer_bytes(), 0);
}
