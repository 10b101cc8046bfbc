//! Series for `/metrics` of single topics, and of groups on them. As many topics have their own as the setting allows, the
//! oldest first; all others are one more, whose topic has no name. The same holds for pairs of a group and a topic. A
//! counter must not fall: who has a series keeps it, who is among the others stays there, and what was counted of those
//! that are gone is added to the others.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use mailrail_broker::{Broker, Group, GroupId, Topic, TopicId, Totals};

/// Names of series, and what they are.
type Names<const N: usize> = [(&'static str, &'static str); N];

/// In the order of [`mailrail_broker::TopicTotals`].
const OF_TOPICS: Names<7> = [
    ("mailrail_topic_received_messages_total", "Messages stored in a topic."),
    ("mailrail_topic_received_bytes_total", "Bytes of messages stored in a topic."),
    ("mailrail_topic_read_messages_total", "Messages of a topic read by offset."),
    ("mailrail_topic_read_bytes_total", "Bytes of messages of a topic read by offset."),
    ("mailrail_topic_leased_messages_total", "Messages of a topic handed out by lease."),
    ("mailrail_topic_leased_bytes_total", "Bytes of messages of a topic handed out by lease."),
    ("mailrail_topic_refused_messages_total", "Messages that a topic did not take."),
];

/// In the order of [`mailrail_broker::GroupTotals`].
const OF_GROUPS: Names<5> = [
    ("mailrail_group_handed_out_messages_total", "Messages handed out to a group by lease."),
    ("mailrail_group_redelivered_messages_total", "Of them, those that had failed before."),
    ("mailrail_group_settled_messages_total", "Messages that a group settled."),
    ("mailrail_group_retried_messages_total", "Messages put back after a failed attempt."),
    ("mailrail_group_given_up_messages_total", "Messages that a group gave up."),
];

/// Renders the series of a broker.
pub struct Series {
    broker: Broker,
    topics_max: usize,
    places: Mutex<AllPlaces>,
}

#[derive(Debug, Default)]
struct AllPlaces {
    topics: Places<TopicId>,
    groups: Places<(TopicId, GroupId)>,
}

impl Series {
    pub fn new(broker: Broker, topics_max: usize) -> Self {
        Series { broker, topics_max, places: Mutex::default() }
    }

    /// Counters in Prometheus' text format.
    pub fn render(&self) -> String {
        // One at a time, so that an older look at the counts is not written after a newer one.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Totals { topics, topics_gone, groups, groups_gone } = self.broker.totals();
        let label = |topic: &Topic| format!("topic=\"{}\"", escaped(&topic.name));
        let of_pair =
            |topic: &Topic, group: &Group| format!("group=\"{}\",{}", escaped(&group.name), label(topic));
        let counted = topics.iter().map(|(topic, totals)| (topic.id, move || label(topic), *totals));
        let (own, others) = places.topics.part(counted.collect(), topics_gone, self.topics_max);
        let mut text = String::new();
        write_all(&mut text, &OF_TOPICS, &own, ("topic=\"\"", others));
        let counted = groups
            .iter()
            .map(|(topic, group, totals)| ((topic.id, group.id), move || of_pair(topic, group), *totals));
        let (own, others) = places.groups.part(counted.collect(), groups_gone, self.topics_max);
        write_all(&mut text, &OF_GROUPS, &own, ("group=\"\",topic=\"\"", others));
        text
    }
}

/// Who has a series of its own, and who is among the others.
#[derive(Debug)]
struct Places<K> {
    own: HashSet<K>,
    others: HashSet<K>,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Places { own: HashSet::new(), others: HashSet::new() }
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// Those that have their own, at most so many, by their labels, and the sum of all others and of what is gone.
    fn part<const N: usize>(
        &mut self,
        counted: Vec<(K, impl Fn() -> String, [u64; N])>,
        gone: [u64; N],
        max: usize,
    ) -> (Vec<(String, [u64; N])>, [u64; N]) {
        let there: HashSet<K> = counted.iter().map(|(key, ..)| *key).collect();
        self.own.retain(|key| there.contains(key));
        self.others.retain(|key| there.contains(key));
        let (mut own, mut others) = (Vec::new(), gone);
        for (key, labels, totals) in counted {
            let is_free = self.own.len() < max && !self.others.contains(&key);
            if self.own.contains(&key) || is_free {
                self.own.insert(key);
                own.push((labels(), totals));
            } else {
                self.others.insert(key);
                others.iter_mut().zip(totals).for_each(|(sum, total)| *sum += total);
            }
        }
        (own, others)
    }
}

/// One series for each that has its own, and one for all others together, if they have counted anything.
fn write_all<const N: usize>(
    text: &mut String,
    names: &Names<N>,
    own: &[(String, [u64; N])],
    (label, others): (&str, [u64; N]),
) {
    for (at, (name, help)) in names.iter().enumerate() {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (labels, totals) in own {
            let _ = writeln!(text, "{name}{{{labels}}} {}", totals[at]);
        }
        if others.iter().any(|total| *total > 0) {
            let _ = writeln!(text, "{name}{{{label}}} {}", others[at]);
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

    const ONE: Names<1> = [("n_total", "Numbers.")];

    fn written(places: &mut Places<u8>, keys: &[u8], gone: u64, max: usize) -> Vec<String> {
        let mut text = String::new();
        let counted =
            keys.iter().map(|key| (*key, move || format!("topic=\"{key}\""), [u64::from(*key)])).collect();
        let (own, others) = places.part(counted, [gone], max);
        write_all(&mut text, &ONE, &own, ("topic=\"\"", others));
        text.lines().skip(2).map(str::to_owned).collect()
    }

    #[test]
    fn beyond_the_limit_all_are_one_series() {
        let own = ["n_total{topic=\"1\"} 1", "n_total{topic=\"2\"} 2", "n_total{topic=\"4\"} 4"];
        let written = |max| written(&mut Places::default(), &[1, 2, 4], 0, max);
        assert_eq!(written(3), own);
        assert_eq!(written(2), [own[0], own[1], "n_total{topic=\"\"} 4"]);
        assert_eq!(written(0), ["n_total{topic=\"\"} 7"]);
    }

    #[test]
    fn a_place_that_is_free_goes_to_what_is_new() {
        let mut places = Places::default();
        assert_eq!(written(&mut places, &[1, 2], 0, 1), ["n_total{topic=\"1\"} 1", "n_total{topic=\"\"} 2"]);
        assert_eq!(written(&mut places, &[2], 1, 1), ["n_total{topic=\"\"} 3"]);
        let with_new = ["n_total{topic=\"4\"} 4", "n_total{topic=\"\"} 3"];
        assert_eq!(written(&mut places, &[2, 4], 1, 1), with_new);
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"} 9\nb\\"), "a\\\"} 9\\nb\\\\");
    }
}
