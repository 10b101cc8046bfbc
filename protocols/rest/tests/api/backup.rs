//! Backups: one at a time, and cut off, not ended, when the broker stops.

use axum::body::Body;
use futures_util::StreamExt;
use mailrail_broker::Unpacker;
use tower::ServiceExt;

use crate::world::{World, request};

async fn begun(world: &World) -> http_body_util::BodyDataStream<Body> {
    let asked = request("GET", "/v1/backup").body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(asked).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-tar");
    http_body_util::BodyDataStream::new(response.into_body())
}

#[tokio::test]
async fn an_archive_has_the_announced_length_and_is_whole() {
    let world = World::new();
    world.put("/v1/topics/t", serde_json::json!({"queues": 1})).await.expect(201);
    world.publish("t", 0, &["one", "two"]).await;
    let answer = world.get("/v1/backup").await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"application/x-tar".parse().unwrap())
    );
    let announced: usize = answer.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(announced, answer.body.len());
    let (mut unpacker, mut bytes) = (Unpacker::default(), &answer.body[..]);
    while unpacker.next(&mut bytes).unwrap().is_some() {}
    assert!(unpacker.finish().is_ok());
}

#[tokio::test]
async fn one_backup_is_made_at_a_time() {
    let world = World::new();
    let mut first = begun(&world).await;
    assert!(first.next().await.unwrap().is_ok());
    world.get("/v1/backup").await.problem(503, "overloaded");
    // Whoever goes away makes room.
    drop(first);
    assert_eq!(world.get("/v1/backup").await.status, 200);
}

#[tokio::test]
async fn a_stop_cuts_a_backup_off() {
    let world = World::new();
    let mut stream = begun(&world).await;
    assert!(stream.next().await.unwrap().is_ok());
    world.state.stop();
    assert!(stream.next().await.unwrap().is_err());
    assert!(stream.next().await.is_none());
}
