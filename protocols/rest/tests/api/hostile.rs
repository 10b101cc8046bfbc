//! Bad input and pressure: the API's own error, nothing stored, and the next client is served.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http_body_util::BodyExt;
use mailrail_broker::{Command, Destination, Durability, PublishBatch, Token};
use mailrail_message::Draft;
use mailrail_rest::limits::UPLOAD_FREE_BYTES;
use proptest::prelude::*;
use serde_json::json;
use tower::ServiceExt;

use crate::world::{ADVERTISED, World, request};

const PATH: &str = "/v1/topics/t/messages";

/// A body that sends this and then nothing for ever.
fn unfinished(bytes: impl Into<Bytes>) -> Body {
    use futures_util::StreamExt as _;
    let start = stream::iter([Ok::<_, std::io::Error>(bytes.into())]);
    Body::from_stream(start.chain(stream::pending()))
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let world = World::with(|config| config.upload_ms_max = 20);
    let answer = world.send(request("POST", PATH).body(unfinished(&b"half"[..])).unwrap()).await;
    answer.problem(408, "request-timeout");
    world.publish("t", 0, &["next"]).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let world = World::new();
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("reset"))]);
    let answer = world.send(request("POST", PATH).body(Body::from_stream(broken)).unwrap()).await;
    answer.problem(400, "invalid-request");
}

#[tokio::test]
async fn bodies_share_the_memory_they_may_take() {
    let world = World::with(|config| config.upload_bytes_max = 100);
    let body = |counted: usize| vec![b'x'; UPLOAD_FREE_BYTES + counted];
    let mut holder = Box::pin(world.send(request("POST", PATH).body(unfinished(body(60))).unwrap()));
    assert!((&mut holder).now_or_never().is_none());
    let send = |counted: usize| world.send(request("POST", PATH).body(body(counted).into()).unwrap());
    assert_eq!(world.state.uploaded_bytes(), 60);
    send(60).await.problem(503, "overloaded");
    send(40).await.expect(201);
    drop(holder);
    let mut holder = Box::pin(world.send(request("POST", PATH).body(unfinished(body(100))).unwrap()));
    assert!((&mut holder).now_or_never().is_none());
    send(1).await.problem(503, "overloaded");
    send(0).await.expect(201);
    drop(holder);
    send(100).await.expect(201);
}

