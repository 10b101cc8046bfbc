//! Acts after which the broker starts again, with all that it had or with what was synced.

use super::acts::SESSIONS;
use super::line::Failed;
use super::rig::Rig;
use super::*;

impl Rig {
    /// Everything is synced from now on, and so is what was not.
    pub fn sync(&mut self) -> Said {
        self.sim.syncing = true;
        self.unsynced = None;
        self.come_to_rest()?;
        for (token, published) in std::mem::take(&mut self.unanswered) {
            let results = self.receipts.remove(&(0, token)).ok_or("a publish was not answered")?;
            self.check_receipts(published, results)?;
        }
        for (token, told) in std::mem::take(&mut self.untold) {
            let reply = self.replies.remove(&(0, token)).ok_or(format!("{told:?} was not answered"))?;
            self.check_told(told, &reply)?;
        }
        Ok(())
    }

    pub fn stop_syncing(&mut self) -> Said {
        if self.unsynced.is_none() {
            let (written, synced) = self.sim.shard.log_reached();
            must!(written == synced, "at rest {written} is written, and {synced} synced");
            self.unsynced = Some(Box::new(self.model.clone()));
            self.granted_synced = self.granted.len();
            self.timed_synced = self.timed.len();
            self.sim.syncing = false;
        }
        Ok(())
    }

    pub fn kill(&mut self, loses_store: bool) -> Said {
        self.restart(Loss::Nothing, loses_store)
    }

    /// What was not synced is gone, but that no offset that was seen names another message.
    pub fn cut_power(&mut self, loses_store: bool) -> Said {
        if let Some(before) = self.unsynced.take() {
            let lost = std::mem::replace(&mut self.model, *before);
            self.model.take_over_from(lost);
            // Of a lease that was lost nobody knows; its receipt may be valid or not.
            self.granted.truncate(self.granted_synced);
            // Another message may be where one was that is lost.
            self.timed.truncate(self.timed_synced);
            self.sim.syncing = true;
        }
        self.model.count("power cuts", 1);
        self.restart(Loss::All, loses_store)
    }

    /// Where offsets go on: where they ended, or, where some may have been seen and lost, behind those.
    fn find_ends(&mut self, lost_power: bool) -> Said {
        for (name, topic) in &mut self.model.topics {
            for queue in &mut topic.queues {
                let state = &self.sim.shard.state().queues[&QueueId(queue.id)];
                // The start itself may have appended some.
                let index = state.shared.image(u64::MAX);
                let new = index.entries().map(|entry| entry.offset);
                let next = new.filter(|offset| *offset >= queue.next).min().unwrap_or(state.next_offset);
                must!(next == queue.next || lost_power, "{name} goes on at {next}, not at {}", queue.next);
                must!(next >= queue.next.max(queue.seen_to), "{name} goes on at {next}, below {queue:?}");
                queue.skip_to(next);
                // What was there before is no news: no limit of length is looked at for it.
                queue.visible = queue.visible.max(state.shared.end_offset().min(queue.next));
            }
        }
        Ok(())
    }

    fn restart(&mut self, loss: Loss, loses_store: bool) -> Said {
        let lost_power = loss != Loss::Nothing;
        self.boots += u32::from(lost_power);
        let store: Arc<dyn Store> =
            if loses_store { Arc::new(MemoryStore::default()) } else { self.sim.store.clone() };
        let disk = self.sim.disk.power_cut(loss);
        let (boot, now) = (format!("boot-{}", self.boots), self.sim.now);
        let opened = Simulation::before_first_turn(SEGMENT_BYTES, disk, store, &boot, now);
        self.sim = opened.map_err(|error| error.to_string())?;
        self.clients = (0..SESSIONS).map(|_| self.sim.connect()).collect();
        self.takers.clear();
        self.unanswered.clear();
        self.untold.clear();
        self.model.stop();
        self.find_ends(lost_power)?;
        for (group, topic, index) in self.model.lines.keys().copied().collect::<Vec<_>>() {
            let state = self.sim.shard.state();
            let id = state.directory.group(group).map(|group| group.id);
            let queue = QueueId(self.model.queue(topic, index).id);
            let progress = id.and_then(|id| state.progress(id, queue));
            let failed = progress.iter().flat_map(|progress| &progress.failed);
            let failed = failed.map(|(offset, failed)| {
                let (attempts, not_before_ms) = (failed.attempts, failed.not_before_ms);
                (*offset, Failed { attempts, not_before_ms })
            });
            let failed = failed.collect();
            let is_settled = |offset| progress.is_some_and(|progress| progress.is_settled(offset));
            self.model.found((group, topic), index, &failed, is_settled, lost_power)?;
        }
        self.model.count("starts", 1);
        Ok(())
    }
}
