//! Series for `/metrics` of single topics, and of groups on them. As many topics have their own as the setting allows, the
//! oldest first, so that a series does not come and go with traffic; all others are one more, whose topic has no name.
//! The same holds for pairs of a group and a topic.

use std::fmt::Write as _;
use std::sync::Arc;

use mailrail_broker::{Broker, GroupStatistics, Topic, TopicStatistics};

/// Names of series, what they are, and where their numbers come from.
type Series<T> = (&'static str, &'static str, fn(&T) -> u64);

const OF_TOPICS: [Series<TopicStatistics>; 7] = [
    ("mailrail_topic_received_messages_total", "Messages stored in a topic.", |topic| {
        topic.all.received.messages.total
    }),
    ("mailrail_topic_received_bytes_total", "Bytes of messages stored in a topic.", |topic| {
        topic.all.received.bytes.total
    }),
    ("mailrail_topic_read_messages_total", "Messages of a topic read by offset.", |topic| {
        topic.all.read.messages.total
    }),
    ("mailrail_topic_read_bytes_total", "Bytes of messages of a topic read by offset.", |topic| {
        topic.all.read.bytes.total
    }),
    ("mailrail_topic_leased_messages_total", "Messages of a topic handed out by lease.", |topic| {
        topic.all.leased.messages.total
    }),
    ("mailrail_topic_leased_bytes_total", "Bytes of messages of a topic handed out by lease.", |topic| {
        topic.all.leased.bytes.total
    }),
    ("mailrail_topic_refused_messages_total", "Messages that a topic did not take.", |topic| {
        topic.refused.total
    }),
];

const OF_GROUPS: [Series<GroupStatistics>; 5] = [
    ("mailrail_group_handed_out_messages_total", "Messages handed out to a group by lease.", |group| {
        group.handed_out.total
    }),
    ("mailrail_group_redelivered_messages_total", "Of them, those that had failed before.", |group| {
        group.redelivered.total
    }),
    ("mailrail_group_settled_messages_total", "Messages that a group settled.", |group| group.settled.total),
    ("mailrail_group_retried_messages_total", "Messages put back after a failed attempt.", |group| {
        group.retried.total
    }),
    ("mailrail_group_given_up_messages_total", "Messages that a group gave up.", |group| {
        group.given_up.total
    }),
];

/// Counters in Prometheus' text format.
pub fn render(broker: &Broker, topics_max: usize) -> String {
    let mut topics = broker.directory().topics();
    topics.sort_by_key(|topic| topic.id);
    let label = |topic: &Arc<Topic>| format!("topic=\"{}\"", escaped(&topic.name));
    let counted: Vec<_> = topics.iter().map(|topic| (label(topic), broker.topic_statistics(topic))).collect();
    let mut text = String::new();
    write_all(&mut text, &OF_TOPICS, &counted, (topics_max, "topic=\"\""));
    let mut groups = Vec::new();
    for topic in &topics {
        for (group, counts) in broker.groups_on(topic) {
            groups.push((format!("group=\"{}\",{}", escaped(&group.name), label(topic)), counts));
        }
    }
    write_all(&mut text, &OF_GROUPS, &groups, (topics_max, "group=\"\",topic=\"\""));
    text
}

/// One series for each of the first, and one for all others together.
fn write_all<T>(text: &mut String, all: &[Series<T>], counted: &[(String, T)], (max, others): (usize, &str)) {
    let (own, rest) = counted.split_at(max.min(counted.len()));
    for (name, help, number) in all {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (labels, counts) in own {
            let _ = writeln!(text, "{name}{{{labels}}} {}", number(counts));
        }
        if !rest.is_empty() {
            let sum: u64 = rest.iter().map(|(_, counts)| number(counts)).sum();
            let _ = writeln!(text, "{name}{{{others}}} {sum}");
        }
    }
}

/// A name as the value of a label.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [Series<u64>; 1] = [("n_total", "Numbers.", |number| *number)];

    fn written(max: usize) -> Vec<String> {
        let mut text = String::new();
        let counted =
            [("topic=\"a\"".to_owned(), 1), ("topic=\"b\"".to_owned(), 2), ("topic=\"c\"".to_owned(), 4)];
        write_all(&mut text, &ONE, &counted, (max, "topic=\"\""));
        text.lines().skip(2).map(str::to_owned).collect()
    }

    #[test]
    fn beyond_the_limit_all_are_one_series() {
        let own = ["n_total{topic=\"a\"} 1", "n_total{topic=\"b\"} 2", "n_total{topic=\"c\"} 4"];
        assert_eq!(written(3), own);
        assert_eq!(written(2), [own[0], own[1], "n_total{topic=\"\"} 4"]);
        assert_eq!(written(0), ["n_total{topic=\"\"} 7"]);
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"} 9\nb\\"), "a\\\"} 9\\nb\\\\");
    }
}
