//! First records of an epoch: what the end of the last one left open is settled before anybody is served.

use super::*;
use crate::delivery::attempts;
use crate::settings::Lifetime;

impl Shard {
    /// Notes the new epoch and puts right what a crash may have left. `boot` changes with every start of the operating
    /// system.
    pub fn begin(&mut self, now: Now, boot: &str) -> Result<(), Error> {
        let machine_restarted = !self.state.boot.is_empty() && self.state.boot != boot;
        let lost_writes = machine_restarted && !self.state.closed;
        let epoch = self.journal.epoch();
        self.log(Change::Opened { epoch, boot: boot.to_owned(), wall_ms: now.wall_ms })?;
        if lost_writes && !planted(Bug::OffsetsNotSkipped) {
            self.skip_offsets_that_were_seen()?;
        }
        for topic in self.state.transient_topics() {
            self.log(Change::TopicDeleted { id: topic })?;
        }
        let transient =
            |exchange: &&crate::state::ExchangeState| exchange.shared.settings.lifetime != Lifetime::Durable;
        let exchanges: Vec<ExchangeId> =
            self.state.exchanges.values().filter(transient).map(|e| e.shared.id).collect();
        for id in exchanges {
            self.log(Change::ExchangeDeleted { id })?;
        }
        self.count_interrupted_attempts(now)?;
        self.find_late_waits();
        self.journal.want_sync();
        self.journal.submit();
        Ok(())
    }

    /// Entries may have been seen that never reached the disk. Their offsets must not name other messages.
    fn skip_offsets_that_were_seen(&mut self) -> Result<(), Error> {
        let seen = self.state.queues.values().filter(|queue| queue.reserved_to > queue.next_offset);
        let gaps: Vec<(QueueId, u64)> = seen.map(|queue| (queue.shared.id, queue.reserved_to)).collect();
        for (queue, next) in gaps {
            tracing::warn!(
                queue = queue.0,
                next,
                "offsets are skipped: the machine restarted without a clean stop"
            );
            self.log(Change::OffsetGap { queue, next })?;
        }
        Ok(())
    }

    /// What may have been handed out when the last epoch ended counts as one failed attempt, so that a message that
    /// brings the broker down reaches the dead letter.
    fn count_interrupted_attempts(&mut self, now: Now) -> Result<(), Error> {
        let mut changes = Vec::new();
        for (group, queue, progress) in self.state.all_progress() {
            let end = self.state.queues.get(&queue).map_or(0, |queue| queue.next_offset);
            let marked = progress.unsettled_runs(progress.granted_to.min(end));
            let apart = progress.granted.iter().map(|(first, end)| (first.max(progress.granted_to), end));
            let unsettled = marked.into_iter().chain(apart).flat_map(|(first, end)| first..end);
            let mut runs: Vec<(u64, u64, u32)> = Vec::new();
            for offset in unsettled {
                let failed = attempts(progress, offset).saturating_add(1);
                match runs.last_mut() {
                    Some((first, count, same)) if *first + *count == offset && *same == failed => *count += 1,
                    _ => runs.push((offset, 1, failed)),
                }
            }
            let not_before_ms = now.wall_ms;
            changes.extend(runs.into_iter().map(|(first, count, attempts)| Change::Returned {
                group,
                queue,
                first,
                count,
                attempts,
                not_before_ms,
            }));
            if progress.has_grants() {
                changes.push(Change::Granted { group, queue, to: progress.floor });
            }
        }
        changes.into_iter().try_for_each(|change| self.log(change))
    }
}
