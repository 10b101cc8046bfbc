//! What members of a group know of each other, and messages that one of them sends back.

use super::*;

#[test]
fn members_hear_of_each_other_and_of_a_lost_connection() {
    let house = House::open();
    let (mut one, mut two) = (house.client(), house.client());
    one.ask(34, 1, "", heartbeat("c1", "g", "T", "*", 1).as_bytes());
    let frames = [one.next(), one.next()];
    let notice = frames.iter().find(|frame| frame.code == 40).expect("a notice");
    assert_eq!((notice.flag, field(notice, "consumerGroup")), (2, Some("g")));
    two.ask(34, 1, "", heartbeat("c2", "g", "T", "*", 1).as_bytes());
    assert_eq!(one.next().code, 40, "another has come");
    let list = one.call(38, 2, r#""consumerGroup":"g""#, b"");
    assert_eq!(list.body, r#"{"consumerIdList":["c1","c2"]}"#);
    drop(two);
    assert_eq!(one.next().code, 40, "it has gone");
    assert_eq!(one.call(38, 3, r#""consumerGroup":"g""#, b"").body, r#"{"consumerIdList":["c1"]}"#);
}

#[test]
fn a_queue_is_locked_by_one_member_until_it_unlocks() {
    let house = House::open();
    let (mut one, mut two) = (house.client(), house.client());
    one.send(1, "T", 0, "", b"x");
    let body = |client: &str, queues: &[i32]| {
        let list: Vec<String> = queues
            .iter()
            .map(|queue| format!(r#"{{"brokerName":"mailrail","queueId":{queue},"topic":"T"}}"#))
            .collect();
        format!(
            r#"{{"clientId":"{client}","consumerGroup":"g","mqSet":[{}],"onlyThisBroker":false}}"#,
            list.join(",")
        )
    };
    let held = |queue: i32| {
        format!(r#"{{"lockOKMQSet":[{{"brokerName":"mailrail","queueId":{queue},"topic":"T"}}]}}"#)
    };
    assert_eq!(one.call(41, 2, "", body("c1", &[0, 99]).as_bytes()).body, held(0));
    assert_eq!(two.call(41, 2, "", body("c2", &[0, 1]).as_bytes()).body, held(1));
    assert_eq!(one.call(42, 3, "", body("c1", &[0]).as_bytes()).code, 0);
    assert_eq!(two.call(41, 3, "", body("c2", &[0]).as_bytes()).body, held(0));
}

#[test]
fn a_message_sent_back_comes_again_and_at_last_dies() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 0, "TAGS=t;UNIQ_KEY=FD00;", b"work");
    let id = field(&sent, "msgId").unwrap().to_owned();
    let position = id.parse::<OffsetId>().unwrap().position;
    let back = |position: u64, level: i32| {
        format!(
            r#""offset":"{position}","group":"g","delayLevel":"{level}","originTopic":"T","maxReconsumeTimes":"16""#
        )
    };
    let answer = client.call(36, 2, &back(position, 1), b"");
    assert_eq!(answer.code, 0, "{answer:?}");
    client.pull(3, "%RETRY%g", 0, 0, "*");
    let found = client.next();
    let message = messages(&found)[0];
    assert_eq!((message.body(), message.topic(), message.reconsume_times()), (&b"work"[..], "%RETRY%g", 1));
    let properties = message.properties();
    assert_eq!(
        (properties.get("RETRY_TOPIC"), properties.get("ORIGIN_MESSAGE_ID")),
        (Some("T"), Some(id.as_str()))
    );
    assert_eq!((properties.get("UNIQ_KEY"), properties.get("TAGS")), (Some("FD00"), Some("t")));

    let again = message.position();
    assert_eq!(client.call(36, 4, &back(again, -1), b"").code, 0);
    client.pull(5, "%DLQ%g", 0, 0, "*");
    let dead = client.next();
    let message = messages(&dead)[0];
    assert_eq!((message.body(), message.reconsume_times()), (&b"work"[..], 2));
    let properties = message.properties();
    assert_eq!(properties.get("DLQ_ORIGIN_TOPIC"), Some("T"));
    assert_eq!(properties.get("ORIGIN_MESSAGE_ID"), Some(id.as_str()), "where it came from first");
    let answer = client.call(36, 6, &back(position + 1, 0), b"");
    assert_eq!((answer.code, answer.remark.unwrap().contains("look message by offset failed")), (1, true));
}
