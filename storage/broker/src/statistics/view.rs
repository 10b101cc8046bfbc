//! Counting what was read, and what whoever asks is shown.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    BrokerStatistics, Client, GroupStatistics, GroupTotals, QueueStatistics, TopicStatistics, TopicTotals,
    Traffic, add_all, queue,
};
use crate::broker::Broker;
use crate::directory::{Directory, Group, Topic};
use crate::event::Delivery;
use crate::queue::Queue;
use crate::read::ReadBatch;
use crate::time::Now;

/// What topics and groups came to, without rates. All of it together never gets less.
#[derive(Debug)]
pub struct Totals {
    /// Of topics, but for light queues, as they were made.
    pub topics: Vec<(Arc<Topic>, TopicTotals)>,
    /// Of those that are deleted.
    pub topics_gone: TopicTotals,
    /// Of groups on these topics.
    pub groups: Vec<(Arc<Topic>, Arc<Group>, GroupTotals)>,
    /// Of those that are gone, or their topics.
    pub groups_gone: GroupTotals,
}

impl Topic {
    fn totals(&self) -> TopicTotals {
        let mut all = [0; queue::COUNTS];
        for queue in self.queues().iter() {
            queue.meter().into_iter().for_each(|meter| add_all(&mut all, &meter.counts()));
        }
        let [received, received_bytes, read, read_bytes, leased, leased_bytes] = all;
        let [refused] = self.refused.counts();
        [received, received_bytes, read, read_bytes, leased, leased_bytes, refused]
    }
}

impl Directory {
    /// What each topic but light queues came to, in no order, and those that are deleted: nothing is in both, or missing.
    fn topic_totals(&self) -> (Vec<(Arc<Topic>, TopicTotals)>, TopicTotals) {
        self.with_topics(|topics| {
            let topics = topics.filter(|topic| topic.lite_of.is_none());
            let totals = topics.map(|topic| (topic.clone(), topic.totals())).collect();
            (totals, self.statistics().topics_gone())
        })
    }

    /// A topic is deleted; to be called while nobody looks at the topics.
    pub(crate) fn keep_totals(&self, topic: &Topic) {
        if topic.lite_of.is_none() {
            self.statistics().topic_gone(&topic.totals());
        }
    }

    /// Messages of a queue were read by offset.
    pub(crate) fn count_read(&self, now: Now, queue: &Queue, batch: &ReadBatch) {
        if !batch.entries.is_empty() {
            let counts = queue::read(to_u64(batch.entries.len()), to_u64(batch.message_bytes()));
            queue.count(now.mono, &counts);
            self.statistics().all.add(now.mono, &counts);
        }
    }

    /// Messages were read for whoever they are leased to.
    pub(crate) fn count_leased(&self, now: Now, deliveries: &[Delivery]) {
        for run in deliveries.chunk_by(|a, b| a.receipt.queue == b.receipt.queue) {
            let counts = queue::leased(to_u64(run.len()), to_u64(Delivery::bytes_of(run)));
            let queue = run.first().and_then(|first| self.queue(first.receipt.queue));
            queue.into_iter().for_each(|queue| queue.count(now.mono, &counts));
            self.statistics().all.add(now.mono, &counts);
        }
    }
}

impl Broker {
    /// What went through the broker since it started.
    pub fn statistics(&self) -> BrokerStatistics {
        let (now, statistics) = (self.now().mono, self.directory().statistics());
        let started = statistics.started();
        let [refused] = statistics.refused.read(now, started.mono);
        let all = QueueStatistics::of(statistics.all.read(now, started.mono));
        BrokerStatistics { since_ms: started.wall_ms, all, refused }
    }

    /// What went through a topic since the broker started, or the topic was made. Light queues, of which there may be very
    /// many, count only for the broker as a whole, and their groups not at all.
    pub fn topic_statistics(&self, topic: &Topic) -> TopicStatistics {
        let (now, started) = (self.now().mono, self.directory().statistics().started().mono);
        let queue = |queue: &Arc<Queue>| {
            queue
                .meter()
                .map_or_else(QueueStatistics::default, |meter| QueueStatistics::of(meter.read(now, started)))
        };
        let queues: Vec<QueueStatistics> = topic.queues().iter().map(queue).collect();
        let all = queues.iter().fold(QueueStatistics::default(), |all, queue| all.plus(*queue));
        let [refused] = topic.refused.read(now, started);
        TopicStatistics { all, queues, refused }
    }

    /// What a group did on a topic since the broker started, or it was forgotten there.
    pub fn group_statistics(&self, group: &Group, topic: &Topic) -> GroupStatistics {
        let (now, statistics) = (self.now().mono, self.directory().statistics());
        let meter = statistics.group((topic.id, group.id));
        let read = |meter: Arc<super::registry::GroupMeter>| meter.read(now, statistics.started().mono);
        meter.map_or_else(GroupStatistics::default, |meter| GroupStatistics::of(read(meter)))
    }

    /// What all topics and groups came to since the broker started, in one pass over them.
    pub fn totals(&self) -> Totals {
        let directory = self.directory();
        let (mut topics, topics_gone) = directory.topic_totals();
        topics.sort_by_key(|(topic, _)| topic.id);
        let (of_groups, groups_gone) = directory.statistics().group_totals();
        let known_topics: HashMap<_, _> = topics.iter().map(|(topic, _)| (topic.id, topic)).collect();
        let known_groups: HashMap<_, _> =
            directory.groups().into_iter().map(|group| (group.id, group)).collect();
        // What is not known was made just now.
        let named = of_groups.into_iter().filter_map(|((topic, group), totals)| {
            Some(((*known_topics.get(&topic)?).clone(), known_groups.get(&group)?.clone(), totals))
        });
        let groups = named.collect();
        Totals { topics, topics_gone, groups, groups_gone }
    }

    /// Clients that are connected, from the one behind a number on.
    pub fn clients(&self, after: u64, max: usize) -> Vec<Arc<Client>> {
        self.directory().statistics().clients(after, max)
    }

    /// What was received of a client since it connected, and what was sent to it.
    pub fn client_traffic(&self, client: &Client) -> (Traffic, Traffic) {
        client.traffic(self.now().mono)
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
