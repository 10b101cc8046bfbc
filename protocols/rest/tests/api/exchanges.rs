//! Exchanges and bindings: made, shown, compared, removed; and where messages go through them.

use serde_json::{Value, json};

use crate::world::World;

async fn count(world: &World, topic: &str) -> u64 {
    world.get(&format!("/v1/topics/{topic}")).await.expect(200)["messages"].as_u64().unwrap()
}

#[tokio::test]
async fn an_exchange_is_made_once_and_compared_afterwards() {
    let world = World::new();
    let asked = json!({"kind": "topic", "alternate": "rest", "internal": true, "auto_delete": true});
    let made = world.put("/v1/exchanges/x", asked.clone()).await.expect(201);
    let expected = json!({
        "exchange": "x", "kind": "topic", "durable": true, "auto_delete": true, "internal": true,
        "alternate": "rest",
    });
    assert_eq!(made, expected);
    for same in [asked, json!({}), json!({"kind": "topic"})] {
        assert_eq!(world.put("/v1/exchanges/x", same).await.expect(200), expected);
    }
    assert_eq!(world.get("/v1/exchanges/x").await.expect(200), expected);
    for other in [json!({"kind": "headers"}), json!({"alternate": "other"}), json!({"lifetime": "transient"})]
    {
        world.put("/v1/exchanges/x", other).await.problem(409, "differs");
    }
    let long = "x".repeat(256);
    world.put(&format!("/v1/exchanges/{}", &long[1..]), json!({})).await.expect(201);
    world.put(&format!("/v1/exchanges/{long}"), json!({})).await.problem(400, "invalid-name");
    world.put("/v1/exchanges/y", json!({"alternate": long})).await.problem(400, "invalid-name");
    world.put("/v1/exchanges/y", json!({"kind": "odd"})).await.problem(400, "invalid-request");
    world.get("/v1/exchanges/y").await.problem(404, "exchange-not-found");
    let page = world.get("/v1/exchanges?max=1").await.expect(200);
    assert_eq!((&page["exchanges"][0]["exchange"], &page["next"]), (&json!("x"), &json!("x")));
    world.delete("/v1/exchanges/x").await.expect(204);
    world.delete("/v1/exchanges/x").await.problem(404, "exchange-not-found");
}

