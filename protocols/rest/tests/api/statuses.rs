//! Every status that the document lists for an operation is one that the operation answers. One request for each pair;
//! what cannot be brought about here is listed with the reason.

mod operations;
mod refused;

use std::collections::BTreeSet;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailrail_broker::Command;
use serde_json::{Value, json};

use self::operations::{Operation, operations};
use self::refused::{refused_by_form, refused_by_state};
use crate::world::{World, request};

/// Statuses that a test cannot bring about, and why. Where an operation is named, its document must list them.
const EXCEPT: &[(&str, &[u16], &str)] = &[
    ("*", &[500], "the disk would have to fail; the mapping has a unit test"),
    ("putTopic", &[507], FULL_DISK),
    ("deleteTopic", &[507], FULL_DISK),
    ("putLite", &[507], FULL_DISK),
    ("publishMessages", &[507], FULL_DISK),
    ("putExchange", &[507], FULL_DISK),
    ("deleteExchange", &[507], FULL_DISK),
    ("putBinding", &[507], FULL_DISK),
    ("deleteBindings", &[507], FULL_DISK),
    ("publishToExchange", &[507], FULL_DISK),
    ("putGroup", &[507], FULL_DISK),
    ("deleteGroup", &[507], FULL_DISK),
    ("seekGroup", &[507], FULL_DISK),
    ("receiveMessages", &[507], FULL_DISK),
    ("getBackup", &[507], FULL_DISK),
    ("recallMessage", &[507], FULL_DISK),
    ("beginTransaction", &[507], FULL_DISK),
    ("commitTransaction", &[507], FULL_DISK),
    ("commitTransaction", &[409], "only while the broker gives it up; the mapping has a unit test"),
    ("rollBackTransaction", &[507], FULL_DISK),
    ("publishTogether", &[507], FULL_DISK),
    ("putUser", &[507], FULL_DISK),
    ("putPermissions", &[507], FULL_DISK),
    ("deleteUser", &[507], FULL_DISK),
    ("readMessages", &[504], "the reader pool cannot be held up from outside"),
    ("getMessage", &[504], "the reader pool cannot be held up from outside"),
    ("getMessageTrace", &[504], "the reader pool cannot be held up from outside"),
    ("findMessages", &[504], "the reader pool cannot be held up from outside"),
    ("streamEvents", &[504], "the reader pool cannot be held up from outside"),
];

/// For every operation that appends to the log before it answers.
const FULL_DISK: &str = "the disk would have to be full; the mapping has a unit test";

/// A topic `t` with a message, an exchange `x` that it is bound to by `k`, a group `g`, a lease. Gives the message's id and the receipt.
async fn furnish(world: &World) -> (String, String) {
    world.put("/v1/topics/t", json!({"queues": 1, "lite": true})).await.expect(201);
    let id = world.publish("t", 0, &["x"]).await.remove(0);
    world.put("/v1/exchanges/x", json!({})).await.expect(201);
    world.post("/v1/exchanges/x/bindings", json!({"topic": "t", "key": "k"})).await.expect(204);
    world.put("/v1/topics/t/groups/g", json!({})).await.expect(201);
    let received = world.post("/v1/topics/t/groups/g/receive", json!({})).await.expect(200);
    (id, received["messages"][0]["receipt"].as_str().unwrap().to_owned())
}

/// The id of a message that waits for an hour.
async fn delayed(world: &World) -> String {
    let answer = world.post("/v1/topics/t/messages", json!({"messages": [{"delay_ms": 3_600_000}]})).await;
    answer.expect(201)["messages"][0]["id"].as_str().unwrap().to_owned()
}

/// The id of a transaction that is open.
async fn begun(world: &World) -> String {
    let request = json!({"topic": "t", "group": "g", "message": {"queue": 0}});
    world.post("/v1/transactions", request).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// The id of a message whose trace is written.
async fn traced(world: &World) -> String {
    world.put("/v1/topics/t", json!({"trace_sample": 1_000_000})).await.expect(200);
    let id = world.publish("t", 0, &["x"]).await.remove(0);
    loop {
        world.pass(std::time::Duration::from_millis(60));
        let trace = world.get(&format!("/v1/messages/{id}/trace")).await.expect(200);
        if trace["events"] != json!([]) {
            return id;
        }
    }
}

struct Seen<'a> {
    world: &'a World,
    /// Name and password.
    who: Option<&'static str>,
    pairs: &'a mut BTreeSet<(String, u16)>,
}

