//! What every test stands on: a broker, the router, and a clock that can be moved on or made to hold the shard up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::{Router, http};
use bytes::Bytes;
use http_body_util::BodyExt;
use mailrail_broker::{Broker, BrokerConfig, Clock, Command, Event, Now, Reply, Session, Token};
use mailrail_rest::{RestConfig, RestState, router};
use serde_json::Value;
use tower::ServiceExt;

pub const ADVERTISED: &str = "127.0.0.1:9876";

/// The system's time, plus what a test adds. While the gate is shut, the shard's thread stops at its next look at it.
pub struct TestClock {
    start: Instant,
    added_ms: AtomicU64,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        if std::thread::current().name() == Some("shard") {
            let shut = self.gate.lock().unwrap();
            drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
        }
        let added = Duration::from_millis(self.added_ms.load(Ordering::SeqCst));
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + added;
        Now { wall_ms: wall.as_millis() as u64, mono: self.start.elapsed() + added }
    }
}

impl TestClock {
    pub fn hold_the_shard(&self) {
        *self.gate.lock().unwrap() = true;
    }

    pub fn let_the_shard_go(&self) {
        *self.gate.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

pub struct World {
    pub broker: Broker,
    pub state: RestState,
    pub router: Router,
    pub clock: Arc<TestClock>,
    _data: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RestConfig)) -> World {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock {
            start: Instant::now(),
            added_ms: AtomicU64::new(0),
            gate: Mutex::new(false),
            opened: Condvar::new(),
        });
        let broker = Broker::open(BrokerConfig::new(data.path(), clock.clone(), "test".into())).unwrap();
        let mut config = RestConfig::new(ADVERTISED.parse().unwrap());
        change(&mut config);
        let state = RestState::new(broker.clone(), config);
        World { router: router(state.clone()), broker, state, clock, _data: data }
    }

    /// A session that is a member of the group `g`, and reads the topic `t` by offset.
    pub async fn member(&self) -> Session {
        let mut member = self.broker.connect();
        member.submit(vec![Command::Join {
            token: Token(1),
            group: "g".into(),
            member: "m".into(),
            topics: vec!["t".into()],
            expires_ms: 60_000,
        }]);
        member.next_events().await;
        member
    }

    /// The same broker behind other settings.
    pub fn configure(&mut self, change: impl FnOnce(&mut RestConfig)) {
        let mut config = RestConfig::new(ADVERTISED.parse().unwrap());
        change(&mut config);
        self.state = RestState::new(self.broker.clone(), config);
        self.router = router(self.state.clone());
    }

    /// Lets time pass, for the broker as well.
    pub fn pass(&self, time: Duration) {
        self.clock.added_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
        // The shard's thread sleeps by the real clock: any question makes it look at the time.
        self.broker.connect().submit(vec![Command::Members { token: Token(0), group: "nobody".into() }]);
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(request("DELETE", path).body(Body::empty()).unwrap()).await
    }

    pub async fn put(&self, path: &str, document: Value) -> Answer {
        self.json("PUT", path, document).await
    }

    pub async fn post(&self, path: &str, document: Value) -> Answer {
        self.json("POST", path, document).await
    }

    async fn json(&self, method: &str, path: &str, document: Value) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(document.to_string().into()).unwrap()).await
    }

    /// Publishes texts, each to this queue, and gives their ids.
    pub async fn publish(&self, topic: &str, queue: u32, bodies: &[&str]) -> Vec<String> {
        let messages: Vec<_> =
            bodies.iter().map(|body| serde_json::json!({"body": body, "queue": queue})).collect();
        let path = format!("/v1/topics/{topic}/messages");
        let answer = self.post(&path, serde_json::json!({ "messages": messages })).await.expect(201);
        answer["messages"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks the broker without REST.
    pub async fn ask(&self, command: impl FnOnce(Token) -> Command) -> Result<Reply, mailrail_broker::Error> {
        self.ask_over(self.broker.connect(), command).await
    }

    /// As somebody who may do everything.
    pub async fn ask_as_broker(&self, command: impl FnOnce(Token) -> Command) {
        self.ask_over(self.broker.connect_for_tidying(), command).await.unwrap();
    }

    async fn ask_over(
        &self,
        mut session: Session,
        command: impl FnOnce(Token) -> Command,
    ) -> Result<Reply, mailrail_broker::Error> {
        session.submit(vec![command(Token(1))]);
        loop {
            for event in session.next_events().await {
                if let Event::Reply { token: Token(1), result } = event {
                    return result;
                }
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clock.let_the_shard_go();
        let stopped = self.broker.stop();
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The document of an answer with this status; a problem document is checked to be one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:?}", self.body);
        let kind = self.headers.get("content-type").map(|value| value.to_str().unwrap());
        if status >= 400 {
            assert_eq!(kind, Some("application/problem+json"));
            let problem = self.json();
            assert_eq!(problem["status"], status);
            assert!(problem["type"].as_str().unwrap().starts_with("urn:mailrail:problem:"), "{problem}");
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
            assert_eq!(self.headers.contains_key("retry-after"), problem["retry_after_s"].is_number());
            return problem;
        }
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The document of a problem of this kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["type"], format!("urn:mailrail:problem:{kind}"), "{problem}");
        problem
    }
}