#[tokio::test]
async fn bindings_are_listed_and_removed_whatever_their_headers() {
    let world = World::new();
    for topic in ["a", "b"] {
        world.put(&format!("/v1/topics/{topic}"), json!({"queues": 1})).await.expect(201);
    }
    world.put("/v1/exchanges/x", json!({"kind": "headers"})).await.expect(201);
    world.put("/v1/exchanges/y", json!({"kind": "fanout"})).await.expect(201);
    let path = "/v1/exchanges/x/bindings";
    let with_headers = json!({
        "topic": "a", "key": "k", "match": "any_with_x",
        "headers": {"region": "eu", "size": 5, "ratio": 1.5, "x-own": true, "there": null},
    });
    let mut all = vec![
        with_headers,
        json!({"topic": "a", "key": "k"}),
        json!({"topic": "a", "key": "other"}),
        json!({"topic": "b", "key": "k"}),
        json!({"exchange": "y", "key": ""}),
    ];
    for _ in 0..2 {
        for binding in &all {
            world.post(path, binding.clone()).await.expect(204);
        }
    }
    let listed = |list: Value| {
        let mut texts: Vec<String> = list.as_array().unwrap().iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let found = world.get(path).await.expect(200);
    assert_eq!(listed(found["bindings"].clone()), listed(json!(all)));
    let first = world.get(&format!("{path}?max=2")).await.expect(200);
    assert_eq!((first["bindings"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let last = world.get(&format!("{path}?max=2&skip=4")).await.expect(200);
    assert_eq!((last["bindings"].as_array().unwrap().len(), last.get("next")), (1, None));

    assert_eq!(world.delete(&format!("{path}?topic=a&key=k")).await.expect(200), json!({"bindings": 2}));
    assert_eq!(world.delete(&format!("{path}?topic=a&key=k")).await.expect(200), json!({"bindings": 0}));
    assert_eq!(world.delete(&format!("{path}?exchange=y")).await.expect(200), json!({"bindings": 1}));
    all.retain(|binding| binding["key"] == "other" || binding["topic"] == "b");
    assert_eq!(listed(world.get(path).await.expect(200)["bindings"].clone()), listed(json!(all)));

    for (bad, status, kind) in [
        (json!({"key": "k"}), 400, "invalid-request"),
        (json!({"topic": "a", "exchange": "y"}), 400, "invalid-request"),
        (json!({"topic": "none"}), 404, "topic-not-found"),
        (json!({"exchange": "none"}), 404, "exchange-not-found"),
        (json!({"topic": "a", "key": "k".repeat(256)}), 400, "limit-exceeded"),
        (json!({"topic": "a", "headers": {"h".repeat(256): 1}}), 400, "limit-exceeded"),
        (json!({"topic": "a", "headers": {"h": "v".repeat(65_536)}}), 400, "limit-exceeded"),
        (json!({"topic": "a", "headers": {"h": [1]}}), 400, "invalid-request"),
        (json!({"topic": "a", "headers": {"x-match": "any"}}), 400, "invalid-request"),
    ] {
        world.post(path, bad).await.problem(status, kind);
    }
    world.post("/v1/exchanges/none/bindings", json!({"topic": "a"})).await.problem(404, "exchange-not-found");
}

#[tokio::test]
async fn messages_go_by_key_and_by_properties_and_to_the_alternate() {
    let world = World::new();
    for topic in ["eu", "all", "rest"] {
        world.put(&format!("/v1/topics/{topic}"), json!({"queues": 1})).await.expect(201);
    }
    world.put("/v1/exchanges/orders", json!({"kind": "topic", "alternate": "sizes"})).await.expect(201);
    world.put("/v1/exchanges/sizes", json!({"kind": "headers"})).await.expect(201);
    for (source, binding) in [
        ("orders", json!({"topic": "eu", "key": "eu.*"})),
        ("orders", json!({"topic": "all", "key": "#.new"})),
        ("sizes", json!({"topic": "rest", "headers": {"size": 5, "big": false}})),
    ] {
        world.post(&format!("/v1/exchanges/{source}/bindings"), binding).await.expect(204);
    }
    let path = "/v1/exchanges/orders/messages";
    let answer = world
        .post(
            path,
            json!({"messages": [
                {"body": "both", "routing_key": "eu.new"},
                {"body": "one", "routing_key": "us.new"},
                {"body": "by its size", "properties": {"size": "5", "big": "false"}},
                {"body": "none", "routing_key": "us.old", "properties": {"size": "6", "big": "false"}},
            ]}),
        )
        .await
        .expect(207);
    let messages = answer["messages"].as_array().unwrap();
    let queues: Vec<_> = messages.iter().map(|message| message["queues"].as_u64().unwrap()).collect();
    assert_eq!(queues, [2, 1, 1]);
    assert!(messages.iter().all(|message| message.get("offset").is_none()), "{answer}");
    assert_eq!(answer["errors"][0]["type"], "urn:mailrail:problem:unroutable");
    assert_eq!(answer["errors"][0]["index"], 3);
    assert_eq!(
        (count(&world, "eu").await, count(&world, "all").await, count(&world, "rest").await),
        (1, 2, 1)
    );

    world.post(path, json!({"messages": [{"queue": 0}]})).await.problem(400, "invalid-request");
    world.post(path, json!({"messages": [{"delay_ms": 9}]})).await.problem(501, "not-supported");
    let to_topic = json!({"messages": [{"routing_key": "k"}]});
    world.post("/v1/topics/eu/messages", to_topic).await.problem(400, "invalid-request");
    world
        .post("/v1/exchanges/none/messages", json!({"messages": [{}]}))
        .await
        .problem(404, "exchange-not-found");
    let body =
        crate::world::request("POST", &format!("{path}?routing_key=eu.old")).body("raw".into()).unwrap();
    assert_eq!(world.send(body).await.expect(201)["messages"][0]["queues"], 1);
    assert_eq!(count(&world, "eu").await, 2);
}

#[tokio::test]
async fn a_topic_can_be_bound_to_a_topic() {
    let world = World::new();
    for topic in ["source", "target"] {
        world.put(&format!("/v1/topics/{topic}"), json!({"queues": 1})).await.expect(201);
    }
    let binding = json!({"topic": "target", "key": "eu.#"});
    world.post("/v1/exchanges/source/bindings", binding.clone()).await.expect(204);
    assert_eq!(world.get("/v1/exchanges/source/bindings").await.expect(200)["bindings"], json!([binding]));
    let messages = json!({"messages": [{"tag": "eu.new"}, {"tag": "us.new"}]});
    world.post("/v1/topics/source/messages", messages).await.expect(201);
    assert_eq!((count(&world, "source").await, count(&world, "target").await), (2, 1));
}
