//! Writes the lines that the offline checker reads. Lines are whole even when several threads write.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Journal {
    out: Mutex<BufWriter<File>>,
}

impl Journal {
    pub fn create(path: &str) -> std::io::Result<Self> {
        Ok(Self { out: Mutex::new(BufWriter::new(File::create(path)?)) })
    }

    /// A line that cannot be written is missed by the checker.
    pub fn line(&self, text: &str) {
        if let Ok(mut out) = self.out.lock() {
            let _ = writeln!(out, "{text}");
        }
    }

    pub fn flush(&self) {
        if let Ok(mut out) = self.out.lock() {
            let _ = out.flush();
        }
    }
}

pub fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

pub fn crc_of(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}

pub fn body_of(id: &str, bytes: usize) -> Vec<u8> {
    let mut body = format!("{id} ").into_bytes();
    body.resize(bytes.max(body.len()), b'.');
    body
}

pub fn id_of(body: &[u8]) -> String {
    let id = body.split(|byte| *byte == b' ').next().unwrap_or_default();
    if id.is_empty() { "?".into() } else { String::from_utf8_lossy(id).into_owned() }
}
