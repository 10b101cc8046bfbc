//! Every limit of a request from both sides: what has just its size is done; one more gets a problem that names the
//! limit, stores or settles nothing, and costs the next request nothing.

use axum::body::Body;
use mailrail_broker::limits::{DELAY_MS_MAX, LEASE_MS_MAX, RECEIVE_WAIT_MS_MAX, TOPIC_QUEUES_MAX};
use mailrail_message::{BODY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use mailrail_rest::limits::*;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const MESSAGES: &str = "/v1/topics/t/messages";
const GROUP: &str = "/v1/topics/t/groups/g";

async fn world() -> World {
    let world = World::new();
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.put(GROUP, json!({})).await.expect(201);
    world
}

async fn stored(world: &World) -> u64 {
    world.get("/v1/topics/t").await.expect(200)["messages"].as_u64().unwrap()
}

/// A problem whose detail names this limit.
#[track_caller]
fn refused(answer: Answer, status: u16, kind: &str, limit: impl ToString) {
    let problem = answer.problem(status, kind);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&limit.to_string()), "{detail}");
}

#[tokio::test]
async fn a_publish_has_at_most_so_many_messages_keys_and_properties() {
    let world = world().await;
    let messages = |count: usize| json!({"messages": vec![json!({"body": "x"}); count]});
    let keys = |count: usize| json!({"messages": [{"keys": vec!["k"; count]}]});
    let properties = |count: usize| {
        let pairs = (0..count).map(|number| (number.to_string(), json!("v"))).collect();
        json!({"messages": [{"properties": Value::Object(pairs)}]})
    };
    type Document<'a> = &'a dyn Fn(usize) -> Value;
    let cases: [(Document<'_>, usize); 3] =
        [(&messages, PUBLISH_MESSAGES_MAX), (&keys, KEYS_MAX), (&properties, PROPERTIES_MAX)];
    for (document, max) in cases {
        let before = stored(&world).await;
        refused(world.post(MESSAGES, document(max + 1)).await, 400, "invalid-request", max);
        assert_eq!(stored(&world).await, before);
        world.post(MESSAGES, document(max)).await.expect(201);
    }
    assert_eq!(stored(&world).await, u64::try_from(PUBLISH_MESSAGES_MAX + 2).unwrap());
}

#[tokio::test]
async fn a_message_has_at_most_its_bytes() {
    let world = world().await;
    let raw = |bytes: usize| request("POST", MESSAGES).body(vec![b'x'; bytes].into()).unwrap();
    refused(world.send(raw(BODY_BYTES_MAX + 1)).await, 413, "too-large", BODY_BYTES_MAX);
    world.send(raw(BODY_BYTES_MAX)).await.expect(201);
    // What the property string holds besides the value.
    let own = |bytes: usize| json!({"messages": [{"properties": {"p": "x".repeat(bytes)}}]});
    let (mut fits, mut over) = (PROPERTIES_BYTES_MAX / 2, PROPERTIES_BYTES_MAX + 1);
    while over - fits > 1 {
        let bytes = fits + (over - fits) / 2;
        let answer = world.post(MESSAGES, own(bytes)).await;
        if answer.status == 201 {
            fits = bytes;
        } else {
            refused(answer, 413, "too-large", PROPERTIES_BYTES_MAX);
            over = bytes;
        }
    }
    assert!(fits > PROPERTIES_BYTES_MAX - 200, "{fits} bytes fit");
}

#[tokio::test]
async fn a_request_has_at_most_its_bytes() {
    let world = world().await;
    let send = |bytes: usize| {
        let document = r#"{"messages": [{"body": "padded"}]}"#;
        let body = format!("{document}{}", " ".repeat(bytes - document.len()));
        let request = request("POST", MESSAGES).header("content-type", "application/json");
        world.send(request.body(Body::from(body)).unwrap())
    };
    refused(send(REQUEST_BYTES_MAX + 1).await, 413, "too-large", REQUEST_BYTES_MAX);
    assert_eq!(stored(&world).await, 0);
    send(REQUEST_BYTES_MAX).await.expect(201);
}

#[tokio::test]
async fn a_message_waits_at_most_so_long() {
    let world = world().await;
    let delayed = |delay_ms: u64| json!({"messages": [{"body": "x", "delay_ms": delay_ms}]});
    refused(world.post(MESSAGES, delayed(DELAY_MS_MAX + 1)).await, 400, "limit-exceeded", DELAY_MS_MAX);
    world.post(MESSAGES, delayed(DELAY_MS_MAX)).await.expect(201);
}

#[tokio::test]
async fn a_group_backs_off_in_at_most_so_many_steps_and_so_long() {
    let world = world().await;
    let backoff = |steps: usize, ms: u64| json!({"backoff_ms": vec![ms; steps]});
    let before = world.get(GROUP).await.expect(200);
    refused(
        world.put(GROUP, backoff(BACKOFF_STEPS_MAX + 1, 1)).await,
        400,
        "invalid-request",
        BACKOFF_STEPS_MAX,
    );
    refused(world.put(GROUP, backoff(1, DELAY_MS_MAX + 1)).await, 400, "limit-exceeded", DELAY_MS_MAX);
    assert_eq!(world.get(GROUP).await.expect(200), before);
    world.put(GROUP, backoff(BACKOFF_STEPS_MAX, DELAY_MS_MAX)).await.expect(200);
}

#[tokio::test]
async fn a_topic_has_at_most_so_many_queues() {
    let world = world().await;
    let queues = |queues: u32| json!({ "queues": queues });
    let over = world.put("/v1/topics/wide", queues(TOPIC_QUEUES_MAX + 1)).await;
    refused(over, 400, "limit-exceeded", TOPIC_QUEUES_MAX);
    world.get("/v1/topics/wide").await.problem(404, "topic-not-found");
    world.put("/v1/topics/wide", queues(TOPIC_QUEUES_MAX)).await.expect(201);
}

#[tokio::test]
async fn a_receive_is_bounded_in_messages_wait_and_lease() {
    let world = world().await;
    let path = format!("{GROUP}/receive");
    world.post(MESSAGES, json!({"messages": [{"body": "x"}]})).await.expect(201);
    let max = u64::from(PAGE_MESSAGES_MAX);
    for (field, max) in [("max", max), ("wait_ms", RECEIVE_WAIT_MS_MAX), ("lease_ms", LEASE_MS_MAX)] {
        refused(world.post(&path, json!({ field: max + 1 })).await, 400, "limit-exceeded", max);
    }
    let all = json!({"max": max, "wait_ms": RECEIVE_WAIT_MS_MAX, "lease_ms": LEASE_MS_MAX});
    let got = world.post(&path, all).await.expect(200);
    assert_eq!(got["messages"][0]["attempt"], 1, "the refused ones leased nothing");
}

#[tokio::test]
async fn a_read_is_bounded_in_messages_and_wait() {
    let world = world().await;
    let read = |query: String| format!("/v1/topics/t/queues/0/messages?from=earliest&{query}");
    world.post(MESSAGES, json!({"messages": [{"body": "x"}]})).await.expect(201);
    let max = u64::from(PAGE_MESSAGES_MAX);
    for (field, max) in [("max", max), ("wait_ms", RECEIVE_WAIT_MS_MAX)] {
        refused(world.get(&read(format!("{field}={}", max + 1))).await, 400, "limit-exceeded", max);
        let page = world.get(&read(format!("{field}={max}"))).await.expect(200);
        assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_list_shows_at_most_so_many_items() {
    let world = world().await;
    let over = world.get(&format!("/v1/topics?max={}", LIST_ITEMS_MAX + 1)).await;
    refused(over, 400, "limit-exceeded", LIST_ITEMS_MAX);
    world.get(&format!("/v1/topics?max={LIST_ITEMS_MAX}")).await.expect(200);
}

#[tokio::test]
async fn a_settlement_has_at_most_so_many_receipts() {
    let world = world().await;
    world.post(MESSAGES, json!({"messages": [{"body": "x"}]})).await.expect(201);
    let got = world.post(&format!("{GROUP}/receive"), json!({})).await.expect(200);
    let receipt = got["messages"][0]["receipt"].as_str().unwrap();
    let ack = |count: usize| vec![receipt; count];
    let settle = format!("{GROUP}/settle");
    refused(
        world.post(&settle, json!({"ack": ack(RECEIPTS_MAX + 1)})).await,
        400,
        "invalid-request",
        RECEIPTS_MAX,
    );
    // All lists of a request count together.
    let over = json!({"ack": ack(RECEIPTS_MAX), "requeue": ack(1)});
    refused(world.post(&settle, over).await, 400, "limit-exceeded", RECEIPTS_MAX);
    let extend = format!("{GROUP}/extend");
    let over = json!({"receipts": ack(RECEIPTS_MAX + 1), "lease_ms": 1});
    refused(world.post(&extend, over).await, 400, "invalid-request", RECEIPTS_MAX);
    assert_eq!(world.get(GROUP).await.expect(200)["leased"], 1, "nothing was settled");
    world.post(&settle, json!({"ack": ack(RECEIPTS_MAX)})).await.expect(200);
    assert_eq!(world.get(GROUP).await.expect(200)["leased"], 0);
}

/// That each of them holds from both sides is tested with smaller ones, which a test can reach.
#[test]
fn what_is_configured_is_the_named_limit_unless_somebody_says_otherwise() {
    let config = mailrail_rest::RestConfig::new(crate::world::ADVERTISED.parse().unwrap());
    assert_eq!((config.answer_ms_max, config.upload_ms_max), (ANSWER_MS_MAX, UPLOAD_MS_MAX));
    assert_eq!((config.upload_bytes_max, config.answer_bytes_max), (UPLOAD_BYTES_MAX, ANSWER_BYTES_MAX));
    assert_eq!((config.reads_max, config.receives_max), (READS_MAX, RECEIVES_MAX));
    assert_eq!(config.event_streams_max, EVENT_STREAMS_MAX);
    assert_eq!(config.event_silence_ms_max, EVENT_SILENCE_MS_MAX);
}

#[tokio::test]
async fn the_next_backup_is_refused_until_one_has_ended() {
    use tower::ServiceExt;
    let world = world().await;
    let begin = || {
        let asked = request("GET", "/v1/backup").body(Body::empty()).unwrap();
        world.router.clone().oneshot(asked)
    };
    let mut held = Vec::new();
    for _ in 0..BACKUPS_MAX {
        let response = begin().await.unwrap();
        assert_eq!(response.status(), 200);
        held.push(response);
    }
    assert_eq!(begin().await.unwrap().status(), 503);
    held.pop();
    assert_eq!(begin().await.unwrap().status(), 200);
}
