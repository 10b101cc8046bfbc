//! What one connection holds of what comes and what goes, at its limits.

use mailrail_broker::{Broker, BrokerConfig, Command, Session, Token};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::SystemClock;

/// A connection that says nothing of itself.
struct Silent(Session);

impl Connection for Silent {
    fn handle_input(&mut self, _now: Now, _input: &mut BytesMut, _output: &mut Output) {}
    fn handle_events(&mut self, _now: Now, _events: &mut Vec<Event>, _output: &mut Output) {}
    fn handle_deadline(&mut self, _now: Now, _output: &mut Output) {}
    fn handle_held_back(&mut self, _now: Now) {}

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn wants_input(&self) -> bool {
        false
    }

    fn is_closing(&self) -> bool {
        false
    }

    fn session(&mut self) -> &mut Session {
        &mut self.0
    }
}

fn ask(session: &mut Session) {
    session.submit(vec![Command::Committed { token: Token(1), group: "g".into(), queues: Vec::new() }]);
}

/// Whether the driver of a connection to which so much waits to be written takes an event that is there.
async fn takes_events_with(output_bytes: usize) -> bool {
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(data.path(), Arc::new(SystemClock::start()), "test".into());
    let broker = Broker::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let stream = Stream::Plain(listener.accept().await.unwrap().0);
    let meter = ConnectionMeter::new("test");
    let mut driver = Driver::new(stream, Silent(broker.connect()), &meter, Buffers::new(u64::MAX));
    ask(driver.connection.session());
    // Once somebody who asked later has been answered twice, the event is there.
    let mut other = broker.connect();
    for _ in 0..2 {
        ask(&mut other);
        poll_fn(|context| other.poll_events(context, &mut Vec::new())).await;
    }
    driver.output.append(|output| output.put_bytes(0, output_bytes));
    let (_running, mut phase) = watch::channel(Phase::Running);
    let timer = pin!(tokio::time::sleep(DEADLINE_FAR));
    let turn = driver.next_turn(&mut phase, timer, false).await;
    broker.stop().unwrap();
    assert!(matches!(turn, Turn::Events | Turn::Writable));
    matches!(turn, Turn::Events)
}

#[tokio::test]
async fn a_peer_that_does_not_read_gets_nothing_further_above_the_limit() {
    assert!(takes_events_with(OUTPUT_BYTES_MAX).await);
    assert!(!takes_events_with(OUTPUT_BYTES_MAX + 1).await);
}

#[test]
fn reads_grow_and_shrink_between_their_least_and_their_most() {
    let full = |read_bytes| next_read_bytes(read_bytes, read_bytes, read_bytes);
    assert_eq!(full(READ_BYTES_MIN), 2 * READ_BYTES_MIN);
    assert_eq!((full(READ_BYTES_MAX / 2), full(READ_BYTES_MAX)), (READ_BYTES_MAX, READ_BYTES_MAX));
    let short = |read_bytes| next_read_bytes(read_bytes, read_bytes, 1);
    assert_eq!(short(READ_BYTES_MAX), READ_BYTES_MAX / 2);
    assert_eq!((short(2 * READ_BYTES_MIN), short(READ_BYTES_MIN)), (READ_BYTES_MIN, READ_BYTES_MIN));
}
