//! Users over HTTP: who gets in, who may do what, and what is shown of it.

use axum::body::Body;
use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

impl World {
    async fn send_as(&self, who: &str, method: &str, path: &str, document: Value) -> Answer {
        let request = request(method, path)
            .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(who)))
            .header("content-type", "application/json");
        let body = if document.is_null() { Body::empty() } else { document.to_string().into() };
        self.send(request.body(body).unwrap()).await
    }
}

const ROOT: &str = "root:secret";
const ANN: &str = "ann:swordfish";

/// A broker with an administrator, and ann, who may do this.
async fn world(permissions: Value) -> World {
    let world = World::new();
    let root = json!({"password": "secret", "admin": true});
    world.put("/v1/users/root", root).await.expect(201);
    let ann = json!({"password": "swordfish", "permissions": permissions});
    world.send_as(ROOT, "PUT", "/v1/users/ann", ann).await.expect(201);
    world
}

fn allow(action: &str, kind: &str, name: &str) -> Value {
    json!({"effect": "allow", "actions": [action], "resources": [kind], "name": name})
}

#[tokio::test]
async fn with_the_first_user_everybody_else_is_out() {
    let world = World::new();
    world.put("/v1/topics/t", json!({})).await.expect(201);
    let problem =
        world.put("/v1/users/ann", json!({"password": "x"})).await.problem(409, "last-administrator");
    assert!(problem["detail"].as_str().unwrap().contains("administrator"), "{problem}");
    world.put("/v1/users/root", json!({"password": "secret", "admin": true})).await.expect(201);
    for answer in [
        world.get("/v1/topics/t").await,
        world.get("/v1/users").await,
        world.send_as("root:wrong", "GET", "/v1/topics/t", Value::Null).await,
        world.send_as("nobody:secret", "GET", "/v1/topics/t", Value::Null).await,
        world
            .send(
                request("GET", "/v1/topics/t")
                    .header("authorization", "Bearer x")
                    .body(Body::empty())
                    .unwrap(),
            )
            .await,
    ] {
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Basic realm=\"mailrail\", charset=\"UTF-8\"");
        answer.problem(401, "unauthenticated");
    }
    world.send_as(ROOT, "GET", "/v1/topics/t", Value::Null).await.expect(200);
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    world.send_as(ROOT, "DELETE", "/v1/users/root", Value::Null).await.problem(409, "last-administrator");
}

#[tokio::test]
async fn a_user_may_do_what_a_rule_allows_and_is_told_why_not() {
    let world = world(json!([
        allow("publish", "topic", "t"),
        allow("consume", "topic", "t"),
        allow("consume", "group", "g")
    ]))
    .await;
    for topic in ["t", "other"] {
        world.send_as(ROOT, "PUT", &format!("/v1/topics/{topic}"), json!({"queues": 1})).await.expect(201);
    }
    let message = || json!({"messages": [{"body": "x"}]});
    let sent = world.send_as(ANN, "POST", "/v1/topics/t/messages", message()).await.expect(201);
    let id = sent["messages"][0]["id"].as_str().unwrap().to_owned();
    let other = world.send_as(ROOT, "POST", "/v1/topics/other/messages", message()).await.expect(201);
    let other = other["messages"][0]["id"].as_str().unwrap().to_owned();
    let got = world.send_as(ANN, "POST", "/v1/topics/t/groups/g/receive", json!({})).await.expect(200);
    let receipt = got["messages"][0]["receipt"].clone();
    assert!(receipt.is_string(), "{got}");
    world.send_as(ANN, "POST", "/v1/topics/t/groups/g/settle", json!({"ack": [receipt]})).await.expect(200);
    world.send_as(ANN, "GET", &format!("/v1/messages/{id}"), Value::Null).await.expect(200);
    world.send_as(ANN, "GET", "/v1/topics/t/queues/0/messages", Value::Null).await.expect(200);
    let denied: Vec<(&str, String, Value)> = vec![
        ("POST", "/v1/topics/other/messages".into(), message()),
        ("POST", "/v1/topics/unknown/messages".into(), message()),
        ("GET", "/v1/topics/other".into(), Value::Null),
        ("DELETE", "/v1/topics/t".into(), Value::Null),
        ("PUT", "/v1/topics/new".into(), json!({})),
        ("POST", "/v1/topics/t/groups/h/receive".into(), json!({})),
        ("POST", "/v1/topics/t/groups/h/seek".into(), json!({"to": "earliest"})),
        ("GET", "/v1/topics/t/groups/h".into(), Value::Null),
        ("GET", format!("/v1/messages/{other}"), Value::Null),
        ("GET", "/v1/messages?topic=other&key=k".into(), Value::Null),
        ("GET", "/v1/topics/other/queues/0/messages".into(), Value::Null),
        ("GET", "/v1/topics/other/events".into(), Value::Null),
        ("PUT", "/v1/exchanges/x".into(), json!({})),
        ("GET", "/v1/users".into(), Value::Null),
        ("GET", "/v1/users/root".into(), Value::Null),
        ("PUT", "/v1/users/ann".into(), json!({"admin": true})),
        ("PUT", "/v1/users/ann/permissions".into(), json!({"permissions": []})),
        ("DELETE", "/v1/users/root".into(), Value::Null),
        ("GET", "/v1/audit".into(), Value::Null),
        ("GET", "/v1/backup".into(), Value::Null),
    ];
    for (method, path, body) in denied {
        let answer = world.send_as(ANN, method, &path, body).await;
        let problem = answer.problem(403, "access-denied");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("access denied: user \"ann\" may not "), "{method} {path}: {detail}");
        assert!(detail.ends_with(": no rule allows it"), "{method} {path}: {detail}");
    }
    let shown = world.send_as(ANN, "GET", "/v1/topics", Value::Null).await.expect(200);
    let names: Vec<_> = shown["topics"].as_array().unwrap().iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(names, ["t"], "others are not listed");
    world.send_as(ANN, "GET", "/v1/users/ann", Value::Null).await.expect(200);
}

