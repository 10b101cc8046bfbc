//! Requests that are refused: by their form, by what is there or is not, and by how much is waiting.

use futures_util::stream;
use mailrail_broker::{BindTarget, Command, Lifetime, Token, TopicSettings};

use super::*;

pub async fn refused_by_form(pairs: &mut BTreeSet<(String, u16)>) {
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

pub async fn refused_by_state(pairs: &mut BTreeSet<(String, u16)>) {
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
    let mut member = world.member().await;
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
