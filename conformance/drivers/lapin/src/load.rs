//! A journaled load: as many tasks as the window is wide, each with one unconfirmed persistent message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::journal::{Journal, load_body};
use crate::producing::{PERSISTENT, close, confirmed};
use crate::{Answer, Refusal, emit, text};

const PROGRESS_EVERY: u64 = 1_000;

/// Publishes until told to stop or until the connection goes; this one does not come back.
pub struct Load {
    run: Arc<Run>,
    task: JoinHandle<()>,
}

struct Run {
    topic: String,
    prefix: String,
    bytes: usize,
    journal: Journal,
    stopping: AtomicBool,
    sent: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    pub async fn start(address: &str, command: &Value) -> Result<Self, Refusal> {
        let number = |name: &str| command[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        let run = Arc::new(Run {
            topic: text(command, "topic").to_owned(),
            prefix: text(command, "run").to_owned(),
            bytes: number("bytes"),
            journal: Journal::create(text(command, "journal"))?,
            stopping: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let connection = Connection::connect(address, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let publishers: Vec<_> = (0..number("window"))
            .map(|_| tokio::spawn(publish_all(Arc::clone(&run), channel.clone())))
            .collect();
        let counted = Arc::clone(&run);
        let task = tokio::spawn(async move {
            for publisher in publishers {
                let _ = publisher.await; // one that panicked is missed in the counts
            }
            let _ = counted.journal.flush(); // what is missing in it fails the check
            close(&connection).await;
            emit(&json!({"event": "load_end", "load": counted.counts()}));
        });
        Ok(Self { run, task })
    }

    pub async fn end(self) -> Answer {
        self.run.stopping.store(true, Relaxed);
        self.task.await?;
        Ok(self.run.counts())
    }
}

impl Run {
    fn counts(&self) -> Value {
        let [sent, acked, failed] = [&self.sent, &self.acked, &self.failed].map(|count| count.load(Relaxed));
        json!({"sent": sent, "acked": acked, "failed": failed})
    }
}

async fn publish_all(run: Arc<Run>, channel: Channel) {
    while !run.stopping.load(Relaxed) {
        let id = format!("{}-{}", run.prefix, run.sent.fetch_add(1, Relaxed) + 1);
        if let Err(refusal) = publish(&run, &channel, &id).await {
            let (Refusal::Error(reason) | Refusal::Unsupported(reason)) = refusal;
            let _ = run.journal.failed(&id, &reason); // what is missing in it fails the check
            run.failed.fetch_add(1, Relaxed);
            run.stopping.store(true, Relaxed);
            return;
        }
        let acked = run.acked.fetch_add(1, Relaxed) + 1;
        if acked.is_multiple_of(PROGRESS_EVERY) {
            emit(&json!({"event": "load_progress", "acked": acked}));
        }
    }
}

async fn publish(run: &Run, channel: &Channel, id: &str) -> Result<(), Refusal> {
    let body = load_body(id, run.bytes);
    run.journal.sent(id, &body)?;
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let topic = run.topic.as_str().into();
    let options = BasicPublishOptions::default();
    confirmed(channel.basic_publish("".into(), topic, options, &body, properties).await?).await?;
    run.journal.acked(id, "-", "-")?;
    Ok(())
}
