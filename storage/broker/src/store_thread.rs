//! The one thread that writes to the store, so that its blocking calls hold up nobody else.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use crate::ids::QueueId;
use crate::inbox::Inbox;
use crate::queue::{BlockRef, Sealing, block_key};
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
        let work = move || {
            for job in queue {
                run(&*store, &inbox, job);
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

fn run(store: &dyn Store, inbox: &Inbox<Input>, job: StoreJob) {
    match job {
        StoreJob::Checkpoint(image) => {
            let number = image.number;
            let stored = apply(store, StoreJob::Checkpoint(image)).and_then(|()| Ok(store.flush()?));
            if let Err(error) = &stored {
                tracing::error!(%error, number, "a checkpoint could not be stored; the log is intact");
            }
            inbox.put(Input::CheckpointStored { number, stored: stored.is_ok() });
        }
        job => {
            if let Err(error) = apply(store, job) {
                tracing::error!(%error, "the store failed; what it lacks is rebuilt from the log at the next start");
            }
        }
    }
}

/// Carries out a job, without telling anybody; also used while the state is rebuilt at start.
pub(crate) fn apply(store: &dyn Store, job: StoreJob) -> Result<(), PackError> {
    match job {
        StoreJob::Seal(sealing) => sealing.store(store)?,
        StoreJob::Drop { queue, blocks } => {
            store.apply(blocks.iter().map(|block| (block_key(queue, block.first_offset), None)).collect())?;
        }
        StoreJob::Checkpoint(image) => image.store(store, &mut |changes| store.apply(changes))?,
    }
    Ok(())
}
