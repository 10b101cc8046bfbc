//! The bare pipeline: the least a durable server does for each message, and so the machine's limit to compare with.
//! It reads frames (u32 big-endian length, body), computes a CRC, appends to one file, syncs once per group and answers
//! 64 bytes per frame. It has no topics, no index, no protocol, no recovery and no reading back: those are what
//! a broker's rate divided by this one's is meant to price.
use std::fs::File;
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc as blocking;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

const USAGE: &str =
    "usage: mailrail-bare ADDRESS none|page-cache|disk FILE   (prints the address once it listens)";
const WORKER_THREADS: usize = 2;
const REPLY_BYTES: usize = 64;
const REPLIES_PER_WRITE_MAX: usize = 512;
const LENGTH_BYTES: usize = 4;
const FRAME_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 256 * 1024;
const GROUP_BATCHES_MAX: usize = 256;
/// The file starts anew past this, so that a long run does not fill the disk.
const FILE_BYTES_MAX: u64 = 6 << 30;

/// What has happened to a frame when it is answered.
#[derive(Clone, Copy, PartialEq)]
enum Durability {
    /// Nothing: the cost of sockets and frames alone.
    None,
    /// Written to the page cache.
    PageCache,
    /// Written and synced with fdatasync.
    Disk,
}

/// All complete frames of one read of one connection.
struct Batch {
    records: Vec<u8>,
    count: usize,
    done: mpsc::UnboundedSender<usize>,
}

fn main() -> ExitCode {
    let Some((address, durability, path)) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&address, durability, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailrail-bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<(String, Durability, PathBuf)> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next()?;
    let durability = match arguments.next()?.as_str() {
        "none" => Durability::None,
        "page-cache" => Durability::PageCache,
        "disk" => Durability::Disk,
        _ => return None,
    };
    Some((address, durability, PathBuf::from(arguments.next()?)))
}

fn run(address: &str, durability: Durability, path: PathBuf) -> std::io::Result<()> {
    let (log, batches) = blocking::channel();
    if durability != Durability::None {
        std::thread::spawn(move || {
            // A yardstick that lost a write measures nothing any more.
            if let Err(error) = write_groups(&path, &batches, durability) {
                eprintln!("mailrail-bare: {}: {error}", path.display());
                std::process::exit(1);
            }
        });
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            let (done, completions) = mpsc::unbounded_channel();
            tokio::spawn(answer(writer, completions));
            tokio::spawn(read_frames(reader, log.clone(), done, durability));
        }
    })
}

/// Everything that arrived while the last group was being synced is the next group.
fn write_groups(
    path: &Path,
    batches: &blocking::Receiver<Batch>,
    durability: Durability,
) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut written_bytes = 0;
    while let Ok(first) = batches.recv() {
        let mut group = vec![first];
        group.extend(batches.try_iter().take(GROUP_BATCHES_MAX - 1));
        written_bytes += write_group(&mut file, &group)?;
        if durability == Durability::Disk {
            file.sync_data()?;
        }
        for batch in group {
            // The connection may have gone; its frames are on disk all the same.
            let _ = batch.done.send(batch.count);
        }
        if written_bytes > FILE_BYTES_MAX {
            file = File::create(path)?;
            written_bytes = 0;
        }
    }
    Ok(())
}

fn write_group(file: &mut File, group: &[Batch]) -> std::io::Result<u64> {
    let mut slices: Vec<_> = group.iter().map(|batch| IoSlice::new(&batch.records)).collect();
    let mut rest = &mut slices[..];
    let mut written_bytes = 0;
    while !rest.is_empty() {
        let count = file.write_vectored(rest)?;
        written_bytes += count as u64;
        IoSlice::advance_slices(&mut rest, count);
    }
    Ok(written_bytes)
}

async fn answer(mut writer: OwnedWriteHalf, mut completions: mpsc::UnboundedReceiver<usize>) {
    let replies = [7u8; REPLY_BYTES * REPLIES_PER_WRITE_MAX];
    while let Some(mut count) = completions.recv().await {
        while let Ok(more) = completions.try_recv() {
            count += more;
        }
        while count > 0 {
            let now = count.min(REPLIES_PER_WRITE_MAX);
            if writer.write_all(&replies[..now * REPLY_BYTES]).await.is_err() {
                return;
            }
            count -= now;
        }
    }
}

async fn read_frames(
    mut reader: OwnedReadHalf,
    log: blocking::Sender<Batch>,
    done: mpsc::UnboundedSender<usize>,
    durability: Durability,
) {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    loop {
        if input.capacity() - input.len() < READ_BYTES / 4 {
            input.reserve(READ_BYTES);
        }
        if matches!(reader.read_buf(&mut input).await, Ok(0) | Err(_)) {
            return;
        }
        let Some((records, count)) = take_frames(&mut input) else { return };
        if count == 0 {
            continue;
        }
        let sent = if durability == Durability::None {
            done.send(count).is_ok()
        } else {
            log.send(Batch { records, count, done: done.clone() }).is_ok()
        };
        if !sent {
            return;
        }
    }
}

/// Every complete frame as `CRC, length, body`, and their number; `None` for a length over the limit.
fn take_frames(input: &mut BytesMut) -> Option<(Vec<u8>, usize)> {
    let mut records = Vec::with_capacity(input.len() + 1024);
    let mut count = 0;
    while let Some(length) = input.first_chunk::<LENGTH_BYTES>() {
        let body_bytes = u32::from_be_bytes(*length) as usize;
        if body_bytes > FRAME_BYTES_MAX {
            return None;
        }
        let Some(frame) = input.get(..LENGTH_BYTES + body_bytes) else { break };
        records.extend_from_slice(&crc32fast::hash(&frame[LENGTH_BYTES..]).to_be_bytes());
        records.extend_from_slice(frame);
        input.advance(LENGTH_BYTES + body_bytes);
        count += 1;
    }
    Some((records, count))
}
