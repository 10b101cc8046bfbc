//! RocketMQ's rules for names: what clients may create, which topics exist without being created, retry and dead
//! letter topics.
//!
//! Names that other protocols made follow the core's own, wider rules; these are asked only before creating.

use std::borrow::Cow;

use crate::codec::response_code as response;
use crate::config::{DEFAULT_TOPIC_QUEUES, RemotingConfig};
use crate::refusal::Refusal;

pub(crate) const RETRY_PREFIX: &str = "%RETRY%";
pub(crate) const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// The topic that new topics are modelled on.
pub(crate) const TEMPLATE_TOPIC: &str = "TBW102";

const TOPIC_CHARS_MAX: usize = 127;
const GROUP_CHARS_MAX: usize = 120;
/// Topics that are made of a prefix and a group.
const DERIVED_TOPIC_CHARS_MAX: usize = 255;

const UNSENDABLE_TOPICS: [&str; 7] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "rmq_sys_wheel_timer",
];

pub(crate) fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

pub(crate) fn dead_letter_topic(group: &str) -> String {
    format!("{DEAD_LETTER_PREFIX}{group}")
}

/// Refuses what may not be the name of a new topic.
pub(crate) fn check_new_topic(topic: &str) -> Result<(), Refusal> {
    let derived = topic.starts_with(RETRY_PREFIX) || topic.starts_with(DEAD_LETTER_PREFIX);
    let max = if derived { DERIVED_TOPIC_CHARS_MAX } else { TOPIC_CHARS_MAX };
    check("topic", topic, max)
}

/// Refuses what may not be the name of a new group.
pub(crate) fn check_new_group(group: &str) -> Result<(), Refusal> {
    check("group", group, GROUP_CHARS_MAX)
}

fn check(what: &str, name: &str, max: usize) -> Result<(), Refusal> {
    let refuse = |why: Cow<'static, str>| {
        Err(Refusal::new(response::INVALID_PARAMETER, format!("the specified {what} {why}")))
    };
    if name.is_empty() {
        return refuse("is blank".into());
    }
    if name.len() > max {
        return refuse(format!("has {} bytes, at most {max} are allowed", name.len()).into());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_');
    if !name.chars().all(allowed) {
        return refuse(format!("[{name}] has characters other than ^[%|a-zA-Z0-9_-]+$").into());
    }
    Ok(())
}

/// Refuses sends to topics that only the broker itself writes.
pub(crate) fn check_sendable(topic: &str) -> Result<(), Refusal> {
    if UNSENDABLE_TOPICS.contains(&topic) {
        let remark = format!("Sending message to topic[{topic}] is forbidden.");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    Ok(())
}

/// Queues of a topic that clients find without anybody having created it: admin tools and old clients ask for its
/// route. Perm 7 lets new topics be modelled on it.
pub(crate) fn system_topic_queues(topic: &str, config: &RemotingConfig) -> Option<u32> {
    let reply_topic = || topic.strip_suffix("_REPLY_TOPIC") == Some(config.cluster_name.as_str());
    match topic {
        TEMPLATE_TOPIC => config.auto_create_topics.then_some(DEFAULT_TOPIC_QUEUES),
        "BenchmarkTest" => Some(DEFAULT_TOPIC_QUEUES),
        "SELF_TEST_TOPIC" | "OFFSET_MOVED_EVENT" => Some(1),
        "SCHEDULE_TOPIC_XXXX" => Some(18),
        _ if topic == config.cluster_name || topic == config.broker_name || reply_topic() => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_rocketmqs() {
        let derived = |bytes: usize| format!("%DLQ%{}", "x".repeat(bytes - "%DLQ%".len()));
        let (longest, longest_derived) = ("x".repeat(TOPIC_CHARS_MAX), derived(DERIVED_TOPIC_CHARS_MAX));
        for good in ["T", "%RETRY%g-1", "a|b_C-9", &longest, &longest_derived] {
            assert_eq!(check_new_topic(good), Ok(()), "{good}");
        }
        let (longer, longer_derived) =
            ("x".repeat(TOPIC_CHARS_MAX + 1), derived(DERIVED_TOPIC_CHARS_MAX + 1));
        for bad in ["", "a b", "grün", "a.b", &longer, &longer_derived] {
            assert_eq!(check_new_topic(bad).unwrap_err().code, response::INVALID_PARAMETER, "{bad}");
        }
        let refusal = check_new_topic(&longer).unwrap_err();
        assert!(refusal.remark.contains("has 128 bytes, at most 127 are allowed"), "{}", refusal.remark);
        assert!(check_new_group(&"g".repeat(GROUP_CHARS_MAX)).is_ok());
        let refusal = check_new_group(&"g".repeat(GROUP_CHARS_MAX + 1)).unwrap_err();
        assert!(refusal.remark.contains("has 121 bytes, at most 120 are allowed"), "{}", refusal.remark);
    }

    #[test]
    fn system_topics_have_routes_and_some_cannot_be_sent_to() {
        let mut config = RemotingConfig::new("127.0.0.1:9876".parse().unwrap(), "C", "b");
        for (topic, queues) in
            [("TBW102", Some(8)), ("C", Some(1)), ("b", Some(1)), ("C_REPLY_TOPIC", Some(1)), ("other", None)]
        {
            assert_eq!(system_topic_queues(topic, &config), queues, "{topic}");
        }
        config.auto_create_topics = false;
        assert_eq!(system_topic_queues("TBW102", &config), None);
        assert_eq!(check_sendable("SCHEDULE_TOPIC_XXXX").unwrap_err().code, response::NO_PERMISSION);
        assert_eq!(check_sendable("T"), Ok(()));
    }
}
