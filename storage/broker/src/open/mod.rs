//! Opening a data folder: the store's newest checkpoint, then the log from there on. Where the store is missing, broken
//! or does not fit the log, it is set aside and the state is rebuilt from the log alone.

mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailrail_commitlog::disk::{DirLock, Disk, LockError, OsDisk};
use mailrail_commitlog::{LogConfig, LogReader, Opened as OpenedLog, Position, Syncer, Writer};

use self::replay::{Replay, SnapshotFinder};
use crate::broker::BrokerConfig;
use crate::limits::TURN_PIECES_MAX;
use crate::lookup::Lookup;
use crate::queue::Blocks;
use crate::shard::{CheckpointPolicy, Journal, ReclaimPolicy, Shard};
use crate::state::{State, read_checkpoint};
use crate::store::{Mended, Store, StoreEngine, StoreError, discard, set_aside};

/// Why a data folder was not opened. Each is one line for whoever started the broker.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data folder {} cannot be made: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("the data folder {} cannot be read: {error}", path.display())]
    NoFolder { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Log(#[from] mailrail_commitlog::OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the start of the log was trimmed, and neither the store nor a snapshot in the log says what was before it: start from a backup"
    )]
    NoSnapshot,
    #[error("the store could not be rebuilt: {0}")]
    Rebuild(String),
    #[error("the first records of this run could not be written: {0}")]
    Begin(crate::Error),
    #[error("a thread could not be started: {0}")]
    Thread(String),
}

/// A shard that is ready, and what its threads need.
pub(crate) struct OpenedShard {
    pub shard: Shard,
    pub writer: Writer,
    pub syncer: Syncer,
    pub reader: LogReader,
    pub store: Arc<dyn Store>,
    pub blocks: Arc<Blocks>,
    pub lookup: Arc<Lookup>,
    pub lock: DirLock,
}

/// Folder of the key files, in the data folder.
pub(crate) const LOOKUP_DIR: &str = "keys";

/// Makes the data folder if it is missing, and takes it.
pub(crate) fn lock(data: &Path) -> Result<DirLock, OpenError> {
    std::fs::create_dir_all(data).map_err(|error| OpenError::Folder { path: data.to_owned(), error })?;
    Ok(DirLock::acquire(data)?)
}

pub(crate) fn open(config: &BrokerConfig, lock: DirLock) -> Result<OpenedShard, OpenError> {
    let (store, state, log) = open_store_and_log(config)?;
    let recovery = &log.recovery;
    if let Some(cut) = &recovery.cut {
        tracing::warn!(%cut, "the end of the log was cut");
    }
    tracing::info!(start = recovery.start, end = recovery.end, epoch = recovery.epoch, "log opened");
    let policy = CheckpointPolicy {
        log_bytes: config.checkpoint_log_bytes,
        interval: config.checkpoint_interval,
        turn_pieces: TURN_PIECES_MAX,
    };
    let now = config.clock.now();
    let blocks = Arc::new(Blocks::new(store.clone()));
    let reclaim = ReclaimPolicy { retention: config.retention, segment_bytes: config.log.segment_bytes };
    let mut shard = Shard::new(state, Journal::new(log.appender), blocks.clone(), policy, reclaim, now);
    shard.begin(now, &config.boot).map_err(OpenError::Begin)?;
    let keys = config.data.join(LOOKUP_DIR);
    let lookup = Lookup::open(Arc::new(OsDisk), keys.clone())
        .map_err(|error| OpenError::Folder { path: keys, error })?;
    let (writer, syncer, reader, lookup) = (log.writer, log.syncer, log.reader, Arc::new(lookup));
    Ok(OpenedShard { shard, writer, syncer, reader, store, blocks, lookup, lock })
}

/// A store whose damage shows only while it is read is set aside like one that does not open. Once the state is there
/// without it, the store of another engine goes: nobody keeps it up to date.
fn open_store_and_log(config: &BrokerConfig) -> Result<(Arc<dyn Store>, State, OpenedLog), OpenError> {
    let (data, engine) = (&config.data, config.store_engine);
    let others = StoreEngine::ALL.into_iter().filter(|other| *other != engine);
    let others: Vec<_> = others.map(|other| data.join(other.file_name())).collect();
    let path = data.join(engine.file_name());
    if !path.exists() && others.iter().any(|other| other.exists()) {
        tracing::warn!(?engine, "the store was another engine's; it is rebuilt from the log");
    }
    let opened = open_or_set_aside(config, &path)?;
    for other in others {
        match discard(&other) {
            Ok(false) => {}
            Ok(true) => tracing::info!(path = %other.display(), "the other engine's store is removed"),
            // What it holds is old, but as right as what the log says from there on.
            Err(error) => tracing::warn!(%error, "the other engine's store stays"),
        }
    }
    Ok(opened)
}

