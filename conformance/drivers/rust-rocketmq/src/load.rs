//! The journaled load: tasks that each send one message and wait for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocketmq_client_rust::DefaultMQProducer;
use rocketmq_model::common::message::message_single::Message;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::command::Command;
use crate::journal::{Journal, load_body};
use crate::producing::receipt;
use crate::{Answer, Refusal, emit};

/// So many failures in a row mean that the broker is gone.
const FAILURES_MAX: u64 = 100;
const PROGRESS_EVERY: u64 = 1_000;
const SEND_TIMEOUT_MS: u64 = 10_000;

pub struct Load {
    state: Arc<State>,
    done: JoinHandle<Value>,
}

struct State {
    producer: Arc<DefaultMQProducer>,
    topic: String,
    run: String,
    bytes: usize,
    journal: Journal,
    stop: AtomicBool,
    sent: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
    failed_in_row: AtomicU64,
}

impl Load {
    pub fn start(producer: Arc<DefaultMQProducer>, command: &Command) -> Result<Self, Refusal> {
        let state = Arc::new(State {
            producer,
            topic: command.topic.clone(),
            run: command.run.clone(),
            bytes: command.bytes,
            journal: Journal::create(&command.journal)?,
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failed_in_row: AtomicU64::new(0),
        });
        let senders: Vec<_> =
            (0..command.window).map(|_| tokio::spawn(send_on(Arc::clone(&state)))).collect();
        let ending = Arc::clone(&state);
        let done = tokio::spawn(async move {
            for sender in senders {
                let _ = sender.await; // a sender that panicked has journaled nothing wrong
            }
            let _ = ending.journal.flush(); // what is missing in it fails the check
            let counts = ending.counts();
            emit(&json!({"event": "load_end", "load": counts}));
            counts
        });
        Ok(Self { state, done })
    }

    pub async fn stop(self) -> Answer {
        self.state.stop.store(true, Ordering::Relaxed);
        Ok(self.done.await?)
    }
}

async fn send_on(state: Arc<State>) {
    while !state.stop.load(Ordering::Relaxed) && state.failed_in_row.load(Ordering::Relaxed) < FAILURES_MAX {
        let id = format!("{}-{}", state.run, state.sent.fetch_add(1, Ordering::Relaxed));
        let body = load_body(&id, state.bytes);
        let _ = state.journal.sent(&id, &body); // as with the others, what is missing fails the check
        let message = Message::builder().topic(state.topic.as_str()).body(body).build_unchecked();
        let outcome = match state.producer.send_with_timeout(message, SEND_TIMEOUT_MS).await {
            Ok(result) => receipt(result.as_ref()),
            Err(error) => Err(Refusal::Error(error.to_string())),
        };
        state.note(&id, outcome);
    }
}

impl State {
    fn note(&self, id: &str, outcome: Answer) {
        match outcome {
            Ok(receipt) => {
                let _ = self.journal.acked(id, &receipt["queue"], &receipt["offset"]);
                self.failed_in_row.store(0, Ordering::Relaxed);
                let acked = self.acked.fetch_add(1, Ordering::Relaxed) + 1;
                if acked.is_multiple_of(PROGRESS_EVERY) {
                    emit(&json!({"event": "load_progress", "acked": acked}));
                }
            }
            Err(Refusal::Unsupported(_)) => {}
            Err(Refusal::Error(text)) => {
                let _ = self.journal.failed(id, &text);
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.failed_in_row.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn counts(&self) -> Value {
        let [sent, acked, failed] =
            [&self.sent, &self.acked, &self.failed].map(|count| count.load(Ordering::Relaxed));
        json!({"sent": sent, "acked": acked, "failed": failed})
    }
}
