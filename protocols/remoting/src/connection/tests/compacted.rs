//! Topics that keep the newest message of each key.

use mailrail_broker::{Command, Retention, Token, TopicSettings};

use super::*;

#[test]
fn a_message_without_keys_is_refused_as_rocketmq_does_it() {
    let house = House::open();
    let settings = TopicSettings { queues: 1, retention: Retention::Compacted, ..TopicSettings::default() };
    let mut session = house.broker.connect();
    session.submit(vec![Command::PutTopic { token: Token(1), name: "T".into(), settings, adopt: false }]);
    let deadline = Instant::now() + PATIENCE;
    while house.broker.directory().topic("T").is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut client = house.client();
    let refused = client.send(1, "T", 0, "TAGS=t;", b"x");
    assert_eq!(refused.code, 13, "{refused:?}");
    assert!(refused.remark.as_deref().unwrap().contains("required message key is missing"), "{refused:?}");
    assert_eq!(client.send(2, "T", 0, "KEYS=k;", b"x").code, 0);
}
