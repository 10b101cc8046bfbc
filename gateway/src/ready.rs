//! The ready file: one JSON object, written in one piece once every listener accepts.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

#[derive(Serialize)]
pub struct Ready {
    pub pid: u32,
    pub http: SocketAddr,
    pub remoting: SocketAddr,
    pub amqp: SocketAddr,
}

impl Ready {
    /// Removes the file of an earlier run, if there is one.
    pub fn withdraw(path: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes beside the file and renames, so that whoever waits never reads half of it.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let beside = path.with_extension("partial");
        let mut file = std::fs::File::create(&beside)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        std::fs::rename(beside, path)
    }
}
