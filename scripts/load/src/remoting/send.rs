//! Sends: SEND_MESSAGE_V2 (310) with the header and properties of the Java SDK, or SEND_BATCH_MESSAGE (320).
use super::frame::{self, OPAQUE_FIRST, OPAQUE_LAST, Scanner, Template};
use super::route;
use crate::conversation::{self, Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::{Durability, Settings};
use crate::stamp;
use crate::window::Slots;

const SEND_V2: u16 = 310;
const SEND_BATCH: u16 = 320;
/// The unique key's fixed part: address, process and loader as a Java client at 127.0.0.1 writes them.
const UNIQUE_KEY_HEAD: &str = "7F0000010D7D18B4AAC2";
/// Decimal digits are hex digits too, and cheaper to count.
const UNIQUE_KEY_DIGITS: usize = 12;
/// Each connection counts in a range of its own, so that no two messages share a key.
const KEYS_PER_CONNECTION: u64 = 50_000_000;
const BORN_AT_DIGITS: usize = 13;
const NS_PER_MS: u64 = 1_000_000;
/// 20 bytes of head per message in a batch: size, magic, CRC, flag, body length.
const BATCH_HEAD_BYTES: usize = 20;

/// Sends of one kind to all queues of one topic.
pub struct Sends {
    address: std::net::SocketAddr,
    window: usize,
    batch: u64,
    stamp: bool,
    /// One request per queue.
    requests: Vec<Request>,
}

/// A request as encoded, and where it is patched.
#[derive(Clone)]
struct Request {
    template: Template,
    born_at: usize,
    /// Places of unique keys' counters, from the beginning of the frame.
    key_counters: Vec<usize>,
    body: Vec<u8>,
    header_bytes: usize,
}

impl Sends {
    pub fn prepare(settings: &Settings) -> Result<Self, Failure> {
        let name_server = settings.name_server.unwrap_or(settings.address);
        let route = route::find_or_create(settings.address, name_server, &settings.topic, settings.queues)?;
        let requests = (0..route.queues)
            .map(|queue| Request::new(settings, &route.broker_name, queue))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Failure::Malformed("a request without the fields to patch".to_owned()))?;
        Ok(Self {
            address: settings.address,
            window: settings.window,
            batch: settings.batch as u64,
            stamp: settings.stamp,
            requests,
        })
    }
}

impl Workload for Sends {
    fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let conversation = SendConversation {
            requests: self.requests.clone(),
            next_queue: index % self.requests.len(),
            next_key: index as u64 * KEYS_PER_CONNECTION,
            slots: Slots::new(self.window, OPAQUE_FIRST, OPAQUE_LAST),
            scanner: Scanner::new(),
            batch: self.batch,
            stamp: self.stamp,
        };
        Ok(Connection { stream: conversation::open(self.address)?, conversation: Box::new(conversation) })
    }
}

