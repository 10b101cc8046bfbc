//! Runs the log on threads of its own. All their work is in `step`s; here is only who does which and when.
//!
//! Two workers share writing and syncing: whoever wrote a group also syncs it, without handing it over, and while it
//! syncs the other writes what comes, so that no write waits for a sync. A keeper sees to the segment files.
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::LogEvents;
use crate::error::LogFault;
use crate::hand::{Duty, Gate, Hand};
use crate::keep::Keeper;
use crate::log::{Log, locked};
use crate::sync::{self, Syncer};
use crate::write::{Step, Writer};

/// How often a full disk is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(200);

/// How often it is looked whether a nearly full disk has room again.
const SHORT_RETRY: Duration = Duration::from_secs(1);

const WORKER: &str = "worker";
const KEEPER: &str = "keeper";

/// The log's running threads: two workers that write and sync, and a keeper of the segment files.
pub struct LogThreads {
    log: Arc<Log>,
    events: Arc<dyn LogEvents>,
    threads: [JoinHandle<()>; 3],
}

/// Runs writer and syncer on threads of their own, which report to `events`.
///
/// # Panics
/// When the operating system gives no thread.
pub fn spawn(writer: Writer, syncer: Syncer, events: Arc<dyn LogEvents>) -> LogThreads {
    let Syncer { log, mut keeper } = syncer;
    let writer = Arc::new(Mutex::new(writer));
    let worker = || {
        let (log, writer, events) = (Arc::clone(&log), Arc::clone(&writer), Arc::clone(&events));
        start(WORKER, &log.clone(), move || Worker { log: &log, writer: &writer, events: &*events }.run())
    };
    let for_keeper = Arc::clone(&events);
    let threads = [worker(), worker(), start(KEEPER, &log, move || run_keeper(&mut keeper, &*for_keeper))];
    let threads = threads.map(|thread| thread.expect("a process without threads can't serve"));
    LogThreads { log, events, threads }
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
        sync::close(&self.log, &*self.events);
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
        self.log.hand.wake_all();
    }
}

/// One of the threads that write and sync.
struct Worker<'a> {
    log: &'a Log,
    writer: &'a Mutex<Writer>,
    events: &'a dyn LogEvents,
}

impl<'a> Worker<'a> {
    fn run(&self) {
        let mut hand = self.log.hand.lock();
        while !self.log.poisoned() {
            hand = match hand.duty(self.log.config.sync_interval) {
                Duty::Write => self.write(hand),
                Duty::Sync => self.sync(hand),
                Duty::Sleep(longest) => self.log.hand.sleep(hand, longest),
                Duty::End => return,
            }
        }
        drop(hand);
        self.log.tell_fault(self.events);
    }

    fn write(&self, mut hand: MutexGuard<'a, Hand>) -> MutexGuard<'a, Hand> {
        (hand.writing, hand.gate) = (true, Gate::Open);
        let last_try = hand.closing;
        drop(hand);
        let mut writer = locked(self.writer);
        let step = writer.step(self.events);
        if step == Step::Full && last_try {
            // There is no time to wait for room.
            writer.give_up();
        }
        let holds = writer.holds_groups();
        drop(writer);
        let mut hand = self.log.hand.lock();
        (hand.writing, hand.writer_holds) = (false, holds);
        match step {
            Step::Blocked => (hand.gate, hand.sync_to) = (Gate::Sync, hand.written),
            Step::Full => hand.gate = Gate::Room(Instant::now() + ROOM_RETRY),
            Step::Idle | Step::Worked | Step::Poisoned => {}
        }
        hand
    }

    fn sync(&self, mut hand: MutexGuard<'a, Hand>) -> MutexGuard<'a, Hand> {
        hand.syncing = true;
        // What there is to write by now should not wait for the sync.
        self.log.hand.unlock_and_call_to_write(hand);
        sync::sync(self.log, self.events);
        let mut hand = self.log.hand.lock();
        hand.syncing = false;
        hand
    }
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
