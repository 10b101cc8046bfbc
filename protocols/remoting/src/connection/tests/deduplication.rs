//! Sends that an SDK makes again: the same message, known by the id that its producer gave it.

use mailrail_broker::{Command, DEDUPLICATION_WINDOW_MS, Event, Token, TopicSettings};

use super::*;

fn make_topic(house: &House, name: &str, window_ms: Option<u64>) {
    let window = window_ms.map(|ms| (DEDUPLICATION_WINDOW_MS.to_owned(), ms.to_string()));
    let settings = TopicSettings { attributes: window.into_iter().collect(), ..TopicSettings::default() };
    let mut session = house.broker.connect();
    session.submit(vec![Command::PutTopic { token: Token(1), name: name.into(), settings, adopt: false }]);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut events = Vec::new();
    while session.poll_events(&mut Context::from_waker(&waker), &mut events).is_pending() {
        std::thread::park_timeout(PATIENCE);
    }
    assert!(matches!(events[..], [Event::Reply { result: Ok(_), .. }]), "{events:?}");
}

/// What a client is told of where its message is.
fn place(sent: &Seen) -> (i32, Option<&str>, Option<&str>, Option<&str>, Option<&str>) {
    let of = |name| field(sent, name);
    (sent.code, of("msgId"), of("queueId"), of("queueOffset"), of("transactionId"))
}

fn stored(client: &mut Client, topic: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for queue in 0..4 {
        let fields = format!(r#""topic":"{topic}","queueId":"{queue}""#);
        let end: i64 = field(&client.call(30, 90, &fields, b""), "offset").unwrap().parse().unwrap();
        if end > 0 {
            client.pull(91, topic, queue, 0, "*");
            all.extend(bodies(&client.next()).into_iter().map(<[u8]>::to_vec));
        }
    }
    all.sort();
    all
}

#[test]
fn a_send_that_is_made_again_to_another_queue_is_answered_like_the_first() {
    let house = House::open();
    make_topic(&house, "T", Some(60_000));
    make_topic(&house, "plain", None);
    let mut client = house.client();
    let first = client.send(1, "T", 0, "UNIQ_KEY=FD01;TAGS=a;", b"one");
    assert_eq!((first.code, field(&first, "queueId")), (0, Some("0")), "{first:?}");
    let mut other = house.client();
    let again = other.send(2, "T", 3, "UNIQ_KEY=FD01;TAGS=a;", b"one");
    assert_eq!(place(&again), place(&first));
    client.send(3, "T", 1, "UNIQ_KEY=FD02;", b"two");
    // Without an id of its own a message is always another one.
    client.send(4, "T", 1, "TAGS=a;", b"three");
    client.send(5, "T", 1, "TAGS=a;", b"three");
    assert_eq!(stored(&mut client, "T"), [&b"one"[..], b"three", b"three", b"two"]);
    for opaque in [6, 7] {
        client.send(opaque, "plain", 0, "UNIQ_KEY=FD01;", b"twice");
    }
    assert_eq!(stored(&mut client, "plain"), [b"twice", b"twice"]);
}

#[test]
fn delayed_and_half_messages_that_are_sent_again_are_those_of_the_first_time() {
    let house = House::open();
    make_topic(&house, "T", Some(60_000));
    let mut client = house.client();
    for properties in ["UNIQ_KEY=FD01;DELAY=18;", "UNIQ_KEY=FD02;TRAN_MSG=true;PGROUP=pg;"] {
        let first = client.send(1, "T", 0, properties, b"x");
        let again = client.send(2, "T", 0, properties, b"x");
        assert_eq!((first.code, place(&again)), (0, place(&first)), "{properties}");
    }
    let offset = client.call(30, 3, r#""topic":"T","queueId":"0""#, b"");
    assert_eq!(field(&offset, "offset"), Some("0"), "nothing is seen yet");
}

#[test]
fn each_message_of_a_batch_is_known_by_itself() {
    let house = House::open();
    make_topic(&house, "T", Some(60_000));
    let mut client = house.client();
    client.send(1, "T", 0, "UNIQ_KEY=FD01;", b"one");
    let properties = |id: &str| format!("UNIQ_KEY\u{1}{id}\u{2}");
    let message = |id: &str, body: &[u8]| {
        let (properties, mut out) = (properties(id), Vec::new());
        let bytes = 4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len();
        for word in [u32::try_from(bytes).unwrap(), 0, 0, 0, u32::try_from(body.len()).unwrap()] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(body);
        out.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
        out.extend_from_slice(properties.as_bytes());
        out
    };
    let batch = [message("FD01", b"one"), message("FD02", b"two"), message("FD02", b"two")].concat();
    let fields = send_fields("T", 1, "").replace(r#""m":"false""#, r#""m":"true""#);
    let sent = client.call(320, 2, &fields, &batch);
    assert_eq!((sent.code, field(&sent, "msgId").unwrap().split(',').count()), (0, 3), "{sent:?}");
    let again = client.call(320, 3, &fields, &batch);
    assert_eq!(place(&again), place(&sent));
    assert_eq!(stored(&mut client, "T"), [b"one", b"two"]);
}