#[tokio::test]
async fn what_is_shown_of_a_user_is_what_was_put_without_its_secrets() {
    let rule = json!({
        "effect": "deny", "actions": ["publish", "consume"], "resources": ["topic", "exchange"], "pattern": "^a",
        "routing_keys": "^eu", "sources": ["10.0.0.0/8"],
    });
    let world = world(
        json!([rule, {"effect": "allow", "actions": ["administer"], "resources": ["cluster"], "prefix": ""}]),
    )
    .await;
    let ann =
        world.send_as(ROOT, "PUT", "/v1/users/ann", json!({"signing_secret": "sesame"})).await.expect(200);
    assert_eq!(ann["permissions"][0], rule);
    assert_eq!((&ann["has_password"], &ann["has_signing_secret"]), (&json!(true), &json!(true)));
    let text = ann.to_string();
    assert!(!text.contains("sesame") && !text.contains("swordfish"), "{text}");
    // Whoever may administer the cluster, administers users.
    let users = world.send_as(ANN, "GET", "/v1/users?max=1", Value::Null).await.expect(200);
    assert_eq!((&users["users"][0]["user"], &users["next"]), (&json!("ann"), &json!("ann")));
    let none = json!({"permissions": []});
    world.send_as(ROOT, "PUT", "/v1/users/ann/permissions", none.clone()).await.expect(200);
    assert_eq!(world.send_as(ANN, "GET", "/v1/users/ann/permissions", Value::Null).await.expect(200), none);
    world.send_as(ROOT, "PUT", "/v1/users/nobody/permissions", none).await.problem(404, "user-not-found");
    world.send_as(ROOT, "DELETE", "/v1/users/ann", Value::Null).await.expect(204);
    world.send_as(ROOT, "GET", "/v1/users/ann", Value::Null).await.problem(404, "user-not-found");
    world.send_as(ANN, "GET", "/v1/users/ann", Value::Null).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_refused() {
    let world = world(json!([])).await;
    let put = async |permission: Value| {
        let body = json!({"permissions": [permission]});
        world.send_as(ROOT, "PUT", "/v1/users/ann/permissions", body).await
    };
    let rule = |extra: Value| {
        let mut rule = json!({"effect": "allow", "actions": ["publish"], "resources": ["topic"]});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        rule
    };
    for extra in [
        json!({}),
        json!({"name": "a", "prefix": "b"}),
        json!({"pattern": "("}),
        json!({"name": "a", "actions": []}),
        json!({"name": "a", "actions": ["fly"]}),
        json!({"name": "a", "sources": ["home"]}),
        json!({"name": "a", "more": 1}),
    ] {
        put(rule(extra)).await.problem(400, "invalid-request");
    }
    let long = |bytes| rule(json!({"prefix": "x".repeat(bytes)}));
    let max = mailrail_broker::limits::RULE_PATTERN_BYTES_MAX;
    put(long(max)).await.expect(200);
    put(long(max + 1)).await.problem(400, "limit-exceeded");
    let password = |bytes| json!({"password": "x".repeat(bytes)});
    let max = mailrail_broker::limits::PASSWORD_BYTES_MAX;
    world.send_as(ROOT, "PUT", "/v1/users/ann", password(max)).await.expect(200);
    world.send_as(ROOT, "PUT", "/v1/users/ann", password(max + 1)).await.problem(400, "limit-exceeded");
    world.send_as(ROOT, "PUT", "/v1/users/ann", password(0)).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn an_administrator_sees_who_changed_what() {
    let world = world(json!([])).await;
    world.send_as(ANN, "DELETE", "/v1/users/root", Value::Null).await.problem(403, "access-denied");
    world.send_as(ROOT, "PUT", "/v1/topics/t", json!({})).await.expect(201);
    let list = world.send_as(ROOT, "GET", "/v1/audit", Value::Null).await.expect(200);
    let changes: Vec<_> = list["changes"].as_array().unwrap().iter().collect();
    let shown: Vec<_> =
        changes.iter().map(|c| (c["user"].as_str().unwrap(), c["change"].as_str().unwrap())).collect();
    assert_eq!(
        shown,
        [
            ("root", "put topic \"t\""),
            ("ann", "delete user \"root\""),
            ("root", "put user \"ann\": a new password, rules []"),
            ("anonymous", "put user \"root\": admin=true, a new password"),
        ]
    );
    assert!(changes[1]["refused"].as_str().unwrap().contains("administer the cluster"), "{list}");
    assert_eq!(list.get("next"), None);
    let page = world.send_as(ROOT, "GET", "/v1/audit?max=2", Value::Null).await.expect(200);
    assert_eq!(page["next"], 3);
    let page = world.send_as(ROOT, "GET", "/v1/audit?max=2&before=3", Value::Null).await.expect(200);
    assert_eq!(page["changes"][0]["number"], 2);
    world.send_as(ROOT, "GET", "/v1/audit?max=101", Value::Null).await.problem(400, "limit-exceeded");
}
