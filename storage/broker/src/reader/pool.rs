//! The threads of readers.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::ReadContext;

pub(crate) type Job = Box<dyn FnOnce(&ReadContext) + Send>;

/// Threads that carry out reads which may block. What goes through much of the log has a thread of its own, or whoever
/// looks for a key would have those wait who read a few messages.
#[derive(Clone)]
pub(crate) struct Pool {
    reads: Lane,
    sweeps: Lane,
}

impl Pool {
    pub fn start(threads: usize, context: Arc<ReadContext>) -> Pool {
        Pool {
            reads: Lane::start("reader", threads.max(1), &context),
            sweeps: Lane::start("sweeper", 1, &context),
        }
    }

    /// Queues a job that reads no more than one client gets at once; after [`Pool::stop`] it is dropped.
    pub fn run(&self, job: Job) {
        self.reads.run(job);
    }

    /// Queues a job that may take long.
    pub fn run_long(&self, job: Job) {
        self.sweeps.run(job);
    }

    /// Finishes what is queued and ends the threads.
    pub fn stop(&self) {
        self.reads.stop();
        self.sweeps.stop();
    }
}

/// Some threads that share a line of jobs.
#[derive(Clone)]
struct Lane {
    jobs: Arc<Mutex<Option<Sender<Job>>>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Lane {
    fn start(name: &str, threads: usize, context: &Arc<ReadContext>) -> Lane {
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = crossbeam_channel::unbounded();
        let start = |number: usize| {
            let (queue, context) = (queue.clone(), context.clone());
            let work = move || {
                for job in queue {
                    job(&context);
                }
            };
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(work).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Lane { jobs: Arc::new(Mutex::new(Some(jobs))), threads: Arc::new(Mutex::new(threads)) }
    }

    fn run(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = jobs.send(job);
        }
    }

    fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}
