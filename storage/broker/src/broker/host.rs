//! The shard's thread: takes inputs, has the shard handle them, and carries its outputs away. Beside it, what brings it the
//! log's news.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_commitlog::disk::DirLock;
use mailrail_commitlog::{LogEvents, LogFault, Position};

use crate::inbox::Inbox;
use crate::reader::{Job, Pool};
use crate::shard::{Input, Shard};
use crate::share::Share;
use crate::stages::ShardMeter;
use crate::time::{Clock, Now};

/// Carries the log's news to the shard.
pub(super) struct ToShard {
    pub inbox: Arc<Inbox<Input>>,
    pub faulted: Arc<AtomicBool>,
    /// Something waits for a write rather than for a sync; without it, the news of a write wakes nobody.
    pub writes_awaited: Arc<AtomicBool>,
    pub clock: Arc<dyn Clock>,
}

impl LogEvents for ToShard {
    fn written(&self, to: Position) {
        let news = Input::Written { to, at: self.clock.now().mono };
        if self.writes_awaited.load(Ordering::SeqCst) {
            self.inbox.put(news);
        } else {
            self.inbox.put_quietly(news);
        }
    }

    fn synced(&self, to: Position) {
        self.inbox.put(Input::Synced { to, at: self.clock.now().mono });
    }

    fn refused(&self, from: Position, _why: &LogFault) {
        self.inbox.put(Input::Refused { from });
    }

    fn short_of_room(&self, is_short: bool) {
        self.inbox.put(Input::ShortOfRoom { is_short });
    }

    fn poisoned(&self, why: &LogFault) {
        metrics::counter!("mailrail_log_faults_total").increment(1);
        self.faulted.store(true, Ordering::Release);
        self.inbox.put(Input::Poisoned(why.to_string()));
    }
}

/// The shard thread.
pub(super) struct Host {
    pub shard: Shard,
    pub inbox: Arc<Inbox<Input>>,
    pub pool: Pool,
    pub store: crate::store_thread::Handle,
    pub clock: Arc<dyn Clock>,
    pub in_flight: Arc<Share>,
    pub meter: ShardMeter,
    pub _end: EndOfShard,
    pub _lock: DirLock,
}

/// Takes no further inputs when the shard thread has ended; if it panicked, the process should end too.
pub(super) struct EndOfShard {
    pub inbox: Arc<Inbox<Input>>,
    pub faulted: Arc<AtomicBool>,
}

impl Drop for EndOfShard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.faulted.store(true, Ordering::Release);
        }
        self.inbox.close();
    }
}

impl Host {
    pub(super) fn run(mut self) {
        let mut stopping = false;
        let mut inputs = Vec::new();
        while !(stopping && self.shard.is_idle()) {
            let now = self.clock.now();
            let deadline = self.shard.deadline(now);
            self.inbox.take(deadline.map(|at| at.saturating_sub(now.mono)), &mut inputs);
            let now = self.clock.now();
            for input in inputs.drain(..) {
                stopping |= matches!(input, Input::Stop);
                self.measure(now, &input);
                self.shard.handle(now, input);
            }
            if let Some(end) = self.shard.finish_turn(now) {
                self.meter.submitted(end, now.mono);
            }
            self.carry_away();
        }
    }

    fn measure(&mut self, now: Now, input: &Input) {
        match input {
            Input::Commands { since, .. } => self.meter.waited(*since, now.mono),
            Input::Written { to, at } => self.meter.written(*to, *at),
            Input::Synced { to, at } => self.meter.synced(*to, *at),
            _ => {}
        }
    }

    fn carry_away(&mut self) {
        let outputs = self.shard.take_outputs();
        self.meter.counted(outputs.published, outputs.freed_bytes, outputs.delivered);
        // Whoever has its answer finds the room that this gave back.
        if outputs.freed_bytes > 0 {
            self.in_flight.sub(outputs.freed_bytes);
        }
        for (mailbox, letters) in outputs.letters {
            mailbox.put(letters);
        }
        for work in outputs.work {
            let (inbox, is_long) = (self.inbox.clone(), work.is_long());
            let job: Job = Box::new(move |context| inbox.put(work.carry_out(context)));
            if is_long { self.pool.run_long(job) } else { self.pool.run(job) }
        }
        for job in outputs.store_jobs {
            self.store.run(job);
        }
    }
}
