//! The lines that the offline checker reads, and the bodies that they are about. Knows nothing of the client.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines are whole even when several tasks write.
pub struct Journal(Mutex<BufWriter<File>>);

impl Journal {
    pub fn create(path: &str) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(BufWriter::new(File::create(path)?))))
    }

    fn line(&self, text: &str) -> std::io::Result<()> {
        writeln!(self.0.lock().unwrap_or_else(PoisonError::into_inner), "{text}")
    }

    pub fn sent(&self, id: &str, body: &[u8]) -> std::io::Result<()> {
        self.line(&format!("S {id} {} {}", crc(body), now_ms()))
    }

    /// `queue` and `offset` are `-` where the client does not tell them.
    pub fn acked(&self, id: &str, queue: impl Display, offset: impl Display) -> std::io::Result<()> {
        self.line(&format!("A {id} disk {} {queue} {offset}", now_ms()))
    }

    pub fn failed(&self, id: &str, reason: &str) -> std::io::Result<()> {
        self.line(&format!("F {id} {} {}", now_ms(), reason.replace('\n', " ")))
    }

    pub fn received(
        &self,
        queue: impl Display,
        offset: impl Display,
        body: &[u8],
        attempt: i32,
    ) -> std::io::Result<()> {
        let id = body.split(|byte| *byte == b' ').next().filter(|id| !id.is_empty()).unwrap_or(b"?");
        let id = String::from_utf8_lossy(id);
        self.line(&format!("R {queue} {offset} {id} {} {attempt} {}", crc(body), now_ms()))
    }

    pub fn flush(&self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

pub fn load_body(id: &str, bytes: usize) -> Vec<u8> {
    let mut body = format!("{id} ").into_bytes();
    body.resize(bytes.max(body.len()), b'.');
    body
}

fn crc(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
