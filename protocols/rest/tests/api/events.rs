//! Event streams: order, resuming, filters, silence, ends.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use mailrail_rest::limits::EVENT_CURSOR_QUEUES_MAX;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{World, request};

const EVENTS: &str = "/v1/topics/t/events";

#[derive(Debug, Default, PartialEq)]
struct Block {
    id: Option<String>,
    event: Option<String>,
    data: Option<Value>,
    comment: bool,
}

/// Reads a stream as an EventSource does.
struct Stream {
    body: BodyDataStream,
    text: String,
    last_id: String,
}

impl Stream {
    async fn open(world: &World, query: &str, last_id: Option<&str>) -> Stream {
        let mut request = request("GET", &format!("{EVENTS}{query}"));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body().into_data_stream(), text: String::new(), last_id: String::new() }
    }

    /// The next block; `None` at the end of the stream.
    async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(self.parse(&block));
            }
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    fn parse(&mut self, text: &str) -> Block {
        let mut block = Block::default();
        for line in text.lines() {
            match line.split_once(':').unwrap() {
                ("id", id) => block.id = Some(id.trim().to_owned()),
                ("event", event) => block.event = Some(event.trim().to_owned()),
                ("data", data) => block.data = Some(serde_json::from_str(data).unwrap()),
                ("", _) => block.comment = true,
                ("retry", _) => {}
                other => panic!("{other:?}"),
            }
        }
        if let Some(id) = &block.id {
            self.last_id.clone_from(id);
        }
        block
    }

    /// Bodies of the next messages.
    async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let block = self.block().await.expect("the stream ended");
            assert_eq!(block.event, None, "{block:?}");
            bodies.extend(block.data.map(|data| data["body"].as_str().unwrap().to_owned()));
        }
        bodies
    }
}

async fn world(queues: u32) -> World {
    let world = World::with(|config| config.event_silence_ms_max = 50);
    world.put("/v1/topics/t", json!({ "queues": queues })).await.expect(201);
    world
}

