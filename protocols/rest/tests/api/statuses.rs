//! Every status that the document lists for an operation is one that the operation answers. One request for each pair;
//! what cannot be brought about here is listed with the reason.

use std::collections::BTreeSet;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use mailrail_broker::{BindTarget, Command, Lifetime, Token, TopicSettings};
use serde_json::{Value, json};

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

/// An operation: its name, method, path, and a good body.
struct Operation {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: Option<Value>,
}

fn operations() -> Vec<Operation> {
    let operation = |name, method, path, body| Operation { name, method, path, body };
    vec![
        operation("listTopics", "GET", "/v1/topics", None),
        operation("putTopic", "PUT", "/v1/topics/t", Some(json!({}))),
        operation("getTopic", "GET", "/v1/topics/t", None),
        operation("deleteTopic", "DELETE", "/v1/topics/t", None),
        operation("listLite", "GET", "/v1/topics/t/lite", None),
        operation("putLite", "PUT", "/v1/topics/t/lite/l", None),
        operation("listExchanges", "GET", "/v1/exchanges", None),
        operation("putExchange", "PUT", "/v1/exchanges/x", Some(json!({}))),
        operation("getExchange", "GET", "/v1/exchanges/x", None),
        operation("deleteExchange", "DELETE", "/v1/exchanges/x", None),
        operation("putBinding", "POST", "/v1/exchanges/x/bindings", Some(json!({"topic": "t", "key": "k"}))),
        operation("listBindings", "GET", "/v1/exchanges/x/bindings", None),
        operation("deleteBindings", "DELETE", "/v1/exchanges/x/bindings?topic=t&key=k", None),
        operation(
            "publishToExchange",
            "POST",
            "/v1/exchanges/x/messages",
            Some(json!({"messages": [{"routing_key": "k"}]})),
        ),
        operation("publishMessages", "POST", "/v1/topics/t/messages", Some(json!({"messages": [{}]}))),
        operation("readMessages", "GET", "/v1/topics/t/queues/0/messages", None),
        operation("getMessage", "GET", "/v1/messages/ID", None),
        operation("getMessageTrace", "GET", "/v1/messages/ID/trace", None),
        operation("recallMessage", "DELETE", "/v1/messages/ID", None),
        operation(
            "publishTogether",
            "POST",
            "/v1/messages",
            Some(json!({"messages": [{"topic": "t", "message": {}}]})),
        ),
        operation(
            "beginTransaction",
            "POST",
            "/v1/transactions",
            Some(json!({"topic": "t", "group": "g", "message": {}})),
        ),
        operation("listTransactions", "GET", "/v1/transactions", None),
        operation("commitTransaction", "POST", "/v1/transactions/ID/commit", None),
        operation("rollBackTransaction", "POST", "/v1/transactions/ID/rollback", None),
        operation("findMessages", "GET", "/v1/messages?topic=t&key=k", None),
        operation("streamEvents", "GET", "/v1/topics/t/events", None),
        operation("listGroups", "GET", "/v1/topics/t/groups", None),
        operation("putGroup", "PUT", "/v1/topics/t/groups/g", Some(json!({}))),
        operation("getGroup", "GET", "/v1/topics/t/groups/g", None),
        operation("deleteGroup", "DELETE", "/v1/topics/t/groups/g", None),
        operation("seekGroup", "POST", "/v1/topics/t/groups/g/seek", Some(json!({"to": "earliest"}))),
        operation("receiveMessages", "POST", "/v1/topics/t/groups/g/receive", Some(json!({}))),
        operation("settleMessages", "POST", "/v1/topics/t/groups/g/settle", Some(json!({"ack": ["R"]}))),
        operation(
            "extendLeases",
            "POST",
            "/v1/topics/t/groups/g/extend",
            Some(json!({"receipts": ["R"], "lease_ms": 1_000})),
        ),
        operation("getBackup", "GET", "/v1/backup", None),
        operation("listUsers", "GET", "/v1/users", None),
        operation("putUser", "PUT", "/v1/users/u", Some(json!({"password": "secret", "admin": true}))),
        operation("getUser", "GET", "/v1/users/u", None),
        operation("getPermissions", "GET", "/v1/users/u/permissions", None),
        operation("putPermissions", "PUT", "/v1/users/u/permissions", Some(json!({"permissions": []}))),
        operation("deleteUser", "DELETE", "/v1/users/u", None),
        operation("listChanges", "GET", "/v1/audit", None),
        operation("getStatistics", "GET", "/v1/statistics", None),
        operation("getTopicStatistics", "GET", "/v1/topics/t/statistics", None),
        operation("getGroupStatistics", "GET", "/v1/topics/t/groups/g/statistics", None),
        operation("listConnections", "GET", "/v1/connections", None),
        operation("getHealth", "GET", "/healthz", None),
        operation("getReadiness", "GET", "/readyz", None),
    ]
}

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

