//! Repairing the data folder of a stopped broker: what is derived from the log is set aside, never deleted, and made
//! anew from it. The log itself is not mended: where it is damaged, nothing is touched.

use std::path::{Path, PathBuf};

use mailrail_commitlog::SEGMENT_STEP_BYTES;
use mailrail_commitlog::disk::DirLock;

use crate::broker::{Broker, BrokerConfig};
use crate::check::{CheckReport, inspect};
use crate::open::{LOOKUP_DIR, OpenError, find_snapshot};
use crate::store::{StoreEngine, already_set_aside, discard, set_aside};

/// What was found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairReport {
    /// The log as it was; a torn tail that it names is cut now.
    pub found: CheckReport,
    /// Where the store that was there is now.
    pub set_aside: Option<PathBuf>,
    /// What earlier starts and repairs set aside, and its bytes.
    pub left_over: Vec<(PathBuf, u64)>,
    /// What the rebuilt state has.
    pub topics: usize,
    pub queues: usize,
    pub groups: usize,
    pub exchanges: usize,
}

/// Why a folder was not repaired. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Nothing was changed.
    #[error(transparent)]
    Before(#[from] OpenError),
    /// The log is whole; the next start rebuilds what is missing.
    #[error("rebuilding the store: {error}{}", told(set_aside.as_deref()))]
    Rebuilding { error: String, set_aside: Option<PathBuf> },
}

fn told(set_aside: Option<&Path>) -> String {
    set_aside.map_or_else(String::new, |to| format!("; the store that was there is in {}", to.display()))
}

/// Rebuilds everything but the log, and leaves it as an orderly stop of a broker does.
pub fn repair(mut config: BrokerConfig) -> Result<RepairReport, RepairError> {
    let data = config.data.clone();
    // The lock is a file of its own, and must not be left where there is no data.
    std::fs::read_dir(&data).map_err(|error| OpenError::NoFolder { path: data.clone(), error })?;
    let lock = DirLock::acquire(&data).map_err(OpenError::from)?;
    let found = inspect(&data)?;
    if found.log.start > 0 {
        find_snapshot(&data)?;
    }
    let mut left_over = Vec::new();
    for engine in StoreEngine::ALL {
        left_over.extend(already_set_aside(&data.join(engine.file_name())).map_err(OpenError::from)?);
    }
    let used = StoreEngine::ALL.into_iter().find(|engine| data.join(engine.file_name()).exists());
    config.store_engine = used.unwrap_or(config.store_engine);
    let path = data.join(config.store_engine.file_name());
    let set_aside = used.map(|_| set_aside(&path)).transpose().map_err(OpenError::from)?;
    if found.log.segment_bytes.is_multiple_of(SEGMENT_STEP_BYTES) {
        // A longer one might not fit the disk, and its last broker wanted them of this length.
        config.log.segment_bytes = found.log.segment_bytes;
    }
    // Key files are made again in the background.
    discard(&data.join(LOOKUP_DIR)).map_err(OpenError::from)?;
    let rebuilt = Broker::open_locked(config, lock).map_err(|error| error.to_string()).and_then(|broker| {
        let counts = count(&broker);
        broker.stop().map(|()| counts)
    });
    match rebuilt {
        Ok((topics, queues, groups, exchanges)) => {
            Ok(RepairReport { found, set_aside, left_over, topics, queues, groups, exchanges })
        }
        Err(error) => Err(RepairError::Rebuilding { error, set_aside }),
    }
}

fn count(broker: &Broker) -> (usize, usize, usize, usize) {
    let directory = broker.directory();
    let topics = directory.topics();
    let queues = topics.iter().map(|topic| topic.queues().len()).sum();
    (topics.len(), queues, directory.groups().len(), directory.exchanges().len())
}

impl RepairReport {
    /// Room that everything set aside earlier takes.
    pub fn left_over_bytes(&self) -> u64 {
        self.left_over.iter().map(|(_, bytes)| bytes).sum()
    }
}
