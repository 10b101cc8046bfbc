//! Transactions: publishes and settlements that count together, and what refuses or ends them.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{TableBuffer, Value};
use mailrail_broker::limits::{TOGETHER_BYTES_MAX, TOGETHER_MESSAGES_MAX};

use super::client::*;

/// Ready messages of the queue, as another channel sees them.
fn depth(client: &mut Client) -> String {
    let text = client.call(2, &QueueDeclare { passive: true, ..QUEUE }, "QueueDeclareOk");
    text.split("message_count: ").nth(1).unwrap().split(',').next().unwrap().to_owned()
}

fn get(client: &mut Client) -> Received {
    client.send(1, &GET);
    client.message("BasicGetOk")
}

/// Two channels, a queue, and a transaction on the first channel.
fn scene() -> (House, Client) {
    let house = House::open();
    let mut client = house.client();
    client.call(2, &ChannelOpen, "ChannelOpenOk");
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &TxSelect, "TxSelectOk");
    (house, client)
}

#[test]
fn publishes_are_seen_once_they_are_committed_and_never_after_a_rollback() {
    let (_house, mut client) = scene();
    client.publish("", "q", &PERSISTENT, b"one");
    client.publish("", "q", &PERSISTENT, b"two");
    assert_eq!(depth(&mut client), "0");
    client.call(1, &TxCommit, "TxCommitOk");
    assert_eq!(depth(&mut client), "2");
    client.publish("", "q", &PERSISTENT, b"three");
    client.call(1, &TxRollback, "TxRollbackOk");
    client.call(1, &TxCommit, "TxCommitOk");
    assert_eq!(depth(&mut client), "2", "a commit of nothing stores nothing");
    client.publish("", "q", &PERSISTENT, b"lost with its channel");
    client.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.call(1, &TxSelect, "TxSelectOk");
    client.call(1, &TxCommit, "TxCommitOk");
    assert_eq!(depth(&mut client), "2");
    assert_eq!((get(&mut client).body, get(&mut client).body), (b"one".to_vec(), b"two".to_vec()));
}

#[test]
fn settlements_count_with_the_commit_and_are_undone_by_a_rollback() {
    let (_house, mut client) = scene();
    for body in [b"one", b"two", b"tri"] {
        client.publish("", "q", &PERSISTENT, body);
    }
    client.call(1, &TxCommit, "TxCommitOk");
    (0..3).for_each(|_| drop(get(&mut client)));
    client.send(1, &BasicAck { delivery_tag: 3, multiple: false });
    client.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    client.call(1, &TxRollback, "TxRollbackOk");
    assert_eq!(depth(&mut client), "0", "they are held as before");
    // Their tags are what they were, and in their order.
    client.send(1, &BasicAck { delivery_tag: 2, multiple: true });
    client.send(1, &BasicNack { delivery_tag: 3, multiple: false, requeue: true });
    assert_eq!(depth(&mut client), "0");
    client.call(1, &TxCommit, "TxCommitOk");
    assert_eq!(depth(&mut client), "1");
    let again = get(&mut client);
    assert_eq!(again.body, b"tri");
    assert!(again.method.contains("redelivered: true"), "{}", again.method);
    client.send(1, &BasicAck { delivery_tag: 4, multiple: false });
    client.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    assert_eq!(depth(&mut client), "1", "a settlement that was not committed ends with its channel");
}

#[test]
fn credit_comes_back_with_the_commit() {
    let (_house, mut client) = scene();
    for body in [b"one", b"two"] {
        client.publish("", "q", &PERSISTENT, body);
    }
    client.call(1, &TxCommit, "TxCommitOk");
    client.call(1, &BasicQos { prefetch_size: 0, prefetch_count: 1, global: false }, "BasicQosOk");
    client.call(1, &CONSUME, "BasicConsumeOk");
    assert_eq!(client.message("BasicDeliver").body, b"one");
    client.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(depth(&mut client), "1");
    // It may come before the commit is told, which waits for the disk.
    client.send(1, &TxCommit);
    assert_eq!(client.message("BasicDeliver").body, b"two");
}

