//! Where a topic's queues are: asks for the route as an SDK does, and lets the first send create the topic.
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::frame::{self, Template};
use crate::conversation::{self, Failure};

const GET_ROUTE: u16 = 105;
const SEND: u16 = 310;
const TOPIC_NOT_EXIST: i64 = 17;
/// RocketMQ tells its name server of a new topic some time after the first send.
const ROUTE_WAIT_MAX: Duration = Duration::from_secs(40);
const ROUTE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// What Java clients ask for when a topic does not exist.
const QUEUES_DEFAULT: usize = 4;

/// What a load needs of a route.
#[derive(Clone, Debug)]
pub struct Route {
    pub broker_name: String,
    pub queues: usize,
}

/// The topic's route; an unknown topic is created by a first message to its broker.
pub fn find_or_create(
    broker: SocketAddr,
    name_server: SocketAddr,
    topic: &str,
    queues: Option<usize>,
) -> Result<Route, Failure> {
    let mut names = conversation::open(name_server)?;
    if let Some(route) = find(&mut names, topic)? {
        return Ok(route);
    }
    create(broker, topic, queues.unwrap_or(QUEUES_DEFAULT))?;
    let deadline = Instant::now() + ROUTE_WAIT_MAX;
    while Instant::now() < deadline {
        if let Some(route) = find(&mut names, topic)? {
            return Ok(route);
        }
        thread::sleep(ROUTE_RETRY_INTERVAL);
    }
    Err(Failure::Stalled(format!("no route to {topic} {ROUTE_WAIT_MAX:?} after its first message")))
}

fn find(names: &mut TcpStream, topic: &str) -> Result<Option<Route>, Failure> {
    let template = Template::new(GET_ROUTE, &format!(r#"{{"topic":"{topic}"}}"#), 0);
    let (code, answer) = frame::ask(names, &template, b"")?;
    match code {
        0 => parse(&answer).map(Some),
        TOPIC_NOT_EXIST => Ok(None),
        _ => Err(Failure::Refused(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// Looks for two keys only: the body is not always JSON (RocketMQ writes bare integer keys).
fn parse(answer: &[u8]) -> Result<Route, Failure> {
    let value = |key: &[u8]| {
        let begin = memmem::find(answer, key)? + key.len();
        let bytes = answer[begin..].iter().take_while(|byte| !matches!(byte, b'"' | b',' | b'}')).count();
        std::str::from_utf8(&answer[begin..begin + bytes]).ok()
    };
    let queues =
        value(br#""writeQueueNums":"#).and_then(|text| text.parse().ok()).filter(|queues| *queues > 0);
    match (value(br#""brokerName":""#), queues) {
        (Some(broker_name), Some(queues)) => Ok(Route { broker_name: broker_name.to_owned(), queues }),
        _ => Err(Failure::Malformed(String::from_utf8_lossy(answer).into_owned())),
    }
}

fn create(broker: SocketAddr, topic: &str, queues: usize) -> Result<(), Failure> {
    let fields = format!(
        r#"{{"a":"load","b":"{topic}","c":"TBW102","d":"{queues}","e":"0","f":"0","g":"0","h":"0","i":"","j":"0","k":"false","m":"false"}}"#
    );
    let body = b"first";
    let (code, answer) =
        frame::ask(&mut conversation::open(broker)?, &Template::new(SEND, &fields, body.len()), body)?;
    if code == 0 { Ok(()) } else { Err(Failure::Refused(String::from_utf8_lossy(&answer).into_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_from_bare_and_quoted_keys() {
        for key in ["0", "\"0\""] {
            let body = format!(
                r#"{{"brokerDatas":[{{"brokerAddrs":{{{key}:"127.0.0.1:10911"}},"brokerName":"broker-a","cluster":"c"}}],"queueDatas":[{{"brokerName":"broker-a","perm":6,"readQueueNums":8,"writeQueueNums":4}}]}}"#
            );
            let route = parse(body.as_bytes()).expect("a route");
            assert_eq!((route.broker_name.as_str(), route.queues), ("broker-a", 4));
        }
        assert!(parse(br#"{"brokerDatas":[]}"#).is_err());
    }
}
