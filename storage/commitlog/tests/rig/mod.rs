//! A log on a double of a disk, driven step by step, and what it should hold. It asserts nothing by itself but that
//! events never go backwards.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mailrail_commitlog::disk::{FaultDisk, Loss};
use mailrail_commitlog::record::{RECORD_HEADER_BYTES, padded, write_header};
use mailrail_commitlog::{
    AppendError, LogConfig, LogEvents, LogFault, OpenError, Opened, Position, Recovery, SEGMENT_BYTES_MIN,
    Step, Visitor, open,
};

pub const DIR: &str = "/data";
pub const KIND: u8 = 7;

/// A record as it is found in a log: position and bytes.
pub type Held = (Position, Vec<u8>);

pub fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync_interval: Duration::from_secs(3600),
        free_bytes_min: 32 << 10,
        cache_bytes: 1 << 20,
    }
}

pub fn encoded(body: &[u8]) -> Bytes {
    let mut out = vec![0; padded(body.len())];
    write_header(&mut out, KIND, body.len()).unwrap();
    out[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + body.len()].copy_from_slice(body);
    out.into()
}

pub fn segment_path(base: Position) -> PathBuf {
    Path::new(DIR).join("log").join(format!("{base:020}.seg"))
}

/// What the log told.
#[derive(Debug, Default)]
pub struct Told {
    pub written: Position,
    pub synced: Position,
    pub refused: Vec<(Position, LogFault)>,
    /// Whether the log is short of room, each time that it said so.
    pub short: Vec<bool>,
    pub poisoned: Vec<LogFault>,
}

#[derive(Debug, Default)]
pub struct Journal(pub Mutex<Told>);

impl LogEvents for Journal {
    fn written(&self, to: Position) {
        let mut told = self.0.lock().unwrap();
        assert!(to > told.written, "written {to} after {}", told.written);
        told.written = to;
    }

    fn synced(&self, to: Position) {
        let mut told = self.0.lock().unwrap();
        assert!(to > told.synced, "synced {to} after {}", told.synced);
        told.synced = to;
    }

    fn refused(&self, from: Position, why: &LogFault) {
        self.0.lock().unwrap().refused.push((from, why.clone()));
    }

    fn short_of_room(&self, is_short: bool) {
        self.0.lock().unwrap().short.push(is_short);
    }

    fn poisoned(&self, why: &LogFault) {
        self.0.lock().unwrap().poisoned.push(why.clone());
    }
}

/// All records that an open showed.
#[derive(Debug, Default)]
pub struct Seen(pub Vec<Held>);

impl Visitor for Seen {
    fn record(&mut self, position: Position, kind: u8, payload: &[u8]) -> Result<(), String> {
        assert_eq!(kind, KIND);
        self.0.push((position, payload.to_vec()));
        Ok(())
    }
}

pub fn open_from(disk: &FaultDisk, from: Option<Position>) -> Result<(Opened, Vec<Held>), OpenError> {
    open_with(disk, small_segments(), from)
}

fn open_with(
    disk: &FaultDisk,
    config: LogConfig,
    from: Option<Position>,
) -> Result<(Opened, Vec<Held>), OpenError> {
    let mut seen = Seen::default();
    let opened = open(Arc::new(disk.clone()), Path::new(DIR), config, from, &mut seen)?;
    Ok((opened, seen.0))
}

/// The records that a fresh open of a copy of the disk finds.
pub fn held_by(disk: &FaultDisk) -> Result<(Recovery, Vec<Held>), OpenError> {
    let (opened, held) = open_from(&disk.fork(), None)?;
    Ok((opened.recovery, held))
}

pub struct Rig {
    pub disk: FaultDisk,
    pub log: Opened,
    pub told: Arc<Journal>,
    /// What was submitted so far in this process and is not refused.
    pub submitted: Vec<Held>,
    /// What the open showed.
    pub found: Vec<Held>,
    /// After how many of the submitted records a group ends.
    pub whole: Vec<usize>,
}

