//! The memory budget as the operating system sees it: a broker of 256 MiB under clients of all protocols that send half
//! of what they began, take nothing of what they asked for, or ask for more than anybody can read, stays within them and
//! goes on serving who behaves. `MAILRAIL_LONG=1` does more of it for longer.

mod rig;

use std::cell::Cell;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rig::*;

const MIB: usize = 1 << 20;
const MEMORY_MIB: usize = 256;
/// Longest that a client which behaves may wait for one answer, whatever the others do.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES: usize = 4 * MIB - 1_024;
static HALF: [u8; BODY_BYTES / 2] = [b'x'; BODY_BYTES / 2];
const TOPIC: &str = "t";
/// Nothing is published to it.
const QUIET: &str = "quiet";
/// How long who keeps memory that others wait for may leave half a request standing, take nothing of what is written, and
/// take for the rest of a request while others wait for their turn.
const INPUT_STALL_MAX: Duration = Duration::from_secs(2);
const OUTPUT_STALL_MAX: Duration = Duration::from_secs(10);
const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// Clients try again.
const SYSTEM_BUSY: u32 = 2;

fn is_long() -> bool {
    std::env::var_os("MAILRAIL_LONG").is_some()
}

/// A remoting request with these fields, and this many bytes of body announced.
fn remoting(code: u16, opaque: u32, fields: &str, body_bytes: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"flag":0,"language":"JAVA","opaque":{opaque},"version":401,"extFields":{{{fields}}}}}"#
    );
    let header_bytes = u32::try_from(header.len()).unwrap();
    let mut frame = u32::try_from(4 + header.len() + body_bytes).unwrap().to_be_bytes().to_vec();
    frame.extend(header_bytes.to_be_bytes());
    frame.extend(header.as_bytes());
    frame
}

fn send_request(opaque: u32, body_bytes: usize) -> Vec<u8> {
    let fields = format!(
        r#""producerGroup":"p","topic":"{TOPIC}","defaultTopic":"TBW102","defaultTopicQueueNums":"4","queueId":"0","sysFlag":"0","bornTimestamp":"1","flag":"0","properties":"","reconsumeTimes":"0","unitMode":"false","batch":"false""#
    );
    remoting(10, opaque, &fields, body_bytes)
}

fn pull_request(opaque: u32, topic: &str, hold_ms: u32, offset: u64) -> Vec<u8> {
    let flags = if hold_ms > 0 { 6 } else { 4 };
    let fields = format!(
        r#""consumerGroup":"g","topic":"{topic}","queueId":"0","queueOffset":"{offset}","maxMsgNums":"1000","sysFlag":"{flags}","commitOffset":"0","suspendTimeoutMillis":"{hold_ms}","subscription":"*","subVersion":"1","expressionType":"TAG","maxMsgBytes":"1048576""#
    );
    remoting(11, opaque, &fields, 0)
}

/// The code of the next answer.
fn remoting_code(stream: &mut TcpStream) -> io::Result<u32> {
    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let mut frame = vec![0; u32::from_be_bytes(word) as usize];
    stream.read_exact(&mut frame)?;
    let header_bytes = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize & 0xFF_FFFF;
    let header: serde_json::Value = serde_json::from_slice(&frame[4..4 + header_bytes]).unwrap();
    Ok(header["code"].as_u64().unwrap() as u32)
}

/// A method frame; `arguments` are as they go over the wire.
fn amqp_method(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
    amqp_frame(1, channel, &[&ids, arguments].concat())
}

fn amqp_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// A publish to the topic of which only so many bytes of the body follow; all where that is what it announces.
fn amqp_publish(body_bytes: usize, sent_bytes: usize) -> Vec<u8> {
    let mut bytes = amqp_method(1, 60, 40, &[&[0, 0, 0][..], &short(TOPIC), &[0]].concat());
    let header = [&[0, 60, 0, 0][..], &(body_bytes as u64).to_be_bytes(), &[0x10, 0, 2]].concat();
    bytes.extend(amqp_frame(2, 1, &header));
    for _ in 0..sent_bytes / 65_536 {
        bytes.extend(amqp_frame(3, 1, &[b'x'; 65_536]));
    }
    if !sent_bytes.is_multiple_of(65_536) {
        bytes.extend(amqp_frame(3, 1, &vec![b'x'; sent_bytes % 65_536]));
    }
    bytes
}

