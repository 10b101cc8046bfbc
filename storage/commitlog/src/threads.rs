//! Runs the writer and the syncer on threads of their own. All their work is in their `step`; here is only when.
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::LogEvents;
use crate::error::LogFault;
use crate::keep::Keeper;
use crate::log::Log;
use crate::sync::{self, Syncer};
use crate::write::{Step, Writer};

/// How often a full disk is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(200);

/// How often it is looked whether a nearly full disk has room again.
const SHORT_RETRY: Duration = Duration::from_secs(1);

const WRITER: &str = "writer";
const SYNCER: &str = "syncer";
const KEEPER: &str = "keeper";

/// The log's running threads: a writer, a syncer, and a keeper of the segment files.
#[derive(Debug)]
pub struct LogThreads {
    log: Arc<Log>,
    threads: [JoinHandle<()>; 3],
}

/// Runs writer and syncer on threads of their own, which report to `events`.
///
/// # Panics
/// When the operating system gives no thread.
pub fn spawn(mut writer: Writer, syncer: Syncer, events: Arc<dyn LogEvents>) -> LogThreads {
    let Syncer { log, mut keeper } = syncer;
    let for_syncer = (Arc::clone(&log), Arc::clone(&events));
    let for_keeper = Arc::clone(&events);
    let threads = [
        start(WRITER, &log, move || run_writer(&mut writer, &*events)),
        start(SYNCER, &log, move || run_syncer(&for_syncer.0, &*for_syncer.1)),
        start(KEEPER, &log, move || run_keeper(&mut keeper, &*for_keeper)),
    ];
    LogThreads { log, threads: threads.map(|thread| thread.expect("a process without threads can't serve")) }
}

fn start(
    thread: &'static str,
    log: &Arc<Log>,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let end = EndOfThread { log: Arc::clone(log), thread };
    let run = move || {
        let _end = end;
        run();
    };
    thread::Builder::new().name(format!("log-{thread}")).spawn(run)
}

impl LogThreads {
    /// Waits until everything submitted is written and synced, then ends the threads. The error is what kept that from
    /// being done, then or at any time before.
    pub fn shutdown(self) -> Result<(), LogFault> {
        self.log.hand.lock().closing = true;
        self.log.hand.wake_all();
        for thread in self.threads {
            // How a thread ended is in the log's fault, also when it panicked.
            let _ = thread.join();
        }
        self.log.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// Tells the other threads that this one has ended, in whatever way.
struct EndOfThread {
    log: Arc<Log>,
    thread: &'static str,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.log.poison(LogFault::Panicked { thread: self.thread });
        }
        if self.thread == WRITER {
            self.log.hand.lock().writer_done = true;
        }
        self.log.hand.wake_all();
    }
}

fn run_writer(writer: &mut Writer, events: &dyn LogEvents) {
    loop {
        match writer.step(events) {
            Step::Worked => {}
            Step::Poisoned => return,
            Step::Blocked => wait_until_synced(&writer.log),
            Step::Full => {
                if !wait_for_room(&writer.log) {
                    writer.give_up();
                }
            }
            Step::Idle => {
                if !wait_for_groups(&writer.log) {
                    return;
                }
            }
        }
    }
}

fn wait_until_synced(log: &Log) {
    let mut hand = log.hand.lock();
    if hand.synced < hand.written {
        hand.sync_to = hand.written;
        log.hand.unlock_and_wake_syncer(hand);
        hand = log.hand.lock();
    }
    while hand.synced < hand.written && !log.poisoned() {
        hand = log.hand.wait_as_writer(hand);
    }
}

/// Waits a while before the next try to write; false when the log is closing, and there is no time to wait for.
fn wait_for_room(log: &Log) -> bool {
    let since = Instant::now();
    let mut hand = log.hand.lock();
    while !hand.closing && !log.poisoned() {
        let left = ROOM_RETRY.saturating_sub(since.elapsed());
        if left.is_zero() {
            return true;
        }
        hand = log.hand.wait_as_writer_for(hand, left);
    }
    false
}

/// False when there will be no more groups.
fn wait_for_groups(log: &Log) -> bool {
    let mut hand = log.hand.lock();
    while hand.queue.groups.is_empty() && !log.poisoned() {
        if hand.closing {
            return false;
        }
        hand = log.hand.wait_as_writer(hand);
    }
    true
}

fn run_syncer(log: &Log, events: &dyn LogEvents) {
    while wait_for_duty(log) {
        if sync::sync(log, events) == Step::Poisoned {
            return;
        }
    }
    sync::close(log, events);
}

fn run_keeper(keeper: &mut Keeper, events: &dyn LogEvents) {
    loop {
        keeper.step(events);
        // Others may give room back.
        let again = keeper.is_short().then(|| Instant::now() + SHORT_RETRY);
        let mut hand = keeper.log.hand.lock();
        while !hand.has_files_to_keep() {
            if hand.closing || keeper.log.poisoned() {
                return;
            }
            let left = again.map(|again| again.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            hand = keeper.log.hand.wait_as_keeper(hand, left);
        }
        if keeper.log.poisoned() {
            return;
        }
    }
}

/// Waits until a sync was asked for, or the interval since the oldest unsynced write is over.
/// False when all is synced and the writer has ended.
fn wait_for_duty(log: &Log) -> bool {
    let mut hand = log.hand.lock();
    loop {
        let behind = hand.written > hand.synced;
        let asked = hand.sync_to > hand.synced;
        let last = hand.closing && hand.writer_done;
        if asked || log.poisoned() || (last && behind) {
            return true;
        }
        if last {
            return false;
        }
        let waited = hand.unsynced_since.filter(|_| behind).map(|since| since.elapsed());
        let left = waited.map(|waited| log.config.sync_interval.saturating_sub(waited));
        if left.is_some_and(|left| left.is_zero()) {
            return true;
        }
        hand = log.hand.wait_as_syncer(hand, left);
    }
}