impl Seen<'_> {
    async fn note(&mut self, operation: &Operation, path: &str, kind: &str, body: Body) -> u16 {
        let mut request = request(operation.method, path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if let Some(who) = self.who {
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(who)));
        }
        let request = request.body(body).unwrap();
        // An open stream never ends, so only the head of the answer is awaited.
        let response = tower::ServiceExt::oneshot(self.world.router.clone(), request).await.unwrap();
        let status = response.status().as_u16();
        self.pairs.insert((operation.name.to_owned(), status));
        status
    }

    async fn good(&mut self, operation: &Operation, id: &str, receipt: &str) -> u16 {
        let path = operation.path.replace("ID", id);
        let body =
            operation.body.as_ref().map(|body| body.to_string().replace("\"R\"", &format!("{receipt:?}")));
        let kind = if body.is_some() { "application/json" } else { "" };
        self.note(operation, &path, kind, body.unwrap_or_default().into()).await
    }
}

#[tokio::test]
async fn every_documented_status_is_answered() {
    let mut pairs = BTreeSet::new();
    successes(&mut pairs).await;
    refused_by_form(&mut pairs).await;
    refused_by_state(&mut pairs).await;
    stopping_and_silent(&mut pairs).await;
    with_users(&mut pairs).await;
    let document = serde_json::to_value(mailrail_rest::openapi()).unwrap();
    let mut missing = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values().filter(|value| value.get("operationId").is_some())
        {
            let name = operation["operationId"].as_str().unwrap();
            let documented: BTreeSet<u16> = operation["responses"]
                .as_object()
                .unwrap()
                .keys()
                .map(|status| status.parse().unwrap())
                .collect();
            for (_, status) in pairs.iter().filter(|(seen, _)| seen == name) {
                assert!(documented.contains(status), "{name} answers {status}, which is not documented");
            }
            for (_, statuses, why) in EXCEPT.iter().filter(|(other, ..)| *other == name) {
                let missing = statuses.iter().find(|status| !documented.contains(status));
                assert_eq!(missing, None, "{name} should document it: {why}");
            }
            for status in documented {
                let excepted = EXCEPT.iter().any(|(other, statuses, _)| {
                    (*other == "*" || *other == name) && statuses.contains(&status)
                });
                let seen = pairs.contains(&(name.to_owned(), status));
                assert!(!(excepted && seen), "{name} {status} is no exception any more");
                if !excepted && !seen {
                    missing.push((name.to_owned(), status));
                }
            }
        }
    }
    assert!(missing.is_empty(), "documented and never answered: {missing:?}");
}

async fn successes(pairs: &mut BTreeSet<(String, u16)>) {
    for operation in operations().into_iter().filter(|operation| !operation.path.starts_with("/v1/users")) {
        let world = World::new();
        let mut seen = Seen { world: &world, who: None, pairs };
        if matches!(operation.name, "putTopic" | "putGroup" | "putExchange") {
            if operation.name == "putGroup" {
                world.put("/v1/topics/t", json!({})).await.expect(201);
            }
            assert_eq!(seen.good(&operation, "", "").await, 201);
        } else {
            let (mut id, receipt) = furnish(&world).await;
            if operation.name == "recallMessage" {
                id = delayed(&world).await;
            }
            if matches!(operation.name, "commitTransaction" | "rollBackTransaction") {
                id = begun(&world).await;
            }
            let status = seen.good(&operation, &id, &receipt).await;
            assert!((200..300).contains(&status), "{} answered {status}", operation.name);
        }
        if matches!(operation.name, "putTopic" | "putLite" | "putGroup" | "putExchange") {
            assert_eq!(seen.good(&operation, "", "").await, 200);
        }
        if matches!(operation.name, "settleMessages" | "extendLeases") {
            assert_eq!(seen.good(&operation, "", "no receipt").await, 207);
        }
        let mixed = match operation.name {
            "publishMessages" => r#"{"messages":[{"queue":0},{"queue":9}]}"#,
            "publishToExchange" => r#"{"messages":[{"routing_key":"k"},{"routing_key":"none"}]}"#,
            _ => "",
        };
        if !mixed.is_empty() {
            assert_eq!(seen.note(&operation, operation.path, "application/json", mixed.into()).await, 207);
        }
    }
}