async fn refused_by_form(pairs: &mut BTreeSet<(String, u16)>) {
    let world = World::with(|config| config.upload_ms_max = 20);
    let (id, _) = furnish(&world).await;
    let mut seen = Seen { world: &world, who: None, pairs };
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/v1/")) {
        let path = operation.path.replace("ID", &id);
        let bad_path = match operation.name {
            // It has no parameter that could be wrong.
            "getBackup" | "getStatistics" => continue,
            "listTopics" | "listExchanges" | "listTransactions" | "listUsers" | "listChanges"
            | "listConnections" => {
                format!("{path}?max=x")
            }
            // They have no parameter, and need a body.
            "publishTogether" | "beginTransaction" => path.clone(),
            _ if path.starts_with("/v1/users/") => {
                path.replace("/u/", "/%FF/").replace("/users/u", "/users/%FF")
            }
            _ if path.starts_with("/v1/exchanges/") => path.replace("/x", "/%FF"),
            "findMessages" => format!("{path}&max=x"),
            _ => path
                .replace("/t", "/%FF")
                .replace(&id, "%FF")
                .replace("/%FFopics", "/topics")
                .replace("/%FFransactions", "/transactions")
                .replace("/%FFrace", "/trace"),
        };
        assert_eq!(seen.note(operation, &bad_path, "", Body::empty()).await, 400, "{bad_path}");
        if operation.body.is_none() {
            continue;
        }
        let never = Body::from_stream(stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        assert_eq!(seen.note(operation, &path, "application/json", never).await, 408);
        let long = Body::from(vec![b' '; 16 * 1024 * 1024 + 1]);
        assert_eq!(seen.note(operation, &path, "application/json", long).await, 413);
        if !matches!(operation.name, "publishMessages" | "publishToExchange") {
            assert_eq!(seen.note(operation, &path, "text/plain", "x".into()).await, 415);
        }
    }
    for (name, path) in
        [("publishMessages", "/v1/topics/t/messages"), ("publishToExchange", "/v1/exchanges/x/messages")]
    {
        let publish = request("POST", path).header("content-type", "application/json");
        let publish = publish.header("content-encoding", "gzip").body("x".into()).unwrap();
        pairs.insert((name.into(), world.send(publish).await.status));
        let publish = request("POST", &format!("{path}?durability=quorum")).body("x".into()).unwrap();
        pairs.insert((name.into(), world.send(publish).await.status));
    }
}

async fn refused_by_state(pairs: &mut BTreeSet<(String, u16)>) {
    let world = World::with(|config| config.auto_create_topics = false);
    let mut seen = Seen { world: &world, who: None, pairs };
    for operation in operations() {
        let names_topic = operation.path.starts_with("/v1/topics/t") && operation.name != "putTopic";
        let names_exchange = operation.path.starts_with("/v1/exchanges/x") && operation.name != "putExchange";
        let names_user = operation.path.starts_with("/v1/users/") && operation.name != "putUser";
        if names_user
            || (names_topic && operation.name != "listTopics")
            || names_exchange
            || operation.name == "findMessages"
        {
            assert_eq!(seen.good(&operation, "", "R").await, 404, "{}", operation.name);
        }
    }
    let nowhere = "7F000001000026940000000000000000";
    for operation in operations().iter().filter(|operation| operation.name == "getMessage") {
        assert_eq!(seen.good(operation, nowhere, "").await, 404);
    }
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/v1/transactions/")) {
        assert_eq!(seen.good(operation, nowhere, "").await, 404);
    }
    for operation in operations() {
        if matches!(operation.name, "beginTransaction" | "publishTogether") {
            assert_eq!(seen.good(&operation, "", "").await, 404);
        }
    }
    for operation in operations().iter().filter(|operation| operation.name == "recallMessage") {
        assert_eq!(seen.good(operation, nowhere, "").await, 409);
        assert_eq!(seen.good(operation, &nowhere.replace("7F", "0A"), "").await, 404);
    }
    // A topic of the broker's own that may be neither read nor written.
    let settings = mailrail_broker::TopicSettings {
        queues: 1,
        readable: false,
        writable: false,
        ..mailrail_broker::TopicSettings::default()
    };
    let made = world.ask(|token| mailrail_broker::Command::PutTopic {
        token,
        name: "t".into(),
        settings,
        adopt: false,
    });
    made.await.unwrap();
    world.put("/v1/exchanges/x", json!({"internal": true})).await.expect(201);
    for operation in operations() {
        let status = match operation.name {
            "publishToExchange" | "publishTogether" | "beginTransaction" => 403,
            "publishMessages" | "readMessages" | "findMessages" | "streamEvents" | "receiveMessages" => 403,
            _ => continue,
        };
        assert_eq!(seen.good(&operation, "", "").await, status, "{}", operation.name);
    }
    conflicts(pairs).await;
    ends_of_transactions(pairs).await;
    let body = "x".repeat(4 * 1024 * 1024);
    let message = json!({"topic": "t", "group": "g", "message": {"body": body}}).to_string();
    let messages = json!({"messages": [{"topic": "t", "message": {"body": body}}]}).to_string();
    busy(pairs, "publishMessages", "/v1/topics/t/messages", "", &body).await;
    busy(pairs, "publishToExchange", "/v1/exchanges/x/messages?routing_key=k", "", &body).await;
    busy(pairs, "beginTransaction", "/v1/transactions", "application/json", &message).await;
    busy(pairs, "publishTogether", "/v1/messages", "application/json", &messages).await;
}

