//! Counting what was read, and what whoever asks is shown.

use std::sync::Arc;

use super::{BrokerStatistics, Client, GroupStatistics, QueueStatistics, TopicStatistics, Traffic, queue};
use crate::broker::Broker;
use crate::directory::{Directory, Group, Topic};
use crate::event::Delivery;
use crate::queue::Queue;
use crate::read::ReadBatch;
use crate::time::Now;

impl Directory {
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
    /// many, count only for the broker as a whole, and so do their groups not at all.
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

    /// The groups that did something on a topic since the broker started, as they were made.
    pub fn groups_on(&self, topic: &Topic) -> Vec<(Arc<Group>, GroupStatistics)> {
        let (now, statistics) = (self.now().mono, self.directory().statistics());
        let started = statistics.started().mono;
        let names: std::collections::HashMap<_, _> =
            self.directory().groups().into_iter().map(|group| (group.id, group)).collect();
        let of_topic = statistics.groups_on(topic.id).into_iter();
        let known = of_topic.filter_map(|(id, meter)| Some((names.get(&id)?.clone(), meter)));
        known.map(|(group, meter)| (group, GroupStatistics::of(meter.read(now, started)))).collect()
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
