//! Leases over REST: received, settled, prolonged, given back, ended by time, given up.

use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use mailrail_rest::limits::UPLOAD_FREE_BYTES;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{World, request};

const GROUP: &str = "/v1/topics/t/groups/g";

async fn world_with(bodies: &[&str]) -> World {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    // No backoff, so that what comes back is there at once.
    world.put(GROUP, json!({"backoff_ms": [], "max_attempts": 3})).await.expect(201);
    if !bodies.is_empty() {
        world.publish("t", 0, bodies).await;
    }
    world
}

async fn receive(world: &World, asked: Value) -> Vec<Value> {
    let answer = world.post(&format!("{GROUP}/receive"), asked).await.expect(200);
    answer["messages"].as_array().unwrap().clone()
}

async fn settle(world: &World, asked: Value) -> Value {
    world.post(&format!("{GROUP}/settle"), asked).await.expect(200)
}

fn receipts(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery["receipt"].as_str().unwrap()).collect()
}

fn bodies(deliveries: &[Value]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery["message"]["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_group_receives_what_passes_its_filter_and_the_rest_is_settled_for_it() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let messages = json!({"messages": [
        {"body": "1", "tag": "a", "properties": {"region": "eu"}}, {"body": "2", "tag": "b"}, {"body": "3"},
        {"body": "4", "tag": "a", "properties": {"region": "us"}}, {"body": "5", "tag": "c", "properties": {"region": "eu"}},
    ]});
    world.post("/v1/topics/t/messages", messages).await.expect(201);
    let path = "/v1/topics/t/groups/g/receive";
    let filter = json!({"max": 10, "tag": "a||c", "sql": "region = 'eu'"});
    let got = world.post(path, filter.clone()).await.expect(200);
    assert_eq!(bodies(got["messages"].as_array().unwrap()), ["1", "5"]);
    assert_eq!(world.get("/v1/topics/t/groups/g").await.expect(200)["lag"], 2, "what is leased");
    for other in [json!({"tag": "b"}), json!({"sql": "region = 'us'"}), json!({})] {
        world.post(path, other).await.problem(409, "differs");
    }
    assert!(world.post(path, filter).await.expect(200)["messages"].as_array().unwrap().is_empty());
    let all = world.post("/v1/topics/t/groups/h/receive", json!({"max": 10})).await.expect(200);
    assert_eq!(all["messages"].as_array().unwrap().len(), 5, "another group wants all");
    for wrong in [json!({"tag": "||"}), json!({"sql": "region ="}), json!({"sql": 5})] {
        world.post(path, wrong).await.problem(400, "invalid-request");
    }
    world.put("/v1/topics/jobs", json!({"queues": 1, "retention": "until_settled"})).await.expect(201);
    world
        .post("/v1/topics/jobs/groups/jobs/receive", json!({"tag": "a"}))
        .await
        .problem(400, "invalid-request");
}

#[tokio::test]
async fn what_is_received_and_settled_stays_away() {
    let world = world_with(&["a", "b", "c"]).await;
    let got = receive(&world, json!({"max": 2})).await;
    assert_eq!(bodies(&got), ["a", "b"]);
    assert!(got.iter().all(|delivery| delivery["attempt"] == 1));
    assert_eq!((&got[0]["message"]["topic"], &got[1]["message"]["offset"]), (&json!("t"), &json!(1)));
    let rest = receive(&world, json!({})).await;
    assert_eq!(bodies(&rest), ["c"], "what is leased is nobody else's");
    let all = [&got[..], &rest[..]].concat();
    assert_eq!(settle(&world, json!({"ack": receipts(&all)})).await, json!({"done": 3, "failed": []}));
    assert_eq!(receive(&world, json!({})).await.len(), 0);
    assert_eq!(world.get(GROUP).await.expect(200)["lag"], 0);
}

