//! Runs the writer and the syncer on threads of their own. All their work is in their `step`; here is only when.
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::LogEvents;
use crate::error::LogFault;
use crate::log::Log;
use crate::sync::Syncer;
use crate::write::{Step, Writer};

/// The log's two running threads.
#[derive(Debug)]
pub struct LogThreads {
    log: Arc<Log>,
    writer: JoinHandle<()>,
    syncer: JoinHandle<()>,
}

/// Runs writer and syncer on threads of their own, which report to `events`.
///
/// # Panics
/// When the operating system gives no thread.
pub fn spawn(mut writer: Writer, mut syncer: Syncer, events: Arc<dyn LogEvents>) -> LogThreads {
    let log = Arc::clone(&writer.log);
    let for_writer = Arc::clone(&events);
    let writer = start("log-writer", move || {
        let _end = EndOfThread { log: Arc::clone(&writer.log), thread: "writer" };
        run_writer(&mut writer, &*for_writer);
    });
    let syncer = start("log-syncer", move || {
        let _end = EndOfThread { log: Arc::clone(&syncer.log), thread: "syncer" };
        run_syncer(&mut syncer, &*events);
    });
    let threads = writer.and_then(|writer| Ok((writer, syncer?)));
    let (writer, syncer) = threads.expect("a process that can't start two threads can't serve");
    LogThreads { log, writer, syncer }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

impl LogThreads {
    /// Waits until everything submitted is written and synced, then ends the threads. The error is what kept that from
    /// being done, then or at any time before.
    pub fn shutdown(self) -> Result<(), LogFault> {
        self.log.hand.lock().closing = true;
        self.log.hand.wake_all();
        // How a thread ended is in the log's fault, also when it panicked.
        let _ = (self.writer.join(), self.syncer.join());
        self.log.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// Tells the other thread that this one has ended, in whatever way.
struct EndOfThread {
    log: Arc<Log>,
    thread: &'static str,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        if thread::panicking() {
            self.log.poison(LogFault::Panicked { thread: self.thread });
        }
        if self.thread == "writer" {
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

fn run_syncer(syncer: &mut Syncer, events: &dyn LogEvents) {
    while wait_for_duty(&syncer.log) {
        if syncer.step(events) == Step::Poisoned {
            return;
        }
    }
    syncer.close();
    syncer.log.tell_fault(events);
}

/// Waits until a sync was asked for, the interval since the oldest unsynced write is over, or there is other work.
/// False when all is synced and the writer has ended.
fn wait_for_duty(log: &Log) -> bool {
    let mut hand = log.hand.lock();
    loop {
        let behind = hand.written > hand.synced;
        let asked = hand.sync_to > hand.synced || hand.spare_wanted || !hand.removals.is_empty();
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