#[test]
fn a_tag_is_settled_once_in_a_transaction_too() {
    let (_house, mut client) = scene();
    client.publish("", "q", &PERSISTENT, b"one");
    client.call(1, &TxCommit, "TxCommitOk");
    get(&mut client);
    client.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    client.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    let (scope, code, text) = client.closed();
    assert_eq!((scope, code), ("channel", 406));
    assert!(text.contains("unknown delivery tag 1"), "{text}");
    assert_eq!(depth(&mut client), "1");
}

#[test]
fn mandatory_messages_come_back_with_the_commit_and_before_it_is_told() {
    let (_house, mut client) = scene();
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    for exchange in ["", "x"] {
        let method =
            BasicPublish { exchange, routing_key: "nowhere".into(), mandatory: true, immediate: false };
        client.publish_as(method, &PERSISTENT, exchange.as_bytes());
    }
    client.publish("x", "nowhere", &PERSISTENT, b"not mandatory");
    assert_eq!(depth(&mut client), "0");
    client.send(1, &TxCommit);
    let mut back = [client.message("BasicReturn").body, client.message("BasicReturn").body];
    back.sort_unstable();
    assert_eq!(back, [b"".to_vec(), b"x".to_vec()]);
    client.expect("TxCommitOk");
}

#[test]
fn what_cannot_be_stored_whole_is_not_stored_at_all_and_closes_the_channel() {
    let (_house, mut client) = scene();
    let mut arguments = TableBuffer::default();
    arguments.put("x-max-length", Value::I32(1)).put_text("x-overflow", "reject-publish");
    let short = QueueDeclare { queue: "short", arguments: arguments.as_table(), ..QUEUE };
    client.call(1, &short, "QueueDeclareOk");
    client.publish("", "q", &PERSISTENT, b"held");
    client.call(1, &TxCommit, "TxCommitOk");
    get(&mut client);
    client.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    for queue in ["q", "short", "short"] {
        client.publish("", queue, &PERSISTENT, b"x");
    }
    client.send(1, &TxCommit);
    let (scope, code, text) = client.closed();
    assert_eq!((scope, code), ("channel", 406));
    assert!(text.contains("partial tx completion"), "{text}");
    assert_eq!(depth(&mut client), "1", "what was acknowledged is there again, and nothing else");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.call(1, &TxSelect, "TxSelectOk");
    // An exchange that is not there is told at once.
    client.publish("missing", "q", &PERSISTENT, b"x");
    assert_eq!(client.closed().1, 404);
}

#[test]
fn a_transaction_has_its_limits() {
    let (_house, mut client) = scene();
    let refused = |client: &mut Client, what: &str| {
        let (scope, code, text) = client.closed();
        assert_eq!((scope, code), ("channel", 406), "{text}");
        assert!(text.contains(what), "{text}");
        client.call(1, &ChannelOpen, "ChannelOpenOk");
        client.call(1, &TxSelect, "TxSelectOk");
    };
    for _ in 0..TOGETHER_MESSAGES_MAX {
        client.publish("", "q", &PERSISTENT, b"");
    }
    client.call(1, &TxCommit, "TxCommitOk");
    assert_eq!(depth(&mut client), TOGETHER_MESSAGES_MAX.to_string());
    for _ in 0..=TOGETHER_MESSAGES_MAX {
        client.publish("", "q", &PERSISTENT, b"");
    }
    refused(&mut client, &format!("{} messages", TOGETHER_MESSAGES_MAX + 1));
    let body = vec![0; TOGETHER_BYTES_MAX / 8];
    for _ in 0..7 {
        client.publish("", "q", &PERSISTENT, &body);
    }
    client.call(1, &TxCommit, "TxCommitOk");
    for _ in 0..8 {
        client.publish("", "q", &PERSISTENT, &body);
    }
    refused(&mut client, &format!("at most {TOGETHER_BYTES_MAX}"));
    let all = TOGETHER_MESSAGES_MAX + 7;
    assert_eq!(depth(&mut client), all.to_string());
}