#[tokio::test]
async fn answers_share_the_memory_they_may_take_until_they_are_sent() {
    const LIMIT: usize = 10_000_000;
    let world = World::with(|config| config.answer_bytes_max = LIMIT);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let long = "x".repeat(1_000_000);
    let ids = world.publish("t", 0, &[long.as_str(); 10]).await;
    let page = || request("GET", "/v1/topics/t/queues/0/messages").body(Body::empty()).unwrap();
    let mut held = Vec::new();
    let mut refused = 0;
    // Many clients ask for a whole page, and none of them reads.
    for _ in 0..300 {
        let response = world.router.clone().oneshot(page()).await.unwrap();
        if response.status() == 200 { held.push(response) } else { refused += 1 }
    }
    let bytes: u64 = held.iter().map(|held| http_body::Body::size_hint(held.body()).lower()).sum();
    assert!((5_000_000..=LIMIT as u64).contains(&bytes) && refused > 0, "{bytes} bytes, {refused} refused");
    // Whoever asks for a message is told to come back, and what was leased for it goes back.
    let receive = || world.post("/v1/topics/t/groups/g/receive", json!({"lease_ms": 3_600_000}));
    world.get(&format!("/v1/messages/{}", ids[0])).await.problem(503, "overloaded");
    receive().await.problem(503, "overloaded");
    assert_eq!(world.get("/v1/topics/t/groups/g").await.expect(200)["leased"], 0);
    // A body that was taken and not sent yet counts as well.
    let bodies =
        held.drain(..).map(|held| held.into_body().collect().now_or_never().unwrap().unwrap().to_bytes());
    let bodies: Vec<Bytes> = bodies.collect();
    world.send(page()).await.problem(503, "overloaded");
    drop(bodies);
    assert_eq!(receive().await.expect(200)["messages"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_body_in_pieces_is_one_body() {
    let world = World::new();
    let pieces = ["", "he", "l", "", "lo"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    let body = Body::from_stream(stream::iter(pieces));
    let answer = world.send(request("POST", PATH).body(body).unwrap()).await.expect(201);
    let id = answer["messages"][0]["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/v1/messages/{id}")).await.expect(200)["body"], "hello");
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
    let world = World::new();
    let request =
        request("POST", PATH).header("content-length", "99999999999").body(unfinished(&b""[..])).unwrap();
    world.send(request).await.problem(413, "too-large");
}

#[tokio::test]
async fn limits_hold_while_json_is_read() {
    let world = World::new();
    let post = |body: String| {
        let request = request("POST", PATH).header("content-type", "application/json");
        world.send(request.body(body.into()).unwrap())
    };
    let objects = format!(r#"{{"messages":[{}{{}}]}}"#, "{},".repeat(4_000_000));
    let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    let keys = format!(r#"{{"messages":[{{"keys":[{}"k"]}}]}}"#, r#""k","#.repeat(100));
    let pairs: String = (0..1_000).map(|n| format!(r#""p{n}":"v","#)).collect();
    let pairs = format!(r#"{{"messages":[{{"properties":{{{pairs}"last":"v"}}}}]}}"#);
    for body in [objects, deep, keys, pairs] {
        post(body).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn publishes_are_held_back_while_too_much_waits() {
    let world = World::with(|config| config.answer_ms_max = 50);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let topic = world.broker.directory().topic("t").unwrap().id;
    world.clock.hold_the_shard();
    let body = vec![b'x'; 4 * 1024 * 1024];
    let mut session = world.broker.connect();
    for token in 0..17 {
        let mut batch = PublishBatch::default();
        let draft = Draft {
            topic: "t",
            flag: 0,
            sys_flags: 0,
            born_ms: 0,
            born_host: ADVERTISED.parse().unwrap(),
            store_host: ADVERTISED.parse().unwrap(),
            reconsume_times: 0,
            body: &body,
            properties: &[],
            more_properties: &[],
            annexes: &[],
        };
        batch.push(&draft, Destination::Topic { topic, queue_index: None }, 0, Durability::Memory).unwrap();
        session.submit(vec![Command::Publish { token: Token(token), batch }]);
    }
    let publish = || world.post(PATH, json!({"messages": [{"body": "small"}]}));
    publish().await.problem(429, "busy");
    world.clock.let_the_shard_go();
    let mut answered = 0;
    while answered < 17 {
        answered += session.next_events().await.len();
    }
    // The disk may still be slower than this world lets the broker be.
    let mut answer = publish().await;
    while answer.status == 504 {
        answer = publish().await;
    }
    answer.expect(201);
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_not_waited_for() {
    let world = World::with(|config| config.answer_ms_max = 50);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.clock.hold_the_shard();
    world.post(PATH, json!({"messages": [{"body": "late"}]})).await.problem(504, "no-answer");
    world.clock.let_the_shard_go();
    // It was carried out all the same, as the problem says it may be.
    let page = world.get("/v1/topics/t/queues/0/messages?wait_ms=10000").await.expect(200);
    assert_eq!(page["messages"][0]["body"], "late");
}

#[tokio::test]
async fn other_paths_and_methods_get_problems_too() {
    let world = World::new();
    for path in ["/", "/v1", "/v1/topic", "/v2/topics", "/v1/topics/t/queues"] {
        world.get(path).await.problem(404, "no-such-resource");
    }
    world.delete("/v1/topics").await.problem(405, "method-not-allowed");
    world.post("/v1/topics/t", json!({})).await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn health_document_and_docs_are_served() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await.expect(200), json!({"status": "ok"}));
    assert_eq!(world.get("/readyz").await.expect(200), json!({"status": "ready"}));
    let document = world.get("/openapi.json").await.expect(200);
    assert_eq!(document, serde_json::to_value(mailrail_rest::openapi()).unwrap());
    let docs = world.get("/docs/").await;
    assert_eq!(docs.status, 200);
    assert!(String::from_utf8_lossy(&docs.body).contains("swagger-ui"));
    let start = world.get("/docs/swagger-initializer.js").await;
    assert!(String::from_utf8_lossy(&start.body).contains("/openapi.json"), "{start:?}");
    world.state.stop();
    assert_eq!(world.get("/healthz").await.expect(200), json!({"status": "ok"}));
    world.get("/readyz").await.problem(503, "stopping");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes are: a 4xx, or a message.
    #[test]
    fn any_bytes_get_an_answer(
        path in "/v1/(topics|messages)/[a-z%/?=:0-9.]{0,30}",
        method in "(GET|PUT|POST|DELETE)",
        kind in "(application/json|text/plain|x)",
        body in prop_oneof![
            "\\PC*".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\{\"(messages|ack|receipts|to|max|queues)\":[\\[{\"a-z0-9,:\\]}]{0,40}\\}".prop_map(String::into_bytes),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            thread_local!(static WORLD: World = World::new());
            let router = WORLD.with(|world| world.router.clone());
            let Ok(request) = request(&method, &path).header("content-type", kind).body(Body::from(body)) else {
                return;
            };
            let answer = tower::ServiceExt::oneshot(router, request);
            let answer = tokio::time::timeout(Duration::from_secs(30), answer).await.expect("no answer").unwrap();
            assert!(answer.status().as_u16() < 500, "{answer:?}");
        });
    }
}
