//! Counts of topics, groups and the broker, and the list of who is connected.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use mailrail_broker::Client;
use serde_json::{Value, json};

use crate::world::{World, request};

fn total(view: &Value, of: &str, what: &str) -> u64 {
    view[of][what]["total"].as_u64().unwrap_or_else(|| panic!("{of} {what}: {view}"))
}

#[tokio::test]
async fn a_topic_counts_what_it_received_and_gave_and_refused() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 2})).await.expect(201);
    world.publish("t", 0, &["a", "b"]).await;
    world.publish("t", 1, &["c"]).await;
    let wrong = json!({"messages": [{"body": "x", "queue": 7}]});
    world.post("/v1/topics/t/messages", wrong).await;
    world.get("/v1/topics/t/queues/0/messages?from=earliest").await.expect(200);
    world.post("/v1/topics/t/groups/g/receive", json!({"max": 10})).await.expect(200);
    let view = world.get("/v1/topics/t/statistics").await.expect(200);
    assert_eq!(view["topic"], "t");
    let counts = |view: &Value| ["received", "read", "leased"].map(|of| total(view, of, "messages"));
    assert_eq!((counts(&view), &view["refused"]["total"]), ([3, 2, 3], &json!(1)));
    assert_eq!(total(&view, "leased", "bytes"), total(&view, "received", "bytes"));
    let queues = view["queues"].as_array().unwrap();
    assert_eq!(queues.iter().map(counts).collect::<Vec<_>>(), [[2, 2, 2], [1, 0, 1]]);
    assert_eq!((&queues[0]["queue"], &queues[1]["queue"]), (&json!(0), &json!(1)));
    let broker = world.get("/v1/statistics").await.expect(200);
    assert_eq!((counts(&broker), &broker["refused"]["total"]), ([3, 2, 3], &json!(1)));
    assert!(broker["since"].as_str().unwrap().ends_with('Z'));
    world.get("/v1/topics/none/statistics").await.problem(404, "topic-not-found");
}

#[tokio::test]
async fn rates_follow_the_clock() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.pass(Duration::from_secs(7_200));
    world.publish("t", 0, &["m"; 60]).await;
    world.pass(Duration::from_secs(50));
    let rates = async || {
        let view = world.get("/v1/topics/t/statistics").await.expect(200);
        let rates = &view["received"]["messages"]["per_second"];
        ["minute", "ten_minutes", "hour"].map(|over| rates[over].as_f64().unwrap())
    };
    let [minute, ten_minutes, hour] = rates().await;
    assert!((0.85..=1.0).contains(&minute), "{minute}");
    assert!(
        (0.085..=0.1).contains(&ten_minutes) && (0.0142..=0.0167).contains(&hour),
        "{ten_minutes} {hour}"
    );
    world.pass(Duration::from_secs(100));
    let [minute, ten_minutes, _] = rates().await;
    assert!(minute == 0.0 && ten_minutes > 0.0, "{minute} {ten_minutes}");
}

#[tokio::test]
async fn a_group_counts_what_became_of_its_messages() {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.put("/v1/topics/t/groups/g", json!({"max_attempts": 2, "backoff_ms": []})).await.expect(201);
    world.publish("t", 0, &["a", "b", "c"]).await;
    let receive = async || {
        let answer = world.post("/v1/topics/t/groups/g/receive", json!({"max": 10})).await.expect(200);
        let deliveries = answer["messages"].as_array().unwrap();
        deliveries.iter().map(|delivery| delivery["receipt"].clone()).collect::<Vec<_>>()
    };
    let receipts = receive().await;
    let settle = json!({"ack": [receipts[0]], "requeue": [receipts[1]], "reject": [receipts[2]]});
    world.post("/v1/topics/t/groups/g/settle", settle).await.expect(200);
    assert_eq!(receive().await.len(), 1);
    let view = world.get("/v1/topics/t/groups/g/statistics").await.expect(200);
    let counts = ["handed_out", "redelivered", "settled", "retried", "given_up"];
    assert_eq!(counts.map(|name| view[name]["total"].as_u64().unwrap()), [4, 1, 1, 1, 1], "{view}");
    assert_eq!(view["group"], "g");
    assert!(view["lag"].as_u64().unwrap() >= 1);
    world.get("/v1/topics/t/groups/none/statistics").await.problem(404, "group-not-found");
}

