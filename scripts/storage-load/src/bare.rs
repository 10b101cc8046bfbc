//! The least that must be done to store the same bytes: copy them, checksum them, write them behind each other into a
//! file whose space is reserved, and sync. `disk`: one sync for every write of the window's batches, since all of them
//! wait for it. `memory`: every batch is written, and another thread syncs after as many bytes as the log's does.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::client::Failure;
use crate::observe::Moment;
use crate::publish::{WARM_UP_S, with_latencies};
use crate::{Durability, Load};

/// What the log has around a body: record header, message header, topic, annexes and padding.
const AROUND_BODY_BYTES: usize = 144;
const GROUP_HEADER_BYTES: usize = 64;
/// As much is written before it is synced though nobody asked.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;
const SEGMENT_BYTES: u64 = 128 << 20;

pub fn run(data: &Path, load: &Load) -> Result<Value, Failure> {
    std::fs::create_dir_all(data)?;
    let record = vec![b'x'; (load.size + AROUND_BODY_BYTES).next_multiple_of(8)];
    let batches = if load.durability == Durability::Disk { load.window } else { 1 };
    let messages = load.batch * batches;
    let mut group = Vec::with_capacity(GROUP_HEADER_BYTES + messages * record.len());
    let mut file = Segment::begin(data, 0)?;
    let (wake, syncs) = mpsc::sync_channel::<Arc<File>>(1);
    let syncer = std::thread::spawn(move || syncs.iter().try_for_each(|file| file.sync_data()));
    let mut latencies = Histogram::<u64>::new(3)?;
    let begin = Moment::now();
    let mut measured: Option<(Moment, u64)> = None;
    let mut unsynced = 0;
    loop {
        let at = Instant::now();
        group.clear();
        group.resize(GROUP_HEADER_BYTES, 0);
        (0..messages).for_each(|_| group.extend_from_slice(&record));
        let sum = crc32c::crc32c(group.get(GROUP_HEADER_BYTES..).unwrap_or_default());
        group.splice(..4, sum.to_le_bytes());
        if file.used + group.len() as u64 > SEGMENT_BYTES {
            file.file.sync_data()?;
            file = Segment::begin(data, file.number + 1)?;
        }
        file.file.write_all_at(&group, file.used)?;
        file.used += group.len() as u64;
        unsynced += group.len();
        if load.durability == Durability::Disk {
            file.file.sync_data()?;
        } else if unsynced >= UNSYNCED_BYTES_MAX && wake.try_send(Arc::clone(&file.file)).is_ok() {
            unsynced = 0;
        }
        match &mut measured {
            None if begin.seconds() >= WARM_UP_S => measured = Some((Moment::now(), 0)),
            None => {}
            Some((since, count)) => {
                *count += messages as u64;
                latencies.record(u64::try_from(at.elapsed().as_nanos())?)?;
                if since.seconds() >= load.seconds {
                    break;
                }
            }
        }
    }
    let (since, count) = measured.ok_or("nothing was measured")?;
    let report = with_latencies(since.report(count), &latencies);
    drop(wake);
    syncer.join().map_err(|_| "the syncer panicked")??;
    Ok(report)
}

struct Segment {
    number: u32,
    file: Arc<File>,
    used: u64,
}

impl Segment {
    /// A new file with its space reserved. The old ones stay, as those of the log do: new pages of memory cost more than
    /// those that a removed file gave back.
    fn begin(data: &Path, number: u32) -> io::Result<Segment> {
        let path = data.join(number.to_string());
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES)?;
        Ok(Segment { number, file: Arc::new(file), used: 0 })
    }
}
