//! What properties and headers mean, case by case.

use std::time::Duration;

use super::*;
use crate::codec::Serializer;
use crate::outstanding::Asker;

const NOW: Now = Now { wall_ms: 1_000_000, mono: Duration::ZERO };

/// A property string written with `=` and `;`.
fn string(text: &str) -> Vec<u8> {
    text.replace('=', "\u{1}").replace(';', "\u{2}").into_bytes()
}

#[test]
fn delays_come_from_levels_and_timers() {
    for (properties, expected) in [
        ("KEYS=k;", Ok(None)),
        ("DELAY=1;", Ok(Some(1_001_000))),
        ("DELAY=18;", Ok(Some(8_200_000))),
        ("DELAY=99;", Ok(Some(8_200_000))),
        ("DELAY=0;", Ok(None)),
        ("DELAY=-1;", Ok(None)),
        ("DELAY=2;TIMER_DELAY_SEC=60;", Ok(Some(1_005_000))),
        ("TIMER_DELAY_SEC=60;TIMER_DELAY_MS=5;", Ok(Some(1_060_000))),
        ("TIMER_DELAY_MS=5;TIMER_DELAY_SEC=60;", Ok(Some(1_060_000))),
        ("TIMER_DELAY_MS=5;", Ok(Some(1_000_005))),
        ("TIMER_DELIVER_MS=1000001;", Ok(Some(1_000_001))),
        ("TIMER_DELIVER_MS=999999;", Ok(None)),
        ("TIMER_DELIVER_MS=soon;", Ok(None)),
        ("TIMER_DELAY_SEC=259200;", Ok(Some(260_200_000))),
        ("TIMER_DELAY_SEC=259201;", Err(response::MESSAGE_ILLEGAL)),
        ("TIMER_DELAY_SEC=18446744073709551615;", Err(response::MESSAGE_ILLEGAL)),
    ] {
        let bytes = string(properties);
        let due = Meant::by(&bytes).due_ms(NOW, &DelayLevels::default()).map_err(|refusal| refusal.code);
        assert_eq!(due, expected, "{properties}");
    }
}

#[test]
fn a_timer_runs_at_most_so_long() {
    for name in ["TIMER_DELAY_MS", "TIMER_DELIVER_MS"] {
        let from = if name == "TIMER_DELIVER_MS" { NOW.wall_ms } else { 0 };
        let due = |delay_ms: u64| {
            Meant::by(&string(&format!("{name}={};", from + delay_ms))).due_ms(NOW, &DelayLevels::default())
        };
        assert_eq!(due(TIMER_DELAY_MS_MAX), Ok(Some(NOW.wall_ms + TIMER_DELAY_MS_MAX)), "{name}");
        let refusal = due(TIMER_DELAY_MS_MAX + 1).unwrap_err();
        assert_eq!(refusal.code, response::MESSAGE_ILLEGAL, "{name}");
        assert!(refusal.remark.contains("max delay 259200000ms"), "{}", refusal.remark);
    }
}

#[test]
fn tags_ids_and_waiting_are_read_in_one_pass() {
    let bytes = string("TAGS=tag-A;UNIQ_KEY=FD00;WAIT=false;TRAN_MSG=true;");
    let meant = Meant::by(&bytes);
    assert_eq!((meant.tag_hash, meant.unique), (tag_hash("tag-A"), Some("FD00")));
    assert_eq!((meant.durability(), meant.is_half), (Durability::Memory, true));
    let bytes = string("WAIT=true;");
    let meant = Meant::by(&bytes);
    assert_eq!((meant.tag_hash, meant.unique, meant.is_half), (0, None, false));
    assert_eq!(meant.durability(), Durability::Disk);
}

#[test]
fn only_requests_to_the_broker_are_left_out_of_what_is_stored() {
    for (properties, expected) in [
        ("KEYS=k;TAGS=t;", "KEYS=k;TAGS=t;"),
        ("KEYS=k;POP_CK=x;TAGS=t;DELAY=3;", "KEYS=k;TAGS=t;"),
        ("MSG_REGION=r;CLUSTER=c;TRACE_ON=true;UNIQ_KEY=u", "UNIQ_KEY=u;"),
    ] {
        let bytes = string(properties);
        let meant = Meant::by(&bytes);
        assert_eq!(&*meant.stored(&bytes), string(expected), "{properties}");
    }
}