impl Rig {
    pub fn new() -> Self {
        Self::on(FaultDisk::new(1)).unwrap()
    }

    pub fn on(disk: FaultDisk) -> Result<Self, OpenError> {
        Self::with(disk, small_segments())
    }

    pub fn with(disk: FaultDisk, config: LogConfig) -> Result<Self, OpenError> {
        let (log, found) = open_with(&disk, config, None)?;
        Ok(Self { disk, log, told: Arc::default(), submitted: Vec::new(), found, whole: vec![0] })
    }

    /// Opens the same disk as the next process after a cut.
    pub fn reopened(&self, loss: Loss) -> Result<Self, OpenError> {
        Self::on(self.disk.power_cut(loss))
    }

    /// Adds one record to the current group, or to a new one where it does not fit.
    pub fn add(&mut self, body: &[u8]) -> Result<Position, AppendError> {
        let piece = encoded(body);
        let appender = &mut self.log.appender;
        if appender.room() < piece.len() {
            self.whole.push(self.submitted.len());
            appender.roll(piece.len())?;
        }
        let position = appender.position();
        appender.push(piece, 1);
        self.submitted.push((position, body.to_vec()));
        Ok(position)
    }

    /// A group of its own with these bodies.
    pub fn group(&mut self, bodies: &[&[u8]], sync: bool) -> Position {
        let bytes = bodies.iter().map(|body| padded(body.len())).sum();
        self.whole.push(self.submitted.len());
        self.log.appender.roll(bytes).unwrap();
        bodies.iter().for_each(|body| {
            self.add(body).unwrap();
        });
        self.submit(sync).unwrap()
    }

    pub fn submit(&mut self, sync: bool) -> Option<Position> {
        self.whole.push(self.submitted.len());
        self.log.appender.submit(sync)
    }

    pub fn write(&mut self) -> Step {
        self.log.writer.step(&*self.told)
    }

    pub fn sync(&mut self) -> Step {
        self.log.syncer.step(&*self.told)
    }

    /// Steps until everything submitted is written and synced, or nothing moves any more.
    pub fn pump(&mut self) {
        while [self.write(), self.sync()].contains(&Step::Worked) {}
    }

    pub fn written(&self) -> Position {
        self.told.0.lock().unwrap().written
    }

    pub fn synced(&self) -> Position {
        self.told.0.lock().unwrap().synced
    }

    /// Everything that the log should hold.
    pub fn all(&self) -> Vec<Held> {
        self.found.iter().chain(&self.submitted).cloned().collect()
    }
}

impl Rig {
    /// What a later open may find after a cut: everything synced, and of the rest whole groups in order.
    pub fn assert_recovered(&self, recovery: &Recovery, held: &[Held]) {
        let all: Vec<_> = self.all().into_iter().filter(|held| held.0 >= recovery.start).collect();
        assert!(recovery.start <= self.log.appender.start());
        assert!(held.len() <= all.len(), "{} records of {}", held.len(), all.len());
        assert_eq!(held, &all[..held.len()], "what is held is the beginning of what was submitted");
        let lost = all.len() - held.len();
        if let Some(first_lost) = all.get(held.len()) {
            let synced = self.synced();
            assert!(
                first_lost.0 >= synced,
                "the record at {} was synced ({synced}) and is lost",
                first_lost.0
            );
            let kept = self.submitted.len() - lost;
            assert!(self.whole.contains(&kept), "{kept} records are no whole groups: {:?}", self.whole);
        }
    }
}

/// Two synced groups (the second says that the first is synced), then one that nobody knows to be synced. Returns where
/// each of the three begins, and where the last ends.
pub fn three_groups() -> (Rig, [usize; 4]) {
    let mut rig = Rig::new();
    let mut starts = [4096; 4];
    for (index, body) in [[1; 90], [2; 90], [3; 90]].iter().enumerate() {
        starts[index + 1] = rig.group(&[&body[..40], &body[..]], true) as usize;
        rig.pump();
    }
    (rig, starts)
}
