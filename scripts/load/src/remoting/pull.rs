//! Lite pulls (361) of every queue from its first message on: connection `i` of `C` takes queues `i`, `i + C` ...,
//! one pull in flight per queue, as one SDK consumer per connection would.
use super::frame::{self, OPAQUE_FIRST, Scanner, Template};
use super::route;
use crate::conversation::{self, Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::Settings;
use crate::stamp;

const LITE_PULL: u16 = 361;
const FOUND: i64 = 0;
const NOT_FOUND: i64 = 19;
const RETRY_IMMEDIATELY: i64 = 20;
const OFFSET_MOVED: i64 = 21;
/// Suspend, subscription in the header, lite.
const SYS_FLAG: u32 = 0x02 | 0x04 | 0x10;
/// What SDKs ask for at most in one pull.
const PULL_MESSAGES: usize = 32;
const OFFSET_DIGITS: usize = 18;
const MAGIC_V1: u32 = 0xDAA3_20A7;
const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Where a stored message with IPv4 addresses holds its body (reference: RocketMQ's MessageDecoder).
const BODY_AT: usize = 88;

/// Readers of all queues of one topic.
pub struct Pulls {
    address: std::net::SocketAddr,
    connections: usize,
    topic: String,
    stamp: bool,
    route: route::Route,
}

impl Pulls {
    pub fn prepare(settings: &Settings) -> Result<Self, Failure> {
        let name_server = settings.name_server.unwrap_or(settings.address);
        let route = route::find_or_create(settings.address, name_server, &settings.topic, settings.queues)?;
        if settings.connections > route.queues {
            return Err(Failure::Refused(format!("{} has {} queues only", settings.topic, route.queues)));
        }
        Ok(Self {
            address: settings.address,
            connections: settings.connections,
            topic: settings.topic.clone(),
            stamp: settings.stamp,
            route,
        })
    }
}

impl Workload for Pulls {
    fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let cursors = (index..self.route.queues)
            .step_by(self.connections)
            .map(|queue| Cursor::new(&self.topic, &self.route.broker_name, queue))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Failure::Malformed("a pull without an offset".to_owned()))?;
        let conversation =
            PullConversation { cursors, scanner: Scanner::new(), stamp: self.stamp, is_stopped: false };
        Ok(Connection { stream: conversation::open(self.address)?, conversation: Box::new(conversation) })
    }
}

/// Where the reading of one queue has got to.
struct Cursor {
    template: Template,
    offset_at: usize,
    offset: u64,
    /// When the pull in flight began.
    pulling: Option<u64>,
}

impl Cursor {
    fn new(topic: &str, broker_name: &str, queue: usize) -> Option<Self> {
        let zero = "0".repeat(OFFSET_DIGITS);
        let fields = format!(
            r#"{{"queueId":"{queue}","commitOffset":"0","subscription":"*","suspendTimeoutMillis":"15000","bname":"{broker_name}","sysFlag":"{SYS_FLAG}","expressionType":"TAG","topic":"{topic}","consumerGroup":"load","maxMsgNums":"{PULL_MESSAGES}","queueOffset":"{zero}","subVersion":"0","maxMsgBytes":"262144"}}"#
        );
        let template = Template::new(LITE_PULL, &fields, 0);
        let key = r#""queueOffset":""#;
        let offset_at = template.find(key)? + key.len();
        Some(Self { template, offset_at, offset: 0, pulling: None })
    }
}

struct PullConversation {
    cursors: Vec<Cursor>,
    scanner: Scanner,
    stamp: bool,
    is_stopped: bool,
}

impl Conversation for PullConversation {
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64) {
        self.is_stopped = pace.is_stopped();
        for (index, cursor) in
            self.cursors.iter_mut().enumerate().filter(|(_, cursor)| cursor.pulling.is_none())
        {
            let Some(started_ns) = pace.next(now_ns) else { return };
            let begin = cursor.template.write(out, OPAQUE_FIRST + index as u32);
            frame::patch_decimal(&mut out[begin + cursor.offset_at..][..OFFSET_DIGITS], cursor.offset);
            cursor.pulling = Some(started_ns);
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(answer) = self.scanner.next(&input[taken..])? {
            let cursor = usize::try_from(answer.opaque - i64::from(OPAQUE_FIRST))
                .ok()
                .and_then(|index| self.cursors.get_mut(index))
                .ok_or_else(|| Failure::Malformed(format!("opaque {} is not in flight", answer.opaque)))?;
            let started_ns = cursor
                .pulling
                .take()
                .ok_or_else(|| Failure::Malformed(format!("opaque {} answered twice", answer.opaque)))?;
            match answer.code {
                FOUND if self.stamp => {
                    let wall_ns = stamp::wall_ns();
                    each_message(answer.body, |message| {
                        tally.arrived(stamp::age_ns(message.get(BODY_AT..).unwrap_or(&[]), wall_ns)?);
                        Ok(())
                    })?;
                }
                FOUND => {
                    let mut count = 0;
                    each_message(answer.body, |_| {
                        count += 1;
                        Ok(())
                    })?;
                    tally.acknowledged(count, started_ns);
                }
                NOT_FOUND | RETRY_IMMEDIATELY | OFFSET_MOVED => {}
                _ => return Err(answer.refusal()),
            }
            cursor.offset = answer
                .number("nextBeginOffset")
                .and_then(|offset| u64::try_from(offset).ok())
                .ok_or_else(|| Failure::Malformed("a pull answer without nextBeginOffset".to_owned()))?;
            taken += answer.bytes;
        }
        Ok(taken)
    }

    /// A pull that waits for messages to come need not be waited for.
    fn in_flight(&self) -> usize {
        if self.is_stopped {
            0
        } else {
            self.cursors.iter().filter(|cursor| cursor.pulling.is_some()).count()
        }
    }
}

/// Walks the stored messages as a client would: total size and magic of each must hold.
fn each_message(mut body: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    while !body.is_empty() {
        let bytes = frame::read_u32(body, 0).unwrap_or(0) as usize;
        let magic = frame::read_u32(body, 4);
        if bytes < 8 || bytes > body.len() || !matches!(magic, Some(MAGIC_V1 | MAGIC_V2)) {
            return Err(Failure::Malformed("a pull gave what is not a stored message".to_owned()));
        }
        let (message, rest) = body.split_at(bytes);
        take(message)?;
        body = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_messages_are_taken_one_by_one_and_broken_ones_refused() {
        let mut one = 12u32.to_be_bytes().to_vec();
        one.extend_from_slice(&MAGIC_V1.to_be_bytes());
        one.extend_from_slice(b"rest");
        let count = |body: &[u8]| {
            let mut count = 0;
            each_message(body, |message| {
                assert_eq!(message, one);
                count += 1;
                Ok(())
            })
            .map(|()| count)
        };
        assert_eq!(count(&one.repeat(3)).expect("well formed"), 3);
        assert!(count(&one.repeat(3)[..30]).is_err(), "cut");
        assert!(count(&[0; 12]).is_err(), "no magic");
    }
}
