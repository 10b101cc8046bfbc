//! Connections over real sockets with short limits: what is silent, slow or stalled ends, and what is not is served.

use std::sync::Arc;

use axum::body::Body;
use mailrail_broker::{Broker, BrokerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use tokio::net::TcpStream;

use super::*;
use crate::buffers::Buffers;
use crate::clock::SystemClock;
use crate::tls::Tls;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);
const GET: &[u8] = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";

struct Server {
    address: SocketAddr,
    places: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    serving: JoinHandle<()>,
    broker: Broker,
    _data: tempfile::TempDir,
}

impl Server {
    async fn start(places: usize, timeouts: Timeouts) -> Server {
        let data = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(data.path(), Arc::new(SystemClock::start()), "test".into());
        let broker = Broker::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Arc::new(Semaphore::new(places));
        let (phase, phases) = watch::channel(Phase::Running);
        let shared = Shared {
            broker: broker.clone(),
            places: places.clone(),
            buffers: Buffers::new(u64::MAX),
            phase: phases,
            tls: Tls::open(None).unwrap(),
        };
        let long = || std::future::ready(Body::from(vec![b'x'; 64 << 20]));
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| std::future::ready(peer.to_string());
        let never = std::future::pending::<&'static str>;
        let routes =
            Router::new().route("/long", get(long)).route("/peer", get(peer)).route("/never", get(never));
        let serving = tokio::spawn(serve(listener, routes, shared, timeouts));
        Server { address, places, phase, serving, broker, _data: data }
    }

    async fn dial(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client
    }

    /// Whether a request is answered, rather than the connection closed.
    async fn serves(&self) -> bool {
        let mut client = self.dial(GET).await;
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
    }

    /// Closes, and gives the tasks' time to end.
    async fn close(self) {
        self.phase.send_replace(Phase::Closing);
        timeout(LONG, self.serving).await.expect("connections have not ended").unwrap();
        self.broker.stop().unwrap();
    }
}

fn patient() -> Timeouts {
    Timeouts { head: LONG, stall: LONG, close: LONG }
}

/// Everything until the peer closes.
async fn rest(mut client: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(LONG, client.read_to_end(&mut bytes)).await.expect("the connection is still open");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    let server = Server::start(9, Timeouts { head: SHORT, ..patient() }).await;
    for start in [&b""[..], b"GET /peer HT", b"GET /peer HTTP/1.1\r\nHost: x\r\n"] {
        let answer = rest(server.dial(start).await).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    // One that is kept open has the same time for its next request.
    let answer = rest(server.dial(GET).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.close().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let server = Server::start(1, Timeouts { stall: SHORT, ..patient() }).await;
    let client = server.dial(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The only place is free again once the connection has ended, although its client is still there.
    let place = timeout(LONG, server.places.clone().acquire_owned()).await.expect("it holds its place");
    drop((place, client));
    server.close().await;
}

#[tokio::test]
async fn a_peer_that_takes_a_long_answer_gets_all_of_it() {
    let server = Server::start(1, patient()).await;
    let client = server.dial(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(rest(client).await.len() > 64 << 20);
    server.close().await;
}

#[tokio::test]
async fn connections_take_places_and_give_them_back() {
    let server = Server::start(1, patient()).await;
    let first = server.dial(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Accepting is in order, so the first has the place when the second is looked at.
    assert!(!server.serves().await);
    drop(first);
    let _ = timeout(LONG, server.places.acquire()).await.expect("the place is not given back").unwrap();
    assert!(server.serves().await);
    server.close().await;
}

#[tokio::test]
async fn a_head_may_fill_what_is_held_of_it_and_no_more() {
    let server = Server::start(9, patient()).await;
    let start = "GET /peer HTTP/1.1\r\nConnection: close\r\nX: ";
    let unfinished = |bytes| format!("{start}{}", "x".repeat(bytes - start.len())).into_bytes();
    // What fits is held although its end, which is the last byte that fits, is still to come.
    let mut client = server.dial(&[&unfinished(READ_BYTES_MAX - 4)[..], b"\r\n\r"].concat()).await;
    assert!(server.serves().await, "meanwhile it has read that");
    client.write_all(b"\n").await.unwrap();
    let answer = rest(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = rest(server.dial(&unfinished(READ_BYTES_MAX)).await).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    server.close().await;
}

#[tokio::test]
async fn routes_know_the_peer() {
    let server = Server::start(9, patient()).await;
    let client = server.dial(b"GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let peer = client.local_addr().unwrap().to_string();
    let answer = rest(client).await;
    assert!(answer.ends_with(&peer), "{answer}");
    server.close().await;
}

#[tokio::test]
async fn closing_ends_what_is_idle_at_once_and_what_is_under_way_in_time() {
    let server = Server::start(9, Timeouts { close: SHORT, ..patient() }).await;
    let silent = server.dial(b"").await;
    let half = server.dial(b"GET /pe").await;
    let waiting = server.dial(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(server.serves().await, "it accepts in order, so the others are connected");
    server.phase.send_replace(Phase::Draining);
    assert!(server.serves().await, "readiness is asked for while it drains");
    server.close().await;
    for client in [silent, half, waiting] {
        assert_eq!(rest(client).await, "");
    }
}
