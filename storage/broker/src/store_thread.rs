//! The one thread that writes to the store, so that its blocking calls hold up nobody else.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use crate::ids::QueueId;
use crate::inbox::Inbox;
use crate::queue::{BlockRef, Sealing, block_key};
use crate::schedule::{self, Gather, GatherError, Gathered, Seal};
use crate::shard::Input;
use crate::state::{CheckpointImage, PackError};
use crate::store::Store;

/// Work for the store, carried out in order.
#[derive(Debug)]
pub(crate) enum StoreJob {
    /// Packs full chunks of an index into a block.
    Seal(Sealing),
    /// Drops blocks that nothing leads to any more.
    Drop { queue: QueueId, blocks: Vec<BlockRef> },
    /// Writes blocks of waiting messages.
    SealTimers(Seal),
    /// Drops such blocks.
    DropTimers(Vec<u64>),
    /// Merges such blocks, and tells the shard.
    Gather(Gather),
    /// Writes a checkpoint, makes it durable, and tells the shard.
    Checkpoint(CheckpointImage),
}

/// Lets the shard queue jobs.
#[derive(Clone)]
pub(crate) struct Handle {
    jobs: Sender<StoreJob>,
}

impl Handle {
    pub fn run(&self, job: StoreJob) {
        let _ = self.jobs.send(job);
    }
}

/// The running thread.
pub(crate) struct StoreThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    pub fn start(store: Arc<dyn Store>, inbox: Arc<Inbox<Input>>) -> StoreThread {
        let (jobs, queue) = crossbeam_channel::unbounded::<StoreJob>();
        let mut writer = StoreWriter::new(store);
        let work = move || {
            for job in queue {
                writer.run(job).into_iter().for_each(|news| inbox.put(news));
            }
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(work).ok();
        StoreThread { handle: Handle { jobs }, thread }
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Finishes what is queued and ends the thread. Every other handle must be gone.
    pub fn stop(self) {
        drop(self.handle);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// Carries out jobs one after another. Blocks of waiting messages that could not be written are nowhere else, so they
/// come first again, and no checkpoint that leads to them is stored before they are.
pub(crate) struct StoreWriter {
    store: Arc<dyn Store>,
    unwritten: Vec<Seal>,
}

/// What became of merging blocks of waiting messages; without success, the numbers that were set aside for it.
pub(crate) type GatherOutcome = Result<Gathered, (u64, usize)>;

impl StoreWriter {
    pub fn new(store: Arc<dyn Store>) -> Self {
        StoreWriter { store, unwritten: Vec::new() }
    }

    /// Does a job; returns what the shard must hear of it.
    pub fn run(&mut self, job: StoreJob) -> Option<Input> {
        let caught_up = self.catch_up();
        match job {
            StoreJob::Checkpoint(image) => {
                let number = image.number;
                let stored = caught_up.and_then(|()| apply(&*self.store, StoreJob::Checkpoint(image)));
                let stored = stored.and_then(|()| Ok(self.store.flush()?));
                if let Err(error) = &stored {
                    tracing::error!(%error, number, "a checkpoint could not be stored; the log is intact");
                }
                Some(Input::CheckpointStored { number, stored: stored.is_ok() })
            }
            StoreJob::Gather(gather) => {
                let numbers = gather.numbers();
                let caught_up = caught_up.map_err(|error| error.to_string());
                let outcome = caught_up.and_then(|()| {
                    gather.carry_out(&*self.store).map_err(|error: GatherError| error.to_string())
                });
                if let Err(error) = &outcome {
                    tracing::error!(%error, "far waiting messages could not be read; trying again");
                }
                Some(Input::Gathered(outcome.map_err(|_| numbers)))
            }
            StoreJob::SealTimers(seal) => {
                self.unwritten.push(seal);
                if caught_up.is_ok() {
                    drop(self.catch_up());
                }
                None
            }
            job => {
                if let Err(error) = apply(&*self.store, job) {
                    tracing::error!(%error, "the store failed; what it lacks is rebuilt from the log at the next start");
                }
                None
            }
        }
    }

    pub fn catch_up(&mut self) -> Result<(), PackError> {
        while let Some(seal) = self.unwritten.last() {
            seal.store(&*self.store).inspect_err(|error| {
                tracing::error!(%error, "blocks of waiting messages could not be stored; trying again");
            })?;
            self.unwritten.pop();
        }
        Ok(())
    }
}

/// Carries out a job, without telling anybody; also used while the state is rebuilt at start.
pub(crate) fn apply(store: &dyn Store, job: StoreJob) -> Result<(), PackError> {
    match job {
        StoreJob::Seal(sealing) => sealing.store(store)?,
        StoreJob::Drop { queue, blocks } => {
            store.apply(blocks.iter().map(|block| (block_key(queue, block.first_offset), None)).collect())?;
        }
        StoreJob::SealTimers(seal) => seal.store(store)?,
        StoreJob::DropTimers(ids) => {
            store.apply(ids.iter().map(|id| (schedule::block_key(*id), None)).collect())?;
        }
        // Only who waits for its outcome has use for it.
        StoreJob::Gather(_) => {}
        StoreJob::Checkpoint(image) => image.store(store, &mut |changes| store.apply(changes))?,
    }
    Ok(())
}
