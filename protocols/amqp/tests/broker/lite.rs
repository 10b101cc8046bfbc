//! Light queues, named by a header and consumed as queues.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, TableBuffer};
use mailrail_broker::{Command, Token, TopicSettings, lite};

use super::client::*;

fn with_header(lites: &str) -> TableBuffer {
    let mut headers = TableBuffer::default();
    headers.put_text("x-lite", lites);
    headers
}

#[test]
fn a_header_names_light_queues_that_are_consumed_as_queues() {
    let house = House::open();
    let mut session = house.broker.connect();
    let attributes = [(lite::LITE.to_owned(), "true".to_owned())].into();
    let settings = TopicSettings { attributes, ..TopicSettings::default() };
    session.submit(vec![Command::PutTopic { token: Token(1), name: "home".into(), settings, adopt: false }]);
    let mut client = house.client();
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    let headers = with_header("lamp,door");
    let properties = BasicProperties { headers: Some(headers.as_table()), ..PERSISTENT };
    client.publish("", "home", &properties, b"on");
    client.expect("BasicAck");
    for queue in ["%LMQ%lamp", "%LMQ%door"] {
        client.send(1, &BasicGet { queue, ..GET });
        assert_eq!(client.message("BasicGetOk").body, b"on"[..]);
    }
    for wrong in ["", "a,,b"] {
        let headers = with_header(wrong);
        let properties = BasicProperties { headers: Some(headers.as_table()), ..PERSISTENT };
        client.publish("", "home", &properties, b"on");
        let closed = client.closed();
        assert!(closed.1 == 406 && closed.2.contains("x-lite"), "{closed:?}");
        client.call(1, &ChannelOpen, "ChannelOpenOk");
    }
}