#[tokio::test]
async fn a_stream_brings_what_is_there_and_what_comes() {
    let world = world(1).await;
    world.publish("t", 0, &["a", "b"]).await;
    let mut stream = Stream::open(&world, "?from=earliest", None).await;
    assert_eq!(stream.bodies(2).await, ["a", "b"]);
    world.publish("t", 0, &["c"]).await;
    assert_eq!(stream.bodies(1).await, ["c"]);
    let mut latest = Stream::open(&world, "", None).await;
    world.publish("t", 0, &["d"]).await;
    assert_eq!(latest.bodies(1).await, ["d"]);
    let mut third = Stream::open(&world, "?from=offset:2", None).await;
    assert_eq!(third.bodies(2).await, ["c", "d"]);
    let mut timed = Stream::open(&world, "?from=time:1970-01-01T00:00:00Z", None).await;
    assert_eq!(timed.bodies(4).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left_in_every_queue() {
    for queues in [3, 17] {
        let world = world(queues).await;
        for n in 0..20 {
            world.publish("t", n % queues, &[&n.to_string()]).await;
        }
        let mut seen = Vec::new();
        let mut last_id: Option<String> = None;
        // Many queues share one cursor per turn, so a stream cut inside a turn may repeat some; few queues repeat none.
        while seen.len() < 20 {
            let mut stream = Stream::open(&world, "?from=earliest", last_id.as_deref()).await;
            stream.bodies(1).await;
            let mut stream = Stream::open(&world, "?from=earliest", last_id.as_deref()).await;
            let take = if queues == 3 { 3.min(20 - seen.len()) } else { 20 };
            seen.extend(stream.bodies(take).await);
            last_id = Some(stream.last_id);
        }
        let mut numbers: Vec<u32> = seen.iter().map(|body| body.parse().unwrap()).collect();
        for queue in 0..queues {
            let of_queue: Vec<_> = numbers.iter().copied().filter(|n| n % queues == queue).collect();
            assert!(of_queue.is_sorted(), "queue {queue}: {of_queue:?}");
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_client_that_saw_no_event_yet_does_not_miss_what_came_meanwhile() {
    let world = world(2).await;
    let mut stream = Stream::open(&world, "", None).await;
    let first = stream.block().await.unwrap();
    assert!(first.id.is_some() && first.data.is_none(), "{first:?}");
    drop(stream);
    world.publish("t", 1, &["meanwhile"]).await;
    let mut stream = Stream::open(&world, "", first.id.as_deref()).await;
    assert_eq!(stream.bodies(1).await, ["meanwhile"]);
}

#[tokio::test]
async fn an_id_of_an_earlier_topic_starts_at_the_beginning() {
    let world = world(1).await;
    world.publish("t", 0, &["old", "older"]).await;
    let mut stream = Stream::open(&world, "?from=earliest", None).await;
    stream.bodies(2).await;
    world.delete("/v1/topics/t").await.expect(200);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    world.publish("t", 0, &["new"]).await;
    let mut again = Stream::open(&world, "", Some(&stream.last_id)).await;
    assert_eq!(again.bodies(1).await, ["new"]);
}

#[tokio::test]
async fn an_id_beyond_the_end_of_a_queue_starts_it_at_the_beginning() {
    let world = world(2).await;
    world.publish("t", 0, &["a", "b"]).await;
    world.publish("t", 1, &["c"]).await;
    let topic = world.broker.directory().topic("t").unwrap().id.0;
    let cases = [("1.2", vec!["b", "c"]), ("2.7fffffffffffffff", vec!["c"]), ("3.1", vec!["a", "b"])];
    for (offsets, expected) in cases {
        let mut stream = Stream::open(&world, "", Some(&format!("{topic:x}-{offsets}"))).await;
        assert_eq!(stream.bodies(expected.len()).await, expected, "{offsets}");
    }
    // The end itself is where a client that saw everything stands.
    let mut stream = Stream::open(&world, "", Some(&format!("{topic:x}-2.1"))).await;
    world.publish("t", 1, &["d"]).await;
    assert_eq!(stream.bodies(1).await, ["d"]);
}

#[tokio::test]
async fn a_filter_lets_its_tags_through_and_still_moves_on() {
    let world = world(1).await;
    let messages = json!({"messages": [
        {"body": "1", "tag": "Aa"}, {"body": "2", "tag": "BB"}, {"body": "3"}, {"body": "4", "tag": "Aa"}, {"body": "5"},
    ]});
    world.post("/v1/topics/t/messages", messages).await.expect(201);
    let mut stream = Stream::open(&world, "?from=earliest&tag=Aa", None).await;
    assert_eq!(stream.bodies(2).await, ["1", "4"]);
    world.publish("t", 0, &["6"]).await;
    // What was filtered out shows in the id that breaks the silence, so a client that comes back does not scan again.
    let topic = world.broker.directory().topic("t").unwrap().id.0;
    while stream.last_id != format!("{topic:x}-6") {
        let block = stream.block().await.unwrap();
        assert_eq!(block.data, None);
    }
}

/// In a topic with few queues each event says where a client may go on; with more, each turn's last one does.
#[tokio::test]
async fn events_carry_their_place_up_to_so_many_queues() {
    for (queues, with_place) in [(EVENT_CURSOR_QUEUES_MAX, 3), (EVENT_CURSOR_QUEUES_MAX + 1, 0)] {
        let world = world(u32::try_from(queues).unwrap()).await;
        world.publish("t", 0, &["a", "b", "c"]).await;
        let mut stream = Stream::open(&world, "?from=earliest", None).await;
        let mut blocks = Vec::new();
        while blocks.len() < 3 {
            let block = stream.block().await.unwrap();
            blocks.extend(Some(block).filter(|block| block.data.is_some()));
        }
        assert_eq!(blocks.iter().filter(|block| block.id.is_some()).count(), with_place, "{queues} queues");
        while stream.last_id.is_empty() {
            stream.block().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_expression_lets_through_what_it_is_true_of() {
    let world = world(1).await;
    let mut stream = Stream::open(&world, "?sql=n%3E1%20AND%20TAGS%3D'a'", None).await;
    let with = |tag: &str, n: &str| json!({"body": format!("{tag}{n}"), "tag": tag, "properties": {"n": n}});
    let messages = json!({"messages": [with("a", "1"), with("b", "2"), with("a", "3"), with("a", "4")]});
    world.post("/v1/topics/t/messages", messages).await.expect(201);
    assert_eq!(stream.bodies(2).await, ["a3", "a4"]);
    world.get("/v1/topics/t/events?sql=5").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let world = world(1).await;
    let mut stream = Stream::open(&world, "", None).await;
    assert!(stream.block().await.unwrap().id.is_some());
    assert!(stream.block().await.unwrap().comment);
    assert!(stream.block().await.unwrap().comment);
}

#[tokio::test]
async fn long_messages_and_long_backlogs_come_whole() {
    let world = world(2).await;
    let long = "x".repeat(200_000);
    let bodies: Vec<String> = (0..300).map(|n| format!("{n} {}", &long[..n * 10])).collect();
    let borrowed: Vec<&str> = bodies.iter().map(String::as_str).chain([long.as_str()]).collect();
    world.publish("t", 0, &borrowed).await;
    world.publish("t", 1, &borrowed).await;
    let mut stream = Stream::open(&world, "?from=earliest", None).await;
    let mut seen = stream.bodies(602).await;
    let mut expected: Vec<_> = borrowed.iter().chain(&borrowed).map(|body| body.to_string()).collect();
    seen.sort();
    expected.sort();
    assert!(seen == expected);
}

#[tokio::test]
async fn a_stream_ends_with_its_topic_and_with_the_broker() {
    let world = world(1).await;
    let mut stream = Stream::open(&world, "", None).await;
    stream.block().await;
    world.delete("/v1/topics/t").await.expect(200);
    let end = loop {
        let block = stream.block().await.unwrap();
        if block.event.is_some() {
            break block;
        }
    };
    assert_eq!(end.event.as_deref(), Some("end"));
    assert_eq!(end.data.unwrap()["type"], "urn:mailrail:problem:topic-not-found");
    assert_eq!(stream.block().await, None);
    world.put("/v1/topics/t", json!({})).await.expect(201);
    let mut stream = Stream::open(&world, "", None).await;
    stream.block().await;
    world.state.stop();
    while let Some(block) = stream.block().await {
        assert!(block.comment, "{block:?}");
    }
}

#[tokio::test]
async fn a_long_message_that_finds_no_room_is_left_for_the_next_stream() {
    let world = World::with(|config| config.answer_bytes_max = 300_000);
    world.put("/v1/topics/t", json!({"queues": 1})).await.expect(201);
    let long = "x".repeat(200_000);
    world.publish("t", 0, &["short", &long]).await;
    let path = "/v1/topics/t/queues/0/messages?from=offset:1";
    let held = world.router.clone().oneshot(request("GET", path).body(Body::empty()).unwrap()).await.unwrap();
    let mut stream = Stream::open(&world, "?from=earliest", None).await;
    assert_eq!(stream.bodies(1).await, ["short"]);
    let end = stream.block().await.unwrap();
    assert_eq!(end.data.unwrap()["type"], "urn:mailrail:problem:overloaded");
    assert_eq!(stream.block().await, None);
    drop(held);
    let mut stream = Stream::open(&world, "", Some(&stream.last_id)).await;
    assert!(stream.bodies(1).await == [long]);
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused() {
    let world = World::with(|config| config.event_streams_max = 1);
    world.put("/v1/topics/t", json!({"queues": 2})).await.expect(201);
    world.get("/v1/topics/none/events").await.problem(404, "topic-not-found");
    for query in ["from=now", "from=offset:1", "nonsense=1"] {
        world.get(&format!("{EVENTS}?{query}")).await.problem(400, "invalid-request");
    }
    for id in ["", "x", "1", "1-", "1-x", "-1", "1-1-1"] {
        let request = request("GET", EVENTS).header("Last-Event-ID", id).body(Body::empty()).unwrap();
        world.send(request).await.problem(400, "invalid-request");
    }
    let stream = Stream::open(&world, "", None).await;
    world.get(EVENTS).await.problem(503, "overloaded");
    drop(stream);
    Stream::open(&world, "", None).await;
}