impl Request {
    /// `None` when the encoded request lacks a field that must be patched, which would be a mistake in this file.
    fn new(settings: &Settings, broker_name: &str, queue: usize) -> Option<Self> {
        let wait = if settings.durability == Durability::Disk { "true" } else { "false" };
        let is_batch = settings.batch > 1;
        let message = Message::new(settings.size, wait);
        let (code, properties) = if is_batch {
            (SEND_BATCH, format!("WAIT\\u0001{wait}\\u0002"))
        } else {
            (SEND_V2, message.properties.replace('\u{1}', "\\u0001").replace('\u{2}', "\\u0002"))
        };
        let body = if is_batch { message.repeat(settings.batch) } else { message.body };
        let fields = format!(
            r#"{{"a":"load","b":"{}","c":"TBW102","d":"4","e":"{queue}","f":"0","g":"{:0BORN_AT_DIGITS$}","h":"0","i":"{properties}","j":"0","k":"false","m":"{is_batch}","n":"{broker_name}"}}"#,
            settings.topic, 0
        );
        let template = Template::new(code, &fields, body.len());
        let born_at = template.find(r#""g":""#)? + r#""g":""#.len();
        let mut encoded = Vec::new();
        template.write(&mut encoded, OPAQUE_FIRST);
        let header_bytes = encoded.len();
        encoded.extend_from_slice(&body);
        let key_counters: Vec<_> = memchr::memmem::find_iter(&encoded, UNIQUE_KEY_HEAD)
            .map(|begin| begin + UNIQUE_KEY_HEAD.len())
            .collect();
        (key_counters.len() == settings.batch).then_some(Self {
            template,
            born_at,
            key_counters,
            body,
            header_bytes,
        })
    }

    /// Appends the request and gives where its body begins in `out`.
    fn write(&self, out: &mut Vec<u8>, opaque: u32, born_at_ms: u64, next_key: &mut u64) -> usize {
        let begin = self.template.write(out, opaque);
        debug_assert_eq!(out.len() - begin, self.header_bytes);
        out.extend_from_slice(&self.body);
        frame::patch_decimal(&mut out[begin + self.born_at..][..BORN_AT_DIGITS], born_at_ms);
        for place in &self.key_counters {
            frame::patch_decimal(&mut out[begin + place..][..UNIQUE_KEY_DIGITS], *next_key);
            *next_key += 1;
        }
        begin + self.header_bytes
    }
}

/// One message as a Java producer with a tag sends it.
struct Message {
    properties: String,
    body: Vec<u8>,
}

impl Message {
    fn new(body_bytes: usize, wait: &str) -> Self {
        let key = format!("{UNIQUE_KEY_HEAD}{:0UNIQUE_KEY_DIGITS$}", 0);
        Self {
            properties: format!("UNIQ_KEY\u{1}{key}\u{2}WAIT\u{1}{wait}\u{2}TAGS\u{1}tag-A\u{2}"),
            body: vec![b'x'; body_bytes],
        }
    }

    /// The body of a batch: `size, 0, 0, flag, body length, body, properties length, properties` for each message.
    fn repeat(&self, count: usize) -> Vec<u8> {
        let size = BATCH_HEAD_BYTES + self.body.len() + 2 + self.properties.len();
        let mut one = Vec::with_capacity(size);
        for value in [size, 0, 0, 0, self.body.len()] {
            one.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
        }
        one.extend_from_slice(&self.body);
        one.extend_from_slice(&u16::try_from(self.properties.len()).unwrap_or(u16::MAX).to_be_bytes());
        one.extend_from_slice(self.properties.as_bytes());
        one.repeat(count)
    }
}

struct SendConversation {
    requests: Vec<Request>,
    next_queue: usize,
    next_key: u64,
    slots: Slots,
    scanner: Scanner,
    batch: u64,
    stamp: bool,
}

impl Conversation for SendConversation {
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64) {
        if !self.slots.has_room() {
            return;
        }
        let wall_ns = stamp::wall_ns();
        while self.slots.has_room() {
            let Some(started_ns) = pace.next(now_ns) else { return };
            let Some(opaque) = self.slots.take(started_ns) else { return };
            let request = &self.requests[self.next_queue];
            let body = request.write(out, opaque, wall_ns / NS_PER_MS, &mut self.next_key);
            if self.stamp {
                stamp::write(&mut out[body..], wall_ns, now_ns - started_ns);
            }
            self.next_queue = (self.next_queue + 1) % self.requests.len();
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(answer) = self.scanner.next(&input[taken..])? {
            answer.check()?;
            let started_ns = u32::try_from(answer.opaque)
                .ok()
                .and_then(|opaque| self.slots.give_back(opaque))
                .ok_or_else(|| Failure::Malformed(format!("opaque {} is not in flight", answer.opaque)))?;
            tally.acknowledged(self.batch, started_ns);
            taken += answer.bytes;
        }
        Ok(taken)
    }

    fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }
}