fn resend(topic: &str, times: i32, max: Option<i32>) -> Option<String> {
    let header = format!(
        r#"{{"code":310,"extFields":{{"b":"{topic}","e":"0","j":"{times}"{}}}}}"#,
        max.map_or(String::new(), |max| format!(r#","l":"{max}""#))
    );
    let frame = crate::codec::testing::json_frame(&header, b"").unwrap();
    let send = SendMessage::parse(&frame.header).unwrap();
    let settings = |group: &str| {
        (group == "short")
            .then(|| Arc::new(GroupSettings { attempts_max: Some(2), ..GroupSettings::rocketmq("short") }))
    };
    used_up(&send, settings, |group| group == "ordered")
}

#[test]
fn a_resent_message_is_dead_after_its_attempts() {
    for (topic, times, max, expected) in [
        ("T", 99, Some(1), None),
        ("%RETRY%g", 16, None, None),
        ("%RETRY%g", 17, None, Some("%DLQ%g")),
        ("%RETRY%g", 3, Some(3), None),
        ("%RETRY%g", 4, Some(3), Some("%DLQ%g")),
        ("%RETRY%short", 2, None, None),
        ("%RETRY%short", 3, None, Some("%DLQ%short")),
        ("%RETRY%g", 17, Some(-1), Some("%DLQ%g")),
        // What a consumer in order re-sends it has given up.
        ("%RETRY%ordered", 2, Some(3), None),
        ("%RETRY%ordered", 3, Some(3), Some("%DLQ%ordered")),
    ] {
        assert_eq!(resend(topic, times, max).as_deref(), expected, "{topic} {times} {max:?}");
    }
}

#[test]
fn a_returned_message_waits_by_level_or_by_attempts_until_it_is_dead() {
    let asker = Asker { opaque: 0, serializer: Serializer::Json, one_way: false };
    let settings = GroupSettings::rocketmq("g");
    for (delay_level, attempts_max, times, expected) in [
        (0, None, 0, Fate::RetryAfterMs(10_000)),
        (0, None, 1, Fate::RetryAfterMs(30_000)),
        (0, None, 15, Fate::RetryAfterMs(7_200_000)),
        (0, None, 16, Fate::DeadLetter),
        (1, None, 0, Fate::RetryAfterMs(1_000)),
        (18, None, 3, Fate::RetryAfterMs(7_200_000)),
        (-1, None, 0, Fate::DeadLetter),
        (3, Some(2), 1, Fate::RetryAfterMs(10_000)),
        (3, Some(2), 2, Fate::DeadLetter),
        (0, Some(40), 30, Fate::RetryAfterMs(7_200_000)),
    ] {
        let returned = Returned { asker, group: "g".into(), position: 0, delay_level, attempts_max };
        let fate = fate(&returned, times, &settings, &DelayLevels::default());
        assert_eq!(fate, expected, "level {delay_level}, max {attempts_max:?}, {times} times before");
    }
}

#[test]
fn new_topics_have_what_the_client_expects_within_the_templates_queues() {
    for (topic, asked, system, expected) in [
        ("T", 4, None, 4),
        ("T", 64, None, 8),
        ("T", 0, None, 1),
        ("T", -3, None, 1),
        ("%RETRY%g", 4, None, 1),
        ("BenchmarkTest", 4, Some(8), 8),
    ] {
        let header = format!(r#"{{"code":310,"extFields":{{"b":"{topic}","e":"0","d":"{asked}"}}}}"#);
        let frame = crate::codec::testing::json_frame(&header, b"").unwrap();
        let send = SendMessage::parse(&frame.header).unwrap();
        assert_eq!(new_topic(&send, system).queues, expected, "{topic} {asked}");
    }
}