async fn conflicts(pairs: &mut BTreeSet<(String, u16)>) {
    let world = World::new();
    let (_, receipt) = furnish(&world).await;
    // While a lease is held, nobody else could become a member.
    world.post("/v1/topics/t/groups/g/settle", json!({"requeue": [receipt]})).await.expect(200);
    let mut member = world.broker.connect();
    member.submit(vec![mailrail_broker::Command::Join {
        token: mailrail_broker::Token(1),
        group: "g".into(),
        member: "m".into(),
        topics: vec!["t".into()],
        expires_ms: 60_000,
    }]);
    member.next_events().await;
    let own = TopicSettings { lifetime: Lifetime::Session, ..TopicSettings::settled_queue() };
    member.submit(vec![
        Command::PutTopic { token: Token(2), name: "own".into(), settings: own, adopt: false },
        Command::Bind {
            token: Token(3),
            source: "x".into(),
            target: BindTarget::Topic("own".into()),
            key: "k".into(),
            attributes: Default::default(),
        },
        Command::Sync { token: Token(4) },
    ]);
    let mut answers = 0;
    while answers < 3 {
        answers += member.next_events().await.len();
    }
    world.put("/v1/topics/other", json!({"lite": true})).await.expect(201);
    world.put("/v1/topics/other/lite/l", json!({})).await.expect(201);
    for operation in operations() {
        if let "publishMessages" | "publishToExchange" | "publishTogether" | "beginTransaction" =
            operation.name
        {
            let body = operation.body.clone().unwrap_or_default().to_string();
            let keyed = request(operation.method, operation.path).header("content-type", "application/json");
            let answer = world.send(keyed.header("idempotency-key", "k").body(body.into()).unwrap()).await;
            answer.problem(409, "no-deduplication");
            pairs.insert((operation.name.to_owned(), 409));
        }
    }
    let mut seen = Seen { world: &world, who: None, pairs };
    for operation in operations() {
        let path = match operation.name {
            "receiveMessages" | "putLite" => operation.path.to_owned(),
            "deleteTopic" => format!("{}?if_empty=true", operation.path),
            "deleteExchange" => format!("{}?if_unused=true", operation.path),
            "deleteBindings" => operation.path.replace("topic=t", "topic=own"),
            "putTopic" | "putExchange" | "putBinding" => {
                let other = Body::from(match operation.name {
                    "putTopic" => r#"{"queues":9}"#,
                    "putExchange" => r#"{"kind":"fanout"}"#,
                    _ => r#"{"topic":"own"}"#,
                });
                assert_eq!(seen.note(&operation, operation.path, "application/json", other).await, 409);
                continue;
            }
            _ => continue,
        };
        assert_eq!(seen.note(&operation, &path, "", Body::empty()).await, 409, "{}", operation.name);
    }
}

/// Ends that the topic refuses, or that come while another one is under way.
async fn ends_of_transactions(pairs: &mut BTreeSet<(String, u16)>) {
    let world = World::new();
    let full =
        json!({"queues": 1, "retention": "until_settled", "length_max": 0, "overflow": "reject_publish"});
    world.put("/v1/topics/t", full).await.expect(201);
    let id = begun(&world).await;
    let mut seen = Seen { world: &world, who: None, pairs };
    let operations = operations();
    let operation = |name| operations.iter().find(|operation| operation.name == name).unwrap();
    let (commit, roll_back) = (operation("commitTransaction"), operation("rollBackTransaction"));
    assert_eq!(seen.good(commit, &id, "").await, 429);
    world.delete("/v1/topics/t").await.expect(200);
    let settings = TopicSettings { writable: false, ..TopicSettings::default() };
    let name: mailrail_broker::Name = "t".into();
    world.ask(|token| Command::PutTopic { token, name, settings, adopt: false }).await.unwrap();
    assert_eq!(seen.good(commit, &id, "").await, 403);
    world.clock.hold_the_shard();
    let both = async {
        let path = commit.path.replace("ID", &id);
        let committing = world.post(&path, Value::Null);
        let mut seen = Seen { world: &world, who: None, pairs: seen.pairs };
        let let_go = async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            world.clock.let_the_shard_go();
        };
        tokio::join!(committing, seen.good(roll_back, &id, ""), let_go).1
    };
    assert_eq!(both.await, 409);
}

async fn busy(pairs: &mut BTreeSet<(String, u16)>, name: &str, path: &str, kind: &str, body: &str) {
    let mut world = World::new();
    furnish(&world).await;
    world.configure(|config| config.answer_ms_max = 50);
    world.clock.hold_the_shard();
    let mut statuses = BTreeSet::new();
    // Each of these waits in the held shard; the one that no longer fits is refused.
    for _ in 0..20 {
        let request = request("POST", path).header("content-type", kind);
        statuses.insert(world.send(request.body(body.to_owned().into()).unwrap()).await.status);
    }
    assert_eq!(statuses, BTreeSet::from([429, 504]));
    pairs.extend(statuses.into_iter().map(|status| (name.to_owned(), status)));
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
