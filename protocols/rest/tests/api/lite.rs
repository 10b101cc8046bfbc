//! Light queues: named by messages, made, listed, read and consumed as the topics they are.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_message_goes_to_its_topic_and_to_the_light_queues_that_it_names() {
    let world = World::new();
    let made = world.put("/v1/topics/home", json!({"queues": 1, "lite": true})).await.expect(201);
    assert_eq!(made["lite_expires_ms"], 72 * 60 * 60 * 1_000);
    let messages = json!({"messages": [
        {"body": "both", "lite": ["lamp", "door"]}, {"body": "lamp", "lite": ["lamp"]}, {"body": "none"},
    ]});
    world.post("/v1/topics/home/messages", messages).await.expect(201);
    world.post("/v1/topics/home/messages?lite=door,window", json!("raw")).await.expect(400);
    let raw = crate::world::request("POST", "/v1/topics/home/messages?lite=door,window");
    world.send(raw.body("raw".into()).unwrap()).await.expect(201);
    let read = async |topic: &str| {
        let path = format!("/v1/topics/{topic}/queues/0/messages?from=earliest");
        let page = world.get(&path).await.expect(200);
        let of = |message: &serde_json::Value| (message["body"].clone(), message["lite"].clone());
        page["messages"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(read("home").await.len(), 4);
    let (both, raw) = ((json!("both"), json!(["lamp", "door"])), (json!("raw"), json!(["door", "window"])));
    assert_eq!(read("%25LMQ%25lamp").await, [both.clone(), (json!("lamp"), json!(["lamp"]))]);
    assert_eq!(read("%25LMQ%25door").await, [both, raw]);
    let received =
        world.post("/v1/topics/%25LMQ%25door/groups/g/receive", json!({"max": 9})).await.expect(200);
    assert_eq!(received["messages"].as_array().unwrap().len(), 2);
    let view = world.get("/v1/topics/%25LMQ%25door").await.expect(200);
    assert_eq!(
        (&view["lite_of"], &view["queues"], &view["messages"]),
        (&json!("home"), &json!(1), &json!(2))
    );
}

#[tokio::test]
async fn light_queues_are_made_listed_in_pages_and_go_with_their_topic() {
    let world = World::new();
    world.put("/v1/topics/home", json!({"lite": true, "lite_expires_ms": 60_000})).await.expect(201);
    for name in ["c", "a", "b"] {
        let made = world.put(&format!("/v1/topics/home/lite/{name}"), json!({})).await.expect(201);
        assert_eq!((&made["lite_of"], &made["expires_ms"]), (&json!("home"), &json!(60_000)));
    }
    world.put("/v1/topics/home/lite/a", json!({})).await.expect(200);
    world.post("/v1/topics/home/messages", json!({"messages": [{"lite": ["b"]}]})).await.expect(201);
    let names = |page: &serde_json::Value| -> Vec<String> {
        let all = page["lite"].as_array().unwrap().iter();
        all.map(|lite| format!("{} {}", lite["name"].as_str().unwrap(), lite["messages"])).collect()
    };
    let page = world.get("/v1/topics/home/lite?max=2").await.expect(200);
    assert_eq!((names(&page), &page["next"]), (vec!["a 0".to_owned(), "b 1".to_owned()], &json!("b")));
    let page = world.get("/v1/topics/home/lite?after=b").await.expect(200);
    assert_eq!((names(&page), page.get("next")), (vec!["c 0".to_owned()], None));
    let topics = world.get("/v1/topics").await.expect(200);
    assert_eq!(topics["topics"].as_array().unwrap().len(), 1, "{topics}");
    world.delete("/v1/topics/home").await.expect(200);
    world.get("/v1/topics/%25LMQ%25a").await.problem(404, "topic-not-found");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = World::new();
    world.put("/v1/topics/plain", json!({})).await.expect(201);
    world.put("/v1/topics/home", json!({"lite": true})).await.expect(201);
    let publish = async |topic: &str, lite: serde_json::Value| {
        let path = format!("/v1/topics/{topic}/messages");
        world.post(&path, json!({"messages": [{"lite": lite}]})).await
    };
    publish("plain", json!(["a"])).await.problem(400, "invalid-request");
    publish("home", json!(["a,b"])).await.problem(400, "invalid-name");
    publish("home", json!([""])).await.problem(400, "invalid-name");
    publish("home", json!(["x".repeat(251)])).await.problem(400, "invalid-name");
    publish("home", json!(["x".repeat(250)])).await.expect(201);
    let many = |count: usize| (0..count).map(|_| json!("a")).collect::<serde_json::Value>();
    publish("home", many(1_024)).await.expect(201);
    publish("home", many(1_025)).await.expect(400);
    world.put("/v1/topics/plain/lite/a", json!({})).await.problem(400, "invalid-request");
    world.put("/v1/topics/%25LMQ%25x", json!({})).await.problem(400, "invalid-name");
    world.put("/v1/topics/t", json!({"lite_expires_ms": 7})).await.problem(400, "invalid-request");
    world.put("/v1/exchanges/x", json!({})).await.expect(201);
    let routed = json!({"messages": [{"lite": ["a"]}]});
    world.post("/v1/exchanges/x/messages", routed).await.problem(400, "invalid-request");
}