/// A request over a connection.
async fn over(
    world: &World,
    client: &Arc<Client>,
    method: &str,
    path: &str,
    who: &str,
    body: &'static str,
) -> u16 {
    let mut request = request(method, path).extension(client.clone());
    if !who.is_empty() {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(who);
        request = request.header("authorization", format!("Basic {text}"));
    }
    if body.starts_with('{') {
        request = request.header("content-type", "application/json");
    }
    world.send(request.body(Body::from(body)).unwrap()).await.status
}

#[tokio::test]
async fn connections_are_listed_with_their_users_and_what_they_sent_and_got() {
    let world = World::new();
    let enter = |address: &str| world.broker.enter_client("http", address.parse().unwrap());
    let (first, second) = (enter("192.0.2.7:51234"), enter("[2001:db8::1]:9"));
    let ann = r#"{"password": "secret", "admin": true}"#;
    let bob = r#"{"password": "secret", "permissions": [{"effect": "allow", "actions": ["publish", "consume"], "resources": ["topic", "group"], "prefix": ""}]}"#;
    let admin = "ann:secret";
    assert_eq!(over(&world, first.client(), "PUT", "/v1/users/ann", "", ann).await, 201);
    assert_eq!(over(&world, first.client(), "PUT", "/v1/users/bob", admin, bob).await, 201);
    let made = over(&world, first.client(), "PUT", "/v1/topics/t", admin, r#"{"queues": 1}"#).await;
    assert_eq!(made, 201);
    for _ in 0..2 {
        assert_eq!(
            over(&world, second.client(), "POST", "/v1/topics/t/messages", "bob:secret", "hello").await,
            201
        );
    }
    let read = "/v1/topics/t/queues/0/messages?from=earliest";
    assert_eq!(over(&world, first.client(), "GET", read, admin, "").await, 200);
    let list = async |query: &str| {
        let request = request("GET", &format!("/v1/connections{query}"));
        let request = request.header("authorization", "Basic YW5uOnNlY3JldA==").body(Body::empty()).unwrap();
        world.send(request).await
    };
    let all = list("").await.expect(200);
    let shown = |connection: &Value| {
        let [received, sent] = ["received", "sent"].map(|way| total(connection, way, "messages"));
        let text = |name: &str| connection[name].as_str().unwrap_or_default().to_owned();
        (text("protocol"), text("address"), text("user"), received, sent)
    };
    let expected = [
        ("http".to_owned(), "192.0.2.7:51234".to_owned(), "ann".to_owned(), 0, 2),
        ("http".to_owned(), "[2001:db8::1]:9".to_owned(), "bob".to_owned(), 2, 0),
    ];
    assert_eq!(all["connections"].as_array().unwrap().iter().map(shown).collect::<Vec<_>>(), expected);
    let page = list("?max=1").await.expect(200);
    assert_eq!(
        (page["connections"].as_array().unwrap().len(), &page["next"]),
        (1, &json!(first.client().number))
    );
    let rest = list(&format!("?max=1&after={}", page["next"])).await.expect(200);
    assert_eq!((shown(&rest["connections"][0]).1, &rest["next"]), (expected[1].1.clone(), &Value::Null));
    assert_eq!(list("?max=1001").await.problem(400, "limit-exceeded")["status"], 400);
    // Who may use a topic may see its counts, and not those of others or of the broker.
    for (path, status) in [
        ("/v1/topics/t/statistics", 200),
        ("/v1/topics/t/groups/g/statistics", 404),
        ("/v1/connections", 403),
        ("/v1/statistics", 403),
    ] {
        assert_eq!(over(&world, second.client(), "GET", path, "bob:secret", "").await, status, "{path}");
    }
    drop((first, second));
    assert_eq!(list("").await.expect(200)["connections"], json!([]));
}