/// Reads frames until a method of this class and number comes.
fn amqp_until(stream: &mut TcpStream, class: u16, method: u16) -> io::Result<()> {
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes(head[3..7].try_into().unwrap()) as usize + 1];
        stream.read_exact(&mut payload)?;
        if head[0] == 1 && payload[..4] == [class.to_be_bytes(), method.to_be_bytes()].concat() {
            return Ok(());
        }
    }
}

/// A broker under abuse, and everybody who abuses it: their connections stay open.
struct House {
    running: Running,
    /// With the addresses that they went to.
    open: Vec<(String, TcpStream)>,
    unfinished: Vec<std::thread::JoinHandle<()>>,
    /// How many connections that speak remoting or AMQP were made, of which some may have ended.
    dialed: Cell<usize>,
}

impl House {
    fn dial(&self, listener: &str) -> TcpStream {
        self.dialed.set(self.dialed.get() + usize::from(listener != "http"));
        let stream = TcpStream::connect(self.running.address(listener)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// An AMQP connection with channel 1 open.
    fn amqp(&self) -> io::Result<TcpStream> {
        let mut stream = self.dial("amqp");
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        amqp_until(&mut stream, 10, 10)?;
        let login =
            [&[0; 4][..], &short("PLAIN"), &[0, 0, 0, 12], b"\0guest\0guest", &short("en_US")].concat();
        stream.write_all(&amqp_method(0, 10, 11, &login))?;
        amqp_until(&mut stream, 10, 30)?;
        stream.write_all(&amqp_method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 0]))?;
        stream.write_all(&amqp_method(0, 10, 40, &[&short("/")[..], &[0, 0]].concat()))?;
        amqp_until(&mut stream, 10, 41)?;
        stream.write_all(&amqp_method(1, 20, 10, &[0]))?;
        amqp_until(&mut stream, 20, 11)?;
        Ok(stream)
    }

    /// Writes as much as the broker takes, and goes on in a thread of its own where it takes no more: the connection
    /// stays as it is.
    fn leave(&mut self, stream: TcpStream, bytes: Vec<u8>) {
        self.leave_with(stream, bytes, &[]);
    }