async fn stopping_and_silent(pairs: &mut BTreeSet<(String, u16)>) {
    let mut world = World::new();
    let (id, receipt) = furnish(&world).await;
    world.configure(|config| config.answer_ms_max = 20);
    world.clock.hold_the_shard();
    let mut seen = Seen { world: &world, who: None, pairs };
    for operation in operations() {
        let asks_the_shard = !matches!(
            operation.name,
            "listTopics"
                | "getTopic"
                | "listLite"
                | "listExchanges"
                | "getExchange"
                | "readMessages"
                | "getMessage"
                | "getMessageTrace"
                | "findMessages"
                | "streamEvents"
                | "listUsers"
                | "getUser"
                | "getPermissions"
                | "getStatistics"
                | "getTopicStatistics"
                | "listConnections"
                // Of a user that is not there.
                | "putPermissions"
                | "getHealth"
                | "getReadiness"
        );
        if asks_the_shard {
            assert_eq!(seen.good(&operation, &id, &receipt).await, 504, "{}", operation.name);
        }
    }
    world.clock.let_the_shard_go();
    world.state.stop();
    for operation in operations().iter().filter(|operation| operation.name != "getHealth") {
        assert_eq!(seen.good(operation, &id, &receipt).await, 503, "{}", operation.name);
    }
}

/// What users are answered, and those who are none or may nothing.
async fn with_users(pairs: &mut BTreeSet<(String, u16)>) {
    let world = World::with(|config| config.answer_ms_max = 2_000);
    let (id, receipt) = furnish(&world).await;
    let (waiting, open, traced) = (delayed(&world).await, begun(&world).await, traced(&world).await);
    world.put("/v1/users/root", json!({"password": "secret", "admin": true})).await.expect(201);
    let mut seen = Seen { world: &world, who: Some("root:secret"), pairs };
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/v1/users")) {
        if operation.name == "putUser" {
            assert_eq!(seen.good(operation, "", "").await, 201);
        }
        let status = seen.good(operation, "", "").await;
        assert!((200..300).contains(&status), "{} answered {status}", operation.name);
    }
    for operation in
        operations().iter().filter(|operation| matches!(operation.name, "putUser" | "deleteUser"))
    {
        let path = operation.path.replace("/u", "/root").replace("/rootsers", "/users");
        let demoted = Body::from(if operation.name == "putUser" { r#"{"admin":false}"# } else { "" });
        assert_eq!(seen.note(operation, &path, "application/json", demoted).await, 409, "{path}");
    }
    world
        .ask_as_broker(|token| Command::PutUser {
            token,
            name: "ann".into(),
            change: Box::new(mailrail_broker::UserChange {
                password: Some(mailrail_broker::PasswordHash::of("x").unwrap()),
                ..mailrail_broker::UserChange::default()
            }),
        })
        .await;
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/v1/")) {
        seen.who = Some("ann:x");
        let id = match operation.name {
            "recallMessage" => &waiting,
            "getMessageTrace" => &traced,
            "commitTransaction" | "rollBackTransaction" => &open,
            _ => &id,
        };
        let status = seen.good(operation, id, &receipt).await;
        let is_list = matches!(operation.name, "listTopics" | "listExchanges");
        assert_eq!(status, if is_list { 200 } else { 403 }, "{}", operation.name);
        seen.who = None;
        assert_eq!(seen.good(operation, id, &receipt).await, 401, "{}", operation.name);
    }
    seen.who = Some("root:secret");
    world.clock.hold_the_shard();
    for operation in operations().iter().filter(|operation| operation.name == "putPermissions") {
        let path = operation.path.replace("/u/", "/ann/");
        let body = operation.body.as_ref().unwrap().to_string();
        assert_eq!(seen.note(operation, &path, "application/json", body.into()).await, 504);
    }
}
