//! Body of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42), and of their answer.
//!
//! Who holds a lock, and for how long, is the broker's.

use bytes::{BufMut, BytesMut};
use serde::Deserialize;

use super::{BodyError, at_most, json, liberal};
use crate::codec::json_text::{put_number, put_string};
use crate::codec::limits::LOCK_QUEUES_COUNT_MAX;

/// A client asks for, or gives up, queues for its group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockQueues {
    #[serde(deserialize_with = "liberal::text")]
    pub client_id: String,
    #[serde(deserialize_with = "liberal::text")]
    pub consumer_group: String,
    #[serde(rename = "mqSet", default, deserialize_with = "liberal::list")]
    pub queues: Vec<QueueName>,
    #[serde(default, deserialize_with = "liberal::flag")]
    pub only_this_broker: bool,
}

/// A queue as clients name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueName {
    #[serde(default, deserialize_with = "liberal::text")]
    pub broker_name: String,
    #[serde(deserialize_with = "liberal::integer")]
    pub queue_id: i32,
    #[serde(deserialize_with = "liberal::text")]
    pub topic: String,
}

pub fn parse(body: &[u8]) -> Result<LockQueues, BodyError> {
    let lock: LockQueues = json(body)?;
    at_most("queues", lock.queues.len(), LOCK_QUEUES_COUNT_MAX)?;
    Ok(lock)
}

/// Answer to 41: the queues that the client holds now.
pub fn put_locked<'a>(out: &mut BytesMut, locked: impl IntoIterator<Item = &'a QueueName>) {
    out.put_slice(b"{\"lockOKMQSet\":[");
    for (index, queue) in locked.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(b"{\"brokerName\":");
        put_string(out, &queue.broker_name);
        out.put_slice(b",\"queueId\":");
        put_number(out, i64::from(queue.queue_id));
        out.put_slice(b",\"topic\":");
        put_string(out, &queue.topic);
        out.put_u8(b'}');
    }
    out.put_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_bodies_of_java_and_go_are_read() {
        let java = br#"{"clientId":"192.0.2.2@10015#33","consumerGroup":"g-1","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"T"}],"onlyThisBroker":false}"#;
        let lock = parse(java).unwrap();
        assert_eq!((lock.client_id.as_str(), lock.consumer_group.as_str()), ("192.0.2.2@10015#33", "g-1"));
        let queue = QueueName { broker_name: "broker-a".into(), queue_id: 0, topic: "T".into() };
        assert_eq!(lock.queues, [queue]);
        let go =
            br#"{"consumerGroup":"g","clientId":"c","mqSet":[{"topic":"T","brokerName":"b","queueId":"3"}]}"#;
        assert_eq!(parse(go).unwrap().queues.first().unwrap().queue_id, 3);
        assert_eq!(parse(br#"{"consumerGroup":"g","clientId":"c","mqSet":null}"#).unwrap().queues, []);
    }

    #[test]
    fn too_many_queues_and_wrong_json_are_refused() {
        let body = |count: usize| {
            let queues = vec![r#"{"queueId":1,"topic":"T"}"#; count].join(",");
            format!(r#"{{"clientId":"c","consumerGroup":"g","mqSet":[{queues}]}}"#).into_bytes()
        };
        assert_eq!(parse(&body(LOCK_QUEUES_COUNT_MAX)).unwrap().queues.len(), LOCK_QUEUES_COUNT_MAX);
        let error = parse(&body(LOCK_QUEUES_COUNT_MAX + 1)).unwrap_err();
        assert_eq!(error.to_string(), "16385 queues are over the limit of 16384");
        assert!(matches!(parse(b"[]"), Err(BodyError::Json(_))));
        assert!(matches!(parse(&vec![b' '; 1024 * 1024 + 1]), Err(BodyError::TooLarge { bytes: 1_048_577 })));
    }

    #[test]
    fn the_answer_lists_queues_as_the_reference_broker_does() {
        let queue = |queue_id| QueueName { broker_name: "broker-a".into(), queue_id, topic: "T".into() };
        for (queues, expected) in [
            (vec![], r#"{"lockOKMQSet":[]}"#),
            (
                vec![queue(0), queue(1)],
                r#"{"lockOKMQSet":[{"brokerName":"broker-a","queueId":0,"topic":"T"},{"brokerName":"broker-a","queueId":1,"topic":"T"}]}"#,
            ),
        ] {
            let mut out = BytesMut::new();
            put_locked(&mut out, &queues);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        }
    }
}