    fn leave_with(&mut self, mut stream: TcpStream, head: Vec<u8>, body: &'static [u8]) {
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        self.open.push((stream.peer_addr().unwrap().to_string(), stream.try_clone().unwrap()));
        self.unfinished.push(
            std::thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || drop(stream.write_all(&head).and_then(|()| stream.write_all(body))))
                .unwrap(),
        );
    }

    fn status_bytes(&self, field: &str) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Publishes over every protocol; the longest that one of them took.
    fn publish_everywhere(&self) -> Duration {
        let timed = |publish: &dyn Fn()| {
            let start = Instant::now();
            publish();
            start.elapsed()
        };
        let remoting = || {
            let mut stream = self.dial("remoting");
            let mut code = SYSTEM_BUSY;
            while code == SYSTEM_BUSY {
                stream.write_all(&[send_request(1, 1_000), vec![b'x'; 1_000]].concat()).unwrap();
                code = remoting_code(&mut stream).unwrap();
            }
            assert_eq!(code, 0);
        };
        let amqp = || {
            let mut stream = self.amqp().unwrap();
            stream.write_all(&amqp_method(1, 85, 10, &[0])).unwrap();
            amqp_until(&mut stream, 85, 11).unwrap();
            stream.write_all(&amqp_publish(1_000, 1_000)).unwrap();
            amqp_until(&mut stream, 60, 80).unwrap();
        };
        let rest = || {
            within_patience(|| {
                let line = format!("POST /v1/topics/{TOPIC}/messages");
                let answer = status(&mut self.running.request(&line, r#"{"messages": [{"body": "one"}]}"#));
                assert!(matches!(answer, 201 | 429 | 503), "{answer}");
                (answer == 201).then_some(())
            });
        };
        [timed(&remoting), timed(&amqp), timed(&rest)].into_iter().max().unwrap()
    }

    /// What is used of a share of the budget, and what it allows.
    fn share(&self, name: &str) -> (u64, u64) {
        let lines: Vec<String> =
            self.running.last_request("GET /metrics").lines().map_while(Result::ok).collect();
        let value = |metric: &str| {
            let start = format!("{metric}{{share=\"{name}\"}} ");
            let value = lines.iter().find_map(|line| line.strip_prefix(&start)).unwrap();
            value.parse::<f64>().unwrap() as u64
        };
        (value("mailrail_memory_share_bytes"), value("mailrail_memory_share_bytes_max"))
    }

    /// Waits until the abuse bites.
    fn until_used_up(&self, share: &str) {
        let (used, max) = within_patience(|| Some(self.share(share)).filter(|(used, max)| used > max));
        println!("{share}: {} KiB of {} KiB", used / 1024, max / 1024);
    }

    /// Checks what it is all about: memory, and answers in time.
    fn check(&self, during: &str) {
        let slowest = self.publish_everywhere();
        let high = self.status_bytes("VmHWM:");
        println!("{during}: VmHWM {} MiB, slowest answer {slowest:?}", high / MIB);
        assert!(high <= MEMORY_MIB * MIB, "{during}: VmHWM is {} MiB", high / MIB);
        assert!(slowest < ANSWER_TIME_MAX, "{during}: an answer took {slowest:?}");
    }

    /// A count of the connections that speak remoting or AMQP.
    fn connections(&self, metric: &str) -> usize {
        let answer = self.running.last_request("GET /metrics");
        let counts = answer.lines().map_while(Result::ok).filter_map(|line| {
            let labels = line.strip_prefix(metric)?.strip_prefix("{protocol=\"")?;
            let count = labels.strip_prefix("remoting\"} ").or(labels.strip_prefix("amqp\"} "))?;
            count.parse::<usize>().ok()
        });
        counts.sum()
    }

    /// Waits until the broker has hung up on one of those that speak remoting or AMQP; it bears with them so long.
    fn until_hung_up(&mut self, since: Instant, time_max: Duration, mut meanwhile: impl FnMut(&mut House)) {
        let http = self.running.address("http");
        let open = self.open.iter().filter(|(address, _)| *address != http).count();
        // Who has not got in yet has not been hung up on.
        within_patience(|| {
            (self.connections("mailrail_connections_total") >= self.dialed.get()).then_some(())
        });
        within_patience(|| {
            meanwhile(self);
            (self.connections("mailrail_connections") < open).then_some(())
        });
        let took = since.elapsed();
        println!("hung up on the first after {took:?}");
        assert!(took >= time_max, "{took:?}");
    }

    fn check_for_a_while(&self, during: &str) {
        for round in 0..if is_long() { 30 } else { 4 } {
            self.check(&format!("{during}, round {round}"));
            std::thread::sleep(Duration::from_millis(if is_long() { 500 } else { 100 }));
        }
    }

    fn leave_halves(&mut self, connections: usize) {
        for number in 0..connections {
            match number % 10 {
                0 => {
                    let Ok(stream) = self.amqp() else { continue };
                    self.leave(stream, amqp_publish(BODY_BYTES, BODY_BYTES / 2));
                }
                1 => {
                    let head = format!(
                        "POST /v1/topics/{TOPIC}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
                    );
                    let stream = self.dial("http");
                    self.leave_with(stream, head.into_bytes(), &HALF);
                }
                _ => {
                    let stream = self.dial("remoting");
                    self.leave_with(stream, send_request(1, BODY_BYTES), &HALF);
                }
            }
        }
    }

    /// Everybody hangs up.
    fn forget(&mut self) {
        for (_, stream) in self.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.unfinished.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn house(folder: &std::path::Path) -> House {
    let running = Running::start_with(folder, &["--memory-mib", "256"]);
    for topic in [TOPIC, QUIET] {
        running.expect(&format!("PUT /v1/topics/{topic}"), r#"{"queues": 1}"#, 201);
    }
    House { running, open: Vec::new(), unfinished: Vec::new(), dialed: Cell::new(0) }
}

#[test]
fn halves_of_long_requests_leave_room_for_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = house(folder.path());
    let start = Instant::now();
    house.leave_halves(if is_long() { 1_000 } else { 160 });
    house.until_used_up("buffers");
    house.check_for_a_while("halves");
    house.until_hung_up(start, INPUT_STALL_MAX, |_| ());
    house.forget();
}

#[test]
fn who_sends_a_byte_now_and_then_does_not_keep_its_turn_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = house(folder.path());
    let start = Instant::now();
    for _ in 0..12 {
        let stream = house.dial("remoting");
        house.leave(stream, [send_request(1, BODY_BYTES), vec![b'x'; MIB]].concat());
    }
    house.until_used_up("buffers");
    house.until_hung_up(start, TURN_TIME_MAX, |house| {
        house.open.iter_mut().for_each(|(_, stream)| drop(stream.write(b"x")));
    });
    house.check("tricklers");
    house.forget();
}

#[test]
fn who_takes_nothing_of_what_was_asked_for_is_not_given_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = house(folder.path());
    let messages = if is_long() { 1_600 } else { 320 };
    let mut stream = house.dial("remoting");
    for number in 0..messages {
        stream.write_all(&[send_request(number, 64 * 1024), vec![b'x'; 64 * 1024]].concat()).unwrap();
        if number % 32 == 31 {
            (0..32).for_each(|_| assert_eq!(remoting_code(&mut stream).unwrap(), 0));
        }
    }
    house.check("a backlog");
    let start = Instant::now();
    for number in 0..if is_long() { 1_000 } else { 120 } {
        if number % 2 == 0 {
            let mut bytes = Vec::new();
            (0..200).for_each(|at| bytes.extend(pull_request(at, TOPIC, 0, u64::from(at) % 16 * 20)));
            let stream = house.dial("remoting");
            house.leave(stream, bytes);
        } else {
            let Ok(stream) = house.amqp() else { continue };
            // basic.consume of the topic's own group, and of one more for each, without acknowledgements.
            let queue = format!("{TOPIC}::g{}", number % 7);
            let consume = [&[0, 0][..], &short(&queue), &short(""), &[2, 0, 0, 0, 0]].concat();
            house.leave(stream, amqp_method(1, 60, 20, &consume));
        }
    }
    house.until_used_up("deliveries");
    house.check_for_a_while("readers that do not read");
    house.until_hung_up(start, OUTPUT_STALL_MAX, |_| ());
    house.forget();
}

#[test]
fn publishes_nobody_waits_for_and_pulls_that_wait_are_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = house(folder.path());
    let mut last_puller = None;
    // Everybody's requests lie in this process as well.
    let (publishes, pulls) = if is_long() { (2, 1_000) } else { (16, 5_000) };
    for number in 0..if is_long() { 1_000 } else { 20 } {
        let mut bytes = Vec::new();
        match number % 4 {
            0 => {
                (0..publishes).for_each(|at| bytes.extend([send_request(at, MIB), vec![b'x'; MIB]].concat()));
            }
            1 | 2 => (0..pulls).for_each(|at| bytes.extend(pull_request(at, QUIET, 30_000, 0))),
            _ => {
                let Ok(stream) = house.amqp() else { continue };
                (0..publishes).for_each(|_| bytes.extend(amqp_publish(MIB, MIB)));
                house.leave(stream, bytes);
                continue;
            }
        }
        let stream = house.dial("remoting");
        if number % 4 == 2 {
            last_puller = Some(stream.try_clone().unwrap());
        }
        house.leave(stream, bytes);
    }
    house.until_used_up("waits");
    assert_eq!(remoting_code(&mut last_puller.unwrap()).unwrap(), SYSTEM_BUSY);
    house.check_for_a_while("a flood");
    house.forget();
}