#[tokio::test]
async fn an_empty_body_means_the_defaults_and_makes_the_group() {
    let world = world_with(&["a"]).await;
    let path = "/v1/topics/t/groups/new/receive";
    let answer = world.send(request("POST", path).body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!(answer["messages"][0]["message"]["body"], "a");
    assert!(world.broker.directory().group("new").is_some());
}

#[tokio::test]
async fn what_is_requeued_counts_its_attempts_and_ends_in_the_dead_letter() {
    let world = world_with(&["poison"]).await;
    for attempt in 1..=3 {
        let got = receive(&world, json!({"wait_ms": 10_000})).await;
        assert_eq!((bodies(&got), &got[0]["attempt"]), (vec!["poison"], &json!(attempt)));
        settle(&world, json!({"requeue": receipts(&got)})).await;
    }
    assert_eq!(receive(&world, json!({})).await.len(), 0);
    let dead = world.get("/v1/topics/%25DLQ%25g/queues/0/messages?wait_ms=10000").await;
    // The dead letter's topic is made with its first message; until then it does not exist.
    let dead = if dead.status == 404 { wait_for_dead_letter(&world).await } else { dead.expect(200) };
    let dead = &dead["messages"][0];
    assert_eq!((&dead["body"], &dead["dead_letter_topic"]), (&json!("poison"), &json!("t")));
}

async fn wait_for_dead_letter(world: &World) -> Value {
    loop {
        let page = world.get("/v1/topics/%25DLQ%25g/queues/0/messages?wait_ms=10000").await;
        if page.status == 200 {
            return page.expect(200);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rejected_message_is_given_up_at_once_and_a_requeue_can_wait() {
    let world = world_with(&["bad", "later"]).await;
    let got = receive(&world, json!({})).await;
    let [bad, later] = receipts(&got)[..] else { panic!("{got:?}") };
    let asked = json!({"reject": [bad], "requeue": [later], "requeue_delay_ms": 60_000});
    assert_eq!(settle(&world, asked).await["done"], 2);
    assert_eq!(receive(&world, json!({})).await.len(), 0);
    assert_eq!(bodies_of(&wait_for_dead_letter(&world).await), ["bad"]);
    world.pass(Duration::from_secs(61));
    let again = receive(&world, json!({"wait_ms": 10_000})).await;
    assert_eq!((bodies(&again), &again[0]["attempt"]), (vec!["later"], &json!(2)));
}

fn bodies_of(page: &Value) -> Vec<&str> {
    page["messages"].as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_lease_ends_with_time_and_can_be_prolonged() {
    let world = world_with(&["a", "b"]).await;
    let got = receive(&world, json!({"lease_ms": 10_000})).await;
    let (a, b) = (receipts(&got)[0], receipts(&got)[1]);
    let extend = json!({"receipts": [a], "lease_ms": 100_000});
    let extended = world.post(&format!("{GROUP}/extend"), extend).await.expect(200);
    assert_eq!(extended, json!({"done": 1, "failed": []}));
    world.pass(Duration::from_secs(20));
    let again = receive(&world, json!({"wait_ms": 10_000})).await;
    assert_eq!((bodies(&again), &again[0]["attempt"]), (vec!["b"], &json!(2)));
    // The old receipt is worth nothing now: somebody else has the message.
    let stale = world.post(&format!("{GROUP}/settle"), json!({"ack": [a, b]})).await.expect(207);
    assert_eq!(stale["done"], 1);
    let failed = &stale["failed"][0];
    assert_eq!((&failed["index"], &failed["status"]), (&json!(1), &json!(410)));
    assert_eq!(failed["type"], "urn:mailrail:problem:receipt-ended");
    let extend = json!({"receipts": [b], "lease_ms": 1_000});
    assert_eq!(world.post(&format!("{GROUP}/extend"), extend).await.expect(207)["failed"][0]["status"], 410);
}

#[tokio::test]
async fn a_receipt_counts_only_where_it_was_handed_out() {
    let world = world_with(&["a"]).await;
    world.put("/v1/topics/other", json!({"queues": 1})).await.expect(201);
    world.put("/v1/topics/t/groups/h", json!({})).await.expect(201);
    let got = receive(&world, json!({})).await;
    let receipt = receipts(&got)[0];
    for path in ["/v1/topics/other/groups/g/settle", "/v1/topics/t/groups/h/settle"] {
        let answer = world.post(path, json!({"ack": [receipt]})).await.expect(207);
        assert_eq!(answer["failed"][0]["type"], "urn:mailrail:problem:invalid-receipt", "{path}");
    }
    let mangled = format!("{}A", &receipt[..receipt.len() - 1]);
    let asked = json!({"ack": ["", "nonsense"], "reject": [mangled], "requeue": [receipt]});
    let answer = world.post(&format!("{GROUP}/settle"), asked).await.expect(207);
    let failed: Vec<_> = answer["failed"].as_array().unwrap().iter().map(|f| f["index"].clone()).collect();
    assert_eq!((&answer["done"], failed), (&json!(1), vec![json!(0), json!(1), json!(2)]));
}

#[tokio::test]
async fn a_wait_ends_with_the_first_message_with_its_time_or_with_a_stop() {
    let world = world_with(&[]).await;
    let (got, _) = tokio::join!(receive(&world, json!({"wait_ms": 30_000})), world.publish("t", 0, &["new"]));
    assert_eq!(bodies(&got), ["new"]);
    assert_eq!(receive(&world, json!({"wait_ms": 1})).await.len(), 0);
    let stop = async { world.state.stop() };
    let (got, ()) = tokio::join!(receive(&world, json!({"wait_ms": 30_000})), stop);
    assert_eq!(got.len(), 0);
}

/// A request that waits for messages as long as one may, long enough to be counted among the uploads.
fn waiting_request() -> axum::http::Request<Body> {
    let asked =
        json!({"wait_ms": 60_000, "lease_ms": 3_600_000}).to_string() + &" ".repeat(UPLOAD_FREE_BYTES);
    let request = request("POST", &format!("{GROUP}/receive")).header("content-type", "application/json");
    request.body(Body::from(asked)).unwrap()
}

#[tokio::test]
async fn a_receive_keeps_no_upload_while_it_waits() {
    let world = World::with(|config| config.upload_bytes_max = 60);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let mut waiting = Box::pin(world.router.clone().oneshot(waiting_request()));
    // Polled until the broker has the question: the group is made by then.
    while world.broker.directory().group("g").is_none() {
        assert!((&mut waiting).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let whole = vec![b'x'; UPLOAD_FREE_BYTES + 60];
    world.send(request("POST", "/v1/topics/t/messages").body(whole.into()).unwrap()).await.expect(201);
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_takes_nothing_with_it() {
    let world = world_with(&[]).await;
    let mut waiting = Box::pin(world.router.clone().oneshot(waiting_request()));
    // It waits in the broker, and then its client is gone.
    assert!((&mut waiting).now_or_never().is_none());
    drop(waiting);
    world.publish("t", 0, &["a", "b"]).await;
    let got = receive(&world, json!({"wait_ms": 10_000})).await;
    assert_eq!((bodies(&got), &got[0]["attempt"]), (vec!["a", "b"], &json!(1)));
}

#[tokio::test]
async fn receives_whose_clients_have_gone_are_counted_until_the_broker_has_answered_them() {
    let world = World::with(|config| config.receives_max = 2);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.put(GROUP, json!({})).await.expect(201);
    for _ in 0..2 {
        let mut waiting = Box::pin(world.router.clone().oneshot(waiting_request()));
        assert!((&mut waiting).now_or_never().is_none());
    }
    world.post(&format!("{GROUP}/receive"), json!({})).await.problem(503, "overloaded");
    // The broker has the questions once it has answered a later one; then their time passes, and their places are free.
    world.get(GROUP).await.expect(200);
    world.pass(Duration::from_secs(61));
    while world.post(&format!("{GROUP}/receive"), json!({})).await.status == 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_gives_its_leases_back() {
    let world = world_with(&["a"]).await;
    let request = request("POST", &format!("{GROUP}/receive"));
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(world.get(GROUP).await.expect(200)["leased"], 1);
    drop(response);
    let got = receive(&world, json!({"wait_ms": 10_000})).await;
    assert_eq!((bodies(&got), &got[0]["attempt"]), (vec!["a"], &json!(1)));
}

#[tokio::test]
async fn what_does_not_fit_into_an_answer_is_given_back() {
    let long = "x".repeat(3 * 1024 * 1024);
    let world = world_with(&[&long, &long]).await;
    world.publish("t", 0, &[&long]).await;
    assert_eq!(receive(&world, json!({})).await.len(), 2);
    let rest = receive(&world, json!({"wait_ms": 10_000})).await;
    assert_eq!((rest.len(), &rest[0]["attempt"]), (1, &json!(1)));
}

#[tokio::test]
async fn members_that_read_by_offset_have_the_group_to_themselves() {
    let world = world_with(&["a"]).await;
    let _member = world.member().await;
    world.post(&format!("{GROUP}/receive"), json!({})).await.problem(409, "mode-conflict");
}

#[tokio::test]
async fn what_is_out_of_range_is_refused() {
    let world = world_with(&[]).await;
    let cases = [
        ("receive", json!({"max": 0}), "limit-exceeded"),
        ("receive", json!({"max": 1_001}), "limit-exceeded"),
        ("receive", json!({"wait_ms": 60_001}), "limit-exceeded"),
        ("receive", json!({"lease_ms": 0}), "limit-exceeded"),
        ("receive", json!({"lease_ms": 43_200_001}), "limit-exceeded"),
        ("receive", json!({"maxx": 1}), "invalid-request"),
        ("receive", json!({"max": -1}), "invalid-request"),
        ("settle", json!({}), "invalid-request"),
        ("settle", json!({"ack": "x"}), "invalid-request"),
        ("settle", json!({"ack": vec!["x"; 500], "reject": vec!["x"; 501]}), "limit-exceeded"),
        ("settle", json!({"ack": vec!["x"; 1_001]}), "invalid-request"),
        ("extend", json!({"receipts": [], "lease_ms": 1}), "invalid-request"),
        ("extend", json!({"receipts": ["x"]}), "invalid-request"),
        ("extend", json!({"receipts": ["x"], "lease_ms": 0}), "limit-exceeded"),
        ("extend", json!({"receipts": ["x"], "lease_ms": 43_200_001}), "limit-exceeded"),
    ];
    for (verb, asked, kind) in cases {
        world.post(&format!("{GROUP}/{verb}"), asked).await.problem(400, kind);
    }
    let long = format!("/v1/topics/t/groups/{}/receive", "x".repeat(256));
    world.post(&long, json!({})).await.problem(400, "invalid-name");
    world.post("/v1/topics/none/groups/g/receive", json!({})).await.problem(404, "topic-not-found");
    world
        .post("/v1/topics/t/groups/none/settle", json!({"ack": ["x"]}))
        .await
        .problem(404, "group-not-found");
}

#[tokio::test]
async fn higher_priorities_are_received_first_and_read_as_they_arrived() {
    let world = World::new();
    let made = world.put("/v1/topics/urgent", json!({"queues": 1, "priority_max": 9})).await.expect(201);
    assert_eq!(made["priority_max"], 9);
    let message = |body: &str, priority: u8| json!({"body": body, "priority": priority});
    let messages = [message("a", 0), message("b", 9), message("c", 4), message("d", 200)];
    world.post("/v1/topics/urgent/messages", json!({ "messages": messages })).await.expect(201);
    let bodies = |answer: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
        let messages = answer["messages"].as_array().unwrap().iter();
        messages.map(|one| of(one)["body"].as_str().unwrap().to_owned()).collect()
    };
    let got = world.post("/v1/topics/urgent/groups/g/receive", json!({"max": 9})).await.expect(200);
    assert_eq!(bodies(&got, |one| &one["message"]), ["b", "d", "c", "a"]);
    let read = world.get("/v1/topics/urgent/queues/0/messages?from=earliest").await.expect(200);
    assert_eq!(bodies(&read, |one| one), ["a", "b", "c", "d"]);
    world.put("/v1/topics/urgent", json!({"priority_max": 8})).await.problem(409, "differs");
    world.put("/v1/topics/other", json!({"priority_max": 256})).await.problem(400, "invalid-request");
}