fn open_or_set_aside(
    config: &BrokerConfig,
    path: &Path,
) -> Result<(Arc<dyn Store>, State, OpenedLog), OpenError> {
    let open = || -> Result<Arc<dyn Store>, StoreError> {
        let opened = config.store_engine.open(path, config.store_cache_bytes)?;
        if opened.mended != Mended::No {
            tracing::warn!(mended = ?opened.mended, "the store was not closed well");
        }
        Ok(opened.store)
    };
    let store = open()?;
    match bring_up(Arc::new(OsDisk), &config.data, &config.log, &store) {
        Ok((state, log)) => return Ok((store, state, log)),
        Err(OpenError::Store(error @ StoreError::Damaged { .. })) => {
            drop(store);
            let to = set_aside(path)?;
            tracing::error!(%error, to = %to.display(), "the store is set aside; it is rebuilt from the log");
        }
        Err(error) => return Err(error),
    }
    let store = open()?;
    let (state, log) = bring_up(Arc::new(OsDisk), &config.data, &config.log, &store)?;
    Ok((store, state, log))
}

/// The state at the end of the log, and the log.
pub(crate) fn bring_up(
    disk: Arc<dyn Disk>,
    data: &Path,
    config: &LogConfig,
    store: &Arc<dyn Store>,
) -> Result<(State, OpenedLog), OpenError> {
    if let Some((position, state)) = load_checkpoint(&**store)? {
        let mut replay = Replay::new(state, store.clone());
        let log = mailrail_commitlog::open(disk.clone(), data, config.clone(), Some(position), &mut replay);
        match log {
            Ok(log) => match replay.finish() {
                Ok(state) => return Ok((state, log)),
                Err(error) => tracing::warn!(%error, "the store is damaged; it is rebuilt"),
            },
            Err(
                error @ (mailrail_commitlog::OpenError::FromTrimmed { .. }
                | mailrail_commitlog::OpenError::FromBeyond { .. }
                | mailrail_commitlog::OpenError::Visitor { .. }),
            ) => tracing::warn!(%error, "the store does not fit the log; it is rebuilt"),
            Err(error) => return Err(error.into()),
        }
    }
    store.remove_prefix(&[])?;
    let mut replay = Replay::from_scratch(store.clone());
    match mailrail_commitlog::open(disk.clone(), data, config.clone(), None, &mut replay) {
        Ok(log) => return Ok((replay.finish().map_err(rebuilding)?, log)),
        Err(_) if replay.trimmed => tracing::warn!("the state is rebuilt from the log's newest snapshot"),
        Err(error) => return Err(error.into()),
    }
    let mut finder = SnapshotFinder::default();
    drop(mailrail_commitlog::open(disk.clone(), data, config.clone(), None, &mut finder)?);
    let snapshot = finder.into_state().ok_or(OpenError::NoSnapshot)?;
    let mut replay = Replay::after_snapshot(snapshot, store.clone());
    let log = mailrail_commitlog::open(disk, data, config.clone(), None, &mut replay)?;
    Ok((replay.finish().map_err(rebuilding)?, log))
}

fn rebuilding(what: String) -> OpenError {
    OpenError::Rebuild(what)
}

/// An error if a log whose start was trimmed holds no snapshot to rebuild the state from. Changes nothing.
pub(crate) fn find_snapshot(data: &Path) -> Result<(), OpenError> {
    let mut finder = SnapshotFinder::default();
    mailrail_commitlog::check(&OsDisk, data, &mut finder)?;
    finder.into_state().map(|_| ()).ok_or(OpenError::NoSnapshot)
}

/// The state that the store holds, and the log position it is right for; `None` when there is none, or it is broken.
fn load_checkpoint(store: &dyn Store) -> Result<Option<(Position, State)>, StoreError> {
    let Some((position, mut items)) = read_checkpoint(store)? else { return Ok(None) };
    items.sort_by_key(|(_, item)| item.rank());
    let mut state = State::default();
    items.into_iter().for_each(|(as_of, item)| state.restore(as_of, item));
    state.drop_orphans();
    state.forget_dirty();
    Ok(Some((position, state)))
}
